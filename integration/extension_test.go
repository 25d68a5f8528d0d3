package integration

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

// Scripts of the services of these tests.
const (
	// deafRun does not obey TERM.
	deafRun = "#!/bin/sh\ntrap '' TERM\nexec sleep 1000\n"
	// countRun notes that it runs, and ends.
	countRun = "#!/bin/sh\necho run >>../../runs\nexit 1\n"
)

// succeeded has another scanner take over, after a crash of the one that runs, and once by an
// upgrade.
func (f *faultScene) succeeded(how string) {
	f.t.Helper()
	if how == "crash" {
		f.crash(nil)
		f.lines = nil // of which another has nothing
	} else {
		f.upgraded()
	}
}

// saysAgain waits until the scanner that has taken over says the same once more.
func (f *faultScene) saysAgain(how string, lines ...string) {
	f.t.Helper()
	for _, line := range lines {
		n := 1
		if how == "upgrade" {
			n++
		}
		f.lines = append(f.lines, line)
		waitFile(f.t, f.scanner.stderr, func(c string) bool { return strings.Count("\n"+c, "\n"+line+"\n") == n })
	}
}

// write replaces what is in a file of the site.
func (f *faultScene) write(name, text string) {
	f.t.Helper()
	if err := os.WriteFile(f.path(name), []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// between fails the test if a time is not what it should be, with what a busy machine may add.
func (f *faultScene) between(what string, got, from time.Duration) {
	f.t.Helper()
	if got < from-50*time.Millisecond || got > from+10*time.Second {
		f.t.Errorf("%s: %v, expected are %v", what, got, from)
	}
}

// TestExtensionPolicy: timeout-kill, down-signal and permanent-status, there from the
// beginning and made while the service runs; and what is wrong with such a file is said.
func TestExtensionPolicy(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"service/deaf/run!":             deafRun,
		"service/deaf/timeout-kill":     "300\n",
		"service/late/run!":             deafRun,
		"service/late/timeout-kill":     "never\n",
		"service/int/run!":              deafRun,
		"service/int/down-signal":       "sigint",
		"service/last/run!":             "#!/bin/sh\necho run >>../../runs\nexit 33\n",
		"service/last/permanent-status": "33\n",
	})
	f.says("supervise: warning: unable to use late/timeout-kill: not a number")
	for _, name := range []string{"deaf", "late", "int"} {
		f.runs(name, 0) // so that it is deaf
	}
	last := f.wait("last", func(r status.Record, alive bool) bool { return down(r, alive) && r.Want == status.WantDown })
	begin := time.Now()
	f.tell("deaf", "d")
	f.wait("deaf", down)
	f.between("killed", time.Since(begin), 300*time.Millisecond)
	f.tell("int", "d")
	f.wait("int", down)
	f.write("service/late/timeout-kill", "200")
	f.until("timeout-kill counts", func() bool {
		f.tell("late", "d") // each one arms the timer, if there is one
		r, ok := lookAt(int(f.wait("late", supervised).PID))
		return !ok || r.state == 'Z'
	})
	f.wait("late", down)
	for _, how := range []string{"crash", "upgrade"} {
		f.succeeded(how)
		f.wait("last", unchanged(last))
	}
	if got := f.read("runs"); got != "run\n" {
		t.Errorf("after a permanent status: %q", got)
	}
	f.tell("last", "u")
	waitLines(t, f.path("runs"), 2)
}

// TestExtensionDelay: what lived too short a life waits, also if the scanner is another
// by the end of that.
func TestExtensionDelay(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"crash", "upgrade"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			f := newFaultScene(t, tree{
				"service/web/run!":          "#!/bin/sh\ndate +%s.%N >>../../starts\n[ -e ../../stay ] || exit 1\nexec sleep 1000\n",
				"service/web/min-uptime":    "60\n",
				"service/web/restart-delay": "2\n",
			})
			waitLines(t, f.path("starts"), 1)
			f.wait("web", down)
			f.write("stay", "")
			f.succeeded(how)
			r := f.wait("web", up)
			lines := waitLines(t, f.path("starts"), 2)
			var at [2]float64
			for i := range at {
				if _, err := fmt.Sscan(lines[i], &at[i]); err != nil {
					t.Fatal(err)
				}
			}
			f.between("pause", time.Duration((at[1]-at[0])*float64(time.Second)), 2*time.Second)
			f.wait("web", unchanged(r))
		})
	}
}

// TestExtensionOnce: what runs once does so for each start of a scanner, and not for one
// that takes over.
func TestExtensionOnce(t *testing.T) {
	t.Parallel()
	f := prepareFault(t, tree{"service/job/run!": countRun, "service/job/once": "", "service/both/run!": countRun,
		"service/both/once": "", "service/both/down": ""})
	f.beginAlone()
	done := f.wait("job", func(r status.Record, alive bool) bool { return down(r, alive) && r.Want == status.WantOnce })
	for _, how := range []string{"crash", "upgrade", "crash"} {
		f.succeeded(how)
		f.wait("job", unchanged(done))
	}
	f.pass(faultQuiet)
	if got := f.read("runs"); got != "run\n" {
		t.Fatalf("%q", got)
	}
	f.scanner.stop()
	f.scanner = f.start(ours(t, "svscan"), f.path("service"))
	waitLines(t, f.path("runs"), 2)
	f.wait("job", func(r status.Record, alive bool) bool { return down(r, alive) && r.Since != done.Since })
	f.tell("job", "o")
	waitLines(t, f.path("runs"), 3)
}

// TestExtensionBounce: a service is started anew at its age, whichever scanner sees it
// come.
func TestExtensionBounce(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"service/web/run!":       faultSleeper,
		"service/web/bounce":     "1\n",
		"service/web/min-uptime": "60", "service/web/restart-delay": "60",
	})
	was := f.wait("web", up)
	for _, how := range []string{"crash", "upgrade", ""} {
		if how != "" {
			f.succeeded(how)
		}
		now := f.wait("web", upAnew(was.PID))
		f.between("age at the bounce after "+how, faultTime(now.Since).Sub(faultTime(was.Since)), time.Second)
		was = now
	}
	f.remove("service/web/bounce")
	was = f.wait("web", up)
	f.pass(1500 * time.Millisecond)
	if now := f.wait("web", up); now.PID == was.PID {
		return
	}
	// It may have been too late for the one.
	was = f.wait("web", up)
	f.pass(1500 * time.Millisecond)
	f.wait("web", unchanged(was))
}

// TestExtensionRank: services start in the order of their ranks, and not before what has
// to run first has ended, whichever scanner sees that.
func TestExtensionRank(t *testing.T) {
	t.Parallel()
	note := func(then string) string {
		return "#!/bin/sh\necho ${PWD##*/} >>../../order\n" + then
	}
	f := prepareFault(t, tree{
		"service/a-third/run!":  note("exec sleep 1000\n"),
		"service/a-third/rank":  "0 0003\n",
		"service/b-fourth/run!": note("exec sleep 1000\n"),
		"service/b-fourth/rank": "5 0001\n",
		"service/c-first/run!":  note("exec sleep 1000\n"),
		"service/c-first/rank":  "-2 0007\n",
		"service/d-wait/run!":   note("while [ ! -e ../../go ]; do sleep 0.05; done\necho ended >>../../order\n"),
		"service/d-wait/rank":   "-1 1\n",
		"service/d-wait/wait":   "",
		"service/d-wait/once":   "",
		"service/broken/rank":   "-5 1\n", // which waits for nobody and keeps nobody
		"service/broken/run!":   "#!/nonexistent\n",
		"service/none/run!":     faultSleeper,
		"service/none/rank":     "first\n",
		"service/off/run!":      note(""),
		"service/off/rank":      "-9 0\n",
		"service/off/wait":      "",
		"service/off/down":      "",
	})
	f.begin()
	const (
		noRank   = "supervise: warning: unable to use none/rank: not ORDER INDEX"
		noBroken = "supervise: fatal: unable to start broken/run: file does not exist"
	)
	f.says(noRank)
	f.says(noBroken)
	f.wait("none", up)
	first := f.wait("c-first", up)
	wait := f.wait("d-wait", up)
	for _, how := range []string{"upgrade", "crash", "crash"} {
		f.succeeded(how)
		f.saysAgain(how, noRank, noBroken)
		f.wait("c-first", unchanged(first))
		for _, name := range []string{"a-third", "b-fourth"} {
			f.wait(name, func(r status.Record, alive bool) bool { return down(r, alive) && r.Want == status.WantUp })
		}
	}
	f.pass(faultQuiet)
	f.write("go", "")
	fourth := f.wait("b-fourth", up)
	third := f.wait("a-third", up)
	starts := []status.Record{first, wait, third, fourth}
	if !slices.IsSortedFunc(starts, func(a, b status.Record) int { return faultTime(a.Since).Compare(faultTime(b.Since)) }) {
		t.Errorf("not in order: %+v", starts)
	}
	lines := waitLines(t, f.path("order"), 5)
	if slices.Sort(lines[:2]); slices.Index(lines, "ended") != 2 || lines[0] != "c-first" {
		t.Errorf("%q", lines)
	}
	// Only the first starts are in order.
	f.tell("a-third", "t")
	f.wait("a-third", upAnew(third.PID))
	f.make(tree{"service/e-late/run!": faultSleeper, "service/e-late/rank": "1 1\n"})
	f.wait("e-late", up)
}

// TestExtensionDepends: another content of a file restarts a service, and it is down while
// there is none. Nothing else matters.
func TestExtensionDepends(t *testing.T) {
	t.Parallel()
	f := prepareFault(t, tree{"service/web/run!": faultSleeper, "etc/one": "1\n", "etc/two": "2\n"})
	f.write("service/web/depends", f.path("etc/one")+"\n"+f.path("etc/two")+"\n")
	f.make(tree{"service/bad/run!": faultSleeper, "service/bad/depends": "etc/one\n"})
	f.begin()
	const noDepends = "supervise: warning: unable to use bad/depends: not an absolute path"
	f.says(noDepends)
	web := f.wait("web", up)
	bad := f.wait("bad", up)
	changed := func(how string) {
		t.Helper()
		now := f.wait("web", upAnew(web.PID))
		if now.Want != status.WantUp {
			t.Errorf("%s: wanted is %c", how, now.Want)
		}
		web = now
	}
	f.write("etc/one", "3\n")
	changed("written")
	f.write("etc/new", "4\n")
	if err := os.Rename(f.path("etc/new"), f.path("etc/two")); err != nil {
		t.Fatal(err)
	}
	changed("renamed over")
	// What is no change.
	f.write("etc/one", "3\n")
	f.write("etc/three", "3\n")
	if err := os.Chtimes(f.path("etc/two"), time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	f.pass(2 * faultQuiet)
	f.wait("web", unchanged(web))

	f.remove("etc/one")
	f.says("supervise: warning: unable to read " + f.path("etc/one") + ", which web depends on: file does not exist")
	f.wait("web", func(r status.Record, alive bool) bool { return down(r, alive) && r.Want == status.WantUp })
	f.write("etc/one", "3\n")
	changed("back")

	for _, how := range []string{"upgrade", "crash"} {
		f.succeeded(how)
		f.wait("web", unchanged(web))
		f.wait("bad", unchanged(bad))
		f.saysAgain(how, noDepends)
		f.write("etc/one", "after "+how+"\n")
		changed("after " + how)
	}
	f.crash(func() { f.write("etc/two", "while nobody looked\n") })
	f.lines = []string{noDepends}
	changed("while nobody looked")
}

// TestExtensionUnwatched: where inotify is refused, files that services depend on are
// looked at every few seconds.
func TestExtensionUnwatched(t *testing.T) {
	t.Parallel()
	f := prepareFault(t, tree{"service/web/run!": faultSleeper, "etc/one": "1\n"})
	f.write("service/web/depends", f.path("etc/one")+"\n")
	f.begin(workshop+"/refuse", "EMFILE:inotify_init1")
	why := fallWhy["EMFILE"]
	f.says("svscan: warning: unable to watch what services depend on, looking every 5 seconds: " + why)
	for _, line := range fallUnwatched(why) {
		f.says(strings.ReplaceAll(line, "DIR", f.path("service")))
	}
	web := f.wait("web", up)
	f.write("etc/one", "2\n")
	f.wait("web", upAnew(web.PID))
}

// TestExtensionDeathLimit: what ends too often stays down, and is said to have failed, until
// it is told to start; whichever scanner has counted. What the scan directory says of a
// service counts more than what its own says.
func TestExtensionDeathLimit(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"service/dies/run!":                  "#!/bin/sh\necho run >>../../runs\nexit 7\n",
		"service/dies/death-limit":           "3 60\n",
		"service/ours/run!":                  "#!/bin/sh\necho ours >>../../ours\nexit 7\n",
		"service/ours/death-limit":           "never\n",
		"ours":                               "",
		"service/.policy/ours/death-limit":   "0\n",
		"service/.policy/ours/restart-delay": "1000\n",
	})
	f.says("supervise: warning: unable to use ours/death-limit: not COUNT SECONDS")
	waitLines(t, f.path("runs"), 2)
	f.succeeded("crash")
	f.saysAgain("crash", "supervise: warning: unable to use ours/death-limit: not COUNT SECONDS")
	waitLines(t, f.path("runs"), 4)
	gaveUp := func(r status.Record, alive bool) bool { return down(r, alive) && r.Want == status.WantDown }
	f.wait("dies", gaveUp)
	f.verb(0, "failed exited with 7", "state", "dies")
	f.verb(0, "dies has failed for good: exited with 7", "why", "dies")
	f.tell("dies", "u")
	waitLines(t, f.path("runs"), 8)
	f.wait("dies", gaveUp)
	f.verb(0, "next attempt in 16m", "why", "ours")
}

// TestExtensionIgnored: files of that kind take nothing from those who have none, and do
// not matter to the peers.
func TestExtensionIgnored(t *testing.T) {
	t.Parallel()
	s := newSite(t, tree{"service/web/run!": faultSleeper, "service/web/once": "", "service/web/bounce": "1",
		"service/web/rank": "1 1", "service/web/wait": "", "service/web/depends": "/nonexistent\n"})
	theirs := s.svscan(peer(t, "svscan"), s.path("service"))
	r := waitStatus(t, s.path("service/web"), up)
	if strings.Contains(theirs.said(), "depends") || r.Want != status.WantUp {
		t.Errorf("%q, wanted is %c", theirs.said(), r.Want)
	}
	if err := unix.Kill(int(r.PID), 0); err != nil {
		t.Error(err)
	}
}
