package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

// speaker is a service that says that it is ready some time after its start, having
// written when that was to the file said; a negative time has it say nothing.
func speaker(args []string) {
	after, err := time.ParseDuration(args[0])
	if err != nil {
		os.Exit(2)
	}
	if after >= 0 {
		time.Sleep(after)
		if err := os.WriteFile("said", strconv.AppendInt(nil, time.Now().UnixNano(), 10), 0o644); err != nil {
			os.Exit(1)
		}
		_, _ = unix.Write(3, []byte("\n"))
	}
	select {}
}

// The scripts of these tests.
const (
	verbDies    = "#!/bin/sh\nexit 7\n"
	verbReady   = "#!/bin/sh\nexec speaker 10ms\n"
	verbSilent  = "#!/bin/sh\nexec speaker -1s\n"
	verbIgnores = "#!/bin/sh\ntrap '' TERM\ntrap 'echo x >>reloads' USR1\necho x >ready\nwhile :; do sleep 0.1; done\n"
)

// upkeep runs one of our verbs on the tree.
func (f *faultScene) upkeep(args ...string) result {
	f.t.Helper()
	return f.run(ours(f.t, "upkeep"), append([]string{"-s", f.path("service")}, args...)...)
}

// verb runs one that has to end with a code and say something.
func (f *faultScene) verb(code int, says string, args ...string) {
	f.t.Helper()
	r := f.upkeep(args...)
	if r.code != code || says == "" && r.stderr != "" || !strings.Contains(r.stdout+r.stderr, says) {
		f.t.Errorf("%q: %v, want exit %d and %q", args, r, code, says)
	}
}

// TestVerbs: a start that tells the truth, and the words around it.
func TestVerbs(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"service/good/run!":              faultSleeper,
		"service/good/down":              "",
		"service/dies/run!":              verbDies,
		"service/dies/down":              "",
		"service/dies/log/multilog":      "./main\n",
		"service/ready/run!":             verbReady,
		"service/ready/notification-fd":  "3\n",
		"service/ready/down":             "",
		"service/silent/run!":            verbSilent,
		"service/silent/notification-fd": "3\n",
		"service/silent/down":            "",
		"service/deaf/run!":              verbIgnores,
		"service/deaf/reload-signal":     "usr1\n",
		"service/plain/run":              "#!/bin/sh\n",
		"service/plain/down":             "",
		"service/checked/run!":           "#!/bin/sh\nsleep 0.2; : >works; exec sleep 1000\n",
		"service/checked/check!":         "#!/bin/sh\nexec test -e works\n",
		"service/checked/down":           "",
		"service/strict/run!":            faultSleeper,
		"service/strict/check!":          "#!/bin/sh\necho $$ >>checks\n[ -e hang ] && exec sleep 1000\nexit 1\n",
		"service/strict/down":            "",
		"service/task/run!":              "#!/bin/sh\nexit 0\n",
		"service/task/down":              "",
	})
	for _, name := range []string{"good", "dies", "dies/log", "ready", "silent", "plain", "checked", "strict", "task"} {
		f.wait(name, func(_ status.Record, alive bool) bool { return alive })
	}
	f.wait("deaf", up)
	f.verb(0, "", "ping")
	waitLines(t, f.dir("deaf/ready"), 1)
	f.verb(0, "", "reload", "deaf")
	waitLines(t, f.dir("deaf/reloads"), 1)
	f.verb(0, "down", "state", "good")
	f.verb(0, "a file named down keeps it from being started", "why", "good")
	f.verb(0, "", "start", "good")
	good := f.wait("good", up)
	f.verb(0, "", "start", "good")
	f.verb(0, fmt.Sprintf("up %d\n", good.PID), "state", "good")
	f.verb(0, "good runs, pid ", "why", "good")
	if now := f.wait("good", up); now.PID != good.PID {
		t.Errorf("start of what runs has started it anew")
	}
	f.verb(0, "", "restart", "good")
	f.wait("good", upAnew(good.PID))

	f.make(tree{"service/dies/run!": "#!/bin/sh\necho no luck\nexit 7\n"})
	f.verb(1, "upkeep: warning: unable to start dies: exited with 7\n", "start", "dies")
	f.verb(0, "dies is to be started again: exited with 7, death number ", "why", "dies")
	waitFile(t, f.dir("dies/log/main/current"), func(c string) bool { return c != "" })
	f.verb(1, "no luck\n", "start", "dies") // with the last lines of its log
	f.verb(0, "", "stop", "dies")
	f.verb(0, "dies is down for ", "why", "dies")

	f.verb(0, "", "start", "ready")
	f.verb(0, "ready ", "state", "ready")
	f.verb(0, "", "start", "ready", "--wait=ready", "-t", "1")
	f.verb(2, "unable to start silent: the time is over: starting ", "start", "--timeout", "100", "silent")
	f.verb(0, "has not said that it is ready", "why", "silent")
	f.verb(0, "", "start", "silent", "--wait=none")
	f.verb(0, "", "start", "--wait=up", "--settle=0", "silent")

	f.verb(1, "unable to start plain: run could not be executed: permission denied\n", "start", "plain")
	f.verb(0, "plain cannot be started: run could not be executed: permission denied", "why", "plain")
	f.says("supervise: fatal: unable to start plain/run: access denied")
	f.verb(0, "", "stop", "plain")

	f.verb(0, "", "start", "checked")
	if _, err := os.Stat(f.dir("checked", "works")); err != nil {
		t.Error("start has not waited for check:", err)
	}
	f.verb(0, "ready ", "state", "checked") // for everybody
	f.verb(2, ", and check is not content", "start", "--timeout", "100", "strict")
	f.verb(0, "", "start", "--wait=up", "--settle=0", "strict")
	// A check that hangs is ended with the wait.
	f.make(tree{"service/strict/hang": ""})
	f.verb(2, ", and check is not content", "start", "--timeout", "200", "strict")
	for _, line := range waitLines(t, f.dir("strict/checks"), 2) {
		pid, _ := strconv.Atoi(line)
		waitEnd(t, pid)
	}
	f.verb(0, "", "stop", "strict")
	f.verb(0, "", "once", "task")
	f.verb(1, "unable to once dies: exited with 7\n", "once", "dies")

	f.verb(2, "unable to stop deaf: the time is over: stopping ", "stop", "-t", "0.1s", "deaf")
	f.verb(0, "deaf is stopping", "why", "deaf")
	f.verb(0, "", "stop", "--kill-after", "50", "deaf")
	f.verb(0, "", "start", "deaf")
	f.verb(0, "", "stop", "--schedule", "TERM/0/KILL/5", "deaf")
	f.verb(0, "", "stop", "--signal", "INT", "good")
	f.verb(1, "unable to reload good: down", "reload", "good")

	f.verb(3, "unable to start nobody: nobody supervises it", "start", "nobody")
	f.verb(3, "none\n", "state", "nobody")
	f.verb(3, "nobody is not supervised: no such file or directory\n", "why", "nobody")
	f.verb(100, "usage", "start")
	f.verb(100, "usage", "start", "--wait=never", "good")
	if r := f.run(ours(t, "upkeep"), "-s", f.path(), "ping"); r.code != 3 {
		t.Error(r)
	}
	// By its path, and where nobody can tell which scanner is meant.
	if r := f.run(ours(t, "upkeep"), "why", "service/good"); r.code != 0 {
		t.Error(r)
	}
	f.setenv("UPKEEP_SCANDIR", "")
	nowhere := "upkeep: warning: unable to start good: no svscan for .: name its directory with -s, or the service by its path\n"
	var others []string
	for _, dir := range []string{"/service", "/etc/service", "/run/service", "/var/service"} {
		if _, err := os.Stat(dir + "/.svscan"); err == nil {
			others = append(others, dir) // this machine's own
		}
	}
	if r := f.run(ours(t, "upkeep"), "start", "good"); len(others) == 0 && r != (result{"", nowhere, 3}) {
		t.Error(r)
	}
	if got := f.upkeep("status", "--json", "ready").stdout; !strings.HasPrefix(got, `{"service":"ready","state":"up","pid":`) {
		t.Error(got)
	}
}

// TestVerbsAdd: what is added is supervised at once or it is said why not, and what is
// removed leaves nothing.
func TestVerbsAdd(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"defs/good/run!":     faultSleeper,
		"defs/good/log/run!": faultCat,
		"defs/other/run!":    faultSleeper,
		"defs/dies/run!":     verbDies,
		"defs/file":          "",
		"service/own/run!":   faultSleeper,
	})
	f.wait("own", up)
	f.verb(0, "", "add", f.path("defs/good"))
	good := f.wait("good", up)
	f.wait("good/log", up)
	f.verb(0, "", "add", "good", f.path("defs/good"))
	f.wait("good", unchanged(good))
	f.verb(4, "good is another directory", "add", "good", f.path("defs/other"))
	f.verb(4, "not a directory", "add", f.path("defs/file"))
	f.verb(4, "no such file or directory", "add", f.path("defs/nothing"))
	f.verb(4, "cannot be the name of a service", "add", ".hidden", f.path("defs/other"))
	f.verb(0, "", "add", "--down", f.path("defs/other"))
	f.wait("other", down)
	f.verb(0, "", "start", "other")
	f.verb(1, "unable to add dies: exited with 7", "add", "--undo", f.path("defs/dies"))
	if _, err := os.Lstat(f.path("service/dies")); err == nil {
		t.Error("the link is left of what could not be started")
	}
	f.verb(3, "none", "state", "dies")
	f.verb(1, "unable to add dies: exited with 7", "add", f.path("defs/dies"))
	f.verb(0, "", "remove", "dies")
	f.verb(0, "", "remove", "dies")
	f.verb(4, "own is a directory and not a link", "remove", "own")
	f.verb(0, "", "remove", "good", "other")
	for _, name := range []string{"good", "good/log", "other"} {
		if _, err := awaitStatus(f.path("defs", name), func(_ status.Record, alive bool) bool { return !alive }); err != nil {
			t.Errorf("%s is still supervised: %v", name, err)
		}
	}
	for _, name := range []string{"good", "other", "dies"} {
		if _, err := os.Lstat(f.path("service", name)); err == nil {
			t.Errorf("the link %s is left", name)
		}
	}
}

// TestVerbsSurvive: who waits is answered also if the scanner becomes another program, or
// is killed and started again.
func TestVerbsSurvive(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"service/web/run!":            "#!/bin/sh\nread line <go; echo >&3; exec sleep 1000\n",
		"service/web/notification-fd": "3\n",
		"service/web/down":            "",
	})
	if err := unix.Mkfifo(f.dir("web", "go"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.wait("web", down)
	client := f.start(ours(t, "upkeep"), "-s", f.path("service"), "start", "web")
	f.wait("web", up)
	f.upgraded()
	f.crash(nil)
	f.wait("web", up)
	f.upgraded()
	if !client.alive() {
		t.Fatalf("it was answered: %s", client.said())
	}
	if err := os.WriteFile(f.dir("web", "go"), []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	if code := client.wait(); code != 0 {
		t.Errorf("start ends with %d: %s", code, client.said())
	}
	client.stopped = true
}

// event is a line of the stream.
type event struct {
	Seq                         uint64
	Time, Event, Service, State string
	Want, Reason                string
	PID, Exit, Signal, Missed   int
	Deaths                      int
}

// events connects to the stream, and hands out each line.
func (f *faultScene) events() (next func() event) {
	f.t.Helper()
	conn, err := net.Dial("unix", f.path("service", ".svscan-events"))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	lines := bufio.NewScanner(conn)
	return func() (e event) {
		f.t.Helper()
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if !lines.Scan() {
			f.t.Fatalf("the stream ends: %v", lines.Err())
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			f.t.Fatalf("%s: %v", lines.Bytes(), err)
		}
		return e
	}
}

// awaitEvent reads on to an event of a service.
func awaitEvent(next func() event, service, what string) (e event) {
	for e.Service != service || e.Event != what {
		e = next()
	}
	return e
}

// TestEvents: a snapshot, and then every change, numbered; the status file has it by then.
func TestEvents(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/web/run!": faultSleeper, "service/web/finish!": "#!/bin/sh\n", "service/odd\"name/run!": faultSleeper})
	web := f.wait("web", up)
	f.wait("odd\"name", up)
	next := f.events()
	var snapshot []string
	for e := next(); e.Event != "live"; e = next() {
		if e.Event != "is" || e.State != "up" || e.Want != "up" || e.PID == 0 {
			t.Errorf("the snapshot has %+v", e)
		}
		snapshot = append(snapshot, e.Service)
	}
	slices.Sort(snapshot)
	if got := strings.Join(snapshot, " "); got != `bystander bystander/log odd"name web` {
		t.Errorf("the snapshot has %s", got)
	}
	f.tell("web", "t")
	var got []string
	last := uint64(0)
	for len(got) == 0 || !strings.HasPrefix(got[len(got)-1], "up") {
		e := next()
		if e.Service != "web" {
			continue
		}
		if last > 0 && e.Seq <= last {
			t.Errorf("%d comes after %d", e.Seq, last)
		}
		last = e.Seq
		got = append(got, fmt.Sprintf("%s %s %s %d", e.Event, e.State, e.Want, e.Signal))
	}
	if want := "down backoff up 15, finish backoff up 0, finished backoff up 0, up up up 0"; strings.Join(got, ", ") != want {
		t.Errorf("a restart is %q, want %q", strings.Join(got, ", "), want)
	}
	now := f.wait("web", upAnew(web.PID))
	f.tell("web", "d")
	if e := awaitEvent(next, "web", "down"); e.PID != int(now.PID) || e.State != "stopping" {
		t.Errorf("%+v", e)
	}
	f.make(tree{"service/new/run!": faultSleeper})
	awaitEvent(next, "new", "supervised")
	e := awaitEvent(next, "new", "up")
	if r := f.wait("new", up); int(r.PID) != e.PID {
		t.Errorf("%+v, and the status %+v", e, r)
	}
	if r := f.run(ours(t, "upkeep"), "-s", f.path("service"), "events"); r.code != 0 || strings.Count(r.stdout, "\n") != 5 {
		t.Errorf("upkeep events: %v", r)
	}
}

// TestEventsSlow: a reader that stalls is told how much it has missed, and all states anew;
// the scanner does not keep it all.
func TestEventsSlow(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/web/run!": faultSleeper})
	f.wait("web", up)
	next := f.events()
	// Pauses and continuations are the cheapest changes. A line is 150 bytes and
	// more; the socket and the scanner hold less than so many.
	fifo, err := os.OpenFile(f.dir("web", "supervise", "control"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer fifo.Close()
	for range 40 {
		if _, err := io.WriteString(fifo, strings.Repeat("pc", 100)); err != nil {
			t.Fatal(err)
		}
	}
	f.tell("web", "d")
	f.wait("web", down)
	lost, seen := event{}, 0
	e := next()
	for ; e.Service != "web" || e.Event != "is" || lost.Event == ""; e = next() {
		seen++
		if e.Event == "lost" {
			lost = e
		}
	}
	if lost.Missed < 1000 || seen > 7000 {
		t.Errorf("%d lines, and %d missed", seen, lost.Missed)
	}
	if e.State != "down" && e.State != "stopping" {
		t.Errorf("after the loss web is %+v", e)
	}
}

// TestNeeds: who needs others is held until they are up, and ready if they say when; and
// ends before them.
func TestNeeds(t *testing.T) {
	t.Parallel()
	const logs = "#!/bin/sh\nn=${PWD##*/}\necho up $n >>../../order\ntrap 'echo down $n >>../../order; kill $!; exit' TERM\n" +
		"[ -e notification-fd ] && { until [ -e go ]; do sleep 0.02; done; echo >&3; }\nwhile :; do sleep 1000 & wait; done\n"
	f := prepareFault(t, tree{
		"service/web/run!":           logs,
		"service/web/needs":          "db cache # both\n",
		"service/db/run!":            logs,
		"service/db/notification-fd": "3\n",
		"service/db/needs":           "disk\n",
		"service/disk/run!":          logs,
		"service/cache/run!":         logs,
		"service/round/run!":         faultSleeper,
		"service/round/needs":        "turn\n",
		"service/turn/run!":          faultSleeper,
		"service/turn/needs":         "round\n",
		"service/lost/run!":          faultSleeper,
		"service/lost/needs":         "nothing\n",
		"service/wrong/run!":         faultSleeper,
		"service/wrong/needs":        "../x\n",
	})
	f.begin()
	f.says("supervise: warning: unable to use wrong/needs: not the name of a service")
	f.saysOneOf("supervise: warning: unable to start round: it needs itself")
	f.says("supervise: warning: unable to start turn: it needs itself")
	f.says("supervise: warning: unable to start lost, which needs nothing: no such service")
	f.wait("wrong", up)
	f.wait("db", up)
	f.wait("cache", up)
	f.verb(0, "web is held: it needs db", "why", "web")
	f.verb(0, "lost is held: it needs nothing", "why", "lost")
	f.verb(0, "round is held: it needs turn, and with that itself", "why", "round")
	f.verb(2, "the time is over: held", "start", "--timeout", "50", "web")
	// Who is held is held by the next program, too, and by the next scanner.
	f.upgraded()
	f.verb(0, "web is held: it needs db", "why", "web")
	db := f.wait("db", up)
	f.crash(func() { f.make(tree{"service/db/go": ""}) })
	f.wait("db", unchanged(db))
	f.verb(0, "", "start", "web")
	f.make(tree{"service/nothing/run!": faultSleeper})
	f.wait("lost", up)
	f.make(tree{"service/turn/needs": ""})
	f.wait("round", up)
	if got := f.upkeep("graph").stdout; !strings.Contains(got, "\t\"web\" -> \"db\";\n") || !strings.HasPrefix(got, "digraph ") {
		t.Errorf("%s", got)
	}
	waitLines(t, f.path("order"), 4)
	f.scanner.stop()
	lines := waitLines(t, f.path("order"), 8)
	at := func(line string) int { return slices.Index(lines, line) }
	for _, pair := range [][2]string{
		{"up db", "up web"}, // the others do not say when they are ready
		{"down web", "down db"}, {"down web", "down cache"}, {"down db", "down disk"},
	} {
		if a, b := at(pair[0]), at(pair[1]); a < 0 || b < 0 || a > b {
			t.Errorf("%q is not before %q: %q", pair[0], pair[1], lines)
		}
	}
}

// TestNeedsCheck: what has a script check is ready when that is content, which is asked as
// long as somebody needs it, also by the next scanner.
func TestNeedsCheck(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"service/web/run!":  faultSleeper,
		"service/web/needs": "db\n",
		"service/db/run!":   faultSleeper,
		"service/db/check!": "#!/bin/sh\necho $$ >>checks\nexec test -e works\n",
	})
	f.wait("db", up)
	waitLines(t, f.dir("db/checks"), 3)
	f.verb(0, "web is held: it needs db", "why", "web")
	f.crash(func() {})
	f.make(tree{"service/db/checks": ""})
	waitLines(t, f.dir("db/checks"), 2)
	f.upgraded()
	f.make(tree{"service/db/checks": ""})
	waitLines(t, f.dir("db/checks"), 2)
	f.verb(0, "web is held: it needs db", "why", "web")
	f.make(tree{"service/db/works": ""})
	f.wait("web", up)
	f.verb(0, "ready ", "state", "db")
	// A new life has to be found ready anew.
	db := f.wait("db", up)
	f.verb(0, "", "stop", "web")
	if err := os.Remove(f.dir("db/works")); err != nil {
		t.Fatal(err)
	}
	f.verb(2, ", and check is not content", "restart", "--timeout", "100", "db")
	f.wait("db", upAnew(db.PID))
	f.verb(2, "the time is over: ", "start", "--timeout", "50", "web")
	f.make(tree{"service/db/works": ""})
	f.verb(0, "", "start", "web")
}

// TestVerbsRace adds services that become ready, die at once, are ready later, or never:
// every answer has to be right. UPKEEP_ADDS=1000 has it do so that often, and tells how much
// later than the service itself the answer comes.
func TestVerbsRace(t *testing.T) {
	t.Parallel()
	n := 10
	if v, err := strconv.Atoi(os.Getenv("UPKEEP_ADDS")); err == nil {
		n = v
	}
	defs := tree{}
	kinds := []struct {
		name, run, wait string
		code            int
	}{
		{"soon", verbReady, "30000", 0}, {"dies", verbDies, "30000", 1},
		{"later", "#!/bin/sh\nexec speaker 200ms\n", "30000", 0}, {"never", verbSilent, "300", 2},
	}
	for _, k := range kinds {
		defs["defs/"+k.name+"/run!"] = k.run
		defs["defs/"+k.name+"/notification-fd"] = "3\n"
	}
	f := newFaultScene(t, defs)
	program := ours(t, "upkeep")
	for _, k := range kinds {
		var late []time.Duration
		for i := range n {
			c := exec.Command(program, "-s", f.path("service"), "add", "--timeout", k.wait, f.path("defs", k.name))
			f.furnish(c)
			out, _ := c.CombinedOutput()
			end := time.Now()
			if code := c.ProcessState.ExitCode(); code != k.code {
				t.Fatalf("%s, number %d: exit %d, want %d: %s", k.name, i, code, k.code, out)
			}
			if k.code == 0 {
				b, err := os.ReadFile(f.path("defs", k.name, "said"))
				said, err2 := strconv.ParseInt(string(b), 10, 64)
				if err != nil || err2 != nil {
					t.Fatal(err, err2)
				}
				late = append(late, end.Sub(time.Unix(0, said)))
			}
			if r := f.upkeep("remove", k.name); r.code != 0 {
				t.Fatal(r)
			}
		}
		if slices.Sort(late); len(late) > 0 {
			t.Logf("%s: %d answers, median %v after the service was ready, longest %v", k.name, n, late[n/2], late[n-1])
		}
	}
}
