package integration

import (
	"strings"
	"testing"

	"upkeep/supervise/status"
)

// TestDialectLetters: daemontools knows no letters for QUIT, USR1, USR2 and
// WINCH; in the common dialect they are understood.
func TestDialectLetters(t *testing.T) {
	t.Parallel()
	for dialect, want := range map[string]string{
		"daemontools": "start SIGHUP",
		"common":      "start SIGUSR1 SIGUSR2 SIGWINCH SIGHUP",
		"runit":       "start SIGUSR1 SIGUSR2 SIGHUP",
	} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, traced("sv"))
			p := s.supervise(ours(t, "supervise"), "--dialect", dialect, "sv")
			waitLines(t, s.path("sv/trace"), 1)
			// One at a time: signals that are pending together have no order.
			count := 1
			for _, letter := range "12wh" {
				if err := s.control("sv", string(letter)); err != nil {
					t.Fatal(err)
				}
				if understood := dialect == "common" || letter == 'h' || dialect == "runit" && letter != 'w'; understood {
					count++
					waitLines(t, s.path("sv/trace"), count)
				}
			}
			if got := strings.Join(waitLines(t, s.path("sv/trace"), count), " "); got != want {
				t.Errorf("the service saw %q, want %q", got, want)
			}
			p.stop()
		})
	}
}

// TestDialectStatus: what each dialect's status file is like, and the flags that
// choose it, of which the command line's wins.
func TestDialectStatus(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		variable string
		flags    []string
		size     int
	}{
		{"", nil, status.RunitSize},
		{"daemontools", nil, status.DaemontoolsSize},
		{"runit", []string{"--dialect", "daemontools"}, status.DaemontoolsSize},
		{"daemontools", []string{"--dialect=runit"}, status.RunitSize},
		{"daemontools", []string{"--dialect=common", "--"}, status.RunitSize},
		{"", []string{"--dialect=s6"}, status.S6Size},
	} {
		t.Run(strings.Join(append([]string{c.variable}, c.flags...), " "), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, traced("sv"))
			s.setenv("UPKEEP_DIALECT", c.variable)
			p := s.supervise(ours(t, "supervise"), append(c.flags, "sv")...)
			waitLines(t, s.path("sv/trace"), 1)
			if got := waitFile(t, s.path("sv/supervise/status"), something); len(got) != c.size {
				t.Errorf("the status is %q, want %d bytes", got, c.size)
			}
			p.stop()
		})
	}
	t.Run("unknown", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, traced("sv"))
		want := result{"", "supervise: usage: supervise dir\n", 100}
		if got := s.run(ours(t, "supervise"), "--dialect=systemd", "sv"); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}
