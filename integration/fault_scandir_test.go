package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

// unreadable is what the scanner says of a scan directory that is not there.
func (f *faultScene) unreadable() string {
	return "svscan: warning: unable to read directory " + f.path("service") + ": file does not exist"
}

func (f *faultScene) rename(from, to string) {
	f.t.Helper()
	if err := os.Rename(f.path(from), f.path(to)); err != nil {
		f.t.Fatal(err)
	}
}

// settled waits until all that the scanner has to write for services that are up
// has been written.
func (f *faultScene) settled(names ...string) {
	f.t.Helper()
	for _, name := range names {
		for _, file := range []string{"pid", "stat"} {
			waitFile(f.t, f.dir(name, "supervise", file), func(c string) bool { return c != "" })
		}
	}
}

// unwritten expects it to be said, when they are stopped, of services whose
// directories were removed that their status cannot be written.
func (f *faultScene) unwritten(names ...string) {
	for _, name := range names {
		f.lines = append(f.lines, "supervise: warning: unable to write "+name+"/supervise/status: file does not exist")
	}
}

// same fails the test if a service has not stayed up with that pid, under
// whatever path.
func (f *faultScene) same(path string, pid uint32) {
	f.t.Helper()
	if now := waitStatus(f.t, f.path(path), up).PID; now != pid {
		f.t.Errorf("%s is %d now, was %d", path, now, pid)
	}
}

// waitGone waits until a service, in whatever place, is supervised no more.
func (f *faultScene) waitGone(path string) {
	f.t.Helper()
	waitStatus(f.t, f.path(path), abandoned)
}

// TestFaultScanDirRemoved: services outlive the scan directory, and a new one in
// its place is scanned.
func TestFaultScanDirRemoved(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/web/run!": faultSleeper})
	pid := f.wait("web", up).PID
	f.settled("web", "bystander", "bystander/log")
	f.rename("service", "elsewhere")
	f.remove("elsewhere")
	f.says(f.unreadable())
	f.pass(faultRetry)
	if r, ok := lookAt(int(pid)); !ok || r.ppid != f.scanner.pid || r.state == 'Z' {
		t.Errorf("the service did not outlive its directory: %v", r)
	}
	f.unwritten("web", "bystander", "bystander/log")
	f.make(tree{"service/new/run!": faultSleeper})
	f.wait("new", up)
}

// TestFaultScanDirReplaced: what is in the new directory starts; what was in the
// old one goes on until it is told otherwise.
func TestFaultScanDirReplaced(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"service/web/run!": faultSleeper,
		"fresh/web/run!":   faultSleeper,
		"fresh/new/run!":   faultSleeper,
	})
	old := f.wait("web", up).PID
	if err := unix.Renameat2(unix.AT_FDCWD, f.path("fresh"), unix.AT_FDCWD, f.path("service"), unix.RENAME_EXCHANGE); err != nil {
		t.Fatal(err)
	}
	f.wait("new", up)
	if now := f.wait("web", up).PID; now == old {
		t.Error("the new service is the old one")
	}
	f.same("fresh/web", old)
	// What appears in the new directory later is seen as well.
	f.make(tree{"service/later/run!": faultSleeper})
	f.wait("later", up)
	f.tell("../fresh/web", "dx")
	f.waitGone("fresh/web")
}

// TestFaultScanDirAwayAndBack: nothing happens to the services.
func TestFaultScanDirAwayAndBack(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/web/run!": faultSleeper})
	pid := f.wait("web", up).PID
	f.rename("service", "elsewhere")
	f.says(f.unreadable())
	f.same("elsewhere/web", pid)
	f.tell("../elsewhere/web", "p")
	waitStatus(t, f.path("elsewhere/web"), paused)
	f.rename("elsewhere", "service")
	f.make(tree{"service/new/run!": faultSleeper})
	f.wait("new", up)
	f.same("service/web", pid)
	f.tell("web", "ct")
	f.wait("web", upAnew(pid))
	// A service that was added and one that was taken away meanwhile.
	pid = f.wait("web", up).PID
	f.rename("service", "elsewhere")
	f.lines = append(f.lines, f.unreadable())
	waitLines(t, f.scanner.stderr, 2)
	f.make(tree{"elsewhere/added/run!": faultSleeper})
	f.rename("elsewhere/new", "new")
	f.rename("elsewhere", "service")
	f.wait("added", up)
	f.same("service/web", pid)
	waitStatus(t, f.path("new"), up)
}

// TestFaultServiceRenamed: the process stays, commands and restarts work under
// the new name, and messages have it.
func TestFaultServiceRenamed(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/old/run!": faultSleeper, "service/old/log/run!": faultCat})
	pid, logger := f.wait("old", up).PID, f.wait("old/log", up).PID
	f.rename("service/old", "service/new")
	f.same("service/new", pid)
	f.tell("new", "p")
	f.wait("new", paused)
	f.tell("new", "cd")
	f.wait("new", down)
	f.tell("new", "u")
	pid = f.wait("new", up).PID
	f.tell("new", "t")
	f.wait("new", upAnew(pid))
	f.same("service/new/log", logger)
	pid = f.runs("new", pid)
	f.remove("service/new/run")
	f.signal(pid, syscall.SIGKILL)
	f.says("supervise: fatal: unable to start new/run: file does not exist")
	f.make(tree{"service/new/run!": faultSleeper})
	f.wait("new", up)
}

// TestFaultServicesSwapped: two directories change names; neither service
// notices.
func TestFaultServicesSwapped(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/a/run!": faultSleeper, "service/b/run!": faultSleeper})
	a, b := f.wait("a", up).PID, f.wait("b", up).PID
	if err := unix.Renameat2(unix.AT_FDCWD, f.dir("a"), unix.AT_FDCWD, f.dir("b"), unix.RENAME_EXCHANGE); err != nil {
		t.Fatal(err)
	}
	f.same("service/b", a)
	f.same("service/a", b)
	f.tell("a", "t")
	f.wait("a", upAnew(b))
	f.same("service/b", a)
}

// TestFaultServiceReplaced: a directory that takes the place of another is
// another service, which starts at once.
func TestFaultServiceReplaced(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/web/run!": faultSleeper, "fresh/run!": faultSleeper})
	old := f.wait("web", up).PID
	if err := unix.Renameat2(unix.AT_FDCWD, f.path("fresh"), unix.AT_FDCWD, f.dir("web"), unix.RENAME_EXCHANGE); err != nil {
		t.Fatal(err)
	}
	pid := f.wait("web", up).PID
	if pid == old {
		t.Error("the new service is the old one")
	}
	f.same("fresh", old)
	f.scanner.signal(syscall.SIGHUP)
	f.waitGone("fresh")
	f.same("service/web", pid)
}

// TestFaultServiceMovedAway: what leaves the scan directory stays supervised
// until HUP, and may come back before.
func TestFaultServiceMovedAway(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/web/run!": faultSleeper, "service/web/log/run!": faultCat})
	pid, logger := f.wait("web", up).PID, f.wait("web/log", up).PID
	f.rename("service/web", "web")
	f.make(tree{"service/after/run!": faultSleeper})
	f.wait("after", up) // so the scanner has looked
	f.same("web", pid)
	f.tell("../web", "t")
	pid = waitStatus(t, f.path("web"), upAnew(pid)).PID

	f.rename("web", "service/back")
	f.make(tree{"service/again/run!": faultSleeper})
	f.wait("again", up)
	f.scanner.signal(syscall.SIGHUP)
	f.make(tree{"service/more/run!": faultSleeper})
	f.wait("more", up)
	f.same("service/back", pid)
	f.same("service/back/log", logger)

	f.rename("service/back", "web")
	f.scanner.signal(syscall.SIGHUP)
	f.waitGone("web")
	f.waitGone("web/log")
	waitEnd(t, int(pid))
	waitEnd(t, int(logger))
}

// TestFaultServiceRemoved: a service outlives its directory, and is stopped on
// HUP; nothing of it remains in the scanner.
func TestFaultServiceRemoved(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, nil)
	descriptors := func() int {
		list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", f.scanner.pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	f.settled("bystander", "bystander/log")
	before := descriptors()
	for range 3 {
		f.make(tree{"web/run!": faultSleeper, "web/log/run!": faultCat})
		f.rename("web", "service/web")
		pid, logger := f.wait("web", up).PID, f.wait("web/log", up).PID
		f.settled("web", "web/log")
		f.rename("service/web", "web")
		f.remove("web")
		f.make(tree{"service/after/run!": faultSleeper})
		f.wait("after", up)
		f.settled("after")
		for _, pid := range []uint32{pid, logger} {
			if r, ok := lookAt(int(pid)); !ok || r.ppid != f.scanner.pid || r.state == 'Z' {
				t.Errorf("the service did not outlive its directory: %v", r)
			}
		}
		f.rename("service/after", "after")
		f.remove("after")
		f.unwritten("web", "web/log", "after")
		f.scanner.signal(syscall.SIGHUP)
		waitEnd(t, int(pid))
		waitEnd(t, int(logger))
		f.until("the descriptors are closed", func() bool { return descriptors() == before })
	}
}

// TestFaultCopiedIn: a directory that is filled after it has been noticed is
// seen as it is in the end. cp -r makes them so.
func TestFaultCopiedIn(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, nil)
	for i := range 30 {
		name := fmt.Sprint("s", i)
		for _, files := range []tree{
			{"/": ""},
			{"/run!": faultSleeper},
			{"/finish!": "#!/bin/sh\n: >finished\n"},
			{"/log/run!": faultCat},
		} {
			for file, content := range files {
				f.make(tree{"service/" + name + file: content})
			}
		}
		// Before the next one has the scanner look again.
		f.until(name+"/log is supervised", func() bool {
			_, err := os.Stat(f.dir(name, "log/supervise/ok"))
			return err == nil
		})
		f.wait(name, up)
		f.wait(name+"/log", up)
		f.tell(name, "d")
		f.wait(name, down)
		if _, err := os.Stat(f.dir(name, "finished")); err != nil {
			t.Errorf("finish of %s was not run: %v", name, err)
		}
	}
}

// TestFaultChurn: files that come and go while the scanner looks, as those of
// editors do, are nothing to speak of.
func TestFaultChurn(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, nil)
	for range 1000 {
		f.make(tree{"service/file": ""})
		f.remove("service/file")
	}
	f.make(tree{"service/after/run!": faultSleeper})
	f.wait("after", up)
}

// TestFaultLinkToNowhere: what a link leads to may come later.
func TestFaultLinkToNowhere(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/web/run!": faultSleeper, "service/lost@": "../lost"})
	f.says("svscan: warning: unable to stat lost: file does not exist")
	web := f.wait("web", up)
	f.make(tree{"lost/run!": faultSleeper})
	f.wait("lost", up)
	f.wait("web", unchanged(web))
}

// TestFaultLinks: service directories are mostly links. A link that points
// elsewhere is another service; the former one stays until HUP.
func TestFaultLinks(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"a/run!":       faultSleeper,
		"b/run!":       faultSleeper,
		"service/web@": "../a",
	})
	a := f.wait("web", up).PID
	f.make(tree{"link@": "../b"})
	f.rename("link", "service/web")
	b := f.wait("web", up).PID
	if a == b {
		t.Error("the new service is the old one")
	}
	f.same("a", a)
	// Two names for one directory are one service.
	f.make(tree{"service/second@": "../b"})
	f.make(tree{"service/after/run!": faultSleeper})
	f.wait("after", up)
	f.same("service/second", b)
	f.remove("service/web")
	f.scanner.signal(syscall.SIGHUP)
	f.waitGone("a")
	f.same("b", b)
	f.remove("service/second")
	f.scanner.signal(syscall.SIGHUP)
	f.waitGone("b")
}

// faultOddNames are names of service directories as only file systems love them.
var faultOddNames = []string{
	"two words", "new\nline", "-leading", "--", "\xff\xfe\x80", "ünï", `quo"t'es`, "*", "%s%n", "tab\t", "back\\slash",
	"\x01\x7f", " ", "~", "log", "supervise", strings.Repeat("x", 255),
}

// TestFaultOddNames: any name will do but those that begin with a dot.
func TestFaultOddNames(t *testing.T) {
	t.Parallel()
	files := tree{"service/.hidden/run!": faultSleeper, "service/..hidden/run!": faultSleeper}
	for _, name := range faultOddNames {
		files["service/"+name+"/run!"] = faultSleeper
		files["service/"+name+"/log/run!"] = faultCat
	}
	f := newFaultScene(t, files)
	pids := map[string]uint32{}
	for _, name := range faultOddNames {
		pids[name] = f.wait(name, up).PID
		f.wait(name+"/log", up)
		f.tell(name, "t")
	}
	for _, name := range faultOddNames {
		f.wait(name, upAnew(pids[name]))
	}
	for _, name := range []string{".hidden", "..hidden"} {
		if _, err := os.Lstat(f.dir(name, "supervise")); !os.IsNotExist(err) {
			t.Errorf("%s is supervised: %v", name, err)
		}
	}
}

// TestFaultNoServices: what is no directory is no service. Only what cannot be
// looked at is complained of, once.
func TestFaultNoServices(t *testing.T) {
	t.Parallel()
	f := prepareFault(t, tree{
		"service/file":      "",
		"service/program!":  faultSleeper,
		"service/tofile@":   "file",
		"service/dangling@": "no such thing",
		"service/loop@":     "loop",
	})
	for path, kind := range map[string]uint32{"fifo": unix.S_IFIFO, "socket": unix.S_IFSOCK} {
		if err := unix.Mknod(f.dir(path), kind|0o600, 0); err != nil {
			t.Fatal(err)
		}
	}
	f.begin()
	f.says("svscan: warning: unable to stat dangling: file does not exist")
	f.says("svscan: warning: unable to stat loop: symbolic link loop")
	for i := range 3 {
		f.scanner.signal(syscall.SIGHUP)
		name := fmt.Sprint("after", i)
		f.make(tree{"service/" + name + "/run!": faultSleeper})
		f.wait(name, up)
	}
	// The targets appear: one by a change that can be seen, and on HUP.
	f.make(tree{"later/run!": faultSleeper, "link@": "../later"})
	f.rename("link", "service/loop")
	f.wait("loop", up)
	f.make(tree{"service/no such thing/run!": faultSleeper})
	f.wait("dangling", up)
}

// TestFaultEmptyTree: a scanner without services stays, and starts the first one
// that appears.
func TestFaultEmptyTree(t *testing.T) {
	t.Parallel()
	s := newSite(t, tree{"service/": ""})
	scanner := s.svscan(ours(t, "svscan"), s.path("service"))
	if scanner.endsWithin(faultQuiet) {
		t.Fatalf("it ended: %q", scanner.said())
	}
	s.make(tree{"service/web/run!": faultSleeper})
	waitStatus(t, s.path("service/web"), up)
	if err := os.Rename(s.path("service/web"), s.path("web")); err != nil {
		t.Fatal(err)
	}
	scanner.signal(syscall.SIGHUP)
	waitStatus(t, s.path("web"), abandoned)
	if scanner.endsWithin(faultQuiet) {
		t.Fatalf("it ended: %q", scanner.said())
	}
	scanner.stop()
	if code := scanner.wait(); code != 0 || scanner.said() != "" {
		t.Errorf("it ended with %d and said %q", code, scanner.said())
	}
}

// TestFaultManyServices: there is no limit at a thousand.
func TestFaultManyServices(t *testing.T) {
	t.Parallel()
	const n = 1200
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Max < 5*n {
		t.Skip("a hard limit of open files of ", limit.Max, " is not enough: ", err)
	}
	f := prepareFault(t, tree{"run!": faultSleeper})
	for i := range n {
		dir := f.dir(fmt.Sprint("s", i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("../../run", filepath.Join(dir, "run")); err != nil {
			t.Fatal(err)
		}
	}
	f.begin()
	pids := map[uint32]bool{}
	for i := range n {
		pids[f.wait(fmt.Sprint("s", i), func(r status.Record, alive bool) bool { return up(r, alive) }).PID] = true
	}
	if len(pids) != n {
		t.Errorf("%d services have %d processes", n, len(pids))
	}
}
