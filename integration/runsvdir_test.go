package integration

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

// bothRunsvdirs plays a test with our runsvdir and with the real one.
func bothRunsvdirs(t *testing.T, test func(t *testing.T, runsvdir string)) {
	t.Run("ours", func(t *testing.T) {
		t.Parallel()
		test(t, ours(t, "runsvdir"))
	})
	t.Run("real", func(t *testing.T) {
		t.Parallel()
		test(t, peer(t, "runsvdir"))
	})
}

// waitTitle waits until the last argument of a process is this one.
func waitTitle(t *testing.T, pid int, want string) {
	t.Helper()
	var got string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		got = strings.TrimSuffix(string(b), "\x00")
		if got = got[strings.LastIndexByte(got, 0)+1:]; got == want {
			return
		}
	}
	t.Fatalf("the title is %q, want %q", got, want)
}

// TestRunsvdirTitle: what services write to standard error is in the arguments.
func TestRunsvdirTitle(t *testing.T) {
	t.Parallel()
	bothRunsvdirs(t, func(t *testing.T, runsvdir string) {
		s := newSite(t, tree{"scan/a/run!": "#!/bin/sh\nprintf 'hello\\n\\0x' >&2\ntrap 'printf HUP >&2' HUP\ntrap exit TERM\n>ready\nwhile :; do sleep 0.02; done\n"})
		const title = "log: 123456789012345"
		p := s.svscan(runsvdir, "scan", title)
		want := "log: 9012345.hello\nx"
		waitTitle(t, p.pid, want)
		waitStatus(t, s.path("scan/a"), up)
		waitFile(t, s.path("scan/a/ready"), func(string) bool { _, err := os.Stat(s.path("scan/a/ready")); return err == nil })
		if runsvdir == ours(t, "runsvdir") {
			// The program that it becomes goes on with it.
			before := waitStatus(t, s.path("scan/a"), up)
			if r := s.run(ours(t, "upkeep"), "upgrade", "scan"); r.code != 0 {
				t.Fatal(r)
			}
			if now := waitStatus(t, s.path("scan/a"), up); now.PID != before.PID {
				t.Errorf("the service is %d now, was %d", now.PID, before.PID)
			}
			want = want[:5] + want[6:] + "."
			waitTitle(t, p.pid, want)
		}
		if err := s.control("scan/a", "h"); err != nil {
			t.Fatal(err)
		}
		waitTitle(t, p.pid, want[:5]+want[8:]+"HUP")
	})
}

// TestRunsvdirAlarm: ALRM has runsvdir look at once, and say when it has.
func TestRunsvdirAlarm(t *testing.T) {
	t.Parallel()
	bothRunsvdirs(t, func(t *testing.T, runsvdir string) {
		s := newSite(t, tree{"scan/a/run!": "#!/bin/sh\nexec tracer\n"})
		p := s.svscan(runsvdir, "scan")
		waitLines(t, s.path("scan/a/trace"), 1)
		began := status.Now()
		s.make(tree{"etc/b/run!": "#!/bin/sh\nexec tracer\n", "scan/b@": "../etc/b"})
		p.signal(unix.SIGALRM)
		mark := waitFile(t, s.path("scan/.forced-rescan"), func(c string) bool { return len(c) == status.TAI64NLen })
		at, ok := status.ParseTAI64N([]byte(mark))
		if !ok || at.Sec < began.Sec || at.Sec > began.Sec+10 {
			t.Errorf("it says %q", mark)
		}
		waitLines(t, s.path("etc/b/trace"), 1)
		p.expected = false
	})
}

// TestRunsvdirSessions: with -P services are in sessions of their own, which they do not
// lead, so that a run script can make one.
func TestRunsvdirSessions(t *testing.T) {
	t.Parallel()
	bothRunsvdirs(t, func(t *testing.T, runsvdir string) {
		for _, flag := range []string{"-P", "--"} {
			s := newSite(t, tree{
				"scan/a/run!":     "#!/bin/sh\nexec tracer\n",
				"scan/a/log/run!": "#!/bin/sh\nexec tracer\n",
				"scan/b/run!":     "#!/bin/sh\nexec setsid tracer\n",
			})
			p := s.svscan(runsvdir, flag, "scan")
			session := func(pid int) int {
				sid, err := unix.Getsid(pid)
				if err != nil {
					t.Fatal(err)
				}
				return sid
			}
			for _, name := range []string{"a", "a/log", "b"} {
				waitLines(t, s.path("scan", name, "trace"), 1)
				pid := int(waitStatus(t, s.path("scan", name), up).PID)
				r, ok := lookAt(pid)
				if !ok || r.program() != "tracer" {
					t.Fatalf("%s: the service is %v", name, r)
				}
				switch sid := session(pid); {
				case name == "b":
					if sid != pid {
						t.Errorf("%s %s: session %d, pid %d", flag, name, sid, pid)
					}
				case sid == pid, (flag == "-P") == (sid == session(p.pid)):
					t.Errorf("%s %s: session %d, pid %d, runsvdir's is %d", flag, name, sid, pid, session(p.pid))
				}
			}
			p.stop()
		}
	})
}
