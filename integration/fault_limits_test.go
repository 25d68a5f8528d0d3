package integration

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/svc"
)

// TestFaultNoDescriptors: with too few descriptors for all services, some run,
// and run well; the others follow when there is room. It is said once.
func TestFaultNoDescriptors(t *testing.T) {
	t.Parallel()
	const n = 60
	files := tree{}
	for i := range n {
		files[fmt.Sprintf("service/s%d/run!", i)] = faultSleeper
	}
	f := prepareFault(t, files)
	f.beginAlone("/bin/sh", "-c", `ulimit -S -n 150; ulimit -H -n 150; exec "$@"`, "sh")
	const enough = 12
	supervised := func() (names []string) {
		for i := range n {
			name := fmt.Sprint("s", i)
			d, err := svc.Open(f.dir(name), svc.StateDir)
			if err != nil {
				continue // it has been moved away
			}
			if ok, _ := d.Alive(); ok {
				names = append(names, name)
			}
			d.Close()
		}
		return names
	}
	f.until("the scanner speaks", func() bool { return f.scanner.said() != "" })
	f.until("a dozen services are supervised", func() bool { return len(supervised()) >= enough })
	f.pass(faultRetry) // at least one attempt more
	lucky := supervised()
	// Whatever is said to be supervised is: it has a process, and obeys.
	for _, name := range lucky {
		pid := f.wait(name, up).PID
		f.tell(name, "t")
		f.wait(name, upAnew(pid))
	}
	// No process runs that nobody can get hold of.
	if children := f.children(); len(children) > len(lucky)+2 {
		t.Errorf("%d processes for %d services", len(children), len(lucky))
	}
	said := f.scanner.said()
	if strings.Count(said, "\n") != 1 || !strings.Contains(said, "process cannot open more files") {
		t.Errorf("the scanner said %q", said)
	}
	f.lines = append(f.lines, strings.TrimSuffix(said, "\n"))

	// Half of those that run, and most of the others, go.
	gone := 0
	for i := range n {
		name := fmt.Sprint("s", i)
		k := slices.Index(lucky, name)
		if k >= enough/2 || k < 0 && gone < n-len(lucky)-enough/2 {
			f.rename("service/"+name, name)
			if k < 0 {
				gone++
			}
		}
	}
	f.scanner.signal(unix.SIGHUP)
	f.until("the others come up", func() bool { return len(supervised()) == enough })
	for _, name := range supervised() {
		f.wait(name, up)
	}
}

// TestFaultNoProcesses: the kernel refuses processes. It is said once for each
// service; what runs goes on, and what does not is started later.
func TestFaultNoProcesses(t *testing.T) {
	t.Parallel()
	needRoot(t)
	f := prepareFault(t, tree{
		"service/dies/run!": faultSleeper,
		"service/late/run!": faultSleeper,
		"service/late/down": "",
	})
	// Processes are counted by user, so this one must have no others.
	uid := 70000 + os.Getpid()%10000
	launch := f.giveTo(uid)
	f.begin(launch...)
	pid := f.wait("dies", up).PID
	f.wait("late", down)
	f.settled("bystander", "bystander/log", "dies")

	limit := func(n string) {
		t.Helper()
		if r := f.run(launch[0], append(launch[1:], "/usr/bin/prlimit", "--pid", strconv.Itoa(f.scanner.pid), "--nproc="+n)...); r.code != 0 {
			t.Fatal(r)
		}
	}
	// One less than there are: the one that dies leaves no room either.
	limit(fmt.Sprint(faultTasks(t, uid)-1, ":"))
	f.tell("late", "u")
	f.signal(pid, unix.SIGKILL)
	f.says("supervise: warning: unable to fork for late: temporary failure")
	f.says("supervise: warning: unable to fork for dies: temporary failure")
	// Meanwhile the scanner sees to everything else.
	f.make(tree{"new/run!": faultSleeper})
	if err := os.Lchown(f.path("new"), uid, uid); err != nil {
		t.Fatal(err)
	}
	f.rename("new", "service/new")
	f.says("supervise: warning: unable to fork for new: temporary failure")
	f.tell("bystander", "p")
	f.wait("bystander", paused)
	f.tell("bystander", "c")
	f.pass(3500 * time.Millisecond) // it is tried again after 1 s, then after 2
	limit("1000:")
	for _, name := range []string{"late", "dies", "new"} {
		f.wait(name, up)
	}
}

// faultTasks counts the threads of a user, which is what the kernel does.
func faultTasks(t *testing.T, uid int) (n int) {
	t.Helper()
	procs, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range procs {
		if st, err := os.Stat("/proc/" + p.Name()); err != nil || int(st.Sys().(*syscall.Stat_t).Uid) != uid {
			continue
		}
		tasks, err := os.ReadDir("/proc/" + p.Name() + "/task")
		if err == nil {
			n += len(tasks)
		}
	}
	return n
}
