package integration

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
	"upkeep/svc"
)

// upgrade has the scanner execute a program, or the one that it is.
func (f *faultScene) upgrade(args ...string) result {
	f.t.Helper()
	dir := f.apart
	if dir == "" {
		dir = f.path("service")
	}
	return f.run(ours(f.t, "upkeep"), append(append([]string{"upgrade"}, args...), dir)...)
}

// upgraded is upgrade that has to succeed.
func (f *faultScene) upgraded(args ...string) {
	f.t.Helper()
	if got := f.upgrade(args...); got != (result{}) {
		f.t.Fatalf("upgrade: %v", got)
	}
}

// descriptors counts those of the scanner.
func (f *faultScene) descriptors() int {
	f.t.Helper()
	names, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", f.scanner.pid))
	if err != nil {
		f.t.Fatal(err)
	}
	return len(names)
}

// TestUpgrade: the scanner becomes another program, and all goes on: the same
// processes, as children of the same process, up for as long, under the same
// wishes.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"service/web/run!":      faultSleeper,
		"service/web/log/run!":  faultCat,
		"service/frozen/run!":   faultSleeper,
		"service/down/run!":     faultSleeper,
		"service/once/run!":     faultSleeper,
		"service/away/run!":     faultSleeper,
		"service/unwanted/run!": "#!/bin/sh\nenv >../../environment\nexec sleep 1000\n",
		"service/unwanted/down": "",
		"elsewhere/run!":        faultSleeper,
		"service/linked@":       "../elsewhere",
	})
	names := []string{"web", "web/log", "frozen", "down", "once", "away", "unwanted", "linked", "bystander", "bystander/log"}
	for _, name := range names {
		if name != "unwanted" {
			f.wait(name, up)
		}
	}
	f.tell("frozen", "p")
	f.tell("down", "d")
	f.tell("once", "o")
	was := map[string]status.Record{
		"frozen":   f.wait("frozen", func(r status.Record, _ bool) bool { return r.Paused }),
		"down":     f.wait("down", down),
		"once":     f.wait("once", func(r status.Record, _ bool) bool { return r.Want == status.WantOnce }),
		"unwanted": f.wait("unwanted", down),
	}
	for _, name := range names {
		if _, ok := was[name]; !ok {
			was[name] = f.wait(name, up)
		}
	}
	// A service whose link is removed runs on.
	if err := os.Remove(f.dir("linked")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(f.dir("away"), f.path("away")); err != nil {
		t.Fatal(err)
	}
	where := func(name string) string {
		switch name {
		case "linked":
			return f.path("elsewhere")
		case "away":
			return f.path("away")
		}
		return f.dir(name)
	}
	f.upgraded() // which may be another program in what it opens
	open := f.descriptors()
	for range 3 {
		f.upgraded()
		for _, name := range names {
			waitStatus(t, where(name), unchanged(was[name]))
			if r, ok := lookAt(int(was[name].PID)); was[name].PID != 0 && (!ok || r.ppid != f.scanner.pid) {
				t.Errorf("%s: %v is no child of the scanner", name, r)
			}
		}
	}
	f.scanner.signal(unix.SIGUSR2)
	f.upgraded("--program=" + ours(t, "upkeep"))
	for range 10 {
		f.upgraded()
	}
	// Those of a moment do not count.
	f.until("no descriptors have come to stay", func() bool { return f.descriptors() <= open })
	// They obey.
	f.tell("unwanted", "u")
	if got := waitFile(t, f.path("environment"), something); strings.Contains(got, "UPKEEP_WILL") {
		t.Errorf("a service has it in its environment: %s", got)
	}
	f.tell("frozen", "ct")
	f.wait("frozen", upAnew(was["frozen"].PID))
	f.tell("down", "u")
	f.wait("down", up)
	f.tell("once", "t")
	f.wait("once", down)
	f.signal(was["web"].PID, unix.SIGKILL)
	f.wait("web", upAnew(was["web"].PID))
	f.wait("web/log", unchanged(was["web/log"]))
	for _, name := range []string{"linked", "away"} {
		if err := f.control(where(name), "dx"); err != nil {
			t.Fatal(err)
		}
		waitStatus(t, where(name), abandoned)
	}
}

// TestUpgradeExits: a service that ends at any time while the scanner becomes
// another program again and again is restarted once for each of its ends, and its
// finish hears how each was.
func TestUpgradeExits(t *testing.T) {
	t.Parallel()
	const lives = 4
	f := newFaultScene(t, tree{
		"service/web/run!": "#!/bin/sh\necho . >>../../lives\nset -- $(wc -l <../../lives)\n" +
			"sleep 1\nexit $1\n",
		"service/web/finish!": "#!/bin/sh\necho $* >>../../ends\nsleep 0.2\necho done >>../../ends\n",
	})
	for len(strings.Split(f.optional("ends"), "\n")) <= 2*lives {
		f.upgraded()
	}
	f.tell("web", "d")
	f.wait("web", down)
	ends := waitLines(t, f.path("ends"), 2*lives)
	for i, end := range ends[:2*lives] {
		want := "done"
		if i%2 == 0 {
			want = strconv.Itoa(i/2+1) + " 0"
		}
		if end != want {
			t.Fatalf("finish was told %q", ends)
		}
	}
}

// optional is the content of a file of the tree, which may be missing.
func (s *site) optional(name string) string {
	b, err := os.ReadFile(s.path(name))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	return string(b)
}

// TestUpgradeInFlight: what was begun before an upgrade is finished after it.
func TestUpgradeInFlight(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		// It takes its time to stop.
		"service/slow/run!": "#!/bin/sh\ntrap 'echo term >>../../slow; while [ ! -e ../../go ]; do sleep 0.02; done; exit 0' TERM\n" +
			"while :; do sleep 0.05; done\n",
		// Its finish runs.
		"service/ending/run!":    faultSleeper,
		"service/ending/finish!": "#!/bin/sh\necho $$ >>../../finish\nwhile [ ! -e ../../go ]; do sleep 0.02; done\n",
		// It waits for its next start.
		"service/short/run!": "#!/bin/sh\necho >>../../short\n",
		// It is to be stopped by force, as its directory has gone.
		"service/gone/run!": "#!/bin/sh\nexec tracer -ignore SIGTERM\n",
	})
	slow, ending := f.wait("slow", up), f.wait("ending", up)
	gone := f.wait("gone", up)
	waitLines(t, f.dir("gone/trace"), 1)
	f.tell("slow", "d")
	f.tell("ending", "d")
	waitLines(t, f.path("slow"), 1)
	waitLines(t, f.path("finish"), 1)
	if err := os.Rename(f.dir("gone"), f.path("gone")); err != nil {
		t.Fatal(err)
	}
	f.scanner.signal(unix.SIGHUP)
	waitLines(t, f.path("gone/trace"), 2)
	shorts := len(waitLines(t, f.path("short"), 1))
	for range 3 {
		f.upgraded()
	}
	if r := f.wait("slow", up); r.PID != slow.PID || r.Want != status.WantDown {
		t.Errorf("%+v", r)
	}
	waitLines(t, f.path("short"), shorts+1)
	f.make(tree{"go": ""})
	f.wait("slow", down)
	f.wait("ending", func(r status.Record, alive bool) bool { return down(r, alive) && r.PID != ending.PID })
	if n := len(waitLines(t, f.path("finish"), 1)); n != 1 {
		t.Errorf("finish ran %d times", n)
	}
	if n := len(waitLines(t, f.path("slow"), 1)); n != 1 {
		t.Errorf("the service was told %d times", n)
	}
	waitEnd(t, int(gone.PID))
	waitStatus(t, f.path("gone"), abandoned)
	f.tell("short", "d")
}

// upgradePrograms are programs that a scanner cannot become, as scripts; what it
// answers when it is to, with %s for the path; and what the scanner says.
var upgradePrograms = map[string]struct{ script, answer string }{
	"says nothing":     {"#!/bin/sh\n", "%s does not know how"},
	"is another":       {"#!/bin/sh\necho usage: me\nexit 2\n", "%s does not understand: usage: me"},
	"is too old":       {"#!/bin/sh\necho state of the running svscan: left by an unknown program\n", "%s does not understand: state of the running svscan: left by an unknown program"},
	"is no program":    {"", "unable to execute %s: exec format error"},
	"cannot be run":    {"#!/nonexistent\n", "unable to execute %s: no such file or directory"},
	"goes away":        {"#!/bin/sh\necho ok\nrm $0\n", "unable to execute %s: no such file or directory"},
	"closes and hangs": {"#!/bin/sh\nexec >&-\nsleep 1\n", "%s does not know how"},
	"hangs":            {"#!/bin/sh\nexec sleep 1000\n", "%s did not answer"},
}

// TestUpgradeRefused: a program that cannot take over leaves the one that runs in
// place, with all that it has.
func TestUpgradeRefused(t *testing.T) {
	t.Parallel()
	for name, c := range upgradePrograms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFaultScene(t, tree{"service/web/run!": faultSleeper, "service/web/log/run!": faultCat, "new!": c.script})
			web, log := f.wait("web", up), f.wait("web/log", up)
			limit := f.read("../../../../../../proc/" + strconv.Itoa(f.scanner.pid) + "/limits")
			got := f.upgrade("--program", f.path("new"))
			want := result{code: 111, stderr: "upkeep: fatal: unable to upgrade the svscan of " + f.path("service") +
				", which goes on as before: " + fmt.Sprintf(c.answer, f.path("new")) + "\n"}
			if got != want {
				t.Errorf("%v\nwant %v", got, want)
			}
			f.wait("web", unchanged(web))
			f.wait("web/log", unchanged(log))
			if got := f.read("../../../../../../proc/" + strconv.Itoa(f.scanner.pid) + "/limits"); got != limit {
				t.Errorf("limits were\n%s\nand are\n%s", limit, got)
			}
			f.signal(web.PID, unix.SIGKILL)
			f.wait("web", upAnew(web.PID))
			f.tell("web", "d")
			f.wait("web", down)
			f.upgraded()
		})
	}
}

// TestUpgradeSignalRefused: who asks by a signal reads why not from the scanner.
func TestUpgradeSignalRefused(t *testing.T) {
	t.Parallel()
	f := prepareFault(t, tree{"service/web/run!": faultSleeper})
	program, err := os.ReadFile(ours(t, "upkeep"))
	if err != nil {
		t.Fatal(err)
	}
	f.make(tree{"bin/svscan!": string(program)})
	f.scanner = f.start(f.path("bin/svscan"), f.path("service"))
	t.Cleanup(f.check)
	web := f.wait("web", up)
	f.make(tree{"bin/svscan!": "#!/bin/sh\n"})
	f.scanner.signal(unix.SIGUSR2)
	f.says("svscan: warning: unable to upgrade in place, going on as before: " + f.path("bin/svscan") + " does not know how")
	f.make(tree{"bin/svscan!": string(program)})
	f.scanner.signal(unix.SIGUSR2)
	f.until("the new program runs", func() bool {
		exe, err := os.Stat(fmt.Sprintf("/proc/%d/exe", f.scanner.pid))
		there, err2 := os.Stat(f.path("bin/svscan"))
		return err == nil && err2 == nil && os.SameFile(exe, there)
	})
	f.upgraded()
	f.wait("web", unchanged(web))
}

// TestUpgradeSpoilt: a program that is executed and does not understand what it was
// left after all goes on as after a crash, with the same processes.
func TestUpgradeSpoilt(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/web/run!": faultSleeper, "service/web/log/run!": faultCat})
	f.make(tree{"new!": "#!/bin/bash\nif [ \"$1\" = upgrade ]; then echo ok; exit; fi\n" +
		"echo nonsense >/proc/self/fd/$UPKEEP_WILL\n" +
		"exec -a svscan " + ours(t, "upkeep") + " \"$@\"\n"})
	web, log := f.wait("web", up), f.wait("web/log", up)
	got := f.upgrade("--program", f.path("new"))
	if want := "upkeep: fatal: unable to reach the svscan of " + f.path("service") + ": "; !strings.HasPrefix(got.stderr, want) || got.code != 111 {
		t.Errorf("%v", got)
	}
	f.says("svscan: warning: unable to read what was left by the program before the upgrade, finding it out: left by an unknown program")
	f.wait("web", unchanged(web))
	f.wait("web/log", unchanged(log))
	f.signal(web.PID, unix.SIGKILL)
	f.wait("web", upAnew(web.PID))
	f.upgraded()
	f.wait("web/log", unchanged(log))
}

// TestUpgradeClients: who asks for nonsense, or for nothing, harms nobody.
func TestUpgradeClients(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/web/run!": faultSleeper})
	web := f.wait("web", up)
	send := func(text string) (answer string) {
		t.Helper()
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		s := os.NewFile(uintptr(fd), "socket")
		defer s.Close()
		dir, err := os.Open(f.dir())
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/.svscan", dir.Fd())}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.WriteString(text); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		n, _ := s.Read(b)
		return string(b[:n])
	}
	for _, text := range []string{"nonsense\n", "\n", "\x00\xff\n", strings.Repeat("x", 9000)} {
		if got := send(text); got != "request not known\n" {
			t.Errorf("%.20q was answered %q", text, got)
		}
	}
	for range 50 {
		go func() { // one that never says anything
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err == nil {
				_ = unix.Connect(fd, &unix.SockaddrUnix{Name: f.dir(".svscan")})
				unix.Close(fd)
			}
		}()
	}
	f.upgraded()
	for _, args := range [][]string{{"--nonsense"}, {"a", "b"}, {"--program"}} {
		if got := f.run(ours(t, "upkeep"), append([]string{"upgrade"}, args...)...); got.code != 100 ||
			got.stderr != "upkeep: usage: upkeep upgrade [--program path] [dir]\n" {
			t.Errorf("%q: %v", args, got)
		}
	}
	nowhere := f.run(ours(t, "upkeep"), "upgrade", f.path("elsewhere"))
	if want := "upkeep: fatal: unable to reach the svscan of " + f.path("elsewhere") + ": file does not exist\n"; nowhere.code != 111 || nowhere.stderr != want {
		t.Errorf("%v", nowhere)
	}
	f.wait("web", unchanged(web))
}

// TestUpgradeWhileStarting: upgrades, one after the other, while a scanner starts
// its services.
func TestUpgradeWhileStarting(t *testing.T) {
	t.Parallel()
	const n = 30
	files := tree{}
	for i := range n {
		files[fmt.Sprintf("service/s%d/run!", i)] = "#!/bin/sh\necho $$ >>../../starts\nexec sleep 1000\n"
	}
	f := prepareFault(t, files)
	f.beginAlone()
	f.until("it listens", func() bool { return unix.Access(f.dir(".svscan"), unix.F_OK) == nil })
	for range 10 {
		if got := f.upgrade(); got.code != 0 {
			t.Errorf("%v", got)
		}
	}
	for i := range n {
		f.wait(fmt.Sprintf("s%d", i), up)
	}
	f.pass(200 * time.Millisecond)
	if starts := waitLines(t, f.path("starts"), n); len(starts) != n {
		t.Errorf("%d services were started %d times", n, len(starts))
	}
}

// TestUpgradeSignalled: a signal that comes while a program is about to become the
// scanner is obeyed by that.
func TestUpgradeSignalled(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR2} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			t.Parallel()
			f := newFaultScene(t, tree{
				"service/web/run!": faultSleeper,
				"slow!": "#!/bin/sh\n[ \"$1\" = upgrade ] && exec " + ours(t, "upkeep") + " \"$@\"\n" +
					"read line <gate\nexec " + ours(t, "svscan") + " \"$@\"\n",
			})
			web := f.wait("web", up)
			gate := f.path("gate")
			if err := unix.Mkfifo(gate, 0o600); err != nil {
				t.Fatal(err)
			}
			client := f.start(ours(t, "upkeep"), "upgrade", "--program", f.path("slow"), f.path("service"))
			var w *os.File
			f.until("the new program begins", func() (ok bool) {
				fd, err := unix.Open(gate, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
				if err == nil {
					w = os.NewFile(uintptr(fd), gate)
				}
				return err == nil
			})
			defer w.Close()
			f.scanner.signal(sig)
			if sig == unix.SIGHUP {
				if err := os.Rename(f.dir("web"), f.path("web")); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := w.WriteString("\n"); err != nil {
				t.Fatal(err)
			}
			if code := client.wait(); code != 0 {
				t.Errorf("upgrade: %d, %q", code, client.said())
			}
			switch sig {
			case unix.SIGHUP:
				waitStatus(t, f.path("web"), abandoned)
			case unix.SIGUSR2: // one more upgrade, to which this one is added
				f.upgraded()
				f.wait("web", unchanged(web))
			default:
				if code := f.scanner.wait(); code != 0 {
					t.Errorf("the scanner ended with %d", code)
				}
				f.wait("web", abandoned)
			}
		})
	}
}

// TestWaitingClients: clients that wait for a service to go down hear of it: the real sv
// and ours after upgrades of the scanner, and ours after a crash as well, in which sv
// may find nobody.
func TestWaitingClients(t *testing.T) {
	t.Parallel()
	sv := peer(t, "sv")
	slow := "#!/bin/sh\ntrap 'echo term >>../../told-NAME; while [ ! -e ../../go-NAME ]; do sleep 0.02; done; exit 0' TERM\n" +
		"while :; do sleep 0.05; done\n"
	f := newFaultScene(t, tree{
		"service/a/run!": strings.ReplaceAll(slow, "NAME", "a"),
		"service/b/run!": strings.ReplaceAll(slow, "NAME", "b"),
	})
	f.wait("a", up)
	f.wait("b", up)
	real := f.start(sv, "-w", "60", "down", f.dir("a"))
	f.tell("b", "d")
	ours := make(chan error, 2)
	for _, name := range []string{"a", "b"} {
		waitLines(t, f.path("told-"+name), 1)
		go func() {
			d, err := svc.Open(f.dir(name), svc.StateDir)
			if err == nil {
				_, err = d.Wait(status.Daemontools, time.Now().Add(2*patience), down)
				d.Close()
			}
			ours <- err
		}()
	}
	f.upgraded()
	f.upgraded()
	f.make(tree{"go-a": ""})
	if code := real.wait(); code != 0 {
		t.Errorf("sv ended with %d: %s", code, real.said())
	}
	f.crash(nil)
	f.wait("b", up)
	f.upgraded()
	f.make(tree{"go-b": ""})
	for range 2 {
		if err := <-ours; err != nil {
			t.Errorf("ours: %v", err)
		}
	}
	if n := len(waitLines(t, f.path("told-a"), 1)); n != 1 {
		t.Errorf("the service was told %d times", n)
	}
}
