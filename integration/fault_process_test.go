package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
	"upkeep/svc"
)

// TestFaultShortLived: a program that ends in less than a millisecond is started
// again every second: no end of it is missed, and no start comes early.
func TestFaultShortLived(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/short/run@": "/bin/true"})
	d, err := svc.Open(f.dir("short"), svc.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var starts []status.Record
	deaths := 0
	var last status.Stamp
	_, err = d.Wait(status.Daemontools, time.Now().Add(patience), func(r status.Record, alive bool) bool {
		switch {
		case !alive || r.Since == last:
		case r.PID != 0:
			starts = append(starts, r)
		default:
			deaths++
		}
		last = r.Since
		return deaths >= 6
	})
	if err != nil {
		t.Fatalf("it does not go on: %v, with %d ends", err, deaths)
	}
	for i := 1; i < len(starts); i++ {
		if d := faultTime(starts[i].Since).Sub(faultTime(starts[i-1].Since)); d < time.Second {
			t.Errorf("started after %v", d)
		}
	}
}

// faultStampers are services that end at once and write down when their process
// was made. None may run twice at the same time.
var faultStampers = map[string]string{
	"plain": "",
	// The directory changes while the service waits to be started again.
	"touches run":    "(sleep 0.1; chmod 755 run) & ",
	"replaces run":   "cp run new; (sleep 0.1; mv new run) & ",
	"touches down":   "(sleep 0.1; : >down; rm down) & ",
	"sends itself":   "(sleep 0.1; printf uuu 1<>supervise/control) & ",
	"down and up":    "(sleep 0.1; printf dudu 1<>supervise/control) & ",
	"kills itself":   "kill -9 $$; ",
	"leaves a child": "sleep 0.9 & ",
}

// TestFaultSpacing: two starts are a second apart, whatever happens between.
func TestFaultSpacing(t *testing.T) {
	t.Parallel()
	for name, act := range faultStampers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFaultScene(t, tree{"service/short/run!": "#!/bin/sh\n" +
				"mkdir ../../alone || echo two >>../../stamps\n" +
				"read -r a b c d e f g h i j k l m n o p q r s t u started rest </proc/$$/stat\n" +
				"echo $started >>../../stamps\n" +
				"rmdir ../../alone\n" + act + "exit 0\n"})
			lines := waitLines(t, f.path("stamps"), 5)
			f.tell("short", "d")
			var stamps []int // clock ticks, of which the kernel shows a hundred a second
			for _, line := range lines {
				stamp, err := strconv.Atoi(line)
				if err != nil {
					t.Fatalf("it wrote %q", line)
				}
				stamps = append(stamps, stamp)
			}
			// The first process may be made a little after its time.
			all := time.Duration(stamps[len(stamps)-1]-stamps[0]) * 10 * time.Millisecond
			if least := time.Duration(len(stamps)-1) * time.Second; all < least-100*time.Millisecond {
				t.Errorf("%d starts in %v", len(stamps), all)
			}
		})
	}
}

// TestFaultIgnoresTerm: svc -d leaves a service alone that ignores TERM, and
// svc -k ends it. The shutdown grants it ten seconds.
func TestFaultIgnoresTerm(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"service/told/run!":     "#!/bin/sh\nexec tracer -ignore SIGTERM\n",
		"service/stubborn/run!": "#!/bin/sh\nexec tracer -ignore SIGTERM\n",
	})
	for _, name := range []string{"told", "stubborn"} {
		f.wait(name, up)
		waitLines(t, f.dir(name, "trace"), 1)
	}
	f.tell("told", "d")
	waitLines(t, f.dir("told/trace"), 2)
	f.wait("told", func(r status.Record, alive bool) bool { return up(r, alive) && r.Want == status.WantDown })
	f.tell("told", "k")
	f.wait("told", down)

	began := time.Now()
	f.scanner.signal(syscall.SIGTERM)
	if code := f.scanner.wait(); code != 0 {
		t.Errorf("the scanner ended with %d", code)
	}
	if d := time.Since(began); d < 10*time.Second {
		t.Errorf("it was killed after %v", d)
	}
	if got := f.read("service/stubborn/trace"); got != "start\nSIGTERM\n" {
		t.Errorf("the service got %q", got)
	}
}

// TestFaultStopped: a service that is stopped goes down when it is told to,
// whoever stopped it.
func TestFaultStopped(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"service/foreign/run!":  faultTracer,
		"service/paused/run!":   faultTracer,
		"service/shutdown/run!": faultTracer,
	})
	for _, name := range []string{"foreign", "paused", "shutdown"} {
		pid := f.wait(name, up).PID
		waitLines(t, f.dir(name, "trace"), 1)
		if name == "paused" {
			f.tell(name, "p")
		} else {
			f.signal(pid, syscall.SIGSTOP)
		}
		waitFrozen(t, int(pid))
	}
	for _, name := range []string{"foreign", "paused"} {
		f.tell(name, "d")
		if r := f.wait(name, down); r.Paused {
			t.Errorf("%s is paused still", name)
		}
	}
	f.scanner.stop()
	for _, name := range []string{"foreign", "paused", "shutdown"} {
		if got := f.read("service/" + name + "/trace"); got != "start\nSIGTERM\n" {
			t.Errorf("%s got %q", name, got)
		}
	}
}

// TestFaultInheritance: what a scanner was started with in the way of
// descriptors, signals and limits does not reach its services, save for the
// limits, the environment and the standard descriptors.
func TestFaultInheritance(t *testing.T) {
	t.Parallel()
	f := prepareFault(t, tree{
		"service/web/run!":     faultSleeper,
		"service/web/finish!":  faultSleeper,
		"service/web/log/run!": "#!/bin/sh\nexec sleep 1000\n",
	})
	f.begin("/usr/bin/env", "--ignore-signal=INT,QUIT,USR1,PIPE,TSTP", "--block-signal=USR2,ALRM,CHLD",
		"/bin/sh", "-c", `ulimit -S -n 512; exec 7</dev/null 8>&1 9<"$0"; exec "$@"`, f.root)
	web := f.wait("web", up)
	checkFaultInheritance(t, f, "run", web.PID, "web", map[int]int{})
	logger := f.wait("web/log", up)
	checkFaultInheritance(t, f, "log/run", logger.PID, "web/log", map[int]int{1: 1})
	if w, l := faultLink(t, web.PID, 1), faultLink(t, logger.PID, 0); w != l || !strings.HasPrefix(w, "pipe:") {
		t.Errorf("the service writes to %s, its log reads from %s", w, l)
	}
	f.tell("web", "d")
	finish := f.wait("web", upAnew(web.PID))
	checkFaultInheritance(t, f, "finish", finish.PID, "web", map[int]int{})
	f.signal(finish.PID, syscall.SIGKILL)
	f.wait("web", down)
}

func faultLink(t testing.TB, pid uint32, fd int) string {
	t.Helper()
	to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// checkFaultInheritance looks at a process that has executed sleep. same lists
// descriptors which must be the scanner's.
func checkFaultInheritance(t *testing.T, f *faultScene, what string, pid uint32, dir string, same map[int]int) {
	t.Helper()
	f.until(what+" is executed", func() bool {
		r, ok := lookAt(int(pid))
		return ok && strings.HasPrefix(r.command, "sleep") && r.state == 'S' // and has its libraries
	})
	proc := fmt.Sprintf("/proc/%d/", pid)
	fds, err := os.ReadDir(proc + "fd")
	if err != nil {
		t.Fatal(err)
	}
	var numbers []string
	for _, fd := range fds {
		numbers = append(numbers, fd.Name())
	}
	if !slices.Equal(numbers, []string{"0", "1", "2"}) {
		t.Errorf("%s has the descriptors %v", what, numbers)
	}
	same[2] = 2
	for fd, theirs := range same {
		if got, want := faultLink(t, pid, fd), faultLink(t, uint32(f.scanner.pid), theirs); got != want {
			t.Errorf("%s has %s as descriptor %d, want %s", what, got, fd, want)
		}
	}
	if cwd, err := os.Readlink(proc + "cwd"); err != nil || cwd != f.dir(dir) {
		t.Errorf("%s works in %s, %v", what, cwd, err)
	}
	of := faultFields(t, proc+"status")
	for _, set := range []string{"SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd"} {
		if strings.Trim(of[set], "0") != "" {
			t.Errorf("%s has %s %s", what, set, of[set])
		}
	}
	scanner := faultFields(t, fmt.Sprintf("/proc/%d/status", f.scanner.pid))
	for _, key := range []string{"Umask", "Uid", "Gid", "Groups", "NoNewPrivs", "CapEff", "NSpgid", "NSsid"} {
		if key == "NSpgid" || key == "NSsid" {
			of[key], scanner[key] = strings.Fields(of[key])[0], strings.Fields(scanner[key])[0]
		}
		if of[key] != scanner[key] {
			t.Errorf("%s has %s %s, the scanner %s", what, key, of[key], scanner[key])
		}
	}
	for _, limit := range []string{"/limits", "/environ"} {
		mine, err := os.ReadFile(proc + limit)
		theirs, err2 := os.ReadFile(fmt.Sprintf("/proc/%d%s", f.scanner.pid, limit))
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		if limit == "/limits" {
			// The soft limit of open files is the one it was started with.
			if !strings.Contains(string(mine), "\nMax open files            512 ") {
				t.Errorf("%s has the limits\n%s", what, mine)
			}
			continue
		}
		if got, want := faultEnvironment(mine), faultEnvironment(theirs); !slices.Equal(got, want) {
			t.Errorf("%s has the environment %q, want %q", what, got, want)
		}
	}
}

// faultEnvironment is sorted, and without what the shell of a run script changes.
func faultEnvironment(b []byte) (list []string) {
	for _, v := range strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00") {
		switch name, _, _ := strings.Cut(v, "="); name {
		case "PWD", "OLDPWD", "_", "SHLVL":
		default:
			list = append(list, v)
		}
	}
	slices.Sort(list)
	return list
}

// faultFields reads a file of lines like "Key:\tvalue".
func faultFields(t testing.TB, path string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(line, ":")
		fields[key] = strings.TrimSpace(value)
	}
	return fields
}

// TestFaultClosedStandardError: a scanner whose standard error is a pipe that
// nobody reads any more goes on, and so do its services.
func TestFaultClosedStandardError(t *testing.T) {
	t.Parallel()
	f := prepareFault(t, tree{"service/bad/run!": "no interpreter\n", "service/web/run!": faultSleeper})
	f.begin("/bin/sh", "-c", `mkfifo "$0/fifo"; exec 3<>"$0/fifo"; exec 2>"$0/fifo" 3<&-; exec "$@"`, f.root)
	f.attempts("bad", 3)
	pid := f.wait("web", up).PID
	f.tell("web", "t")
	f.wait("web", upAnew(pid))
	f.make(tree{"service/bad/run!": faultSleeper})
	f.wait("bad", up)
}

// TestFaultExecHangs: while the start of a service's successor hangs, as from a
// dead file system, the others are stopped and started, and their status tells.
func TestFaultExecHangs(t *testing.T) {
	t.Parallel()
	files := tree{"service/hung/run!": faultSleeper}
	// Of either disk lane.
	names := []string{"a", "b", "c", "d"}
	for _, name := range names {
		files["service/"+name+"/run!"] = faultSleeper
	}
	f := newFaultScene(t, files)
	hung := f.wait("hung", up).PID
	f.runs("hung", 0)
	for _, name := range names {
		f.wait(name, up)
	}
	// Who opens a file on which there is a lease waits until the holder gives it up.
	run, err := unix.Open(f.dir("hung/run"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(run)
	if _, err := unix.FcntlInt(uintptr(run), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Skipf("no lease: %v", err)
	}
	f.pass(time.Second + 100*time.Millisecond) // so that its successor follows at once
	f.tell("hung", "t")
	waitEnd(t, int(hung))
	for _, name := range names {
		f.tell(name, "d")
	}
	for _, name := range names {
		f.wait(name, down)
	}
	// It goes by the order of events: nobody waited until the start was found to hang.
	if text, err := os.ReadFile(f.scanner.stderr); err != nil || strings.Contains(string(text), "takes long") {
		t.Errorf("they had to wait for the one that hangs")
	}
	f.says("supervise: warning: starting hung/run takes long")
	for _, name := range names {
		f.tell(name, "u")
		f.wait(name, up)
	}
	if _, err := unix.FcntlInt(uintptr(run), unix.F_SETLEASE, unix.F_UNLCK); err != nil {
		t.Fatal(err)
	}
	f.wait("hung", upAnew(hung))
}
