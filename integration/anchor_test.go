package integration

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

// anchored is a scanner below an anchor.
type anchored struct {
	*container
	anchor  int // its pid
	crashes int
}

// newAnchored starts svscan --anchor on the directory service of a site, as PID 1 of a
// namespace if inside.
func newAnchored(t *testing.T, s *site, inside bool, options ...string) *anchored {
	t.Helper()
	options = append([]string{"--anchor"}, options...)
	if inside {
		a := &anchored{container: inNamespace(t, s, "", nil, options...)}
		a.anchor = a.first()
		return a
	}
	a := &anchored{container: &container{site: s}}
	a.scanner = s.svscan(ours(t, "svscan"), append(options, s.path("service"))...)
	a.anchor = a.scanner.pid
	return a
}

// worker waits for a scanner that is not the one with pid last.
func (a *anchored) worker(last int) (pid int) {
	a.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		for _, r := range a.left() {
			if r.ppid == a.anchor && r.pid != last && r.state != 'Z' && r.program() == "svscan" {
				return r.pid
			}
		}
		if !a.scanner.alive() || time.Now().After(deadline) {
			a.t.Fatalf("there is no other scanner; it said %q", a.scanner.said())
		}
	}
}

// crash kills a scanner, and returns its pid.
func (a *anchored) crash(pid int) int {
	a.t.Helper()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		a.t.Fatal(err)
	}
	a.crashes++
	return pid
}

// gap makes a time without a scanner: the second of two crashes is followed by a pause.
func (a *anchored) gap() (last int) {
	a.t.Helper()
	return a.crash(a.worker(a.crash(a.worker(0))))
}

// signal sends a signal to the anchor.
func (a *anchored) signal(sig unix.Signal) {
	a.t.Helper()
	a.scanner.expected = true
	if err := unix.Kill(a.anchor, sig); err != nil {
		a.t.Fatal(err)
	}
}

var anchorPID = regexp.MustCompile(`svscan \d+ `)

// ends waits until the anchor exits with code, having said that there were crashes,
// and lines.
func (a *anchored) ends(code int, lines ...string) {
	a.t.Helper()
	if got := a.scanner.wait(); got != code {
		a.t.Errorf("the anchor ended with %d, not %d", got, code)
	}
	for range a.crashes {
		lines = append(lines, "svscan: warning: svscan N was killed by signal 9, starting another")
	}
	slices.Sort(lines)
	said := strings.Split(anchorPID.ReplaceAllString(a.scanner.said(), "svscan N "), "\n")
	said = said[:len(said)-1]
	slices.Sort(said)
	if !slices.Equal(said, lines) {
		a.t.Errorf("it said\n%s\nexpected is\n%s", strings.Join(said, "\n"), strings.Join(lines, "\n"))
	}
}

// both runs a test outside and inside of a pid namespace.
func both(t *testing.T, test func(t *testing.T, inside bool)) {
	t.Parallel()
	for _, inside := range []bool{false, true} {
		t.Run(map[bool]string{false: "outside", true: "PID 1"}[inside], func(t *testing.T) {
			t.Parallel()
			test(t, inside)
		})
	}
}

// TestAnchorCrash: a scanner that is killed is followed by another, which finds the same
// processes and their log pipes, and knows how those ended that ended before it came,
// or later.
func TestAnchorCrash(t *testing.T) {
	both(t, func(t *testing.T, inside bool) {
		s := newSite(t, tree{
			"service/web/run!":     "#!/bin/sh\nread line <../../go-web; echo one; read line <../../go-web; echo two; exec sleep 1000\n",
			"service/web/log/run!": "#!/bin/sh\ncat >>../../../lines; echo over >>../../../lines\n",
			"service/dies/run!":    "#!/bin/sh\necho start >>../../starts\nread line <../../go; exit 17\n",
			"service/dies/finish!": "#!/bin/sh\necho $* >>../../ends\n",
		})
		for _, fifo := range []string{"go", "go-web"} {
			if err := unix.Mkfifo(s.path(fifo), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		a := newAnchored(t, s, inside)
		web, logger := waitStatus(t, a.path("service/web"), up), waitStatus(t, a.path("service/web/log"), up)
		waitLines(t, a.path("starts"), 1)
		waitStatus(t, a.path("service/dies"), up)

		a.worker(a.crash(a.worker(0)))
		waitStatus(t, a.path("service/web"), unchanged(web))
		waitStatus(t, a.path("service/web/log"), unchanged(logger))
		a.open("go-web")
		waitLines(t, a.path("lines"), 1)
		a.open("go")
		if got := waitLines(t, a.path("ends"), 1); got[0] != "17 0" {
			t.Errorf("after the adoption, finish was told %q", got)
		}
		waitLines(t, a.path("starts"), 2)
		dies := waitStatus(t, a.path("service/dies"), up)

		last := a.gap()
		a.open("go")
		a.worker(last)
		if got := waitLines(t, a.path("ends"), 2); got[1] != "17 0" {
			t.Errorf("before the adoption, finish was told %q", got)
		}
		waitLines(t, a.path("starts"), 3)
		waitStatus(t, a.path("service/dies"), upAnew(dies.PID))
		waitStatus(t, a.path("service/web"), unchanged(web))
		a.open("go-web")
		waitLines(t, a.path("lines"), 2)
		a.signal(unix.SIGTERM)
		a.ends(0)
		if got := a.read("lines"); got != "one\ntwo\nover\n" {
			t.Errorf("the log is %q", got)
		}
		if got := a.read("starts"); got != "start\nstart\nstart\n" {
			t.Errorf("starts are %q", got)
		}
	})
}

// TestAnchorQueue: more services end while there is no scanner than the socket has room
// for, and the next scanner knows how each did.
func TestAnchorQueue(t *testing.T) {
	t.Parallel()
	n := 1000
	if raceEnabled {
		n = 400
	}
	signals := []unix.Signal{unix.SIGKILL, unix.SIGTERM, unix.SIGINT, unix.SIGUSR1, unix.SIGALRM, unix.SIGHUP}
	files := tree{}
	for i := range n {
		name := fmt.Sprintf("service/s%d/", i)
		files[name+"run!"] = "#!/bin/sh\necho ${PWD##*/s} $$ >>../../pids\nexec sleep 1000\n"
		files[name+"finish!"] = "#!/bin/sh\necho ${PWD##*/s} $* >>../../ends\n"
	}
	a := newAnchored(t, newSite(t, files), false)
	a.scanner.finish = func() error { return nil } // to ask each takes long; sweep sees what is left
	pids := make([]int, n)
	for _, line := range waitLines(t, a.path("pids"), n) {
		var i, pid int
		if _, err := fmt.Sscan(line, &i, &pid); err != nil {
			t.Fatal(line, err)
		}
		pids[i] = pid
	}
	// A shell would wait for a moment.
	for _, pid := range pids {
		for r, _ := lookAt(pid); !strings.HasPrefix(r.command, "sleep"); r, _ = lookAt(pid) {
			time.Sleep(time.Millisecond)
		}
	}
	last := a.gap()
	for i, pid := range pids {
		if err := unix.Kill(pid, signals[i%len(signals)]); err != nil {
			t.Fatal(err)
		}
	}
	a.worker(last)
	wrong := 0
	for _, line := range waitLines(t, a.path("ends"), n) {
		var i, code, sig int
		if _, err := fmt.Sscan(line, &i, &code, &sig); err != nil {
			t.Fatal(line, err)
		}
		if code != -1 || sig != int(signals[i%len(signals)]) {
			wrong++
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d services ended in another way than finish was told", wrong, n)
	}
	a.signal(unix.SIGTERM)
	a.ends(0)
}

// TestAnchorCode: the exit code is that of the scanner.
func TestAnchorCode(t *testing.T) {
	t.Parallel()
	const exits = "#!/bin/sh\n: >../../ready-web\nread line <../../go; exit %d\n"
	for _, x := range []struct {
		name string
		exit int
		code int
		end  func(a *anchored)
	}{
		{"main exits", 17, 17, func(a *anchored) { a.open("go") }},
		{"main exits as a Go program crashes", 2, 2, func(a *anchored) { a.open("go") }},
		{"TERM", 17, 143, func(a *anchored) { a.signal(unix.SIGTERM) }},
		{"INT", 17, 143, func(a *anchored) { a.signal(unix.SIGINT) }},
		{"main exits after a crash", 17, 17, func(a *anchored) {
			web := waitStatus(a.t, a.path("service/web"), up)
			a.worker(a.crash(a.worker(0)))
			waitStatus(a.t, a.path("service/web"), unchanged(web))
			a.open("go")
		}},
		{"main exits between two scanners", 17, 17, func(a *anchored) {
			a.gap()
			a.open("go")
		}},
		{"TERM between two scanners", 17, 143, func(a *anchored) {
			a.gap()
			a.signal(unix.SIGTERM)
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, tree{
				"service/web/run!":   fmt.Sprintf(exits, x.exit),
				"service/other/run!": "#!/bin/sh\necho start >>../../starts\nexec sleep 1000\n",
			})
			if err := unix.Mkfifo(s.path("go"), 0o600); err != nil {
				t.Fatal(err)
			}
			a := newAnchored(t, s, false, "--main", "web")
			a.ready("web")
			waitLines(t, a.path("starts"), 1)
			waitStatus(t, a.path("service/web"), up)
			waitStatus(t, a.path("service/other"), up)
			x.end(a)
			a.ends(x.code)
			if got := a.read("starts"); got != "start\n" {
				t.Errorf("starts are %q", got)
			}
		})
	}
}

// TestAnchorCannotStart: what is wrong from the beginning is said once, and not tried
// again.
func TestAnchorCannotStart(t *testing.T) {
	t.Parallel()
	s := newSite(t, tree{"service/web/run!": faultSleeper})
	svscan := ours(t, "svscan")
	for _, c := range []struct {
		args []string
		code int
		said string
	}{
		{[]string{svscan, "--anchor", "--anker", "service"}, 100, "svscan: usage: "},
		{[]string{svscan, "--anchor", "missing"}, 111, "svscan: fatal: unable to chdir to missing: file does not exist\n"},
		{[]string{"/bin/sh", "-c", "ulimit -n 12; exec \"$@\"", "sh", svscan, "--anchor", "service"}, 111,
			"svscan: fatal: unable to reserve descriptors: "},
		{[]string{svscan, "--anchor", "--main", "other", "service"}, 111,
			"svscan: fatal: unable to find main service other: file does not exist\n"},
	} {
		r := s.run(c.args[0], c.args[1:]...)
		if r.code != c.code || !strings.HasPrefix(r.stderr, c.said) || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%q: %v", c.args, r)
		}
	}
}

// TestAnchorPace: scanners that crash at once follow each other at a bearable pace.
func TestAnchorPace(t *testing.T) {
	t.Parallel()
	a := newAnchored(t, newSite(t, tree{"service/web/run!": faultSleeper}), false)
	web := waitStatus(t, a.path("service/web"), up)
	var starts []uint64
	last := 0
	for range 4 {
		last = a.worker(last)
		starts = append(starts, startOf(t, last))
		a.crash(last)
	}
	for i, start := range starts[1:] {
		if d := start - starts[i]; d < 99 {
			t.Errorf("start %d came %d ticks after the one before", i+1, d)
		}
	}
	a.worker(last)
	waitStatus(t, a.path("service/web"), unchanged(web))
	a.signal(unix.SIGTERM)
	a.ends(0)
}

// startOf is when a process was started, in hundredths of a second.
func startOf(t *testing.T, pid int) uint64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	n, err := strconv.ParseUint(f[22-3], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestAnchorKilled: a scanner whose anchor is killed says so once, and goes on.
func TestAnchorKilled(t *testing.T) {
	t.Parallel()
	a := newAnchored(t, newSite(t, tree{"service/web/run!": faultSleeper}), false)
	waitStatus(t, a.path("service/web"), up)
	worker := a.worker(a.crash(a.worker(0))) // so that web is not its child
	web := waitStatus(t, a.path("service/web"), supervised)
	a.signal(unix.SIGKILL)
	waitFile(t, a.scanner.stderr, func(c string) bool {
		return strings.HasSuffix(c, "svscan: warning: the anchor is gone: after a crash nobody would start svscan again\n")
	})
	waitStatus(t, a.path("service/web"), unchanged(web))
	if err := unix.Kill(int(web.PID), unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitStatus(t, a.path("service/web"), upAnew(web.PID))
	if err := unix.Kill(worker, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitEnd(t, worker)
	a.ends(-1, "svscan: warning: the anchor is gone: after a crash nobody would start svscan again")
}

// TestAnchorStopCrash: a stop that the scanner does not survive is gone on with.
func TestAnchorStopCrash(t *testing.T) {
	both(t, func(t *testing.T, inside bool) {
		s := newSite(t, tree{
			"service/web/run!":     "#!/bin/sh\ntrap ': >../../ready-term' TERM\n: >../../ready-web\nwhile :; do sleep 0.02; [ ! -e ../../go ] || exit 5; done\n",
			"service/web/finish!":  "#!/bin/sh\necho $* >>../../ends\n",
			"service/other/run!":   "#!/bin/sh\necho start >>../../starts\nexec sleep 1000\n",
			"service/stopped/run!": faultSleeper,
		})
		// PID 1 has a deadline, and would kill web on a busy machine.
		a := newAnchored(t, s, inside, "--main", "other", "--deadline", "0")
		a.ready("web")
		waitLines(t, a.path("starts"), 1)
		for _, name := range []string{"web", "other", "stopped"} {
			waitStatus(t, a.path("service", name), up)
		}
		worker := a.worker(0)
		a.signal(unix.SIGTERM)
		a.ready("term")
		for _, name := range []string{"other", "stopped"} {
			waitStatus(t, a.path("service", name), abandoned)
		}
		a.worker(a.crash(worker))
		waitStatus(t, a.path("service/web"), func(r status.Record, alive bool) bool { return alive })
		a.make(tree{"go": ""})
		a.ends(143) // of other, which the first scanner has seen to end
		if got := a.read("ends"); got != "5 0\n" {
			t.Errorf("finish was told %q", got)
		}
		if got := a.read("starts"); got != "start\n" {
			t.Errorf("starts are %q", got)
		}
	})
}

// TestAnchorHidden: services get neither the variable nor the socket, from none of the
// scanners.
func TestAnchorHidden(t *testing.T) {
	t.Parallel()
	const shows = "#!/bin/sh\necho UPKEEP_ANCHOR=$UPKEEP_ANCHOR $(ls /proc/self/fd) >>../../shown\nexec sleep 1000\n"
	a := newAnchored(t, newSite(t, tree{"service/a/run!": shows}), false)
	waitLines(t, a.path("shown"), 1)
	waitStatus(t, a.path("service/a"), up)
	a.worker(a.crash(a.worker(0)))
	a.make(tree{"service/.b/run!": shows})
	if err := os.Rename(a.path("service/.b"), a.path("service/b")); err != nil {
		t.Fatal(err)
	}
	lines := waitLines(t, a.path("shown"), 2)
	want := "UPKEEP_ANCHOR= 0 1 2 3" // of which 3 is of ls
	if lines[0] != want || lines[1] != want {
		t.Errorf("services have %q", lines)
	}
	a.signal(unix.SIGTERM)
	a.ends(0)
}

// TestAnchorSignals: signals are passed on. QUIT has the scanner leave the services
// running, but not where that would be the end of the pid namespace, and theirs.
func TestAnchorSignals(t *testing.T) {
	both(t, func(t *testing.T, inside bool) {
		s := newSite(t, tree{"service/web/run!": faultSleeper, "service/gone/run!": faultSleeper})
		a := newAnchored(t, s, inside)
		web := waitStatus(t, a.path("service/web"), up)
		waitStatus(t, a.path("service/gone"), up)
		if err := os.Rename(a.path("service/gone"), a.path("gone")); err != nil {
			t.Fatal(err)
		}
		if inside {
			for _, sig := range []unix.Signal{unix.SIGABRT, unix.SIGTRAP, unix.SIGSYS, unix.SIGPIPE, unix.SIGALRM, unix.SIGQUIT} {
				a.signal(sig) // as PID 1 it must outlive them
			}
		}
		a.signal(unix.SIGHUP)
		waitStatus(t, a.path("gone"), abandoned)
		waitStatus(t, a.path("service/web"), unchanged(web))
		if inside {
			a.signal(unix.SIGTERM)
			a.ends(0)
			return
		}
		a.signal(unix.SIGQUIT)
		a.ends(0)
		next := s.svscan(ours(t, "svscan"), s.path("service"))
		waitStatus(t, a.path("service/web"), unchanged(web))
		next.stop()
	})
}

// TestAnchorOrphans: what nobody waits for does not stay a zombie, with and without a
// scanner.
func TestAnchorOrphans(t *testing.T) {
	both(t, func(t *testing.T, inside bool) {
		s := newSite(t, tree{
			"service/litter/run!": "#!/bin/sh\ni=0\nwhile [ $i -lt 2000 ]; do (:&); i=$((i+1)); done\n: >../../ready-litter\nexec sleep 1000\n",
			"service/web/run!":    "#!/bin/sh\n: >../../ready-web\nexec sleep 1000\n",
		})
		a := newAnchored(t, s, inside)
		a.ready("web")
		waitStatus(t, a.path("service/web"), up)
		a.worker(a.crash(a.worker(0)))
		a.ready("litter")
		for deadline := time.Now().Add(patience); zombies(a.anchor) > 0 && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		if n := zombies(a.anchor); n > 0 {
			t.Errorf("%d zombies", n)
		}
		a.signal(unix.SIGTERM)
		a.ends(0)
	})
}

// TestAnchorUpgrade: the program that a scanner becomes has the same anchor, and knows
// what ends after it; whoever comes after a crash is the program that stands there now.
func TestAnchorUpgrade(t *testing.T) {
	t.Parallel()
	s := newSite(t, tree{
		"service/web/run!":     faultSleeper,
		"service/dies/run!":    "#!/bin/sh\necho start >>../../starts\nread line <../../go; exit 17\n",
		"service/dies/finish!": "#!/bin/sh\necho $* >>../../ends\n",
		"service/shows/run!":   "#!/bin/sh\nenv >../../environment\nls /proc/self/fd >../../descriptors\nexec sleep 1000\n",
		"service/shows/down":   "",
	})
	if err := unix.Mkfifo(s.path("go"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := newAnchored(t, s, false, "--main", "dies")
	web := waitStatus(t, a.path("service/web"), up)
	waitLines(t, a.path("starts"), 1)
	a.worker(a.crash(a.worker(0))) // whose strangers the next program gets
	waitStatus(t, a.path("service/web"), unchanged(web))
	upgrade := func() {
		t.Helper()
		pid := a.worker(0)
		if got := a.run(ours(t, "upkeep"), "upgrade", a.path("service")); got != (result{}) {
			t.Fatalf("upgrade: %v", got)
		}
		if now := a.worker(0); now != pid {
			t.Errorf("the scanner was %d and is %d", pid, now)
		}
		waitStatus(t, a.path("service/web"), unchanged(web))
	}
	upgrade()
	upgrade()
	a.worker(a.crash(a.worker(0)))
	waitStatus(t, a.path("service/web"), unchanged(web))
	upgrade()
	if err := a.control("service/shows", "u"); err != nil {
		t.Fatal(err)
	}
	waitFile(t, a.path("descriptors"), func(c string) bool { return c == "0\n1\n2\n3\n" })
	if got := a.read("environment"); strings.Contains(got, "UPKEEP_ANCHOR") || strings.Contains(got, "UPKEEP_WILL") {
		t.Errorf("services have %q", got)
	}
	a.open("go")
	a.ends(17)
	if got := a.read("ends"); got != "17 0\n" {
		t.Errorf("finish was told %q", got)
	}
}
