package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// cageScene is a fault scene whose scanner is in a cgroup of its own.
type cageScene struct {
	*faultScene
	cgroup string // the scanner's, in the file system
	name   string // the same as processes know it
}

var cages atomic.Int64

// cgroupMount is where the hierarchy of version 2 is mounted.
func cgroupMount(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		mount, fs, _ := strings.Cut(line, " - ")
		if f := strings.Fields(mount); strings.HasPrefix(fs, "cgroup2 ") && f[3] == "/" {
			return f[4]
		}
	}
	t.Skip("no cgroup hierarchy of version 2 is mounted here")
	return ""
}

// ownCgroup makes a cgroup for a test, which is removed with all that is in it.
func ownCgroup(t testing.TB) (dir, name string) {
	t.Helper()
	name = fmt.Sprintf("/upkeep-test-%d-%d", os.Getpid(), cages.Add(1))
	dir = cgroupMount(t) + name
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skip("no cgroup can be made here: ", err)
	}
	t.Cleanup(func() {
		_ = os.WriteFile(dir+"/cgroup.kill", []byte("1"), 0)
		deadline := time.Now().Add(patience)
		for removeCgroup(dir) != nil {
			if time.Now().After(deadline) {
				t.Errorf("%s cannot be removed", dir)
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	if err := unix.Access(dir+"/cgroup.kill", unix.F_OK); err != nil {
		t.Skip("the kernel is too old to kill a cgroup, and the tests could not clean up: ", err)
	}
	return dir, name
}

func removeCgroup(dir string) error {
	for _, child := range leaves(dir) {
		if err := removeCgroup(dir + "/" + child); err != nil {
			return err
		}
	}
	if err := unix.Rmdir(dir); err != unix.ENOENT {
		return err
	}
	return nil
}

// leaves are the names of the cgroups in one.
func leaves(dir string) (names []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// inCgroup are the words that launch a program in a cgroup.
func inCgroup(dir string) []string {
	return []string{"/bin/sh", "-c", `echo 0 >"$0/cgroup.procs" && exec "$@"`, dir}
}

func newCageScene(t *testing.T, files tree, args ...string) *cageScene {
	t.Helper()
	dir, name := ownCgroup(t)
	f := &cageScene{prepareFault(t, files), dir, name}
	f.args = args
	f.begin(inCgroup(dir)...)
	return f
}

// crash is faultScene's; the new scanner begins in the cgroup in.
func (f *cageScene) crash(in string, meanwhile func()) {
	f.t.Helper()
	f.scanner.signal(unix.SIGKILL)
	f.scanner.wait()
	f.scanner.stopped, f.crashed = true, true
	if meanwhile != nil {
		meanwhile()
	}
	words := append(append(inCgroup(in), ours(f.t, "svscan")), f.args...)
	f.scanner = f.start(words[0], append(words[1:], f.path("service"))...)
}

// leaf is the cgroup of a service; it need not exist.
func (f *cageScene) leaf(name string) string {
	f.t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(f.dir(name), &st); err != nil {
		f.t.Fatal(err)
	}
	id := fmt.Sprintf(".%x-%x", st.Dev, st.Ino)
	for _, leaf := range leaves(f.cgroup) {
		if strings.HasSuffix(leaf, id) {
			return leaf
		}
	}
	return "upkeep." + strings.ReplaceAll(name, "/", "%2f") + id
}

// inside are the processes of a service's cgroup.
func (f *cageScene) inside(name string) (pids []int) {
	f.t.Helper()
	b, err := os.ReadFile(filepath.Join(f.cgroup, f.leaf(name), "cgroup.procs"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		f.t.Fatal(err)
	}
	for word := range strings.FieldsSeq(string(b)) {
		pid, _ := strconv.Atoi(word)
		pids = append(pids, pid)
	}
	return pids
}

// pidIn waits for the n-th pid that a script writes to a file.
func (f *faultScene) pidIn(file string, n int) int {
	f.t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(waitLines(f.t, f.path(file), n)[n-1]))
	if err != nil {
		f.t.Fatal(err)
	}
	return pid
}

// cageDaemon is a service that leaves a daemon behind, and tells who is in its cgroup
// when it starts.
const cageDaemon = `#!/bin/sh
own=$(sed -n s/^0:://p /proc/self/cgroup)
read -r first <"$CGROUPS$own/cgroup.procs"
set -- $(cat "$CGROUPS$own/cgroup.procs")
echo "$own $((first == $$)) $#" >>../../starts
(setsid sh -c 'echo $$ >>../../daemons; exec sleep 1000' &)
exec sleep 1000
`

// daemonScene is a scene with cageDaemon as web.
func daemonScene(t *testing.T, files tree, args ...string) *cageScene {
	t.Helper()
	dir, name := ownCgroup(t)
	f := &cageScene{prepareFault(t, tree{"service/web/run!": cageDaemon, "service/web/cgroup": ""}), dir, name}
	f.make(files)
	f.args = args
	f.setenv("CGROUPS", cgroupMount(t))
	f.begin(inCgroup(dir)...)
	return f
}

// clean checks that a service was alone in its own cgroup at each start. The second
// process there is the shell's cat.
func (f *cageScene) clean(starts int) {
	f.t.Helper()
	want := f.name + "/" + f.leaf("web") + " 1 2"
	lines := waitLines(f.t, f.path("starts"), starts)
	if len(lines) != starts {
		f.t.Errorf("%d starts, expected are %d", len(lines), starts)
	}
	for _, line := range lines {
		if line != want {
			f.t.Errorf("a start in %q, expected is %q", line, want)
		}
	}
}

// TestCgroupDaemon: what a service forked ends with it, whoever its parent is by
// then. Others are not touched.
func TestCgroupDaemon(t *testing.T) {
	t.Parallel()
	f := daemonScene(t, tree{"service/free/run!": cageDaemonFree})
	free := f.pidIn("free", 1)
	web := f.wait("web", up)
	daemon := f.pidIn("daemons", 1)
	if got := f.inside("web"); !slices.Contains(got, daemon) || !slices.Contains(got, int(web.PID)) {
		t.Errorf("%v are in the cgroup, without %d or %d", got, web.PID, daemon)
	}
	f.signal(web.PID, unix.SIGKILL)
	waitEnd(t, daemon)
	f.wait("web", upAnew(web.PID))
	second := f.pidIn("daemons", 2)
	f.tell("web", "d")
	f.wait("web", down)
	if p, ok := lookAt(second); ok && p.state != 'Z' {
		t.Errorf("the service is down, and %v runs", p)
	}
	f.clean(2)
	// The last one leaves no cgroup.
	f.tell("web", "x")
	f.until("the cgroup is removed", func() bool { return !slices.Contains(leaves(f.cgroup), f.leaf("web")) })
	f.wait("free", up)
	f.tell("free", "t")
	f.pidIn("free", 2)
	if p, ok := lookAt(free); !ok || p.state == 'Z' {
		t.Error("a daemon ended that was none of ours")
	}
	f.scanner.stop()
	for _, pid := range []int{free, f.pidIn("free", 2)} {
		_ = kill(pid)
	}
	if left := leaves(f.cgroup); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// cageDaemonFree leaves a daemon, too, but nobody minds.
const cageDaemonFree = "#!/bin/sh\n(setsid sh -c 'echo $$ >>../../free; exec sleep 1000' &)\nexec sleep 1000\n"

// TestCgroupStopped: a stopped process is no exception.
func TestCgroupStopped(t *testing.T) {
	t.Parallel()
	f := daemonScene(t, nil)
	web := f.wait("web", up)
	daemon := f.pidIn("daemons", 1)
	f.signal(uint32(daemon), unix.SIGSTOP)
	waitFrozen(t, daemon)
	f.tell("web", "t")
	f.wait("web", upAnew(web.PID))
	waitEnd(t, daemon)
	f.clean(2)
}

// clinger keeps a process from ending when it is killed, until it is released, as
// one that waits for a dead disk.
type clinger struct {
	killed  chan error // receives when it should have ended
	release chan struct{}
	once    sync.Once
}

// cling makes a clinger of a process.
func (f *cageScene) cling(pid int) *clinger {
	f.t.Helper()
	c := &clinger{killed: make(chan error, 1), release: make(chan struct{})}
	f.t.Cleanup(c.free)
	seized := make(chan error)
	go func() { // ends when the process does, or with the test's own process
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		const seize, traceExit = 0x4206, 0x40
		_, _, errno := unix.Syscall6(unix.SYS_PTRACE, seize, uintptr(pid), 0, traceExit, 0, 0)
		if errno != 0 {
			seized <- errno
			return
		}
		seized <- nil
		var ws unix.WaitStatus
		_, err := unix.Wait4(pid, &ws, unix.WALL, nil)
		c.killed <- err
		<-c.release
		_ = unix.PtraceDetach(pid)
	}()
	if err := <-seized; err != nil {
		f.t.Skip("processes cannot be traced here: ", err)
	}
	return c
}

// wait waits until the process should have ended.
func (c *clinger) wait(t testing.TB) {
	t.Helper()
	select {
	case err := <-c.killed:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("a process is not killed")
	}
}

func (c *clinger) free() { c.once.Do(func() { close(c.release) }) }

// TestCgroupLate: a service is up, and its successor is not started, until the last
// process of its cgroup has ended, whatever happens meanwhile.
func TestCgroupLate(t *testing.T) {
	t.Parallel()
	f := daemonScene(t, tree{"service/web/finish!": "#!/bin/sh\necho $* >>../../ends\n"})
	web := f.wait("web", up)
	c := f.cling(f.pidIn("daemons", 1))
	f.signal(web.PID, unix.SIGKILL)
	c.wait(t)
	f.tell("web", "t") // there is nobody whom it could hit
	f.pass(300 * time.Millisecond)
	if r := f.wait("web", supervised); r.PID != web.PID {
		t.Errorf("shown is %+v", r)
	}
	f.clean(1)
	c.free()
	f.wait("web", upAnew(web.PID))
	f.clean(2)
	if got := f.read("ends"); got != "-1 9\n" {
		t.Errorf("finish was told %q", got)
	}
}

// TestCgroupLateCrash: the same holds for a scanner that comes when its predecessor
// was killed meanwhile; and one that has to stop does so then.
func TestCgroupLateCrash(t *testing.T) {
	t.Parallel()
	f := daemonScene(t, nil)
	web := f.wait("web", up)
	c := f.cling(f.pidIn("daemons", 1))
	f.signal(web.PID, unix.SIGKILL)
	c.wait(t)
	f.crash(f.cgroup, nil)
	f.wait("bystander", supervised)
	f.make(tree{"service/fresh/run!": faultSleeper}) // others are served
	f.wait("fresh", up)
	f.pass(300 * time.Millisecond)
	f.clean(1)
	c.free()
	f.wait("web", upAnew(web.PID))
	f.clean(2)

	// Killed before it could kill.
	last := f.wait("web", up)
	second := f.pidIn("daemons", 2)
	f.crash(f.cgroup, func() {
		f.signal(last.PID, unix.SIGKILL)
		waitEnd(t, int(last.PID))
	})
	waitEnd(t, second)
	last = f.wait("web", upAnew(last.PID))
	f.clean(3)

	c = f.cling(f.pidIn("daemons", 3))
	f.crash(f.cgroup, func() {
		f.signal(last.PID, unix.SIGKILL)
		waitEnd(t, int(last.PID))
	})
	c.wait(t)
	f.scanner.signal(unix.SIGTERM)
	f.wait("fresh", abandoned)
	if f.scanner.endsWithin(200 * time.Millisecond) {
		t.Error("the scanner has ended before its services")
	}
	c.free()
	if code := f.scanner.wait(); code != 0 {
		t.Errorf("the scanner ended with %d", code)
	}
	if left := leaves(f.cgroup); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestCgroupCrash: a new scanner finds the cgroup of what it takes over, also of a
// directory with a new name, and kills nothing before its time.
func TestCgroupCrash(t *testing.T) {
	t.Parallel()
	f := daemonScene(t, nil)
	was := f.wait("web", up)
	daemon := f.pidIn("daemons", 1)
	leaf := f.leaf("web")
	for range 3 {
		f.crash(f.cgroup, nil)
		f.wait("web", unchanged(was))
	}
	f.crash(f.cgroup, func() {
		if err := os.Rename(f.dir("web"), f.dir("renamed")); err != nil {
			t.Fatal(err)
		}
		f.remove("service/renamed/cgroup") // which is for the next start
	})
	f.wait("renamed", unchanged(was))
	if got := f.leaf("renamed"); got != leaf {
		t.Errorf("the cgroup is %q, and was %q", got, leaf)
	}
	if p, ok := lookAt(daemon); !ok || p.state == 'Z' {
		t.Fatalf("the daemon has ended: %v", p)
	}
	f.signal(was.PID, unix.SIGKILL)
	waitEnd(t, daemon)
	f.wait("renamed", upAnew(was.PID))
	lines := waitLines(t, f.path("starts"), 2)
	if !strings.HasPrefix(lines[1], f.name+" ") {
		t.Errorf("without the file cgroup it was started in %q", lines[1])
	}
	f.tell("renamed", "dx")
	f.wait("renamed", abandoned)
	if left := leaves(f.cgroup); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	_ = kill(f.pidIn("daemons", 2))
}

// TestCgroupUpgrade: a scanner that becomes a new program knows what its services are
// in, and what has ended in the meantime.
func TestCgroupUpgrade(t *testing.T) {
	t.Parallel()
	f := daemonScene(t, tree{"service/web/finish!": "#!/bin/sh\necho $* >>../../ends\n"})
	web := f.wait("web", up)
	daemon := f.pidIn("daemons", 1)
	f.upgraded()
	f.wait("web", unchanged(web))
	if p, ok := lookAt(daemon); !ok || p.state == 'Z' {
		t.Fatalf("the daemon has ended: %v", p)
	}
	c := f.cling(daemon)
	f.signal(web.PID, unix.SIGKILL)
	c.wait(t)
	f.upgraded()
	f.upgraded()
	f.pass(100 * time.Millisecond)
	f.clean(1)
	c.free()
	web = f.wait("web", upAnew(web.PID))
	f.clean(2)
	if got := f.read("ends"); got != "-1 9\n" {
		t.Errorf("finish was told %q", got)
	}

	// After a crash it waits before it has begun.
	c = f.cling(f.pidIn("daemons", 2))
	f.crash(f.cgroup, func() {
		for _, r := range f.left() {
			if strings.HasPrefix(r.command, "sleep") && slices.Contains(f.inside("web"), r.pid) && r.pid != f.pidIn("daemons", 2) {
				f.signal(uint32(r.pid), unix.SIGKILL)
				waitEnd(t, r.pid)
			}
		}
	})
	c.wait(t)
	f.wait("bystander", up)
	f.upgraded()
	f.pass(100 * time.Millisecond)
	f.clean(2)
	c.free()
	f.until("web is started", func() bool { return strings.Count(f.read("starts"), "\n") == 3 })
	f.clean(3)
}

// TestCgroupFinish: finish is in the cgroup as well, and nothing outlives it either.
func TestCgroupFinish(t *testing.T) {
	t.Parallel()
	f := daemonScene(t, tree{"service/web/finish!": `#!/bin/sh
(setsid sh -c 'echo $$ >>../../late; exec sleep 1000' &)
sed -n s/^0:://p /proc/self/cgroup >>../../finishes
until [ -s ../../late ]; do sleep 0.01; done
`})
	f.pidIn("daemons", 1)
	f.tell("web", "t")
	late := f.pidIn("late", 1)
	waitEnd(t, late)
	f.until("run is up again", func() bool { return strings.Count(f.read("starts"), "\n") == 2 })
	f.clean(2)
	if got, want := f.read("finishes"), f.name+"/"+f.leaf("web")+"\n"; got != want {
		t.Errorf("finish ran in %q, expected is %q", got, want)
	}
}

// TestCgroupOption: with the option of the scanner every service has its own.
func TestCgroupOption(t *testing.T) {
	t.Parallel()
	const tell = "#!/bin/sh\nsed -n s/^0:://p /proc/self/cgroup >where\nexec "
	f := newCageScene(t, tree{
		"service/web/run!": tell + "sleep 1000\n", "service/web/log/run!": tell + "cat\n",
		"service/odd name%/run!": tell + "sleep 1000\n",
	}, "--cgroups")
	for name, want := range map[string]string{"web": "upkeep.web.", "web/log": "upkeep.web%2flog.", "odd name%": "upkeep.odd%20name%25."} {
		got := waitLines(t, f.dir(name, "where"), 1)[0]
		if got != f.name+"/"+f.leaf(name) || !strings.HasPrefix(got, f.name+"/"+want) {
			t.Errorf("%s is in %q", name, got)
		}
	}
	f.scanner.stop()
	if left := leaves(f.cgroup); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestCgroupLockFD: what is left behind has the service's lock, too, but not for long.
func TestCgroupLockFD(t *testing.T) {
	t.Parallel()
	f := daemonScene(t, tree{"service/web/lock-fd": "5\n"})
	web := f.wait("web", up)
	f.pidIn("daemons", 1)
	if !f.locked(f.lockOf("web")) {
		t.Error("the service runs without its lock")
	}
	f.signal(web.PID, unix.SIGKILL)
	f.wait("web", upAnew(web.PID))
	f.clean(2)
}

// lent counts the tests that use a controller which is enabled for them only.
var lent struct {
	sync.Mutex
	n int
}

// limitFor is a controller that can be had, with a file of it and a value.
func limitFor(t *testing.T) (controller, file, value string) {
	t.Helper()
	root := cgroupMount(t)
	b, err := os.ReadFile(root + "/cgroup.controllers")
	if err != nil {
		t.Fatal(err)
	}
	has := strings.Fields(string(b))
	for _, c := range [][3]string{
		{"pids", "pids.max", "100"}, {"memory", "memory.max", "104857600"}, {"hugetlb", "hugetlb.2MB.max", "4194304"},
	} {
		if !slices.Contains(has, c[0]) {
			continue
		}
		control := root + "/cgroup.subtree_control"
		lent.Lock()
		defer lent.Unlock()
		if before, err := os.ReadFile(control); err == nil && lent.n == 0 && slices.Contains(strings.Fields(string(before)), c[0]) {
			return c[0], c[1], c[2]
		}
		if os.WriteFile(control, []byte("+"+c[0]), 0) != nil {
			t.Skip("the controller cannot be given to a cgroup here: ", c[0])
		}
		lent.n++
		t.Cleanup(func() {
			lent.Lock()
			defer lent.Unlock()
			if lent.n--; lent.n == 0 {
				_ = os.WriteFile(control, []byte("-"+c[0]), 0) // somebody else may use it by now
			}
		})
		return c[0], c[1], c[2]
	}
	t.Skipf("none of the controllers %q can be given to a cgroup here", has)
	return "", "", ""
}

// TestCgroupLimits: limits are in force when run is executed. A bad one is said once
// and left out. The scanner gets out of the way, and its successors find it so.
func TestCgroupLimits(t *testing.T) {
	t.Parallel()
	controller, file, value := limitFor(t)
	run := "#!/bin/sh\ncat \"$CGROUPS$(sed -n s/^0:://p /proc/self/cgroup)/" + file + "\" >>seen 2>&1\nexec sleep 1000\n"
	dir, name := ownCgroup(t)
	f := &cageScene{prepareFault(t, tree{
		"service/web/run!": run, "service/web/cgroup": "", "service/web/" + file: value + "\n",
		"service/bad/run!": run, "service/bad/cgroup": "", "service/bad/" + file: "plenty\n",
		"service/free/run!": faultSleeper, "service/free/" + file: "plenty\n",
	}), dir, name}
	f.setenv("CGROUPS", cgroupMount(t))
	// Those without a cgroup of their own would be in the way of the controllers.
	for _, other := range []string{"free", "bystander", "bystander/log"} {
		f.make(tree{"service/" + other + "/down": ""})
	}
	f.beginAlone(inCgroup(dir)...)
	f.says("supervise: warning: unable to set bad/" + file + ": invalid argument")
	web, bad := f.wait("web", up), f.wait("bad", up)
	if got := waitLines(t, f.dir("web/seen"), 1); got[0] != value {
		t.Errorf("%s is %q, expected is %q", file, got, value)
	}
	if b, err := os.ReadFile("/proc/" + strconv.Itoa(f.scanner.pid) + "/cgroup"); err != nil || !bytes.Contains(b, []byte("0::"+name+"/upkeep.supervisor\n")) {
		t.Errorf("the scanner is in %q, %v", b, err)
	}
	if b, _ := os.ReadFile(dir + "/cgroup.subtree_control"); !slices.Contains(strings.Fields(string(b)), controller) {
		t.Errorf("controllers are %q", b)
	}
	f.tell("bad", "t") // which is no news
	bad = f.wait("bad", upAnew(bad.PID))
	f.crash(filepath.Join(dir, "upkeep.supervisor"), nil)
	f.lines = nil // of the one that is no more
	f.wait("web", unchanged(web))
	f.wait("bad", unchanged(bad))
	// A limit that is taken away is no more.
	f.remove("service/web/" + file)
	f.tell("web", "t")
	f.wait("web", upAnew(web.PID))
	if got := waitLines(t, f.dir("web/seen"), 2); got[1] == value {
		t.Errorf("%s was removed and is still %q", file, got[1])
	}
	f.tell("free", "u") // whose file says nothing without a cgroup
	f.wait("free", up)
	f.scanner.stop()
	if left := leaves(dir); len(left) > 1 || len(left) == 1 && left[0] != "upkeep.supervisor" {
		t.Errorf("left behind: %q", left)
	}
}

// TestCgroupDivided: a service may do with its cgroup what it likes, such as having a
// scanner of its own in it; its successor finds a new one, and nobody in it.
func TestCgroupDivided(t *testing.T) {
	t.Parallel()
	controller, file, value := limitFor(t)
	dir, name := ownCgroup(t)
	f := &cageScene{prepareFault(t, tree{
		"service/web/cgroup": "", "service/web/" + file: value,
		"service/web/run!": `#!/bin/sh
leaf=$CGROUPS$(sed -n s/^0:://p /proc/self/cgroup)
mkdir "$leaf/sub" "$leaf/other" || exit
echo 0 >"$leaf/sub/cgroup.procs"
echo +` + controller + ` >"$leaf/cgroup.subtree_control" || exit
[ $(wc -l <../../daemons || echo 0) = 1 ] ||
	(setsid sh -c 'echo 0 >"$1/other/cgroup.procs"; echo $$ >>../../daemons; exec sleep 1000' sh "$leaf" &)
until [ -s ../../daemons ]; do sleep 0.01; done
echo divided >>../../starts
exec sleep 1000
`, "daemons": ""}), dir, name}
	f.setenv("CGROUPS", cgroupMount(t))
	for _, other := range []string{"bystander", "bystander/log"} {
		f.make(tree{"service/" + other + "/down": ""})
	}
	f.beginAlone(inCgroup(dir)...)
	waitLines(t, f.path("starts"), 1)
	web := f.wait("web", up)
	daemon := f.pidIn("daemons", 1)
	f.tell("web", "t") // with somebody to kill
	waitEnd(t, daemon)
	waitLines(t, f.path("starts"), 2)
	web = f.wait("web", upAnew(web.PID))
	f.tell("web", "t") // and without
	waitLines(t, f.path("starts"), 3)
	f.wait("web", upAnew(web.PID))
	f.scanner.stop()
	if left := leaves(dir); len(left) != 1 || left[0] != "upkeep.supervisor" {
		t.Errorf("left behind: %q", left)
	}
}

// TestCgroupPids: a service cannot get round its limit.
func TestCgroupPids(t *testing.T) {
	t.Parallel()
	if controller, _, _ := limitFor(t); controller != "pids" {
		t.Skip("the controller pids cannot be given to a cgroup here; there is " + controller)
	}
	f := newCageScene(t, tree{
		"service/web/run!":   "#!/bin/sh\n(sleep 1000 & sleep 1000 & sleep 1000 & sleep 1000) 2>/dev/null || echo refused >>../../refusals\nexec sleep 1000\n",
		"service/web/cgroup": "", "service/web/pids.max": "3\n",
	}, "--cgroups")
	waitLines(t, f.path("refusals"), 1)
	if got := f.inside("web"); len(got) > 3 {
		t.Errorf("%d processes", len(got))
	}
}

// TestCgroupOccupied: processes that are not ours are left where they are, even if
// that rules limits out.
func TestCgroupOccupied(t *testing.T) {
	t.Parallel()
	_, file, value := limitFor(t)
	dir, name := ownCgroup(t)
	f := &cageScene{prepareFault(t, tree{
		"service/web/run!": faultSleeper, "service/web/cgroup": "", "service/web/" + file: value,
	}), dir, name}
	stranger := f.start("/bin/sh", "-c", `echo 0 >"$0/cgroup.procs"; echo $$ >stranger; exec sleep 1000`, dir)
	pid := f.pidIn("stranger", 1)
	f.begin(inCgroup(dir)...)
	f.says("supervise: warning: unable to set web/" + file + ": other processes are in the scanner's cgroup")
	web := f.wait("web", up)
	if got := f.inside("web"); !slices.Contains(got, int(web.PID)) {
		t.Errorf("%v are in the cgroup, without %d", got, web.PID)
	}
	if b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup"); err != nil || !bytes.Contains(b, []byte("0::"+name+"\n")) {
		t.Errorf("the stranger is in %q, %v", b, err)
	}
	f.scanner.stop()
	stranger.stop()
}

// TestCgroupNone: where there are no cgroups to be had, that is said once, and the
// process group is killed, also by a scanner that has taken over.
func TestCgroupNone(t *testing.T) {
	t.Parallel()
	needRoot(t)
	mount := cgroupMount(t)
	words := []string{"/usr/bin/unshare", "-m", "/bin/sh", "-c", `mount -o remount,bind,ro "$0" && exec "$@"`, mount}
	f := prepareFault(t, tree{
		"service/web/run!": "#!/bin/sh\nsleep 1000 &\necho $! >>../../helpers\n" +
			"ps -o pgid= -p $$ >>../../groups\nexec sleep 1000\n",
		"service/web/cgroup":   "",
		"service/other/run!":   faultSleeper,
		"service/other/cgroup": "",
		"service/other/down":   "",
	})
	f.begin(words...)
	f.says("svscan: warning: unable to create cgroup for web, killing its process group instead: read-only file system")
	web := f.wait("web", up)
	first := f.pidIn("helpers", 1)
	if group := f.pidIn("groups", 1); group != int(web.PID) {
		t.Errorf("process %d is in group %d", web.PID, group)
	}
	f.tell("other", "u")
	f.wait("other", up)
	f.signal(web.PID, unix.SIGKILL)
	waitEnd(t, first)
	web = f.wait("web", upAnew(web.PID))
	second := f.pidIn("helpers", 2)

	f.scanner.signal(unix.SIGKILL)
	f.scanner.wait()
	f.scanner.stopped, f.crashed = true, true
	f.scanner = f.start(words[0], append(append(words[1:], ours(t, "svscan")), f.path("service"))...)
	f.wait("web", unchanged(web))
	f.signal(web.PID, unix.SIGKILL)
	waitEnd(t, second)
	f.wait("web", upAnew(web.PID))
	f.pidIn("helpers", 3)
	waitFile(t, f.scanner.stderr, func(c string) bool { return strings.Contains(c, "killing its process group instead") })
	f.lines = nil
	f.says("svscan: warning: unable to create cgroup for web, killing its process group instead: read-only file system")
	if p, ok := lookAt(int(f.wait("bystander", up).PID)); !ok || p.state == 'Z' {
		t.Error("a bystander was hit")
	}
}

// TestCgroupNobody: somebody without rights is told so, and served all the same.
func TestCgroupNobody(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir, _ := ownCgroup(t)
	f := prepareFault(t, tree{"service/web/run!": faultSleeper, "service/web/cgroup": ""})
	f.begin(append(inCgroup(dir), f.giveTo(faultUser)...)...)
	f.says("svscan: warning: unable to create cgroup for web, killing its process group instead: access denied")
	web := f.wait("web", up)
	f.tell("web", "t")
	f.wait("web", upAnew(web.PID))
}

// TestCgroupDelegated: one whose cgroup was given to it does without root.
func TestCgroupDelegated(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir, name := ownCgroup(t)
	f := &cageScene{prepareFault(t, tree{"service/web/run!": cageDaemon, "service/web/cgroup": ""}), dir, name}
	f.setenv("CGROUPS", cgroupMount(t))
	for _, file := range []string{"", "/cgroup.procs", "/cgroup.subtree_control", "/cgroup.threads"} {
		if err := os.Chown(dir+file, faultUser, faultUser); err != nil {
			t.Fatal(err)
		}
	}
	f.begin(append(inCgroup(dir), f.giveTo(faultUser)...)...)
	web := f.wait("web", up)
	daemon := f.pidIn("daemons", 1)
	f.signal(web.PID, syscall.SIGKILL)
	waitEnd(t, daemon)
	f.wait("web", upAnew(web.PID))
	f.clean(2)
}
