package main

import (
	"os/exec"
	"path/filepath"
	"strings"
)

// suite is one supervision suite: which programs it has and how they want to be
// called. All of them take the same directory of service directories.
type suite struct {
	name    string
	scanner []string // the command, to which the scan directory is added
	rescan  []string // likewise, where the scanner does not look by itself
	env     []string // PATH, mainly: the peers look there for their other half
	svc     string   // svc and svstat, where control is measured
	svstat  string
	polls   bool // looks for new directories every few seconds
	bare    bool // no more than a floor
}

// The names of the suites, in the order of the report's columns.
const (
	ours      = "upkeep"
	reference = "daemontools"
	runit     = "runit"
	s6        = "s6"
	floor     = "bare loop"
)

// suites are those whose programs are there, of the names that are wanted, and
// what is to be said about the others.
func suites(p programs, wanted func(name string) bool) (list []*suite, missing []string) {
	for _, s := range []struct {
		suite
		needs []string // from PATH
	}{
		{suite{name: ours, scanner: []string{filepath.Join(p.dir, "svscan")},
			svc: filepath.Join(p.dir, "svc"), svstat: filepath.Join(p.dir, "svstat")}, nil},
		{suite{name: reference, scanner: []string{"svscan"}, svc: "svc", svstat: "svstat", polls: true},
			[]string{"svscan", "supervise", "svc", "svstat"}},
		{suite{name: runit, scanner: []string{"runsvdir"}, polls: true}, []string{"runsvdir", "runsv"}},
		// Debian's s6 2.11 takes 500 services unless told otherwise.
		{suite{name: s6, scanner: []string{"s6-svscan", "-c", "4000"}, rescan: []string{"s6-svscanctl", "-a"}},
			[]string{"s6-svscan", "s6-supervise", "s6-svscanctl"}},
		{suite{name: floor, scanner: []string{p.bare}, bare: true}, nil},
	} {
		if !wanted(s.name) {
			continue
		}
		if s.scanner[0] == "" {
			missing = append(missing, s.name+": there is no C compiler")
			continue
		}
		if err := s.resolve(s.needs); err != "" {
			missing = append(missing, s.name+": "+err)
			continue
		}
		list = append(list, &s.suite)
	}
	return list, missing
}

// resolve finds the programs in PATH and makes the environment. It is the same
// for all suites but for PATH: what the caller's shell exports is nobody's
// business.
func (s *suite) resolve(needs []string) (complaint string) {
	var dirs []string
	for _, name := range needs {
		path, err := exec.LookPath(name)
		if err != nil {
			return "there is no " + name + " in PATH"
		}
		if real, err := filepath.EvalSymlinks(path); err == nil && filepath.Base(real) == ours {
			return path + " is upkeep's"
		}
		for _, word := range []*string{&s.scanner[0], &s.svc, &s.svstat} {
			if *word == name {
				*word = path
			}
		}
		if len(s.rescan) > 0 && s.rescan[0] == name {
			s.rescan[0] = path
		}
		dirs = append(dirs, filepath.Dir(path))
	}
	dirs = append(dirs, "/usr/sbin", "/usr/bin", "/sbin", "/bin")
	s.env = []string{"PATH=" + strings.Join(dirs, ":")}
	return ""
}
