package integration

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
	"upkeep/svc"
)

// Run scripts of services that say when they are ready.
const (
	s6Ready = "#!/bin/sh\necho >&5\nexec tracer\n"
	s6Late  = "#!/bin/sh\nuntil test -e now; do sleep 0.05; done\necho >&5\nexec tracer\n"
)

func isReady(r status.Record, alive bool) bool { return s6Conditions(r, alive, "ready") }

// listenTo hears what happens to a service from now on.
func listenTo(t *testing.T, dir string) *listening {
	t.Helper()
	d, err := svc.Open(dir, svc.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	l := &listening{}
	if err := l.Add(d); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// hears waits for these events, and no others.
func (l *listening) hears(t *testing.T, want string) {
	t.Helper()
	for deadline := time.Now().Add(patience); len(l.heard) < len(want); {
		if err := l.Next(deadline, func(_ int, event byte) { l.heard += string(rune(event)) }); err != nil {
			t.Fatalf("heard %q: %v", l.heard, err)
		}
	}
	if l.heard != want {
		t.Errorf("heard %q, want %q", l.heard, want)
	}
	l.heard = ""
}

// TestS6TakesOver: readiness, the record of deaths and s6-svscan's own FIFO outlive the
// scanner, and who was not ready yet may become so while there is none.
func TestS6TakesOver(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"crash", "upgrade"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, tree{
				"scan/early/run!": s6Ready, "scan/early/notification-fd": "5\n",
				"scan/late/run!": s6Late, "scan/late/notification-fd": "5\n",
				"scan/dies/run!": "#!/bin/sh\nexec tracer\n",
			})
			start := func() *process { return s.svscan(ours(t, "s6-svscan"), "-t", "0", "scan") }
			p := start()
			early := awaitS6(t, s.path("scan/early"), isReady)
			awaitS6(t, s.path("scan/late"), func(r status.Record, alive bool) bool { return s6Conditions(r, alive, "up") })
			waitLines(t, s.path("scan/dies/trace"), 1)
			if got := s.run(ours(t, "s6-svc"), "-wr", "-r", "scan/dies"); got.code != 0 {
				t.Fatal(got)
			}
			tally := s.read("scan/dies/supervise/death_tally")
			l := listenTo(t, s.path("scan/late"))
			ready := func() {
				s.make(tree{"scan/late/now": ""})
				waitLines(t, s.path("scan/late/trace"), 1)
			}
			if how == "crash" {
				p.signal(unix.SIGKILL)
				p.wait()
				p.stopped = true
				ready()
				p = start()
				l.hears(t, "sU")
			} else {
				for range 3 {
					if got := s.run(ours(t, "upkeep"), "upgrade", "scan"); got != (result{}) {
						t.Fatal(got)
					}
				}
				ready()
				l.hears(t, "U")
			}
			again := awaitS6(t, s.path("scan/early"), isReady)
			if again != early {
				t.Errorf("it was %+v, and is %+v", early, again)
			}
			awaitS6(t, s.path("scan/late"), isReady)
			if got := s.read("scan/dies/supervise/death_tally"); got != tally || len(got) != status.TallySize {
				t.Errorf("the record of deaths is %q, and was %q", got, tally)
			}
			s.make(tree{"scan/new/down": ""})
			if got := s.run(ours(t, "s6-svscanctl"), "-a", "scan"); got != (result{}) {
				t.Fatal(got)
			}
			awaitS6(t, s.path("scan/new"), func(r status.Record, alive bool) bool { return s6Conditions(r, alive, "off") })
			want := result{"", "s6-svscan: fatal: another instance of s6-svscan is already running on the same directory\n", 100}
			if got := s.run(ours(t, "s6-svscan"), "scan"); got != want {
				t.Error(got)
			}
			if got := s.run(ours(t, "s6-svscanctl"), "-t", "scan"); got != (result{}) {
				t.Fatal(got)
			}
			p.wait()
		})
	}
}

// TestS6NotReady: who is not ready in time is started anew.
func TestS6NotReady(t *testing.T) {
	t.Parallel()
	s := newSite(t, tree{"a/run!": s6Late, "a/notification-fd": "5\n", "a/timeout-ready": "300\n", "a/event/": ""})
	l := listenTo(t, s.path("a"))
	p := s.supervise(ours(t, "s6-supervise"), "a")
	l.hears(t, "sudD")
	s.make(tree{"a/now": ""})
	l.hears(t, "uU")
	p.stop()
}

// TestReadinessElsewhere: the files of s6 mean the same in the other dialects, if there is
// a directory event.
func TestReadinessElsewhere(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{"common", "daemontools", "encore", "runit"} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, tree{"a/run!": s6Late, "a/notification-fd": "5\n", "a/max-death-tally": "3\n", "a/event/": ""})
			s.make(tree{"a/event/ftrig1:@400000006b00c11215949ebc:zzzzzz": "no fifo\n"})
			if err := unix.Mkfifo(s.path("a/event/ftrig1:@400000006b00c11215949ebc:yyyyyy"), 0o600); err != nil {
				t.Fatal(err)
			}
			l := listenTo(t, s.path("a"))
			p := s.supervise(ours(t, "supervise"), "--dialect", dialect, "a")
			l.hears(t, "su")
			s.make(tree{"a/now": ""})
			l.hears(t, "U")
			waitLines(t, s.path("a/trace"), 1)
			if err := s.control("a", "t"); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(patience); l.heard == ""; { // and then D where there is a pause
				if err := l.Next(deadline, func(_ int, event byte) { l.heard += string(rune(event)) }); err != nil {
					t.Fatal(err)
				}
			}
			if l.heard[0] != 'd' {
				t.Errorf("heard %q", l.heard)
			}
			waitFile(t, s.path("a/supervise/death_tally"), func(c string) bool { return len(c) == status.TallySize })
			if _, err := os.Stat(s.path("a/event/ftrig1:@400000006b00c11215949ebc:yyyyyy")); err == nil {
				t.Error("the FIFO of somebody who does not listen is still there")
			}
			if got := s.read("a/event/ftrig1:@400000006b00c11215949ebc:zzzzzz"); got != "no fifo\n" {
				t.Errorf("a file has become %q", got)
			}
			p.stop()
		})
	}
}

// TestEventsLater: a directory event counts from when it is there.
func TestEventsLater(t *testing.T) {
	t.Parallel()
	s := newSite(t, tree{"a/run!": "#!/bin/sh\nexec tracer\n"})
	p := s.supervise(ours(t, "supervise"), "a")
	waitLines(t, s.path("a/trace"), 1)
	l := listenTo(t, s.path("a")) // which makes it
	for l.heard == "" {
		// It is not known when it was noticed.
		was := waitStatus(t, s.path("a"), up)
		if err := s.control("a", "t"); err != nil {
			t.Fatal(err)
		}
		waitStatus(t, s.path("a"), upAnew(was.PID))
		_ = l.Next(time.Now().Add(100*time.Millisecond), func(_ int, event byte) { l.heard += string(rune(event)) })
	}
	if !strings.HasPrefix("dDu", l.heard) {
		t.Errorf("heard %q", l.heard)
	}
	p.stop()
}

// TestS6Deaf: a listener that does not read its FIFO holds nobody up.
func TestS6Deaf(t *testing.T) {
	t.Parallel()
	s := newSite(t, tree{"a/run!": "#!/bin/sh\nexec tracer\n", "a/event/": ""})
	l := listenTo(t, s.path("a"))
	fd, err := unix.Open(s.path("a/event")+"/"+listenerName(t, s.path("a/event")), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for err == nil { // until it is full
		_, err = unix.Write(fd, []byte(strings.Repeat("?", 4096)))
	}
	p := s.supervise(ours(t, "s6-supervise"), "a")
	waitLines(t, s.path("a/trace"), 1)
	if got := s.run(ours(t, "s6-svc"), "-wD", "-d", "a"); got != (result{}) {
		t.Error(got)
	}
	p.stop()
	l.Close()
}

func listenerName(t *testing.T, dir string) string {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	return names[0].Name()
}

// TestS6Others: programs of s6 that there is none of ours for work on our tree, and
// s6-svscan tells when it takes commands.
func TestS6Others(t *testing.T) {
	t.Parallel()
	s := newSite(t, tree{"scan/a/run!": s6Ready, "scan/a/notification-fd": "5\n"})
	s.make(tree{"begin!": "#!/bin/sh\nexec " + ours(t, "s6-svscan") + " -d 4 scan 4>notified\n"})
	p := s.svscan(s.path("begin"))
	waitFile(t, s.path("notified"), func(c string) bool { return c == "\n" })
	awaitS6(t, s.path("scan/a"), isReady)
	for _, args := range []string{
		"s6-svlisten1 -U scan/a true", "s6-svlisten1 -D scan/a s6-svc -d scan/a",
		"s6-svlisten -U scan/a  s6-svc -u scan/a", "s6-svlisten -a -R scan/a  s6-svc -r scan/a",
		"s6-svperms scan/a",
	} {
		words := strings.Split(args, " ") // of which one may be empty
		if got := s.run(peer(t, words[0]), words[1:]...); got.code != 0 {
			t.Errorf("%s: %v", args, got)
		}
	}
	p.stop()
}

// TestS6CatchAll: s6-svscan-log reads what all write, to the end.
func TestS6CatchAll(t *testing.T) {
	t.Parallel()
	for whose, find := range map[string]func(testing.TB, string) string{"real": peer, "ours": ours} {
		t.Run(whose, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, tree{
				"scan/a/run!":             "#!/bin/sh\ntrap 'echo last; exit' TERM\necho first\necho >started\nwhile :; do sleep 0.05; done\n",
				"scan/s6-svscan-log/run!": "#!/bin/sh\nexec cat <../../fifo >>../../caught\n",
				"begin!":                  "#!/bin/sh\nmkfifo fifo\nexec " + find(t, "s6-svscan") + " -X 4 scan 4>&2 1<>fifo 2>&1\n",
			})
			p := s.svscan(s.path("begin"))
			waitFile(t, s.path("scan/a/started"), something)
			if got := s.run(peer(t, "s6-svscanctl"), "-t", "scan"); got != (result{}) {
				t.Fatal(got)
			}
			p.wait()
			if got := s.read("caught"); got != "first\nlast\n" {
				t.Errorf("it has read %q", got)
			}
		})
	}
}

// TestS6Dialect: svscan by another name is one of s6's as well.
func TestS6Dialect(t *testing.T) {
	t.Parallel()
	s := newSite(t, tree{"scan/a/run!": s6Ready, "scan/a/notification-fd": "5\n", "scan/a/lock-fd": "6\n"})
	s.setenv("UPKEEP_DIALECT", "s6")
	p := s.svscan(ours(t, "svscan"), "scan")
	awaitS6(t, s.path("scan/a"), isReady)
	if got := s.run(peer(t, "s6-svwait"), "-U", "scan/a"); got != (result{}) {
		t.Error(got)
	}
	if got := s.run(peer(t, "s6-svstat"), "-o", "up,ready", "scan/a"); got.stdout != "true true\n" {
		t.Error(got)
	}
	p.stop()
}
