package integration

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

// lockRun is a service that shows what its descriptor 5 is.
const lockRun = "#!/bin/sh\necho $$ $(readlink /proc/$$/fd/5) >>../../starts\nexec sleep 1000\n"

// lockWaits is what the scanner says of a service whose lock is not free.
func lockWaits(name string) string {
	return "supervise: warning: another instance of " + name + " is running, waiting for its end"
}

// lockOf opens the lock file of a service.
func (f *faultScene) lockOf(name string) *os.File {
	f.t.Helper()
	if err := os.MkdirAll(f.dir(name, "supervise"), 0o755); err != nil {
		f.t.Fatal(err)
	}
	file, err := os.OpenFile(f.dir(name, "supervise/service-lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { file.Close() })
	return file
}

// locked tries to take a lock, and gives it back.
func (f *faultScene) locked(file *os.File) bool {
	f.t.Helper()
	err := setLock(file, unix.F_WRLCK)
	if err == nil {
		err = setLock(file, unix.F_UNLCK)
		if err == nil {
			return false
		}
	}
	if err != unix.EAGAIN {
		f.t.Fatal(err)
	}
	return true
}

func setLock(file *os.File, kind int16) error {
	return unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind})
}

func (f *faultScene) grab(file *os.File) {
	f.t.Helper()
	if err := setLock(file, unix.F_WRLCK); err != nil {
		f.t.Fatal(err)
	}
}

// starts waits for the n-th start of lockRun, of which there must be no more.
func (f *faultScene) starts(n int) {
	f.t.Helper()
	lines := waitLines(f.t, f.path("starts"), n)
	if len(lines) != n {
		f.t.Fatalf("%d starts, expected are %d", len(lines), n)
	}
	if !strings.HasSuffix(lines[n-1], "/supervise/service-lock") {
		f.t.Errorf("descriptor 5 is %q", lines[n-1])
	}
}

// TestLockFD: a service holds its lock as long as it lives, over crashes of the
// scanner, and no longer.
func TestLockFD(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/web/run!": lockRun, "service/web/lock-fd": "5\n"})
	f.starts(1)
	web := f.wait("web", up)
	file := f.lockOf("web")
	if !f.locked(file) {
		t.Error("the service runs without its lock")
	}
	f.crash(func() {
		if !f.locked(file) {
			t.Error("the lock is lost with the scanner")
		}
	})
	f.wait("web", unchanged(web))
	f.tell("web", "t")
	f.wait("web", upAnew(web.PID))
	f.starts(2)
	if !f.locked(file) {
		t.Error("the second one runs without its lock")
	}
	f.tell("web", "d")
	f.wait("web", down)
	if f.locked(file) {
		t.Error("the scanner holds the lock itself")
	}
	// From the next start on, as with all files.
	f.remove("service/web/lock-fd")
	f.tell("web", "u")
	f.wait("web", up)
	if f.locked(file) {
		t.Error("it is locked without lock-fd")
	}
}

// TestLockFDWaits: as long as somebody else has the lock the service does not start,
// and does what it is told; others are not concerned.
func TestLockFDWaits(t *testing.T) {
	t.Parallel()
	f := prepareFault(t, tree{"service/web/run!": lockRun, "service/web/lock-fd": "5", "service/other/run!": faultSleeper})
	file := f.lockOf("web")
	f.grab(file)
	f.begin()
	f.says(lockWaits("web"))
	f.wait("other", up)
	f.pass(300 * time.Millisecond)
	want := func(w status.Want) {
		t.Helper()
		f.wait("web", func(r status.Record, alive bool) bool { return down(r, alive) && r.Want == w })
	}
	f.tell("web", "d")
	want(status.WantDown)
	f.tell("web", "u")
	want(status.WantUp)
	f.tell("web", "d")
	want(status.WantDown)
	if err := setLock(file, unix.F_UNLCK); err != nil {
		t.Fatal(err)
	}
	f.until("nobody waits any more", func() bool { return setLock(file, unix.F_WRLCK) == nil })
	f.tell("web", "u")
	want(status.WantUp)
	if _, err := os.Stat(f.path("starts")); err == nil {
		t.Error("it was started: ", f.read("starts"))
	}
	if err := setLock(file, unix.F_UNLCK); err != nil {
		t.Fatal(err)
	}
	f.starts(1)
	web := f.wait("web", up)

	// What the service started holds it as well.
	f.make(tree{"service/web/run!": "#!/bin/sh\n(setsid sleep 1000 & echo $! >>../../daemons)\nexec sleep 1000\n"})
	f.tell("web", "t")
	web = f.wait("web", upAnew(web.PID))
	pid := f.pidIn("daemons", 1)
	f.make(tree{"service/web/run!": lockRun})
	f.signal(web.PID, unix.SIGKILL)
	f.lines = append(f.lines, lockWaits("web"))
	f.until("it waits again", func() bool { return strings.Count(f.scanner.said(), lockWaits("web")) == 2 })
	if err := kill(pid); err != nil {
		t.Fatal(err)
	}
	f.starts(2)
	f.wait("web", upAnew(web.PID))
	f.tell("web", "d")
	f.wait("web", down)

	// Those who wait can leave.
	f.grab(file)
	f.tell("web", "u")
	f.lines = append(f.lines, lockWaits("web"))
	f.until("it waits again", func() bool { return strings.Count(f.scanner.said(), lockWaits("web")) == 3 })
	f.tell("web", "x")
	f.wait("web", abandoned)
	f.scanner.stop()
}

// TestLockFDUpgrade: one that waits does so on in the new program.
func TestLockFDUpgrade(t *testing.T) {
	t.Parallel()
	f := prepareFault(t, tree{"service/web/run!": lockRun, "service/web/lock-fd": "5"})
	file := f.lockOf("web")
	f.grab(file)
	f.begin()
	f.says(lockWaits("web"))
	f.upgraded()
	f.lines = append(f.lines, lockWaits("web"))
	f.until("it waits again", func() bool { return strings.Count(f.scanner.said(), lockWaits("web")) == 2 })
	if err := setLock(file, unix.F_UNLCK); err != nil {
		t.Fatal(err)
	}
	f.starts(1)
	web := f.wait("web", up)
	f.upgraded()
	f.wait("web", unchanged(web))
	f.tell("web", "d")
	f.wait("web", down)
	if f.locked(file) {
		t.Error("the scanner holds the lock itself")
	}
}

// TestLockFDStop: a scanner stops although services and log services wait.
func TestLockFDStop(t *testing.T) {
	t.Parallel()
	f := prepareFault(t, tree{
		"service/web/run!": lockRun, "service/web/lock-fd": "5",
		"service/web/log/run!": faultCat, "service/web/log/lock-fd": "6",
	})
	f.grab(f.lockOf("web"))
	f.grab(f.lockOf("web/log"))
	f.begin()
	f.says(lockWaits("web"))
	f.says(lockWaits("web/log"))
	f.scanner.signal(unix.SIGTERM)
	if code := f.scanner.wait(); code != 0 {
		t.Errorf("the scanner ended with %d", code)
	}
}

// TestLockFDBad: what is no number is said once and left out; so is a file that is
// no lock file.
func TestLockFDBad(t *testing.T) {
	t.Parallel()
	f := prepareFault(t, tree{
		"service/word/run!": faultSleeper, "service/word/lock-fd": "five\n",
		"service/huge/run!": faultSleeper, "service/huge/lock-fd": "2000000000\n",
		"service/same/run!": faultSleeper, "service/same/lock-fd": "3\n", "service/same/notification-fd": "3\n",
		"service/full/run!": lockRun, "service/full/lock-fd": "5", "service/full/supervise/service-lock": "something",
		"service/pipe/run!": faultSleeper, "service/pipe/lock-fd": "5", "service/pipe/supervise/": "",
	})
	if err := unix.Mkfifo(f.dir("pipe/supervise/service-lock"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.begin()
	for _, line := range []string{
		"supervise: warning: unable to use word/lock-fd: not a number",
		"supervise: warning: unable to use huge/lock-fd: file descriptor not open",
		"supervise: warning: unable to start same/run: lock-fd and notification-fd are the same",
		"supervise: warning: emptied full/supervise/service-lock, which is only for locking",
		"supervise: warning: unable to lock pipe/supervise/service-lock: invalid argument",
	} {
		f.says(line)
	}
	word := f.wait("word", up)
	f.wait("huge", up)
	f.wait("full", up)
	f.tell("word", "t") // it is not said again
	f.wait("word", upAnew(word.PID))
	f.starts(1)
	for _, name := range []string{"same", "pipe"} {
		f.wait(name, down)
	}
	if err := os.Remove(f.dir("pipe/supervise/service-lock")); err != nil {
		t.Fatal(err)
	}
	f.wait("pipe", up)
}

// TestLockFDOfOurs: real s6-supervise does not start a second copy of a service that
// a scanner of ours left behind.
func TestLockFDOfOurs(t *testing.T) {
	t.Parallel()
	s6 := peer(t, "s6-supervise")
	f := newFaultScene(t, tree{"service/web/run!": lockRun, "service/web/lock-fd": "5\n"})
	f.starts(1)
	web := f.wait("web", up)
	f.scanner.signal(unix.SIGKILL)
	f.scanner.wait()
	f.scanner.stopped, f.crashed = true, true
	real := f.start(s6, f.dir("web"))
	waitFile(t, real.stderr, func(c string) bool {
		return strings.Contains(c, "another instance of the service is already running, child will block")
	})
	f.starts(1)
	f.signal(web.PID, unix.SIGKILL)
	f.starts(2)
	f.tell("web", "dx")
	if code := real.wait(); code != 0 {
		t.Errorf("s6-supervise ended with %d", code)
	}
	f.again()
}

// again starts a scanner where another one was, so that the scene ends as usual.
func (f *faultScene) again() {
	f.t.Helper()
	f.scanner = f.start(ours(f.t, "svscan"), append(f.args, f.path("service"))...)
	f.wait("bystander", up)
}

// TestLockFDOfS6: nor do we of a service that s6-supervise left behind.
func TestLockFDOfS6(t *testing.T) {
	t.Parallel()
	s6 := peer(t, "s6-supervise")
	f := prepareFault(t, tree{"service/web/run!": lockRun, "service/web/lock-fd": "5\n"})
	// Of 2.11, a service holds its lock only if that was not free at first: s6-supervise
	// itself takes it otherwise, and loses it again when it closes the file.
	file := f.lockOf("web")
	f.grab(file)
	real := f.start(s6, f.dir("web"))
	waitFile(t, real.stderr, func(c string) bool { return strings.Contains(c, "child will block") })
	if err := setLock(file, unix.F_UNLCK); err != nil {
		t.Fatal(err)
	}
	f.starts(1)
	real.signal(unix.SIGKILL)
	real.wait()
	real.stopped = true
	word, _, _ := strings.Cut(f.read("starts"), " ")
	web, err := strconv.Atoi(word)
	if err != nil {
		t.Fatal(err)
	}
	f.begin()
	f.says(lockWaits("web"))
	f.starts(1)
	if err := kill(web); err != nil {
		t.Fatal(err)
	}
	f.starts(2)
	f.wait("web", up)
}

// TestLockFDSetlock: real s6-setlock and a service of ours keep each other out.
func TestLockFDSetlock(t *testing.T) {
	t.Parallel()
	setlock := peer(t, "s6-setlock")
	f := newFaultScene(t, tree{"service/web/run!": lockRun, "service/web/lock-fd": "5\n"})
	f.starts(1)
	lock := f.dir("web/supervise/service-lock")
	if r := f.run(setlock, "-n", lock, "/bin/true"); r.code == 0 {
		t.Errorf("s6-setlock has the lock of a service that runs: %v", r)
	}
	f.tell("web", "d")
	f.wait("web", down)
	holder := f.start(setlock, "-n", lock, "/bin/sh", "-c", "echo held; exec sleep 1000")
	waitFile(t, holder.stdout, something)
	f.tell("web", "u")
	f.says(lockWaits("web"))
	holder.stop()
	f.starts(2)
}
