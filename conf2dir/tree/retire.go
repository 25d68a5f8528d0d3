package tree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

// retired is before the name of a directory whose job is gone. Scanners pass over it.
const retired = ".retired."

// leaving is a directory on its way out.
type leaving struct {
	name, path string
	main, log  *running
}

// retire begins to retire directories: their services are told to go. That is done
// before there are new ones, which may be the same under another name. finish waits
// for them and removes what Sync has put there.
func (s *syncer) retire(dirs []string) (finish func()) {
	var all []leaving
	for _, name := range dirs {
		if l, ok := s.beginRetirement(name); ok {
			all = append(all, l)
		}
	}
	deadline := time.Now().Add(grace)
	return func() {
		// The service first; its log service has something to read until that is gone.
		for _, l := range all {
			s.end(l.name, l.main, deadline)
		}
		for _, l := range all {
			if l.log != nil {
				_ = l.log.Control("dx")
			}
		}
		deadline = time.Now().Add(grace)
		for _, l := range all {
			s.end(l.name+"/log", l.log, deadline)
			s.discard(l)
		}
	}
}

// beginRetirement takes a directory out of the scanner's sight and tells its service
// to go.
func (s *syncer) beginRetirement(name string) (l leaving, ok bool) {
	path := filepath.Join(s.Out, name)
	l = leaving{name: strings.TrimPrefix(name, retired), path: path}
	l.main, l.log = s.open(path), s.open(filepath.Join(path, "log"))
	if s.DryRun || !s.Apply && (l.main != nil || l.log != nil) {
		if s.DryRun && (s.Apply || l.main == nil && l.log == nil) {
			s.say("retired ", l.name)
		} else {
			s.fail("unwanted ", l.name, ": it is supervised; with --apply it is ended and removed")
		}
		l.close()
		return l, false
	}
	s.unlink(name)
	if !strings.HasPrefix(name, retired) {
		l.path = filepath.Join(s.Out, retired+name)
		for i := 2; ; i++ {
			if _, err := os.Lstat(l.path); errors.Is(err, fs.ErrNotExist) {
				break
			}
			l.path = filepath.Join(s.Out, retired+name+"."+strconv.Itoa(i))
		}
		if err := os.Rename(path, l.path); err != nil {
			s.fail("failed ", name, ": ", err.Error())
			l.close()
			return l, false
		}
	}
	if l.main != nil {
		if err := l.main.Control("dx"); err != nil {
			s.fail("failed ", name, ": ", err.Error())
		}
		s.rescan("an") // lest s6-svscan start its supervisor again
	}
	return l, true
}

func (l *leaving) close() {
	for _, r := range [...]*running{l.main, l.log} {
		if r != nil {
			r.Close()
		}
	}
}

// end waits until a supervisor is gone.
func (s *syncer) end(name string, r *running, deadline time.Time) {
	if r == nil {
		return
	}
	gone := func(_ status.Record, alive bool) bool { return !alive }
	if err := r.await(deadline, gone); err != nil {
		_ = r.Control("k")
		if err := r.await(time.Now().Add(hurry), gone); err != nil {
			s.fail("failed ", name, ": its supervisor does not end")
		}
	}
}

// traces are what supervisors and generated scripts leave in a directory.
var traces = [...]string{"supervise", "log/supervise", "event", "log/event", ".started", ".gate"}

// discard removes what is left of a directory, but for what somebody else put there.
func (s *syncer) discard(l leaving) {
	defer l.close()
	for _, sub := range [...]string{"", "log"} {
		if r := s.open(filepath.Join(l.path, sub)); r != nil {
			r.Close()
			return // the next run goes on
		}
	}
	m := readManifest(l.path)
	if m == nil {
		return
	}
	var kept []string
	for _, name := range m.names() {
		path := filepath.Join(l.path, name)
		f, err := look(path)
		switch {
		case err == nil && !f.exists:
		case err == nil && f.regular && (m.ours(name, f.stamp) || s.Force):
			err = os.Remove(path)
		default:
			kept = append(kept, name)
		}
		if err != nil {
			s.fail("failed ", l.name, ": ", err.Error())
		}
	}
	if f, err := look(filepath.Join(l.path, "down")); err == nil && f.regular && f.data == "" {
		_ = os.Remove(filepath.Join(l.path, "down"))
	}
	for _, name := range traces {
		path := filepath.Join(l.path, name)
		if target, err := os.Readlink(path); err == nil {
			_ = target // the state of somebody who has it elsewhere
			_ = os.Remove(path)
			continue
		}
		_ = os.RemoveAll(path)
	}
	for _, d := range append([]string{"log"}, m.dirs...) {
		_ = unix.Rmdir(filepath.Join(l.path, d))
	}
	_ = unix.Rmdir(filepath.Join(l.path, "log"))
	_ = os.Remove(filepath.Join(s.Out, ".pmtr/done", strings.TrimPrefix(filepath.Base(l.path), retired)))
	rest, err := os.ReadDir(l.path)
	if err != nil {
		s.fail("failed ", l.name, ": ", err.Error())
		return
	}
	if len(rest) == 1 && rest[0].Name() == manifestName {
		if err := os.RemoveAll(l.path); err != nil {
			s.fail("failed ", l.name, ": ", err.Error())
			return
		}
		s.say("retired ", l.name)
		return
	}
	for _, e := range rest {
		if e.Name() != manifestName && len(kept) == 0 {
			kept = append(kept, e.Name())
		}
	}
	// Without the manifest it is whoever's these files are.
	if err := os.Remove(filepath.Join(l.path, manifestName)); err != nil {
		s.fail("failed ", l.name, ": ", err.Error())
	}
	s.say("retired ", l.name, ": ", l.path, " stays, with files that are not conf2dir's: ", strings.Join(kept, " "))
}
