package logview

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"upkeep/supervise/status"
	"upkeep/svc"
)

// Log is the log directory of a service.
type Log struct {
	Name string // of the service
	Dir  string
	s6   bool // written by s6-log
}

// ErrNoLog is the error for a service without a log directory that could be found.
var ErrNoLog = errors.New("no log directory found")

// Find finds the log of a service directory, or takes path for a log directory if it
// is one. It looks at what the log service has open, if it runs; at what its run script
// names; and below the directory log.
func Find(path string) (*Log, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		return nil, ErrNoLog
	}
	l := &Log{Name: serviceName(path)}
	if holdsLog(path) {
		l.Dir = path
		l.s6 = l.writtenByS6(filepath.Dir(path))
		return l, nil
	}
	service := filepath.Join(path, "log")
	for _, look := range []func(string) string{openDir, namedDir, dirBelow} {
		if l.Dir = look(service); l.Dir != "" {
			l.s6 = l.writtenByS6(service)
			return l, nil
		}
	}
	return nil, ErrNoLog
}

// serviceName is what people call the service that a path leads to.
func serviceName(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	name := filepath.Base(path)
	for name == "main" || name == "log" {
		path = filepath.Dir(path)
		name = filepath.Base(path)
	}
	return name
}

// holdsLog tells whether a directory is a log directory.
func holdsLog(dir string) bool {
	st, err := os.Stat(filepath.Join(dir, "current"))
	return err == nil && st.Mode().IsRegular()
}

// openDir is where the process of a log service has a file current open.
func openDir(service string) string {
	if _, err := os.Stat(filepath.Join(service, logScript)); err == nil {
		return "" // its process has those of others open as well
	}
	d, err := svc.Open(service, svc.StateDir)
	if err != nil {
		return ""
	}
	defer d.Close()
	raw := make([]byte, status.MaxSize)
	n, err := d.ReadStatus(raw)
	if err != nil {
		return ""
	}
	r, err := status.Decode(raw[:n], status.Daemontools)
	if err != nil || r.PID == 0 {
		return ""
	}
	links, err := filepath.Glob("/proc/" + strconv.FormatUint(uint64(r.PID), 10) + "/fd/*")
	if err != nil {
		return ""
	}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && filepath.Base(to) == "current" && holdsLog(filepath.Dir(to)) {
			return filepath.Dir(to)
		}
	}
	return ""
}

// logScript has the scanner write the log itself.
const logScript = "multilog"

// namedDir is the first log directory that the script of a log service names.
func namedDir(service string) string {
	for _, name := range []string{logScript, "run"} {
		text, err := os.ReadFile(filepath.Join(service, name))
		if err != nil {
			continue
		}
		for _, word := range strings.FieldsFunc(string(text), func(r rune) bool { return strings.ContainsRune(" \t\n\"'", r) }) {
			if !strings.HasPrefix(word, "/") && !strings.HasPrefix(word, ".") {
				continue
			}
			if !filepath.IsAbs(word) {
				word = filepath.Join(service, word)
			}
			if holdsLog(word) {
				return word
			}
		}
	}
	return ""
}

// dirBelow is a log directory where they are by habit.
func dirBelow(service string) string {
	if main := filepath.Join(service, "main"); holdsLog(main) {
		return main
	}
	if holdsLog(service) {
		return service
	}
	found, err := filepath.Glob(filepath.Join(service, "*", "current"))
	if err != nil || len(found) == 0 {
		return ""
	}
	return filepath.Dir(found[0])
}

// writtenByS6 tells whether a log service runs s6-log.
func (l *Log) writtenByS6(service string) bool {
	text, err := os.ReadFile(filepath.Join(service, "run"))
	return err == nil && strings.Contains(string(text), "s6-log")
}
