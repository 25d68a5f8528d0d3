package integration

import (
	"errors"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

// TestFaultUnwritable: a service directory in which no state can be kept.
func TestFaultUnwritable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, dir, said string }{
		{"service directory", "bad", "supervise: fatal: unable to create bad/supervise: access denied"},
		{"state directory", "bad/supervise", "supervise: fatal: unable to acquire bad/supervise/lock: access denied"},
		{"nobody may enter", "bad", "svscan: warning: unable to stat bad/log: access denied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := prepareFault(t, tree{"service/bad/run!": faultSleeper, "service/" + c.dir + "/": ""})
			launch := f.giveTo(faultUser)
			mode := os.FileMode(0o555)
			if c.name == "nobody may enter" {
				mode = 0
			}
			f.chmod(c.dir, mode)
			f.begin(launch...)
			f.says(c.said)
			f.pass(faultRetry)
			f.chmod(c.dir, 0o755)
			f.wait("bad", up)
		})
	}
}

func (f *faultScene) chmod(dir string, mode os.FileMode) {
	f.t.Helper()
	if err := os.Chmod(f.dir(dir), mode); err != nil {
		f.t.Fatal(err)
	}
	// For the removal of the tree, should the test fail.
	f.t.Cleanup(func() { _ = os.Chmod(f.dir(dir), 0o755) })
}

// TestFaultStateDirIsFile: a file where the state directory should be.
func TestFaultStateDirIsFile(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/bad/run!": faultSleeper, "service/bad/supervise": ""})
	f.says("supervise: fatal: unable to acquire bad/supervise/lock: not a directory")
	f.pass(faultRetry)
	f.remove("service/bad/supervise")
	f.wait("bad", up)
}

// TestFaultStateDirIsLink: a link is followed, and the target of one that
// dangles is made.
func TestFaultStateDirIsLink(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"states/":                         "",
		"states/kept/":                    "",
		"service/kept/run!":               faultSleeper,
		"service/kept/supervise@":         "../../states/kept",
		"service/dangling/run!":           faultSleeper,
		"service/dangling/supervise@":     "../../states/dangling",
		"service/dangling/log/run!":       faultCat,
		"service/dangling/log/supervise@": "../../../states/dangling.log",
		"service/bad/run!":                faultSleeper,
		"service/bad/supervise@":          "../../no/such/place",
	})
	f.says("supervise: fatal: unable to create bad/supervise: file does not exist")
	for _, name := range []string{"kept", "dangling", "dangling/log"} {
		pid := f.wait(name, up).PID
		f.tell(name, "t")
		f.wait(name, upAnew(pid))
		link, err := os.Lstat(f.dir(name, "supervise"))
		if err != nil || link.Mode().Type() != os.ModeSymlink {
			t.Errorf("%s/supervise is no link any more: %v, %v", name, link, err)
		}
	}
	for _, name := range []string{"dangling", "dangling.log"} {
		st, err := os.Lstat(f.path("states", name))
		if err != nil || st.Mode() != os.ModeDir|0o700 {
			t.Errorf("%s was made as %v, %v", name, st, err)
		}
	}
	f.make(tree{"no/such/": ""})
	f.wait("bad", up)
}

// TestFaultForeignFIFOs: files in the place of the FIFOs are replaced: before
// the service starts, and, on HUP, while it is up.
func TestFaultForeignFIFOs(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"service/web/run!":              faultSleeper,
		"service/web/supervise/control": "not a fifo\n",
		"service/web/supervise/ok":      "not a fifo\n",
	})
	f.says("supervise: warning: replaced web/supervise/control, which was not our fifo")
	f.says("supervise: warning: replaced web/supervise/ok, which was not our fifo")
	pid := f.wait("web", up).PID
	f.tell("web", "p")
	f.wait("web", paused)
	f.tell("web", "c")
	f.wait("web", running)

	// Each time in another way; every time it is said.
	for _, spoil := range []func(path string) error{
		os.Remove,
		func(path string) error { return errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o644)) },
		func(path string) error { return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)) },
	} {
		for _, name := range []string{"control", "ok"} {
			if err := spoil(f.dir("web/supervise", name)); err != nil {
				t.Fatal(err)
			}
		}
		f.scanner.signal(unix.SIGHUP)
		for _, name := range []string{"control", "ok"} {
			f.lines = append(f.lines, "supervise: warning: replaced web/supervise/"+name+", which was not our fifo")
		}
		waitLines(t, f.scanner.stderr, len(f.lines))
		f.tell("web", "p")
		f.wait("web", paused)
		f.tell("web", "c")
		if now := f.wait("web", running).PID; now != pid {
			t.Errorf("the service is %d now, was %d", now, pid)
		}
	}
}

// TestFaultLocked: what a real supervise, or another scanner, has in its hands
// is left alone until that one leaves.
func TestFaultLocked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		holder func(testing.TB, string) string
	}{{"real", peer}, {"ours", ours}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := prepareFault(t, tree{"service/taken/run!": faultSleeper})
			holder := f.supervise(c.holder(t, "supervise"), "service/taken")
			pid := f.wait("taken", up).PID
			f.begin()
			f.says("supervise: fatal: unable to acquire taken/supervise/lock: temporary failure")
			f.tries(f.dir("taken/supervise/lock"), 1)
			if now := f.wait("taken", up).PID; now != pid {
				t.Errorf("the service is %d now, was %d", now, pid)
			}
			holder.stop()
			f.wait("taken", upAnew(pid))
		})
	}
}

// faultDisk makes a scene in which the service directory "full" is the root of
// a file system of its own, with 64 KiB and 24 inodes, that nobody else sees.
func faultDisk(t *testing.T, files tree) *faultScene {
	needRoot(t)
	f := prepareFault(t, files)
	f.make(tree{"service/full/run!": faultSleeper})
	if r := f.run("/usr/bin/unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=24", "none", f.dir("full")); r.code != 0 {
		t.Skip("no file system can be mounted here: ", r)
	}
	return f
}

// beginOnDisk mounts the disk and starts the scanner, after a script has been
// run on the disk.
func (f *faultScene) beginOnDisk(script string) {
	f.t.Helper()
	f.begin("/usr/bin/unshare", "-m", "/bin/sh", "-c", `set -e
		cp -a "$1" "$1.orig"
		mount -t tmpfs -o size=64k,nr_inodes=24 none "$1"
		cp -a "$1.orig/." "$1"
		rm -r "$1.orig"
		cd "$1"
		`+script+`
		cd /
		shift
		exec "$@"`, "sh", f.dir("full"))
}

// Scripts after which the disk takes no more bytes, or no more files.
const (
	faultFill       = "dd if=/dev/zero of=filler bs=1k 2>/dev/null || true\n"
	faultFillInodes = "mkdir fillers; i=0; while true >fillers/$i; do i=$((i+1)); done 2>/dev/null || true\n"
)

// TestFaultDiskFullOfFiles: not even the state directory can be made.
func TestFaultDiskFullOfFiles(t *testing.T) {
	t.Parallel()
	f := faultDisk(t, nil)
	f.beginOnDisk(faultFillInodes)
	f.sees()
	f.says("supervise: fatal: unable to create full/supervise: out of disk space")
	f.pass(faultRetry)
	if err := os.RemoveAll(f.dir("full/fillers")); err != nil {
		t.Fatal(err)
	}
	f.wait("full", up)
}

// TestFaultDiskFullAtStart: the status cannot be written, but the service runs
// and can be controlled.
func TestFaultDiskFullAtStart(t *testing.T) {
	t.Parallel()
	f := faultDisk(t, nil)
	f.beginOnDisk(faultFill)
	f.sees()
	f.says("supervise: warning: unable to write full/supervise/lock: out of disk space")
	pid := f.runs("full", 0)
	f.tell("full", "t")
	f.runs("full", pid)
	f.restoreDisk()
}

// TestFaultDiskFills: the disk fills up while the service is up: it stays
// supervised, and is restarted.
func TestFaultDiskFills(t *testing.T) {
	t.Parallel()
	f := faultDisk(t, nil)
	f.beginOnDisk("")
	f.sees()
	pid := f.wait("full", up).PID
	f.fillDisk()
	f.signal(pid, unix.SIGKILL)
	// Whichever of the files needs room first: each of those that take turns has
	// some once it was written.
	f.saysOneOf(
		"supervise: warning: unable to write full/supervise/status: out of disk space",
		"supervise: warning: unable to write full/supervise/stat: out of disk space",
		"supervise: warning: unable to write full/supervise/pid: out of disk space",
	)
	for range 3 {
		pid = f.runs("full", pid)
		f.signal(pid, unix.SIGKILL)
	}
	f.runs("full", pid)
	f.restoreDisk()
}

// TestFaultDiskFillsSlowly: with room left for some of the files, it is still
// said only once.
func TestFaultDiskFillsSlowly(t *testing.T) {
	t.Parallel()
	f := faultDisk(t, nil)
	f.beginOnDisk("")
	f.sees()
	pid := f.wait("full", up).PID
	// Of status and stat there are then both files that take turns, of pid there
	// is only one.
	stat := func(want string) {
		waitFile(t, f.dir("full/supervise/stat"), func(c string) bool { return c == want })
	}
	stat("run\n")
	f.tell("full", "p")
	stat("run, paused\n")
	f.tell("full", "c")
	stat("run\n")
	f.fillDisk()
	for i := range 3 {
		// So old that it is started again at once, without an empty pid between.
		f.pass(1100 * time.Millisecond)
		f.signal(pid, unix.SIGKILL)
		pid = f.wait("full", upAnew(pid)).PID
		if i == 0 {
			f.says("supervise: warning: unable to write full/supervise/pid: out of disk space")
		}
	}
	f.pass(faultQuiet)
	f.restoreDisk()
}

func (f *faultScene) fillDisk() {
	f.t.Helper()
	file, err := os.Create(f.dir("full/filler"))
	if err != nil {
		f.t.Fatal(err)
	}
	defer file.Close()
	for err == nil {
		_, err = file.Write(make([]byte, unix.Getpagesize()))
	}
	if !errors.Is(err, unix.ENOSPC) {
		f.t.Fatal(err)
	}
}

// restoreDisk makes room, and waits until the files say again what is so.
func (f *faultScene) restoreDisk() {
	f.t.Helper()
	if err := os.Remove(f.dir("full/filler")); err != nil {
		f.t.Fatal(err)
	}
	pid := f.runs("full", 0)
	f.wait("full", func(r status.Record, alive bool) bool { return running(r, alive) && r.PID == pid })
	waitFile(f.t, f.dir("full/supervise/pid"), func(c string) bool { return c == strconv.Itoa(int(pid))+"\n" })
	waitFile(f.t, f.dir("full/supervise/stat"), func(c string) bool { return c == "run\n" })
}
