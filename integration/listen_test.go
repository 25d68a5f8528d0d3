package integration

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// answerer is a service that accepts connections on the sockets that it finds as
// sd_listen_fds(3) describes it. Each client gets the name of the socket, the service's
// pid, and the number of sockets. TERM ends it between two of them.
func answerer() {
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) || os.Getenv("LISTEN_FDS") != strconv.Itoa(len(names)) {
		fmt.Fprintf(os.Stderr, "answerer: LISTEN_PID=%s LISTEN_FDS=%s\n", os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"))
		os.Exit(1)
	}
	var answering sync.Mutex
	for i, name := range names {
		fd := 3 + i
		_ = unix.SetNonblock(fd, true)
		go func() {
			for {
				_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
				answering.Lock()
				if c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC); err == nil {
					_, _ = unix.Write(c, fmt.Appendf(nil, "%s %d %d\n", name, os.Getpid(), len(names)))
					unix.Close(c)
				}
				answering.Unlock()
			}
		}()
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM)
	<-signals
	answering.Lock()
	os.Exit(0)
}

// asked is what a service answers, or an error.
func asked(network, address string) (answer string, err error) {
	c, err := net.Dial(network, address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	if err == nil && len(b) == 0 {
		err = io.ErrUnexpectedEOF
	}
	return string(b), err
}

// ask is asked of a service that has to answer.
func ask(t *testing.T, network, address string) string {
	t.Helper()
	answer, err := asked(network, address)
	if err != nil {
		t.Fatalf("%s: %v", address, err)
	}
	return answer
}

// freePort is an address of the loopback interface that nobody has. The host is not one
// where others get theirs from the kernel.
func freePort(t *testing.T, host string) string {
	t.Helper()
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Skip("no loopback interface:", err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestListen: the sockets that a service's file listen names are the scanner's. Who
// connects is not refused, whatever becomes of the service: restarted, down, changed; and
// of the scanner: another program, killed, killed together with the service.
func TestListen(t *testing.T) {
	t.Parallel()
	port := freePort(t, "127.9.1.1")
	f := newFaultScene(t, tree{"service/web/run!": "#!/bin/sh\nexec answerer\n", "service/web/down": ""})
	path := f.path("web.sock")
	f.make(tree{"service/web/listen": "# of the test\nhttp=tcp:" + port + "\n\nadmin=unix:" + path + " mode=600\n"})
	f.wait("web", down)
	if _, err := asked("tcp", port); err == nil {
		t.Error("it listens before it was ever started")
	}
	f.tell("web", "u")
	web := f.wait("web", up)
	says := func(network, address, name string, sockets int) {
		t.Helper()
		if got, want := ask(t, network, address), fmt.Sprintf("%s %d %d\n", name, web.PID, sockets); got != want {
			t.Fatalf("%q answers, want %q", got, want)
		}
	}
	says("tcp", port, "http", 2)
	says("unix", path, "admin", 2)
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}

	// Clients over and over, while it is restarted.
	stop, done := make(chan struct{}), make(chan int)
	for range 4 {
		go func() {
			n := 0
			defer func() { done <- n }()
			for ; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := asked("tcp", port); err != nil {
					t.Errorf("after %d answers: %v", n, err)
					return
				}
			}
		}()
	}
	for range 3 {
		old := web.PID
		f.tell("web", "t")
		web = f.wait("web", upAnew(old))
	}
	close(stop)
	answers := 0
	for range 4 {
		answers += <-done
	}
	if answers == 0 {
		t.Error("nobody was answered")
	}

	// While it is down a client waits.
	f.tell("web", "d")
	f.wait("web", down)
	waits := func(how func()) {
		t.Helper()
		c, err := net.Dial("tcp", port)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		how()
		_ = c.SetDeadline(time.Now().Add(patience))
		b, err := io.ReadAll(c)
		if want := fmt.Sprintf("http %d ", web.PID); err != nil || !strings.HasPrefix(string(b), want) {
			t.Errorf("%q, %v, want %q", b, err, want)
		}
	}
	waits(func() {
		f.tell("web", "u")
		web = f.wait("web", up)
	})

	// Another program in the scanner's place, and a scanner that was killed.
	f.upgraded()
	says("tcp", port, "http", 2)
	f.signal(web.PID, unix.SIGSTOP) // so that it is not it that answers
	waitFrozen(t, int(web.PID))
	waits(func() {
		old := web.PID
		f.upgraded()
		f.tell("web", "k")
		web = f.wait("web", upAnew(old))
	})
	f.crash(nil)
	f.wait("web", unchanged(web))
	says("unix", path, "admin", 2)
	var early net.Conn
	f.crash(func() {
		f.signal(web.PID, unix.SIGKILL)
		waitEnd(t, int(web.PID))
		var err error
		if early, err = net.Dial("tcp", port); err != nil {
			t.Fatal(err)
		}
	})
	web = f.wait("web", upAnew(web.PID))
	if b, err := io.ReadAll(early); !strings.HasPrefix(string(b), fmt.Sprintf("http %d ", web.PID)) {
		t.Errorf("who connected while nobody was there gets %q, %v", b, err)
	}
	early.Close()
	says("unix", path, "admin", 2)

	// A change of the file counts at the next start. What stays is not opened anew.
	other := freePort(t, "127.9.1.2")
	f.make(tree{"service/web/listen": "more=" + other + "\nhttp=tcp:" + port + "\n"})
	old := web.PID
	f.tell("web", "t")
	web = f.wait("web", upAnew(old))
	says("tcp", port, "http", 2)
	says("tcp", other, "more", 2)
	if _, err := os.Lstat(path); err == nil {
		t.Errorf("%s is left", filepath.Base(path))
	}
	f.remove("service/web/listen")
	f.make(tree{"service/web/run!": "#!/bin/sh\nenv >environment\nexec sleep 1000\n"})
	old = web.PID
	f.tell("web", "t")
	f.wait("web", upAnew(old))
	env := waitFile(t, f.dir("web", "environment"), something)
	if strings.Contains(env, "LISTEN_") {
		t.Errorf("without a file listen its environment is %q", env)
	}
	for _, address := range []string{port, other} {
		if _, err := asked("tcp", address); err == nil {
			t.Errorf("somebody listens at %s", address)
		}
	}
}

// TestListenFaults: an address that cannot be had, and a file that makes no sense, keep the
// service from starting; each is said once, and nothing else is harmed.
func TestListenFaults(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.9.2.1:0")
	if err != nil {
		t.Skip("no loopback interface:", err)
	}
	defer l.Close()
	port := l.Addr().String()
	f := newFaultScene(t, tree{
		"service/taken/run!":     "#!/bin/sh\nexec answerer\n",
		"service/taken/listen":   port + "\n",
		"service/wrong/run!":     "#!/bin/sh\nexec answerer\n",
		"service/wrong/listen":   "\ntcp:somewhere:80\n",
		"service/locked/run!":    "#!/bin/sh\nexec answerer\n",
		"service/locked/listen":  "@upkeep-test-" + strconv.Itoa(os.Getpid()) + "\n",
		"service/locked/lock-fd": "3\n",
	})
	for _, line := range []string{
		"unable to listen on " + port + " for taken: address already used",
		`unable to use wrong/listen: line 2: not a numeric address: "somewhere"`,
		"unable to use locked/listen: lock-fd is the number of a socket",
	} {
		f.says("supervise: warning: " + line)
	}
	f.remove("service/locked/lock-fd")
	f.wait("locked", up)
	l.Close()
	taken := f.wait("taken", up)
	if got, want := ask(t, "tcp", port), fmt.Sprintf(" %d 1\n", taken.PID); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	f.make(tree{"service/wrong/listen": "@upkeep-wrong-" + strconv.Itoa(os.Getpid()) + "\n"})
	f.wait("wrong", up)
}

// TestListenProgram has a program that others wrote find its socket: systemd's proxy, in
// front of a service of the same tree. Both are supervised alone by supervise.
func TestListenProgram(t *testing.T) {
	t.Parallel()
	const proxy = "/lib/systemd/systemd-socket-proxyd"
	if unix.Access(proxy, unix.X_OK) != nil {
		missing(t, proxy+" is missing; install the package systemd")
	}
	front, back := freePort(t, "127.9.3.1"), freePort(t, "127.9.3.2")
	s := newSite(t, tree{
		"proxy/run!":   "#!/bin/sh\nexec " + proxy + " " + back + "\n",
		"proxy/listen": front + "\n",
		"web/run!":     "#!/bin/sh\nexec answerer\n",
		"web/listen":   "web=" + back + "\n",
	})
	for _, name := range []string{"proxy", "web"} {
		s.supervise(ours(t, "supervise"), s.path(name))
	}
	waitStatus(t, s.path("proxy"), up)
	web := waitStatus(t, s.path("web"), up)
	want := fmt.Sprintf("web %d 1\n", web.PID)
	if got := ask(t, "tcp", front); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
