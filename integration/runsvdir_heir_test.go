package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestRunsvdirHeir ends runsvdir in the middle of everything: of starts, stops, finish and
// control scripts. No process runs twice, clients notice nothing, and what was asked for
// happens.
func TestRunsvdirHeir(t *testing.T) {
	t.Parallel()
	// Who runs beside another of the same service says so. What it starts itself must not hold
	// the lock for it.
	const alone = "#!/bin/sh\nexec 9>>alone\nflock -n 9 || echo twice >>twice\necho start >>starts\n"
	const quick = "#!/bin/sh\necho \"$1 $2\" >>finished\n"
	kinds := []tree{
		{"run!": alone + "exec tracer\n"},
		{"run!": alone + "exec sleep 0.0$(($$ % 10))\n", "finish!": quick},
		{"run!": alone + "exec tracer\n", "finish!": "#!/bin/sh\nsleep 0.3\n"},
		{"run!": alone + "exec tracer\n", "control/t!": "#!/bin/sh\nsleep 0.2\nexit 1\n"},
		{"run!": alone + "while :; do echo line; sleep 0.005 9>&-; done\n", "log/run!": "#!/bin/sh\nexec cat >>lines\n"},
		{"run!": alone + "trap 'echo bye; exit 3' TERM\nwhile :; do sleep 0.01 9>&-; done\n", "log/run!": "#!/bin/sh\nexec cat >>lines\n", "finish!": quick},
		{"run!": alone + "exec tracer\n", "down": ""},
	}
	for round := range 4 {
		t.Run(strconv.Itoa(round), func(t *testing.T) {
			t.Parallel()
			playHeir(t, kinds, round)
		})
	}
}

func playHeir(t *testing.T, kinds []tree, round int) {
	t.Helper()
	files, names := tree{}, []string{}
	for i := range 3 * len(kinds) {
		name := fmt.Sprintf("scan/s%02d", i)
		names = append(names, name)
		for file, content := range kinds[i%len(kinds)] {
			files[name+"/"+file] = content
		}
	}
	s := newSite(t, files)
	s.setenv("SVDIR", s.path("scan"))
	p := s.svscan(ours(t, "runsvdir"), "-P", "scan")
	waitDir(t, s.path("scan", "s00"), func() bool { // in the middle of the first start
		_, err := os.Stat(s.path("scan/s00/supervise/lock"))
		return err == nil
	})
	if round > 0 {
		for _, name := range names {
			waitStatus(t, s.path(name), supervised)
		}
		for i, name := range names {
			letters := []string{"t", "d", "tu", "dku", "k", "", "u"}[(i+i/len(kinds))%len(kinds)]
			if err := s.control(name, letters); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(round) * time.Millisecond)
		}
	}
	p.signal(unix.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("it ended with %d; it said %q", code, p.said())
	}
	// One of the kinds is seldom up.
	var steady, all []string
	for k, name := range names {
		all = append(all, filepath.Base(name))
		if k%len(kinds) != 1 {
			steady = append(steady, filepath.Base(name))
		}
	}
	if round == 0 { // the heir goes on with the start
		for _, name := range names {
			waitStatus(t, s.path(name), supervised)
		}
	} else if r := s.run(ours(t, "sv"), append([]string{"status"}, all...)...); r.code != 0 {
		t.Errorf("sv status, right after that: %v", r)
	}
	// Each is up, goes down, and comes again.
	for _, command := range []string{"start", "stop", "start", "shutdown"} {
		services := steady
		if command == "stop" || command == "shutdown" {
			services = all
		}
		if r := s.run(ours(t, "sv"), append([]string{"-w15", command}, services...)...); r.code != 0 {
			t.Errorf("sv %s: %v", command, r)
		}
	}
	for _, name := range names {
		if _, err := os.Stat(s.path(name, "twice")); err == nil {
			t.Errorf("%s ran twice at the same time", name)
		}
	}
}

// TestRunsvdirSecond: another runsvdir of the same directory, ours or runit's, leaves each
// service to whom the first has left it to, tells of that, and takes it when it is let go.
func TestRunsvdirSecond(t *testing.T) {
	t.Parallel()
	play := func(t *testing.T, path string) {
		t.Parallel()
		s := newSite(t, tree{"scan/a/run!": faultSleeper, "scan/b/run!": faultSleeper})
		first := s.svscan(path, "-P", "scan")
		a, b := waitStatus(t, s.path("scan/a"), up), waitStatus(t, s.path("scan/b"), up)
		first.signal(unix.SIGTERM)
		first.wait()
		second := s.svscan(path, "-P", "scan")
		waitFile(t, second.stderr, func(said string) bool {
			const locked = ": fatal: unable to lock supervise/lock: temporary failure\n"
			return strings.Contains(said, "runsv a"+locked) && strings.Contains(said, "runsv b"+locked)
		})
		if now := waitStatus(t, s.path("scan/a"), up); now.PID != a.PID {
			t.Errorf("a is %d now, was %d", now.PID, a.PID)
		}
		if err := s.control("scan/a", "x"); err != nil {
			t.Fatal(err)
		}
		waitStatus(t, s.path("scan/a"), upAnew(a.PID))
		if now := waitStatus(t, s.path("scan/b"), up); now.PID != b.PID {
			t.Errorf("b is %d now, was %d", now.PID, b.PID)
		}
	}
	t.Run("ours", func(t *testing.T) { play(t, ours(t, "runsvdir")) })
	t.Run("real", func(t *testing.T) { play(t, peer(t, "runsvdir")) })
}
