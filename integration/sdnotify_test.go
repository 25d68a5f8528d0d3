package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

// herald is a service that speaks as sd_notify(3) does: first what its arguments say, then
// each line that is written to the FIFO say in its directory; \n in it begins another
// assignment, "child " has a short-lived child send the rest, and "barrier" notes when all
// was taken. It gives signs of life if they are asked of it.
func herald(args []string) {
	if len(args) == 2 && args[0] == "send" {
		os.Exit(heraldSend(args[1], 0))
	}
	abort := make(chan os.Signal, 1)
	signal.Notify(abort, unix.SIGABRT) // the runtime would write about it at length
	go func() {
		<-abort
		os.Exit(6)
	}()
	_ = unix.Mkfifo("say", 0o600)
	if len(args) > 0 && args[0] == "log" { // ends with its input
		args = args[1:]
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
	}
	for _, text := range args {
		heraldSend(strings.ReplaceAll(text, "@pid", strconv.Itoa(os.Getpid())), 0)
	}
	usec, _ := strconv.Atoi(os.Getenv("WATCHDOG_USEC"))
	if usec > 0 && os.Getenv("WATCHDOG_PID") == strconv.Itoa(os.Getpid()) {
		go func() {
			for range time.Tick(time.Duration(usec) * time.Microsecond / 4) {
				heraldSend("WATCHDOG=1", 0)
			}
		}()
	}
	say, err := os.OpenFile("say", os.O_RDWR, 0)
	if err != nil { // as a user who may not
		select {}
	}
	for lines := bufio.NewScanner(say); lines.Scan(); {
		text := strings.ReplaceAll(lines.Text(), `\n`, "\n")
		if rest, ok := strings.CutPrefix(text, "child "); ok {
			p, err := os.StartProcess("/proc/self/exe", []string{"herald", "send", rest}, &os.ProcAttr{Env: os.Environ(), Files: []*os.File{nil, os.Stdout, os.Stderr}})
			if err != nil {
				os.Exit(3)
			}
			_, _ = p.Wait()
		} else if text == "barrier" {
			var p [2]int
			_ = unix.Pipe2(p[:], unix.O_CLOEXEC)
			heraldSend("BARRIER=1", p[1])
			unix.Close(p[1])
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(p[0])}}, -1)
			unix.Close(p[0])
		} else {
			heraldSend(text, 0)
		}
		_ = os.WriteFile("done", []byte(lines.Text()+"\n"), 0o644)
	}
}

// heraldSend sends one message, with a descriptor if that is not 0.
func heraldSend(text string, fd int) (code int) {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 1
	}
	defer unix.Close(s)
	var oob []byte
	if fd > 0 {
		oob = unix.UnixRights(fd, fd)
	}
	if err := unix.Sendmsg(s, []byte(text), oob, &unix.SockaddrUnix{Name: os.Getenv("NOTIFY_SOCKET")}, 0); err != nil {
		fmt.Fprintln(os.Stderr, "herald:", err)
		return 1
	}
	return 0
}

// speak has a herald say something, and waits until it has been sent.
func (f *faultScene) speak(name, text string) {
	f.t.Helper()
	f.utter(name, text)
	waitFile(f.t, f.dir(name, "done"), func(c string) bool { return c == text+"\n" })
}

// utter is speak without the wait.
func (f *faultScene) utter(name, text string) {
	f.t.Helper()
	fifo := f.dir(name, "say")
	waitDir(f.t, f.dir(name), func() bool { _, err := os.Stat(fifo); return err == nil })
	if err := os.WriteFile(fifo, []byte(text+"\n"), 0); err != nil {
		f.t.Fatal(err)
	}
}

// hears waits until a verb says something of a service.
func (f *faultScene) hears(says string, args ...string) {
	f.t.Helper()
	var r result
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if r = f.upkeep(args...); r.code == 0 && strings.Contains(r.stdout, says) {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("%q: %v, want %q", args, r, says)
		}
	}
}

// notifySocket is where a service speaks.
func notifySocket(t *testing.T, pid uint32) string {
	t.Helper()
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		t.Fatal(err)
	}
	for v := range strings.SplitSeq(string(env), "\x00") {
		if name, ok := strings.CutPrefix(v, "NOTIFY_SOCKET="); ok {
			return name
		}
	}
	t.Fatalf("%d has no NOTIFY_SOCKET", pid)
	return ""
}

const heraldRun = "#!/bin/sh\nexec herald\n"

// TestSdNotify: what a service says is what everybody is told, in every dialect.
func TestSdNotify(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{"common", "daemontools", "encore", "runit"} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			f := prepareFault(t, tree{
				"service/web/run!":              heraldRun,
				"service/web/notify-socket":     "",
				"service/late/run!":             "#!/bin/sh\nexec herald 'READY=1\nSTATUS=at your service'\n",
				"service/late/notify-socket":    "",
				"service/late/down":             "",
				"service/never/run!":            heraldRun,
				"service/never/notify-socket":   "",
				"service/never/timeout-ready":   "300",
				"service/never/down":            "",
				"service/needy/run!":            faultSleeper,
				"service/needy/needs":           "web\n",
				"service/other/run!":            "#!/bin/sh\nenv >env.new; mv env.new env; exec sleep 1000\n",
				"service/web/finish!":           "#!/bin/sh\nenv >env.new; mv env.new env\n",
				"service/path/run!":             "#!/bin/sh\nexec herald READY=1\n",
				"service/path/down":             "",
				"service/log/run!":              faultSleeper,
				"service/log/log/run!":          "#!/bin/sh\nexec herald log READY=1\n",
				"service/log/log/notify-socket": "",
			})
			f.make(tree{"service/path/notify-socket": f.path("sock") + " mode=600\n"})
			f.args = append(f.args, "--dialect", dialect)
			f.begin()
			web := f.wait("web", up)
			f.hears("starting "+fmt.Sprint(web.PID), "state", "web")
			f.hears("held", "state", "needy")
			f.verb(0, "", "start", "late")
			f.verb(0, "; it says: at your service", "why", "late")
			f.hears("ready ", "state", "log/log")
			f.verb(0, "", "start", "path")
			if st, err := os.Stat(f.path("sock")); err != nil || st.Mode() != os.ModeSocket|0o600 {
				t.Errorf("%v, %v", st, err)
			}

			f.speak("web", `STATUS=opening 3 files`)
			f.hears("; it says: opening 3 files", "why", "web")
			f.speak("web", `READY=1\nSTATUS=serves a`+"\x1b[2J"+`b\nMAINPID=1`)
			f.hears(fmt.Sprintf("ready %d\n", web.PID), "state", "web")
			f.hears("up  serves a?[2Jb\n", "status", "web")
			f.hears(`,"status":"serves a?[2Jb"}`, "status", "--json", "web")
			f.hears("up ", "state", "needy")
			f.speak("web", `RELOADING=1\nMONOTONIC_USEC=77`)
			f.hears(fmt.Sprintf("up %d\n", web.PID), "state", "web")
			f.hears(", and reloads", "why", "web")
			f.speak("web", "READY=1")
			f.hears(fmt.Sprintf("ready %d\n", web.PID), "state", "web")
			f.speak("web", "child STOPPING=1")
			f.hears(fmt.Sprintf("stopping %d\n", web.PID), "state", "web")
			f.speak("web", "READY=1")
			f.hears(fmt.Sprintf("ready %d\n", web.PID), "state", "web")
			f.speak("web", "barrier")
			f.speak("web", "what is this\x01")
			f.speak("web", "X="+strings.Repeat("x", 5000)) // too long
			f.speak("web", "barrier")
			f.hears(fmt.Sprintf("ready %d\n", web.PID), "state", "web")

			// Nothing of the last life is of the next one.
			f.kill("web")
			f.until("it is started again", func() bool {
				r := f.upkeep("state", "web")
				return strings.HasPrefix(r.stdout, "starting ") && r.stdout != fmt.Sprintf("starting %d\n", web.PID)
			})
			if r := f.upkeep("why", "web"); strings.Contains(r.stdout, "it says") {
				t.Errorf("%v", r)
			}
			for _, name := range []string{"other", "web"} {
				if name == "web" && dialect != "common" && dialect != "runit" {
					continue // there is no finish
				}
				if env := waitFile(t, f.dir(name, "env"), something); strings.Contains(env, "NOTIFY_SOCKET") {
					t.Errorf("%s has %q", name, env)
				}
			}

			f.verb(2, "the time is over: starting ", "start", "--timeout", "100", "never")
			never := f.wait("never", up)
			f.wait("never", upAnew(never.PID))
			f.tell("never", "d")
		})
	}
}

// TestSdNotifySender: a service's own processes are heard, whoever they are and if they have
// ended by then, and no others.
func TestSdNotifySender(t *testing.T) {
	t.Parallel()
	needRoot(t)
	f := prepareFault(t, tree{
		"service/web/run!":             heraldRun,
		"service/web/notify-socket":    "",
		"service/nobody/run!":          "#!/bin/sh\nexec setpriv --reuid=65534 --regid=65534 --clear-groups herald READY=1\n",
		"service/nobody/notify-socket": "",
		"service/short/run!":           "#!/bin/sh\nherald send READY=1\nexec sleep 1000\n",
		"service/short/notify-socket":  "",
		"service/orphan/run!":          "#!/bin/sh\n(herald READY=1 &)\nexec sleep 1000\n",
		"service/orphan/notify-socket": "",
		"service/orphan/cgroup":        "",
		"service/stray/run!":           "#!/bin/sh\n(herald READY=1 & echo $! >pid)\nexec sleep 1000\n",
		"service/stray/notify-socket":  "",
		"service/main/run!":            "#!/bin/sh\ntrap 'kill $!' TERM\nherald 'READY=1\nMAINPID=@pid' & echo $! >pid\nwait\n",
		"service/main/notify-socket":   "",
		"service/bad/run!":             heraldRun,
		"service/bad/notify-socket":    "127.0.0.1:80",
	})
	if err := os.Chmod(workshop, 0o755); err != nil {
		t.Fatal(err)
	}
	f.begin()
	for _, name := range []string{"nobody", "short", "orphan", "stray", "main"} {
		f.hears("ready ", "state", name)
	}
	f.hears("its main process is "+strings.TrimSpace(f.read("service/main/pid")), "why", "main")
	f.says("supervise: warning: unable to use bad/notify-socket: not an absolute path")
	web := f.wait("web", up)
	f.hears("starting ", "state", "web")
	conn, err := net.Dial("unixgram", notifySocket(t, web.PID))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 3 {
		if _, err := conn.Write([]byte("READY=1")); err != nil {
			t.Fatal(err)
		}
	}
	f.says(fmt.Sprintf("supervise: warning: process %d of user 0 is not of web, ignoring what it says", os.Getpid()))
	// What another user says who is gone is not believed, and not said again.
	if r := f.run("/usr/bin/env", "NOTIFY_SOCKET="+notifySocket(t, web.PID), "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "herald", "send", "READY=1"); r != (result{}) {
		t.Fatal(r)
	}
	f.speak("web", "STATUS=after that")
	f.hears("has not said that it is ready; it says: after that", "why", "web")
	n := f.descriptors()
	for range 20 {
		f.speak("web", "barrier")
	}
	if now := f.descriptors(); now > n {
		t.Errorf("%d descriptors, and after some barriers %d", n, now)
	}
	f.tell("orphan", "d") // with the child, which is in its cgroup
	f.wait("orphan", down)
	stray, err := strconv.Atoi(strings.TrimSpace(f.read("service/stray/pid")))
	if err != nil || unix.Kill(stray, unix.SIGKILL) != nil {
		t.Errorf("no stray process %d: %v", stray, err)
	}
	waitEnd(t, stray)
}

// TestSdNotifyCommand: systemd's own client works.
func TestSdNotifyCommand(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/usr/bin/systemd-notify"); err != nil {
		missing(t, "systemd-notify is missing; install the package systemd")
	}
	f := newFaultScene(t, tree{
		"service/web/run!":             "#!/bin/sh\nsystemd-notify --ready --status='by a shell' || exit\nexec sleep 1000\n",
		"service/web/notify-socket":    "",
		"service/nowait/run!":          "#!/bin/sh\nsystemd-notify --no-block --ready || exit\nexec sleep 1000\n",
		"service/nowait/notify-socket": "",
	})
	f.hears("and is ready; it says: by a shell", "why", "web")
	f.hears("ready ", "state", "nowait")
}

// TestSdNotifyWatchdog: who gives no sign of life is aborted and started again, whatever
// has become of the scanner; and nobody else is.
func TestSdNotifyWatchdog(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"service/web/run!":              "#!/bin/sh\nexec herald READY=1\n",
		"service/web/notify-socket":     "",
		"service/web/timeout-watchdog":  "2500\n",
		"service/mute/run!":             "#!/bin/sh\nunset WATCHDOG_USEC\nexec herald READY=1\n",
		"service/mute/notify-socket":    "",
		"service/mute/timeout-watchdog": "300\n",
		"service/mute/down":             "",
	})
	web := f.wait("web", up)
	f.hears("ready ", "state", "web")
	f.verb(0, "", "once", "--wait=ready", "mute")
	f.says("supervise: warning: mute gives no sign of life, aborting it")
	restarted := func() {
		t.Helper()
		f.signal(web.PID, unix.SIGSTOP)
		stopped := time.Now()
		web = f.wait("web", upAnew(web.PID))
		if d := time.Since(stopped); d < 1800*time.Millisecond { // the last sign may have been just due
			t.Errorf("aborted after %v", d)
		}
		f.says("supervise: warning: web gives no sign of life, aborting it")
		f.hears("ready ", "state", "web")
		f.hears(`"deaths":`, "events")
	}
	restarted()
	f.crash(nil)
	f.lines = nil
	f.wait("web", unchanged(web))
	restarted()
	f.upgraded()
	f.wait("web", unchanged(web))
	f.pass(3 * time.Second)
	f.wait("web", unchanged(web))
	f.utter("web", "WATCHDOG=trigger")
	web = f.wait("web", upAnew(web.PID))
	f.lines = append(f.lines, "supervise: warning: web gives no sign of life, aborting it")
}

// TestSdNotifyTakenOver: what is said while no scanner lives is heard by the next one, and
// the state of a service is what it has said before.
func TestSdNotifyTakenOver(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"service/web/run!":              heraldRun,
		"service/web/notify-socket":     "",
		"service/again/run!":            heraldRun,
		"service/again/notify-socket":   "",
		"service/web/log/run!":          "#!/bin/sh\nexec herald log\n",
		"service/web/log/notify-socket": "",
	})
	web, again := f.wait("web", up), f.wait("again", up)
	f.speak("web", "STATUS=begins")
	f.hears("it says: begins", "why", "web")
	f.crash(func() {
		f.speak("web", "READY=1")
		f.speak("web", "child STATUS=is there")
		f.speak("web/log", "READY=1")
	})
	f.hears("ready ", "state", "web")
	f.hears("ready ", "state", "web/log")
	f.hears("it says: is there", "why", "web")
	f.wait("web", unchanged(web))
	name := notifySocket(t, again.PID)
	for i := range 2 {
		f.upgraded()
		f.hears("it says: is there", "why", "web")
		f.speak("again", "STATUS=upgrade "+fmt.Sprint(i))
		f.hears("it says: upgrade "+fmt.Sprint(i), "why", "again")
	}
	f.scanner.signal(unix.SIGSTOP)
	waitFrozen(t, f.scanner.pid)
	f.speak("again", "READY=1")
	f.scanner.signal(unix.SIGCONT)
	f.hears("ready ", "state", "again")
	f.kill("again")
	again = f.wait("again", upAnew(again.PID))
	if now := notifySocket(t, again.PID); now != name {
		t.Errorf("%s has become %s", name, now)
	}
}

// TestSdNotifyAlone: supervise and runsv hear their service, too, also after a crash; their
// socket is opened once more then.
func TestSdNotifyAlone(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"supervise", "runsv"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, tree{"web/run!": heraldRun, "web/notify-socket": ""})
			f := &faultScene{site: s}
			p := s.start(ours(t, program), s.path("web"))
			web := waitStatus(t, s.path("web"), up)
			say := func(text string) {
				t.Helper()
				waitDir(t, s.path("web"), func() bool { _, err := os.Stat(s.path("web/say")); return err == nil })
				f.write("web/say", text+"\n")
				waitFile(t, s.path("web/done"), func(c string) bool { return c == text+"\n" })
			}
			said := func(want string) {
				t.Helper()
				waitFile(t, s.path("web/supervise/"+status.SaidName), func(c string) bool { return c == want+"\n" })
			}
			say("STATUS=one")
			said("one")
			p.signal(unix.SIGKILL)
			p.wait()
			p.stopped = true
			p = s.start(ours(t, program), s.path("web"))
			waitStatus(t, s.path("web"), unchanged(web))
			say("STATUS=two")
			said("two")
			if err := s.control(s.path("web"), "dx"); err != nil {
				t.Fatal(err)
			}
			p.wait()
		})
	}
}

// TestSdNotifyS6: s6's own clients are told.
func TestSdNotifyS6(t *testing.T) {
	t.Parallel()
	s := newSite(t, tree{
		"scan/web/run!": "#!/bin/sh\nexec herald READY=1\n", "scan/web/notify-socket": "", "scan/web/down": "",
		"scan/never/run!": heraldRun, "scan/never/notify-socket": "", "scan/never/timeout-ready": "200",
	})
	p := s.svscan(ours(t, "s6-svscan"), "-t", "0", "scan")
	awaitS6(t, s.path("scan/web"), func(_ status.Record, alive bool) bool { return alive })
	if got := s.run(ours(t, "s6-svc"), "-u", "-wU", "-T", "20000", "scan/web"); got != (result{}) {
		t.Error(got)
	}
	awaitS6(t, s.path("scan/web"), isReady)
	if got := s.run(peer(t, "s6-svwait"), "-U", "-t", "20000", "scan/web"); got != (result{}) {
		t.Error(got)
	}
	if got := s.run(peer(t, "s6-svstat"), "-o", "up,ready", "scan/web"); got != (result{"true true\n", "", 0}) {
		t.Error(got)
	}
	pid := uint32(0)
	for range 2 { // over and over
		pid = awaitS6(t, s.path("scan/never"), func(r status.Record, _ bool) bool { return r.PID != 0 && r.PID != pid }).PID
	}
	if got := s.run(ours(t, "s6-svscanctl"), "-t", "scan"); got != (result{}) {
		t.Fatal(got)
	}
	p.wait()
}

// TestSdNotifyEvents: the stream of events tells.
func TestSdNotifyEvents(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"service/web/run!":             heraldRun,
		"service/web/notify-socket":    "",
		"service/web/timeout-watchdog": "600000\n",
	})
	f.wait("web", up)
	conn, err := net.Dial("unix", f.path("service/.svscan-events"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	events := json.NewDecoder(conn)
	next := func(what, text string) {
		t.Helper()
		for {
			var e struct{ Event, Service, Status string }
			if err := events.Decode(&e); err != nil {
				if err == io.EOF {
					t.Fatal("the stream ends")
				}
				t.Fatal(err)
			}
			if e.Service == "web" && e.Event == what {
				if e.Status != text {
					t.Errorf("%s: %q, want %q", what, e.Status, text)
				}
				return
			}
		}
	}
	next("is", "")
	f.speak("web", "STATUS=one")
	next("status", "one")
	f.speak("web", "READY=1")
	next("ready", "")
	f.speak("web", "RELOADING=1")
	next("reloading", "")
	f.speak("web", "STOPPING=1")
	next("stopping", "")
	f.utter("web", "WATCHDOG=trigger")
	next("watchdog", "")
	next("down", "")
	f.lines = append(f.lines, "supervise: warning: web gives no sign of life, aborting it")
}

// TestRealSdNotify: systemd-networkd, in a network and a mount namespace of its own, is
// ready when it says so, and its watchdog has it started again when it is stopped.
func TestRealSdNotify(t *testing.T) {
	t.Parallel()
	needRoot(t)
	const program = "/usr/lib/systemd/systemd-networkd"
	if _, err := os.Stat(program); err != nil {
		missing(t, program+" is missing; install the package systemd")
	}
	f := prepareFault(t, tree{
		"service/networkd/run!":             "#!/bin/sh\nexec 2>&1\nexec unshare -mn sh -c 'mount -t tmpfs none /run && exec " + program + "' >../../output\n",
		"service/networkd/timeout-watchdog": "3000\n",
		"service/networkd/down":             "",
	})
	// An abstract name is not seen from another network namespace.
	f.make(tree{"service/networkd/notify-socket": f.path("socket") + "\n"})
	for _, dir := range []string{f.root, filepath.Dir(f.root)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f.begin()
	if r := f.upkeep("start", "--wait=ready", "networkd"); r != (result{}) {
		out, _ := os.ReadFile(f.path("output"))
		t.Fatalf("%v\n%s", r, out)
	}
	first := f.wait("networkd", up)
	f.verb(0, "and is ready; it says: ", "why", "networkd")
	f.pass(3500 * time.Millisecond) // longer than the watchdog
	f.wait("networkd", unchanged(first))
	f.signal(first.PID, unix.SIGSTOP)
	second := f.wait("networkd", upAnew(first.PID))
	f.says("supervise: warning: networkd gives no sign of life, aborting it")
	f.hears(fmt.Sprintf("ready %d\n", second.PID), "state", "networkd")
}
