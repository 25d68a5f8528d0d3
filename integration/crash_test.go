package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

// crash kills the scanner, as the out-of-memory killer would, and starts another
// after what happens meanwhile.
func (f *faultScene) crash(meanwhile func()) {
	f.t.Helper()
	f.scanner.signal(unix.SIGKILL)
	if code := f.scanner.wait(); code != -1 {
		f.t.Fatalf("the scanner ended with %d", code)
	}
	f.scanner.stopped, f.crashed = true, true
	if meanwhile != nil {
		meanwhile()
	}
	words := append([]string{ours(f.t, "svscan")}, f.args...)
	f.scanner = f.start(words[0], append(words[1:], f.path("service"))...)
}

// unchanged is the condition that a service goes on as it was.
func unchanged(want status.Record) condition {
	return func(r status.Record, alive bool) bool {
		return alive && r.PID == want.PID && r.Since == want.Since && r.Want == want.Want && r.Paused == want.Paused
	}
}

// TestCrash: a new scanner takes over what the killed one left behind: the same
// processes, up for as long, under the same wishes.
func TestCrash(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"service/web/run!":      faultSleeper,
		"service/web/log/run!":  faultCat,
		"service/frozen/run!":   faultSleeper,
		"service/down/run!":     faultSleeper,
		"service/once/run!":     faultSleeper,
		"service/unwanted/run!": faultSleeper,
		"service/unwanted/down": "",
	})
	names := []string{"web", "web/log", "frozen", "down", "once", "unwanted", "bystander", "bystander/log"}
	for _, name := range names {
		if name != "unwanted" {
			f.wait(name, up)
		}
	}
	f.tell("frozen", "p")
	f.tell("down", "d")
	f.tell("once", "o")
	was := map[string]status.Record{
		"frozen":   f.wait("frozen", func(r status.Record, _ bool) bool { return r.Paused }),
		"down":     f.wait("down", down),
		"once":     f.wait("once", func(r status.Record, _ bool) bool { return r.Want == status.WantOnce }),
		"unwanted": f.wait("unwanted", down),
	}
	for _, name := range names {
		if _, ok := was[name]; !ok {
			was[name] = f.wait(name, up)
		}
	}
	for range 3 {
		f.crash(nil)
		for _, name := range names {
			f.wait(name, unchanged(was[name]))
		}
	}
	// They obey.
	f.tell("frozen", "ct")
	f.wait("frozen", upAnew(was["frozen"].PID))
	f.tell("down", "u")
	f.wait("down", up)
	f.tell("once", "t")
	f.wait("once", down)
	f.signal(was["web"].PID, unix.SIGKILL)
	f.wait("web", upAnew(was["web"].PID))
	f.wait("web/log", unchanged(was["web/log"]))
}

// TestCrashLogFirst: a log service that has left, since it saw the end of its pipe, is
// there again before its service starts: whatever that writes is read, even if it ends
// with the scanner.
func TestCrashLogFirst(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"service/web/run!":     "#!/bin/sh\necho $$; echo $$ >>../../lines.written; exec sleep 1000\n",
		"service/web/log/run!": "#!/bin/sh\nexec cat >>../../../lines\n",
	})
	web := f.wait("web", up).PID
	waitLines(t, f.path("lines"), 1)
	f.pass(1100 * time.Millisecond) // from now on its next start is not put off
	logger := f.wait("web/log", up).PID
	f.signal(logger, unix.SIGKILL)
	logger = f.wait("web/log", upAnew(logger)).PID
	f.crash(func() {
		f.signal(web, unix.SIGKILL)
		waitEnd(t, int(logger))
	})
	// The log service's is: it lived for less than a second.
	web = f.wait("web", upAnew(web)).PID
	if !livesIn(t, f.path("service/web/log")) {
		t.Fatal("the service runs and its log service does not")
	}
	waitLines(t, f.path("lines.written"), 2)
	f.crash(func() { f.signal(web, unix.SIGKILL) })
	f.wait("web", upAnew(web))
	f.wait("web/log", up)
	waitLines(t, f.path("lines.written"), 3)
	f.scanner.stop()
	if got, want := f.read("lines"), f.read("lines.written"); got != want || strings.Count(got, "\n") != 3 {
		t.Errorf("written were\n%sand read were\n%s", want, got)
	}
}

// livesIn tells whether some process has its working directory there.
func livesIn(t *testing.T, dir string) bool {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(dirs, func(link string) bool {
		to, err := os.Readlink(link)
		return err == nil && to == dir
	})
}

// TestLogOutOfOrder: a service does not wait for a log service that cannot be started,
// that is down or that ignores the end of its pipe.
func TestLogOutOfOrder(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"service/broken/run!":      faultSleeper,
		"service/broken/log/x":     "",
		"service/down/run!":        faultSleeper,
		"service/down/log/run!":    faultCat,
		"service/down/log/down":    "",
		"service/deaf/run!":        faultSleeper,
		"service/deaf/log/run!":    faultSleeper,
		"service/short/run!":       faultSleeper,
		"service/short/log/run!":   "#!/bin/sh\nexit 1\n",
		"service/unfit/run!":       faultSleeper,
		"service/unfit/log/run!":   "#!/no/such/interpreter\n",
		"service/later/run!":       faultSleeper,
		"service/later/log/run!":   faultCat,
		"service/later/log/down":   "",
		"service/later/down":       "",
		"service/ungiven/run!":     faultSleeper,
		"service/ungiven/log/run!": faultCat,
	})
	names := []string{"broken", "down", "deaf", "short", "unfit", "ungiven"}
	was := map[string]uint32{}
	for _, name := range names {
		was[name] = f.wait(name, up).PID
	}
	deaf := f.wait("deaf/log", up).PID
	f.tell("later", "u")
	f.wait("later", up)
	f.crash(func() {
		for _, name := range names {
			f.signal(was[name], unix.SIGKILL)
		}
	})
	for _, name := range names {
		f.wait(name, upAnew(was[name]))
	}
	f.wait("deaf/log", func(r status.Record, alive bool) bool { return alive && r.PID == deaf })
	f.tell("deaf/log", "d") // at the shutdown it would be waited for
	f.says("supervise: fatal: unable to start broken/log/run: file does not exist")
	f.says("supervise: fatal: unable to start unfit/log/run: file does not exist")
}

// TestCrashLines: whatever is killed, no line of a service is lost or doubled, as
// long as its log service was not the victim.
func TestCrashLines(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"service/web/run!": "#!/bin/sh\ni=$(cat ../../next 2>/dev/null || echo 0)\n" +
			"while :; do echo $i; i=$((i+1)); echo $i >../../next.new && mv ../../next.new ../../next; done\n",
		"service/web/log/run!": "#!/bin/sh\nexec cat >>../../../lines\n",
	})
	web, logger := f.wait("web", up).PID, f.wait("web/log", up).PID
	for round := range 5 {
		n := len(strings.Split(f.read("lines"), "\n"))
		f.crash(func() { waitLines(t, f.path("lines"), n+200) }) // it goes on meanwhile
		if r := f.wait("web", up); r.PID != web {
			t.Fatalf("round %d: the service was %d and is %d", round, web, r.PID)
		}
		if r := f.wait("web/log", up); r.PID != logger {
			t.Fatalf("round %d: the log service was %d and is %d", round, logger, r.PID)
		}
	}
	// The pipe was found again: another logger reads on in it.
	f.signal(logger, unix.SIGKILL)
	f.wait("web/log", upAnew(logger))
	n := len(waitLines(t, f.path("lines"), 0))
	waitLines(t, f.path("lines"), n+200)
	f.scanner.stop()
	lines := strings.Fields(f.read("lines"))
	lost := 0
	for i := 1; i < len(lines); i++ {
		var a, b int
		fmt.Sscan(lines[i-1], &a)
		fmt.Sscan(lines[i], &b)
		if b <= a {
			t.Fatalf("%d comes after %d", b, a)
		}
		if b != a+1 {
			lost++
		}
	}
	if lost > 1 { // what the killed logger held in its hands
		t.Errorf("lines are missing in %d places", lost)
	}
}

// TestCrashWithoutLogger: a service does not suffer when its log service dies while
// there is no scanner.
func TestCrashWithoutLogger(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"service/web/run!":     "#!/bin/sh\nwhile :; do echo line; echo beat >>../../beats; sleep 0.02; done\n",
		"service/web/log/run!": "#!/bin/sh\nexec cat >>../../../lines\n",
	})
	web, logger := f.wait("web", up), f.wait("web/log", up)
	waitLines(t, f.path("lines"), 5)
	f.crash(func() {
		f.signal(logger.PID, unix.SIGKILL)
		waitEnd(t, int(logger.PID))
		// It writes into a pipe that nobody reads.
		waitLines(t, f.path("beats"), len(waitLines(t, f.path("beats"), 0))+5)
	})
	f.wait("web/log", upAnew(logger.PID))
	f.wait("web", unchanged(web))
	waitLines(t, f.path("lines"), len(waitLines(t, f.path("lines"), 0))+10)
}

// TestCrashDeaths: what died meanwhile is restarted once; what dies later, too, and
// finish hears how it ended.
func TestCrashDeaths(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"service/web/run!":    "#!/bin/sh\ntrap 'exit 7' TERM\necho $$ >>../../starts\nwhile :; do sleep 0.05; done\n",
		"service/web/finish!": "#!/bin/sh\necho $* >>../../ends\n",
	})
	// Not from the status, which shows the pid of finish as well.
	started := func(n int) uint32 {
		t.Helper()
		pid, err := strconv.ParseUint(waitLines(t, f.path("starts"), n)[n-1], 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		f.wait("web", func(r status.Record, alive bool) bool { return up(r, alive) && r.PID == uint32(pid) })
		return uint32(pid)
	}
	web := started(1)
	f.crash(func() {
		f.signal(web, unix.SIGKILL)
		waitEnd(t, int(web))
	})
	web = started(2)
	f.crash(nil)
	f.wait("web", func(r status.Record, alive bool) bool { return up(r, alive) && r.PID == web })
	f.tell("web", "t")
	started(3)
	// Of the first, only its parent could say more: it may be reaped by now.
	if ends := waitLines(t, f.path("ends"), 2); ends[1] != "7 0" || ends[0] != "-1 9" && ends[0] != "-1 0" {
		t.Errorf("finish was told %q", ends)
	}
	f.scanner.stop()
	if n := len(strings.Fields(f.read("starts"))); n != 3 {
		t.Errorf("%d starts", n)
	}
}

// TestCrashDuringStarts: a scanner that is killed again and again while it starts
// its services starts none twice.
func TestCrashDuringStarts(t *testing.T) {
	t.Parallel()
	const n = 30
	files := tree{}
	for i := range n {
		files[fmt.Sprintf("service/s%d/run!", i)] = "#!/bin/sh\necho $$ >>../../starts\nexec sleep 1000\n"
	}
	f := newFaultScene(t, files)
	for i := range 20 {
		f.crash(nil)
		f.pass(time.Duration(i) * 3 * time.Millisecond)
	}
	for i := range n {
		f.wait(fmt.Sprintf("s%d", i), up)
	}
	starts := waitLines(t, f.path("starts"), n)
	if len(starts) != n {
		t.Errorf("%d services were started %d times", n, len(starts))
	}
}

// TestCrashLies: a journal that lies is not believed: neither is a stranger taken
// for the service, nor anything written to a file that is not ours.
func TestCrashLies(t *testing.T) {
	t.Parallel()
	f := prepareFault(t, tree{"service/web/run!": faultSleeper, "service/other/run!": faultSleeper})
	f.begin()
	web, other := f.wait("web", up), f.wait("other", up)
	stranger := exec.Command("sleep", "1000")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = stranger.Process.Kill()
		_ = stranger.Wait()
	}()
	f.crash(func() {
		f.signal(web.PID, unix.SIGKILL)
		waitEnd(t, int(web.PID))
		// The journal of another directory, in which the process runs.
		lie, err := os.ReadFile(f.dir("other/supervise/lock"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f.dir("web/supervise/lock"), lie, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	web = f.wait("web", upAnew(web.PID))
	f.wait("other", unchanged(other))
	if web.PID == other.PID {
		t.Fatal("both have one process")
	}
	// Truncated, in the middle of what it says and at the beginning.
	for _, size := range []int64{150, 80, 10, 0} {
		f.crash(func() {
			f.signal(web.PID, unix.SIGKILL)
			waitEnd(t, int(web.PID))
			if err := os.Truncate(f.dir("web/supervise/lock"), size); err != nil {
				t.Fatal(err)
			}
		})
		web = f.wait("web", upAnew(web.PID))
	}
	f.wait("other", unchanged(other))
	if err := stranger.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the stranger: %v", err)
	}
}

// TestCrashForeignLock: a lock file that leads elsewhere is left alone.
func TestCrashForeignLock(t *testing.T) {
	t.Parallel()
	f := prepareFault(t, tree{"service/web/run!": faultSleeper, "precious": "keep me\n"})
	f.make(tree{"service/web/supervise/other": ""})
	if err := os.Symlink(f.path("precious"), filepath.Join(f.dir("web/supervise"), "lock")); err != nil {
		t.Fatal(err)
	}
	f.begin()
	f.says("supervise: warning: unable to keep a journal of web, which a crash would leave unsupervised: lock file is not ours alone")
	f.wait("web", up)
	if got := f.read("precious"); got != "keep me\n" {
		t.Errorf("it has become %q", got)
	}
}

// TestCrashOtherTree: a scanner of another tree, which links the directory, takes
// over as well, and does not start a second process.
func TestCrashOtherTree(t *testing.T) {
	t.Parallel()
	s := newSite(t, tree{"a/web/run!": faultSleeper, "b": ""})
	s.remove("b")
	if err := os.MkdirAll(s.path("b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../a/web", s.path("b/linked")); err != nil {
		t.Fatal(err)
	}
	first := s.svscan(ours(t, "svscan"), s.path("a"))
	web := waitStatus(t, s.path("a/web"), up)
	second := s.svscan(ours(t, "svscan"), s.path("b"))
	// It says so once it has tried, so from then on it waits for its chance.
	waitFile(t, second.stderr, func(c string) bool {
		return strings.Contains(c, "unable to acquire linked/supervise/lock: temporary failure")
	})
	first.signal(unix.SIGKILL)
	first.wait()
	waitStatus(t, s.path("a/web"), unchanged(web))
	second.stop()
	if _, ok := lookAt(int(web.PID)); ok {
		waitEnd(t, int(web.PID))
	}
}

// TestCrashAlone: the same holds for a supervisor of one service.
func TestCrashAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t, tree{"web/run!": faultSleeper})
	first := s.supervise(ours(t, "supervise"), s.path("web"))
	web := waitStatus(t, s.path("web"), up)
	first.signal(unix.SIGKILL)
	first.wait()
	first.stopped = true
	second := s.supervise(ours(t, "supervise"), s.path("web"))
	waitStatus(t, s.path("web"), unchanged(web))
	second.stop()
}
