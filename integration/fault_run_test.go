package integration

import (
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

// TestFaultRun: a run that cannot be executed is complained of once, however
// often it is tried, and is started when it has been mended.
func TestFaultRun(t *testing.T) {
	t.Parallel()
	good := tree{"service/bad/run!": faultSleeper}
	for _, c := range []struct {
		name  string
		files tree
		spoil func(*faultScene)
		said  string
		mend  func(*faultScene)
	}{
		{
			name:  "missing",
			files: tree{"service/bad/": ""},
			said:  "supervise: fatal: unable to start bad/run: file does not exist",
			mend:  func(f *faultScene) { f.make(good) },
		},
		{
			name:  "not executable",
			files: tree{"service/bad/run": faultSleeper},
			said:  "supervise: fatal: unable to start bad/run: access denied",
			mend: func(f *faultScene) {
				if err := os.Chmod(f.dir("bad/run"), 0o755); err != nil {
					f.t.Fatal(err)
				}
			},
		},
		{
			name:  "no interpreter line",
			files: tree{"service/bad/run!": "exec sleep 1000\n"},
			said:  "supervise: fatal: unable to start bad/run: exec format error",
			mend:  func(f *faultScene) { f.make(good) },
		},
		{
			name:  "empty",
			files: tree{"service/bad/run!": ""},
			said:  "supervise: fatal: unable to start bad/run: exec format error",
			mend:  func(f *faultScene) { f.make(good) },
		},
		{
			name:  "interpreter missing",
			files: tree{"service/bad/run!": "#!/no/such/program\n"},
			said:  "supervise: fatal: unable to start bad/run: file does not exist",
			mend:  func(f *faultScene) { f.make(good) },
		},
		{
			name:  "a directory",
			files: tree{"service/bad/run/": ""},
			said:  "supervise: fatal: unable to start bad/run: access denied",
			mend: func(f *faultScene) {
				f.make(tree{"spare!": faultSleeper})
				// At once: a run that is missing for a moment is another fault.
				if err := unix.Renameat2(unix.AT_FDCWD, f.path("spare"), unix.AT_FDCWD, f.dir("bad/run"), unix.RENAME_EXCHANGE); err != nil {
					f.t.Fatal(err)
				}
			},
		},
		{
			name:  "a dangling link",
			files: tree{"service/bad/run@": "../../later"},
			said:  "supervise: fatal: unable to start bad/run: file does not exist",
			mend:  func(f *faultScene) { f.make(tree{"later!": faultSleeper}) },
		},
		{
			name:  "a link to itself",
			files: tree{"service/bad/run@": "run"},
			said:  "supervise: fatal: unable to start bad/run: symbolic link loop",
			mend:  func(f *faultScene) { f.make(good) },
		},
		{
			name:  "deleted while up",
			files: good,
			spoil: func(f *faultScene) {
				pid := f.runs("bad", 0)
				f.remove("service/bad/run")
				f.signal(pid, syscall.SIGKILL)
			},
			said: "supervise: fatal: unable to start bad/run: file does not exist",
			mend: func(f *faultScene) { f.make(good) },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFaultScene(t, c.files)
			if c.spoil != nil {
				c.spoil(f)
			}
			f.says(c.said)
			f.attempts("bad", 2)
			c.mend(f)
			f.wait("bad", up)
		})
	}
}

// TestFaultLogRun: the same for a log service; its service runs meanwhile.
func TestFaultLogRun(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/bad/run!": faultSleeper, "service/bad/log/": ""})
	f.says("supervise: fatal: unable to start bad/log/run: file does not exist")
	pid := f.wait("bad", up).PID
	f.attempts("bad/log", 2)
	f.make(tree{"service/bad/log/run!": faultCat})
	f.wait("bad/log", up)
	if now := f.wait("bad", up).PID; now != pid {
		t.Errorf("the service is %d now, was %d", now, pid)
	}
}

// TestFaultRunMendedPromptly: a mended run is started when the directory
// changes, and not only at the next attempt, a second after the last.
func TestFaultRunMendedPromptly(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/bad/run!": faultSleeper})
	// The machine may be slow once, but not always.
	best := time.Hour
	for range 3 {
		pid := f.runs("bad", 0)
		f.remove("service/bad/run")
		f.signal(pid, syscall.SIGKILL)
		f.says("supervise: fatal: unable to start bad/run: file does not exist")
		tried := f.attempts("bad", 1)
		f.make(tree{"service/bad/run!": faultSleeper})
		started := f.wait("bad", up)
		best = min(best, faultTime(started.Since).Sub(faultTime(tried.Since)))
	}
	if best > 700*time.Millisecond {
		t.Errorf("at best it was started after %v", best)
	}
}

// TestFaultRunBeingCopied: a run that somebody is still writing is no fault.
func TestFaultRunBeingCopied(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/bad/": ""})
	f.says("supervise: fatal: unable to start bad/run: file does not exist")
	last := f.attempts("bad", 1)
	run, err := os.OpenFile(f.dir("bad/run"), os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	// So long as it takes the scanner to look; cp is seldom that slow.
	f.wait("bad", func(r status.Record, alive bool) bool { return down(r, alive) && r.Since != last.Since })
	if _, err := run.WriteString(faultSleeper); err != nil {
		t.Fatal(err)
	}
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
	f.wait("bad", up)
}

// TestFaultAppearing: a directory that appears before its run does is no fault
// either, but one that stays without is.
func TestFaultAppearing(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, nil)
	f.make(tree{"service/slow/": ""})
	f.wait("slow", supervised)
	f.make(tree{"service/slow/run!": faultSleeper})
	f.wait("slow", up)

	f.make(tree{"service/empty/": ""})
	f.says("supervise: fatal: unable to start empty/run: file does not exist")
	f.attempts("empty", 2)
}

// TestFaultFinish: a finish that cannot be executed is complained of once, and
// does not keep the service from being started again.
func TestFaultFinish(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"service/bad/run!":   "#!/bin/sh\necho start >>../../starts\n",
		"service/bad/finish": "#!/bin/sh\n",
	})
	f.says("supervise: fatal: unable to start bad/finish: access denied")
	waitLines(t, f.path("starts"), 4)
	f.tell("bad", "d")
	f.wait("bad", down)
}

// TestFaultEditing: a run may be replaced while it runs. What runs goes on; the
// next start is the new one.
func TestFaultEditing(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/web/run!": faultSleeper})
	pid := f.wait("web", up).PID
	f.make(tree{"service/web/run!": "#!/bin/sh\necho new >../../news\nexec sleep 1000\n"})
	f.tell("web", "p")
	if now := f.wait("web", paused).PID; now != pid {
		t.Errorf("the service is %d now, was %d", now, pid)
	}
	f.signal(pid, syscall.SIGKILL)
	f.wait("web", upAnew(pid))
	waitLines(t, f.path("news"), 1)
}
