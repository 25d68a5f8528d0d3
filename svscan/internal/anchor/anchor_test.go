package anchor

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]struct {
		fd       int
		stop, ok bool
	}{
		"3": {3, false, true}, "70,stop": {70, true, true}, "65535": {65535, false, true},
		"": {}, "2": {2, false, false}, "-3": {}, "3,": {}, "3,stopp": {}, "3x": {}, "3,stop,stop": {}, " 3": {},
	} {
		fd, stop, ok := parse(value)
		if ok != want.ok || ok && (fd != want.fd || stop != want.stop) {
			t.Errorf("%q: %d %v %v", value, fd, stop, ok)
		}
		if ok && format(fd, stop) != Variable+"="+value {
			t.Errorf("%q becomes %q", value, format(fd, stop))
		}
	}
}

// TestEnviron does not run beside others: it changes the environment.
func TestEnviron(t *testing.T) {
	t.Setenv(Variable, "0")
	if _, _, ok := FromEnv(); ok {
		t.Error("standard input is no anchor")
	}
	pair := sockets(t)
	t.Setenv(Variable, strings.TrimPrefix(format(pair[0], false), Variable+"="))
	if _, _, ok := FromEnv(); ok {
		t.Error("a socket of our own, or of anybody but our parent, is no anchor")
	}
	if !slices.ContainsFunc(os.Environ(), isVariable) {
		t.Fatal("the variable is not set")
	}
	got := Environ()
	if slices.ContainsFunc(got, isVariable) || len(got) != len(os.Environ())-1 {
		t.Errorf("%q", got)
	}
}

func isVariable(v string) bool { return strings.HasPrefix(v, Variable) }

func FuzzParse(f *testing.F) {
	for _, s := range []string{"3", "4,stop", "", ",stop", "99999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		fd, stop, ok := parse(s)
		if !ok {
			return
		}
		if again, s2, ok := parse(strings.TrimPrefix(format(fd, stop), Variable+"=")); !ok || again != fd || s2 != stop || fd < 3 {
			t.Errorf("%q: %d %v", s, fd, stop)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add((&message{kind: died, pid: 7, status: 0x1100, start: 1 << 60, handle: 5, serial: 9}).encode())
	f.Add([]byte{messageVersion, byte(up)})
	f.Add(make([]byte, messageSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := decode(b)
		if !ok {
			return
		}
		if again, ok := decode(m.encode()); !ok || again != m {
			t.Errorf("%+v became %+v", m, again)
		}
	})
}

func sockets(t *testing.T) [2]int {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// peer is a client and the socket on which a test plays the anchor.
func peer(t *testing.T) (c *Client, fd int) {
	t.Helper()
	pair := sockets(t)
	c = Connect(pair[0])
	t.Cleanup(func() {
		unix.Close(pair[1])
		c.Read()
	})
	return c, pair[1]
}

func tell(t *testing.T, fd int, m message) {
	t.Helper()
	if err := send(fd, &m); err != nil {
		t.Fatal(err)
	}
}

// readOn calls Read whenever there is something, until the test ends.
func readOn(t *testing.T, c *Client, anchor int) {
	fd := c.FD()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for gone := false; !gone; gone = c.Read() {
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		}
	}()
	t.Cleanup(func() {
		_ = unix.Shutdown(anchor, unix.SHUT_RDWR)
		<-done
	})
}

func any(Death) bool { return true }

// TestTake: the death of the right process is found, and that of one that had its pid
// before is not.
func TestTake(t *testing.T) {
	t.Parallel()
	c, fd := peer(t)
	tell(t, fd, message{kind: died, pid: 7, status: 1, start: 100})
	tell(t, fd, message{kind: died, pid: 7, status: 2, start: 200})
	tell(t, fd, message{kind: died, pid: 8, status: 3, start: 300})
	if c.Read() {
		t.Fatal("gone")
	}
	if d, ok := c.Take(7, time.Hour, func(d Death) bool { return d.Start == 200 }); !ok || d.Status != 2 {
		t.Errorf("%+v %v", d, ok)
	}
	// What is not known is asked for.
	go func() {
		for {
			m, err := receive(fd)
			if err == unix.EAGAIN {
				_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
				continue
			}
			if err != nil || m.kind != ask {
				t.Errorf("%+v %v", m, err)
			}
			for _, answer := range []message{
				{kind: answer, serial: m.serial - 1}, // of a former scanner's
				{kind: died, pid: 9, status: 4, start: 400}, {kind: answer, serial: m.serial},
			} {
				if err := send(fd, &answer); err != nil {
					t.Error(err)
				}
			}
			return
		}
	}()
	readOn(t, c, fd)
	if d, ok := c.Take(9, time.Hour, any); !ok || d.Status != 4 {
		t.Errorf("%+v %v", d, ok)
	}
	// An anchor that does not answer is not waited for, and not a second time.
	for _, limit := range []time.Duration{time.Millisecond, time.Hour} {
		if d, ok := c.Take(10, limit, any); ok {
			t.Errorf("%+v", d)
		}
	}
}

// TestSettle: after it, only who is wanted is remembered.
func TestSettle(t *testing.T) {
	t.Parallel()
	c, fd := peer(t)
	c.Want(1)
	c.Want(2)
	tell(t, fd, message{kind: died, pid: 1})
	tell(t, fd, message{kind: died, pid: 3})
	c.Read()
	c.Settle()
	tell(t, fd, message{kind: died, pid: 2})
	tell(t, fd, message{kind: died, pid: 4})
	c.Read()
	if len(c.deaths) != 2 || c.deaths[1] == nil || c.deaths[2] == nil {
		t.Errorf("%+v", c.deaths)
	}
	for pid := int32(1); pid <= 2; pid++ {
		if _, ok := c.find(pid, any); !ok {
			t.Errorf("%d is forgotten", pid)
		}
	}
	if len(c.deaths)+len(c.wanted) != 0 {
		t.Errorf("%+v %+v", c.deaths, c.wanted)
	}
}

// TestGone: an anchor that is no more is noticed once, and nobody waits for it.
func TestGone(t *testing.T) {
	t.Parallel()
	c, fd := peer(t)
	c.Up()
	if m, err := receive(fd); err != nil || m.kind != up {
		t.Errorf("%+v %v", m, err)
	}
	waited := make(chan bool)
	go func() {
		_, ok := c.Take(7, time.Hour, any)
		waited <- ok
	}()
	for {
		if m, err := receive(fd); err == nil && m.kind == ask {
			break
		}
	}
	if err := unix.Shutdown(fd, unix.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	if !c.Read() || c.Read() {
		t.Error("it is to be noticed once")
	}
	if <-waited {
		t.Error("a death out of nowhere")
	}
	if _, ok := c.Take(7, time.Hour, any); ok || c.FD() >= 0 {
		t.Error("it is used still")
	}
	c.Leaving(1)
}

// TestNobody: a scanner without an anchor.
func TestNobody(t *testing.T) {
	t.Parallel()
	var c *Client
	c.Up()
	c.Stopping(-1)
	c.Leaving(0)
	c.Want(1)
	c.Settle()
	if _, ok := c.Take(1, time.Hour, any); ok {
		t.Error("a death out of nowhere")
	}
}
