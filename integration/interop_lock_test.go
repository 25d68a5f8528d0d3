package integration

import (
	"path/filepath"
	"strings"
	"testing"

	"upkeep/supervise/status"
)

// rival is a supervisor of one directory that is not ours.
type rival struct {
	name   string
	layout status.Layout
	code   int    // with which it leaves
	words  string // and what it says, when somebody supervises sv already
}

var rivals = []rival{
	{"supervise", status.Daemontools, 111, "supervise: fatal: unable to acquire sv/supervise/lock: temporary failure\n"},
	{"runsv", status.Runit, 111, "runsv sv: fatal: unable to lock supervise/lock: temporary failure\n"},
	{"s6-supervise", status.S6, 100, "s6-supervise sv: fatal: another instance of s6-supervise is already running\n"},
}

const refusal = "supervise: fatal: unable to acquire sv/supervise/lock: temporary failure\n"

// traced is a service directory with the tracer as its service.
func traced(dir string) tree { return tree{dir + "/run!": "#!/bin/sh\nexec tracer\n"} }

// waitPID waits for a status file with a pid in it, and returns it: it stays as it
// is as long as nothing happens.
func waitPID(t *testing.T, dir string, l status.Layout) string {
	t.Helper()
	return waitFile(t, filepath.Join(dir, "supervise/status"), func(c string) bool {
		r, err := status.Decode([]byte(c), l)
		return err == nil && r.PID != 0
	})
}

// TestLockHeld: whoever comes to a directory that ours supervises leaves again,
// and disturbs nothing.
func TestLockHeld(t *testing.T) {
	t.Parallel()
	for _, start := range []struct {
		name   string
		layout status.Layout
		by     func(t *testing.T, s *site) *process
	}{
		{"supervise", status.Runit, func(t *testing.T, s *site) *process { return s.supervise(ours(t, "supervise"), "sv") }},
		{"svscan", status.Runit, func(t *testing.T, s *site) *process { return s.svscan(ours(t, "svscan"), s.root) }},
		{"as daemontools", status.Daemontools, func(t *testing.T, s *site) *process {
			return s.supervise(ours(t, "supervise"), "--dialect", "daemontools", "sv")
		}},
		{"as s6", status.S6, func(t *testing.T, s *site) *process {
			return s.supervise(ours(t, "supervise"), "--dialect=s6", "sv")
		}},
	} {
		t.Run(start.name, func(t *testing.T) {
			t.Parallel()
			for _, r := range append(rivals, rival{name: "ours", code: 111, words: refusal}) {
				t.Run(r.name, func(t *testing.T) {
					t.Parallel()
					program := ours(t, "supervise")
					if r.name != "ours" {
						program = peer(t, r.name)
					}
					s := newSite(t, traced("sv"))
					p := start.by(t, s)
					waitLines(t, s.path("sv/trace"), 1)
					before := waitPID(t, s.path("sv"), start.layout)

					if got := s.run(program, "sv"); got != (result{"", r.words, r.code}) {
						t.Errorf("%s\n got %v\nwant %v", program, got, result{"", r.words, r.code})
					}
					if after := s.read("sv/supervise/status"); after != before {
						t.Errorf("the status was %q and is %q", before, after)
					}
					if err := s.control("sv", "h"); err != nil {
						t.Error(err)
					}
					if trace := waitLines(t, s.path("sv/trace"), 2); strings.Join(trace, " ") != "start SIGHUP" {
						t.Errorf("the service saw %q", trace)
					}
					p.stop()
				})
			}
		})
	}
}

// TestLockRespected: ours leaves a directory alone that another supervises.
func TestLockRespected(t *testing.T) {
	t.Parallel()
	for _, r := range rivals {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, traced("sv"))
			theirs := s.supervise(peer(t, r.name), "sv")
			waitLines(t, s.path("sv/trace"), 1)
			before := waitPID(t, s.path("sv"), r.layout)

			if got := s.run(ours(t, "supervise"), "sv"); got != (result{"", refusal, 111}) {
				t.Errorf("ours: %v", got)
			}
			if after := s.read("sv/supervise/status"); after != before {
				t.Errorf("the status was %q and is %q", before, after)
			}
			theirs.stop()
			if code := theirs.wait(); code != 0 {
				t.Errorf("%s ended with %d and said %q", r.name, code, theirs.said())
			}
		})
	}
}

// TestLockTakenOver: a scanner says once that somebody else supervises a service,
// goes on with the others, and takes it over when that ends.
func TestLockTakenOver(t *testing.T) {
	t.Parallel()
	for _, r := range rivals {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, traced("sv"))
			s.make(traced("other"))
			theirs := s.supervise(peer(t, r.name), "sv")
			waitLines(t, s.path("sv/trace"), 1)
			scanner := s.svscan(ours(t, "svscan"), s.root)
			waitLines(t, s.path("other/trace"), 1)
			waitFile(t, scanner.stderr, something)

			theirs.stop()
			trace := waitLines(t, s.path("sv/trace"), 3)
			if strings.Join(trace, " ") != "start SIGTERM start" {
				t.Errorf("the service saw %q", trace)
			}
			waitStatus(t, s.path("sv"), up)
			scanner.stop()
			if said := scanner.said(); said != refusal {
				t.Errorf("the scanner said %q", said)
			}
		})
	}
}

// TestLockS6: s6-svok sees by the lock whether ours supervises.
func TestLockS6(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{"", "daemontools", "encore", "runit", "s6"} {
		t.Run("dialect "+dialect, func(t *testing.T) {
			t.Parallel()
			svok := peer(t, "s6-svok")
			s := newSite(t, traced("sv"))
			s.setenv("UPKEEP_DIALECT", dialect)
			ask := func(when string, want int) {
				t.Helper()
				if got := s.run(svok, "sv"); got != (result{code: want}) {
					t.Errorf("%s: s6-svok: %v, want exit %d", when, got, want)
				}
			}
			ask("before", 1)
			p := s.supervise(ours(t, "supervise"), "sv")
			waitLines(t, s.path("sv/trace"), 1)
			ask("while it is up", 0)
			if err := s.control("sv", "d"); err != nil {
				t.Fatal(err)
			}
			waitLines(t, s.path("sv/trace"), 2)
			ask("while it is down", 0)
			p.stop()
			ask("after", 1)
		})
	}
}
