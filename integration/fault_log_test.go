package integration

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFaultLogAdded: a log service that is added later is started, and its
// service writes to it from its next start on.
func TestFaultLogAdded(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/web/run!": "#!/bin/sh\necho hello\nexec sleep 1000\n"})
	pid := f.wait("web", up).PID
	f.make(tree{"log/run!": "#!/bin/sh\nexec cat >>../../../logged\n"})
	f.rename("log", "service/web/log")
	f.until("there is a state directory", func() bool {
		_, err := os.Stat(f.dir("web/log/supervise/ok"))
		return err == nil
	})
	f.wait("web/log", up)
	f.same("service/web", pid)
	f.tell("web", "t")
	pid = f.wait("web", upAnew(pid)).PID
	waitLines(t, f.path("logged"), 1)
	f.tell("web", "t")
	f.wait("web", upAnew(pid))
	waitLines(t, f.path("logged"), 2)
	f.scanner.stop()
	if got := f.read("logged"); got != "hello\nhello\n" {
		t.Errorf("logged is %q", got)
	}
}

// TestFaultLogIsFile: a file called log is no log service.
func TestFaultLogIsFile(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/web/run!": "#!/bin/sh\necho hello\nexec sleep 1000\n", "service/web/log": ""})
	pid := f.wait("web", up).PID
	f.until("its output is the scanner's", func() bool {
		return faultLink(t, pid, 1) == f.scanner.stdout
	})
}

// TestFaultLogKilled: what a service writes while its log service is dead waits
// in the pipe. The logger is killed each time when it has nothing in hand.
func TestFaultLogKilled(t *testing.T) {
	t.Parallel()
	f := prepareFault(t, tree{
		"service/web/run!":     "#!/bin/sh\nwhile read line; do i=0; while [ $i -lt 100 ]; do echo $line $i; i=$((i+1)); done; done <>../../orders\n",
		"service/web/log/run!": "#!/bin/sh\nexec 1>>../../../logged\nwhile read -r line; do echo \"$line\"; done\n",
	})
	if err := unix.Mkfifo(f.path("orders"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.begin()
	pid := f.wait("web", up).PID
	orders, err := os.OpenFile(f.path("orders"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer orders.Close()
	var want strings.Builder
	batches := []syscall.Signal{unix.SIGKILL, unix.SIGTERM, unix.SIGKILL, unix.SIGHUP, unix.SIGTERM}
	for n, sig := range batches {
		logger := f.wait("web/log", up).PID
		f.signal(logger, sig)
		waitEnd(t, int(logger))
		fmt.Fprintf(orders, "%d\n", n)
		for i := range 100 {
			fmt.Fprintf(&want, "%d %d\n", n, i)
		}
		f.wait("web/log", upAnew(logger))
		waitLines(t, f.path("logged"), 100*(n+1))
	}
	f.same("service/web", pid)
	if got := f.read("logged"); got != want.String() {
		t.Errorf("of %d lines %d came through", 100*len(batches), strings.Count(got, "\n"))
	}
}

// TestFaultLogKilledAnywhere: a logger that is killed at any moment takes with it
// at most the line it has in hand: it reads byte by byte, so as to take nothing
// else out of the pipe.
func TestFaultLogKilledAnywhere(t *testing.T) {
	t.Parallel()
	const n, kills = 20000, 4
	f := newFaultScene(t, tree{
		"service/web/run!": fmt.Sprintf("#!/bin/sh\ni=0; while [ $i -lt %d ]; do echo line $i; i=$((i+1)); done; echo end\nexec sleep 1000\n", n),
		// It reads slowly enough for all the kills to fall into the middle.
		"service/web/log/run!": "#!/bin/sh\nexec 1>>../../../logged\nn=0\nwhile read -r line; do echo \"$line\"\nn=$((n+1)); [ $((n % 5)) != 0 ] || sleep 0.001; done\n",
	})
	pid := f.wait("web", up).PID
	for i, sig := range []syscall.Signal{unix.SIGKILL, unix.SIGTERM, unix.SIGKILL, unix.SIGTERM} {
		logger := f.wait("web/log", up).PID
		waitLines(t, f.path("logged"), 100*(i+1))
		f.signal(logger, sig)
		f.wait("web/log", upAnew(logger))
	}
	// The last logger may hurry.
	f.make(tree{"service/web/log/run!": "#!/bin/sh\nexec cat >>../../../logged\n"})
	f.kill("web/log")
	waitFile(t, f.path("logged"), func(c string) bool { return strings.HasSuffix(c, "\nend\n") })
	f.same("service/web", pid)

	last, missing, broken := -1, 0, 0
	for line := range strings.Lines(strings.TrimSuffix(f.read("logged"), "end\n")) {
		number, ok := strings.CutPrefix(strings.TrimSpace(line), "line ")
		i, err := strconv.Atoi(number)
		if !ok || err != nil || i <= last || i >= n {
			broken++ // what is left of a line in hand
			continue
		}
		missing += i - last - 1
		last = i
	}
	missing += n - 1 - last
	if missing > kills+1 || broken > kills+1 {
		t.Errorf("after %d kills %d lines are missing and %d broken", kills+1, missing, broken)
	}
}

// TestFaultLogStopped: a service that floods a logger which is stopped has to
// wait, but nobody else has; it obeys meanwhile.
func TestFaultLogStopped(t *testing.T) {
	t.Parallel()
	const size = 300000 // more than a pipe takes
	f := newFaultScene(t, tree{
		"service/web/run!": "#!/bin/sh\nhead -c 300000 /dev/zero\n: >../../written\nexec sleep 1000\n",
		"service/web/down": "", "service/web/log/run!": "#!/bin/sh\nexec cat >>../../../logged\n",
	})
	logger := f.wait("web/log", up).PID
	f.until("cat runs", func() bool { r, _ := lookAt(int(logger)); return r.command == "cat" })
	f.signal(logger, unix.SIGSTOP)
	waitFrozen(t, int(logger))
	f.tell("web", "u")
	pid := f.wait("web", up).PID
	pipe, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/0", logger), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	full := func() bool {
		n, err := unix.IoctlGetInt(int(pipe.Fd()), unix.TIOCINQ)
		return err == nil && n == 65536
	}
	f.until("the pipe is full", full)
	// All others go on.
	f.tell("bystander", "p")
	f.wait("bystander", paused)
	f.tell("bystander", "c")
	f.make(tree{"service/after/run!": faultSleeper})
	f.wait("after", up)
	// The service itself can be told to pause and to start anew.
	f.tell("web", "p")
	f.wait("web", paused)
	f.tell("web", "ck")
	pid = f.wait("web", upAnew(pid)).PID
	f.until("the pipe is full", full)
	if _, err := os.Stat(f.path("written")); !os.IsNotExist(err) {
		t.Error("the service wrote everything to a logger that reads nothing")
	}
	if err := pipe.Close(); err != nil {
		t.Fatal(err)
	}
	f.signal(logger, unix.SIGCONT)
	waitFile(t, f.path("logged"), func(c string) bool {
		_, err := os.Stat(f.path("written"))
		return err == nil && len(c) >= size+65536
	})
	f.same("service/web", pid)
	f.same("service/web/log", logger)
}

// TestFaultLogNoEnd: a logger sees no end of its input as long as its service
// is supervised, though it closes its output, ends, or is down.
func TestFaultLogNoEnd(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"service/web/run!":     "#!/bin/sh\necho hello\nexec >&- 2>&-\nexec sleep 1000\n",
		"service/web/log/run!": "#!/bin/sh\ncat\necho end\n",
	})
	logger := f.wait("web/log", up).PID
	waitLines(t, f.scanner.stdout, 1)
	f.kill("web")
	waitLines(t, f.scanner.stdout, 2)
	f.tell("web", "d")
	f.wait("web", down)
	f.pass(faultQuiet)
	f.same("service/web/log", logger)
	f.scanner.stop()
	if b, err := os.ReadFile(f.scanner.stdout); err != nil || string(b) != "hello\nhello\nend\n" {
		t.Errorf("logged is %q, %v", b, err)
	}
}

// TestFaultLogPausedShutdown: a logger that does not read is no reason not to
// stop; it gets its ten seconds.
func TestFaultLogPausedShutdown(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/web/run!": faultSleeper, "service/web/log/run!": faultCat})
	f.wait("web", up)
	logger := f.wait("web/log", up).PID
	f.signal(logger, unix.SIGSTOP)
	waitFrozen(t, int(logger))
	f.scanner.stop()
}

// TestFaultShutdown: on TERM and INT services stop before their loggers, which
// get everything there is, to the end.
func TestFaultShutdown(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGINT} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			t.Parallel()
			// More last words than a pipe takes.
			f := newFaultScene(t, tree{
				"service/web/run!": "#!/bin/sh\ntrap 'i=0; while [ $i -lt 9999 ]; do echo last word $i; i=$((i+1)); done; exit 0' TERM\n" +
					"echo first word\nwhile :; do sleep 0.05; done\n",
				"service/web/log/run!": "#!/bin/sh\ntrap 'echo TERM >>../../../logged' TERM\ncat >>../../../logged\necho end >>../../../logged\n",
			})
			f.wait("web", up)
			f.wait("web/log", up)
			waitLines(t, f.path("logged"), 1)
			f.scanner.signal(sig)
			if code := f.scanner.wait(); code != 0 {
				t.Errorf("the scanner ended with %d", code)
			}
			var want strings.Builder
			want.WriteString("first word\n")
			for i := range 9999 {
				fmt.Fprintf(&want, "last word %d\n", i)
			}
			want.WriteString("end\n")
			if got := f.read("logged"); got != want.String() {
				t.Errorf("logged are %d bytes, want %d; they end with %q", len(got), want.Len(), got[max(len(got)-100, 0):])
			}
			for _, name := range []string{"web", "web/log", "bystander", "bystander/log"} {
				if r := f.run(ours(t, "svok"), f.dir(name)); r.code != 100 {
					t.Errorf("svok %s: %v", name, r)
				}
				if r := waitStatus(t, f.dir(name), abandoned); r.PID != 0 {
					t.Errorf("%s is left with the status %+v", name, r)
				}
			}
		})
	}
}

// TestFaultShutdownOnce: a shutdown starts nothing, neither loggers, which see
// their end coming, nor what has just died.
func TestFaultShutdownOnce(t *testing.T) {
	t.Parallel()
	const n = 50
	files := tree{}
	for i := range n {
		dir := fmt.Sprintf("service/s%d/", i)
		files[dir+"run!"] = "#!/bin/sh\necho start >>../../starts\nexec sleep 1000\n"
		files[dir+"log/run!"] = "#!/bin/sh\necho start >>../../../starts\nexec cat\n"
	}
	f := newFaultScene(t, files)
	waitLines(t, f.path("starts"), 2*n)
	f.scanner.stop()
	if got := strings.Count(f.read("starts"), "start\n"); got != 2*n {
		t.Errorf("%d services were started %d times", 2*n, got)
	}
}
