package integration

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

// manager listens as systemd does, at the socket name.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
}

func newManager(t *testing.T, s *site, name string) *manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s.setenv("NOTIFY_SOCKET", name)
	return &manager{t, conn}
}

// hear is the next message; ok is false if none comes in time.
func (m *manager) hear(within time.Duration) (message string, ok bool) {
	m.t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		m.t.Fatal(err)
	}
	b := make([]byte, 1000)
	n, err := m.conn.Read(b)
	return string(b[:n]), err == nil
}

// hears waits for a message, which the next one that is no mere status must be.
func (m *manager) hears(pattern string) {
	m.t.Helper()
	for {
		got, ok := m.hear(patience)
		if !ok {
			m.t.Fatalf("no %q comes", pattern)
		}
		if regexp.MustCompile("^(?:" + pattern + ")$").MatchString(got) {
			return
		}
		if !strings.HasPrefix(got, "STATUS=") {
			m.t.Fatalf("%q comes, not %q", got, pattern)
		}
	}
}

const notifyRun = "#!/bin/sh\nenv >../../env.new && mv ../../env.new ../../env\nexec sleep 1000\n"

// TestNotify: a service manager hears when the scanner is ready, what it does, and that
// it lives; the services hear nothing of the manager.
func TestNotify(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"path", "abstract"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f := prepareFault(t, tree{
				"service/web/run!":       notifyRun,
				"service/taken/run!":     faultSleeper,
				"service/taken/down":     "",
				"elsewhere/another/run!": faultSleeper,
			})
			name := f.path("notify")
			if kind == "abstract" {
				name = fmt.Sprintf("@upkeep-%d-%s", os.Getpid(), f.mark)
			}
			m := newManager(t, f.site, name)
			f.setenv("WATCHDOG_USEC", "9000000000")
			f.setenv("WATCHDOG_PID", "1")
			holder := f.supervise(ours(t, "supervise"), f.dir("taken"))
			waitStatus(t, f.dir("taken"), supervised)
			f.begin()
			f.lines = append(f.lines, "supervise: fatal: unable to acquire taken/supervise/lock: temporary failure")
			m.hears("READY=1\nSTATUS=2 services, 1 cannot be supervised")
			for _, dir := range []string{"web", "bystander", "bystander/log"} {
				fd, err := unix.Open(f.dir(dir, "supervise/lock"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
				if err != nil {
					t.Fatal(err)
				}
				if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != unix.EAGAIN {
					t.Errorf("%s was not locked when the scanner was ready: %v", dir, err)
				}
				unix.Close(fd)
			}
			f.rename("elsewhere/another", "service/another")
			m.hears("STATUS=3 services, 1 cannot be supervised")
			holder.stop()
			m.hears("STATUS=4 services")
			f.scanner.signal(unix.SIGHUP)
			m.hears("RELOADING=1\nMONOTONIC_USEC=[0-9]+")
			m.hears("READY=1\nSTATUS=4 services")

			env := waitFile(t, f.path("env"), something)
			for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
				if strings.Contains(env, name) {
					t.Errorf("the service has %s", name)
				}
			}
			if !strings.Contains(env, "PATH=") {
				t.Errorf("its environment is %q", env)
			}
			f.scanner.stop()
			m.hears("STOPPING=1\nSTATUS=stopping all services")
		})
	}
}

// TestNotifyWatchdog: signs of life come without end, and none while the scanner is
// stopped.
func TestNotifyWatchdog(t *testing.T) {
	t.Parallel()
	f := prepareFault(t, tree{})
	m := newManager(t, f.site, f.path("notify"))
	f.setenv("WATCHDOG_USEC", "40000")
	f.begin()
	m.hears("READY=1\nSTATUS=1 service|WATCHDOG=1")
	for n := 0; n < 20; {
		message, ok := m.hear(patience)
		if !ok {
			t.Fatal("no sign of life")
		}
		if message == "WATCHDOG=1" {
			n++
		}
	}
	f.scanner.signal(unix.SIGSTOP)
	waitFrozen(t, f.scanner.pid)
	for ok := true; ok; { // what was sent before
		_, ok = m.hear(time.Second)
	}
	f.scanner.signal(unix.SIGCONT)
	m.hears("WATCHDOG=1")
}

// TestNotifyWrong: of a manager that cannot be told, one line is said.
func TestNotifyWrong(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{
		"vsock:2:99": "svscan: warning: unable to notify service manager: protocol not supported",
		"/no/socket": "svscan: warning: unable to notify /no/socket: file does not exist",
	} {
		t.Run(strings.ReplaceAll(name, "/", " "), func(t *testing.T) {
			t.Parallel()
			f := prepareFault(t, tree{})
			f.setenv("NOTIFY_SOCKET", name)
			f.begin()
			f.says(line)
		})
	}
}

// TestQuit: QUIT ends the scanner and nothing else; the next one takes all over.
func TestQuit(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"service/web/run!":     "#!/bin/sh\necho $$ >>../../starts\ni=0; while :; do echo $i; i=$((i+1)); sleep 0.005; done\n",
		"service/web/log/run!": "#!/bin/sh\nexec cat >>../../../lines\n",
		"service/down/run!":    faultSleeper,
	})
	web, logger := f.wait("web", up), f.wait("web/log", up)
	f.wait("down", up)
	for range 3 {
		f.tell("down", "d") // and at once:
		f.scanner.signal(unix.SIGQUIT)
		if code := f.scanner.wait(); code != 0 {
			t.Fatalf("it ended with %d", code)
		}
		if said := f.scanner.said(); said != "" {
			t.Errorf("it said %q", said)
		}
		f.scanner.stopped, f.crashed = true, true
		waitLines(t, f.path("lines"), len(waitLines(t, f.path("lines"), 0))+10)
		f.scanner = f.start(ours(t, "svscan"), f.path("service"))
		f.wait("web", unchanged(web))
		f.wait("web/log", unchanged(logger))
		f.wait("down", supervised)
		f.tell("down", "u")
		f.wait("down", func(r status.Record, alive bool) bool { return up(r, alive) && r.Want == status.WantUp })
	}
	f.scanner.stop()
	if n := len(waitLines(t, f.path("starts"), 1)); n != 1 {
		t.Errorf("%d starts", n)
	}
	for i, line := range waitLines(t, f.path("lines"), 1) {
		if line != fmt.Sprint(i) {
			t.Fatalf("line %d is %q", i, line)
		}
	}
}

const unitFile = "systemd/upkeep.service"

// unitValue is a value in the unit file, with its lines joined.
func unitValue(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(strings.ReplaceAll(string(b), "\\\n", " ")) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+"="); ok {
			return value
		}
	}
	t.Fatalf("%s has no %s", unitFile, name)
	return ""
}

// TestUnitStop: the unit's way to stop leaves the services running if that is part of a
// restart, stops them otherwise, and waits for the end in any case.
func TestUnitStop(t *testing.T) {
	t.Parallel()
	command, ok := strings.CutPrefix(unitValue(t, "ExecStop"), "/bin/sh -c '")
	if !ok {
		t.Fatal(command)
	}
	// As systemd would expand it.
	command = strings.ReplaceAll(strings.TrimSuffix(command, "'"), "%n", "upkeep.service")
	if strings.Count(command, "$") != 2*strings.Count(command, "$$") || strings.ContainsAny(command, "'%") {
		t.Fatalf("systemd would expand something in %s", command)
	}
	command = strings.ReplaceAll(command, "$$", "$")
	for job, goesOn := range map[string]bool{
		"4711 upkeep.service restart running\n": true,
		"4711 upkeep.service stop running\n":    false,
		"":                                      false,
	} {
		t.Run(job, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, tree{
				"service/web/run!": faultSleeper,
				"bin/systemctl!":   "#!/bin/sh\ntest \"$*\" = 'list-jobs --no-legend upkeep.service' && printf '" + strings.ReplaceAll(job, "\n", "\\n") + "'\n",
			})
			scanner := s.svscan(ours(t, "svscan"), s.path("service"))
			web := waitStatus(t, s.path("service/web"), up)
			s.setenv("PATH", s.path("bin")+":/usr/bin:/bin")
			s.setenv("MAINPID", fmt.Sprint(scanner.pid))
			scanner.expected = true
			if r := s.run("/bin/sh", "-c", command); r != (result{}) {
				t.Errorf("%v", r)
			}
			if _, there := lookAt(scanner.pid); there {
				t.Error("it did not wait for the end")
			}
			if code := scanner.wait(); code != 0 {
				t.Errorf("the scanner ended with %d", code)
			}
			if _, there := lookAt(int(web.PID)); there != goesOn {
				t.Errorf("the service runs: %v, want %v", there, goesOn)
			}
			if goesOn {
				next := s.svscan(ours(t, "svscan"), s.path("service"))
				waitStatus(t, s.path("service/web"), unchanged(web))
				next.stop()
			}
			s.setenv("MAINPID", "")
			if r := s.run("/bin/sh", "-c", command); r != (result{}) {
				t.Errorf("after a crash: %v", r)
			}
		})
	}
}

// TestUnitFile has systemd look at the unit file.
func TestUnitFile(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		missing(t, "systemd-analyze is missing; install the package systemd")
	}
	s := newSite(t, nil)
	b, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	unit := strings.ReplaceAll(string(b), "/usr/local/bin/svscan", ours(t, "svscan"))
	s.make(tree{"upkeep.service": unit})
	if r := s.run(analyze, "verify", "--man=no", s.path("upkeep.service")); r.code != 0 || strings.Contains(r.stderr, filepath.Base(s.root)) {
		t.Errorf("%v", r)
	}
	for name, want := range map[string]string{"Type": "notify", "KillMode": "process", "Restart": "always", "OOMPolicy": "continue"} {
		if got := unitValue(t, name); got != want {
			t.Errorf("%s is %s", name, got)
		}
	}
	if words := strings.Fields(unitValue(t, "ExecStart")); !slices.Contains(words, "--state") {
		t.Errorf("%q", words)
	}
}
