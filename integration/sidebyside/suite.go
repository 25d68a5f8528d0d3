package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"upkeep/integration/shipped"
	"upkeep/supervise/status"
)

// suite is a supervision suite: its programs, and how they want to be called.
type suite struct {
	name        string
	scanner     []string // to which the scan directory is added
	supervisors []string // the programs that are killed
	logger      []string // what a log service executes; it writes to ./main
	config      string   // of the log directory, for those that want one
	layout      status.Layout
	finish      bool   // it runs finish with the status
	pkg         string // Debian's
}

// own is the name of ours.
const own = "upkeep"

// suites are all of them, in the order of the columns. A log is never rotated away.
func suites(program string) []*suite {
	multilog := []string{"multilog", "s16777215", "n1000", "./main"}
	return []*suite{
		{name: own, scanner: []string{filepath.Join(filepath.Dir(program), "svscan")}, supervisors: []string{own},
			logger: multilog, layout: status.Runit, finish: true},
		{name: "daemontools", scanner: []string{"svscan"}, supervisors: []string{"svscan", "supervise"},
			logger: multilog, layout: status.Daemontools, pkg: "daemontools"},
		{name: "runit", scanner: []string{"runsvdir"}, supervisors: []string{"runsvdir", "runsv"},
			logger: []string{"svlogd", "./main"}, config: "s0\n", layout: status.Runit, finish: true, pkg: "runit"},
		{name: "s6", scanner: []string{"s6-svscan"}, supervisors: []string{"s6-svscan", "s6-supervise"},
			logger: []string{"s6-log", "n1000", "s16777215", "./main"}, layout: status.S6, finish: true, pkg: "s6"},
	}
}

func (s *suite) wanted(list []string) bool { return len(list) == 0 || slices.Contains(list, s.name) }

// resolve finds the programs in PATH.
func (s *suite) resolve() (missing string) {
	for _, name := range append([]string{s.scanner[0], s.logger[0]}, s.supervisors...) {
		if name == own {
			continue
		}
		path, err := exec.LookPath(name)
		if err != nil {
			return "there is no " + name + " in PATH"
		}
		if real, err := filepath.EvalSymlinks(path); s.name != own && err == nil && filepath.Base(real) == own {
			return path + " is upkeep's"
		}
	}
	s.scanner[0], _ = exec.LookPath(s.scanner[0])
	return ""
}

// version is what the packages are, where dpkg knows that.
func (s *suite) version() string {
	if s.name == own {
		return "built from this source"
	}
	out, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", s.pkg).Output()
	if err != nil {
		return "of unknown version"
	}
	return string(out)
}

// build makes upkeep and its links in dir.
func build(ctx context.Context, dir string) (program string, err error) {
	program = filepath.Join(dir, "bin", own)
	if err := shipped.Build(ctx, program); err != nil {
		return "", err
	}
	c := exec.CommandContext(ctx, program, "--link", filepath.Dir(program))
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", c, err, strings.TrimSpace(string(out)))
	}
	return program, nil
}
