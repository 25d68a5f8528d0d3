package notify

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// manager listens as a service manager does.
func manager(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func receive(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	b := make([]byte, 1000)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func open(t *testing.T, name string) *Socket {
	t.Helper()
	s, err := Open([]string{"A=b", "NOTIFY_SOCKET=" + name}, func(name string, err error) { t.Errorf("%s: %v", name, err) })
	if err != nil || s == nil {
		t.Fatal(s, err)
	}
	return s
}

func TestSend(t *testing.T) {
	t.Parallel()
	for _, name := range []string{filepath.Join(t.TempDir(), "socket"), fmt.Sprintf("@upkeep-test-%d", os.Getpid())} {
		c := manager(t, name)
		s := open(t, name)
		s.Send(Ready, Status("3 services"))
		s.Send(Stopping)
		s.SetStatus("bye")
		s.Close()
		for _, want := range []string{"READY=1\nSTATUS=3 services", "STOPPING=1", "STATUS=bye"} {
			if got := receive(t, c); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	}
}

// TestSendNeverBlocks: of a manager that does not listen, the sender suffers nothing,
// and what piles up is no more than the last status.
func TestSendNeverBlocks(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "socket")
	c := manager(t, name)
	s := open(t, name)
	const n = 5000 // more than any socket's queue
	for i := range n {
		s.SetStatus(strconv.Itoa(i))
	}
	got := ""
	for got != "STATUS="+strconv.Itoa(n-1) {
		got = receive(t, c)
	}
	s.Close()
}

func TestReloading(t *testing.T) {
	t.Parallel()
	stamp := func() int64 {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			t.Fatal(err)
		}
		return ts.Nano() / 1000
	}
	before, text, after := stamp(), Reloading(), stamp()
	digits, ok := strings.CutPrefix(text, "RELOADING=1\nMONOTONIC_USEC=")
	usec, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || usec < before || usec > after {
		t.Errorf("%q is not between %d and %d", text, before, after)
	}
}

func TestNobody(t *testing.T) {
	t.Parallel()
	for _, environ := range [][]string{nil, {"NOTIFY_SOCKET="}} {
		s, err := Open(environ, nil)
		if s != nil || err != nil {
			t.Errorf("%q: %v, %v", environ, s, err)
		}
		s.Send(Ready)
		s.SetStatus("x")
		s.Close()
	}
	for _, name := range []string{"relative", "vsock:2:99", "@", "/"} {
		if s, err := Open([]string{"NOTIFY_SOCKET=" + name}, nil); s != nil || err == nil {
			t.Errorf("%q: %v, %v", name, s, err)
		}
	}
}

func TestFailure(t *testing.T) {
	t.Parallel()
	for _, name := range []string{filepath.Join(t.TempDir(), "none"), "/" + strings.Repeat("x", 200)} {
		var failures []error
		s, err := Open([]string{"NOTIFY_SOCKET=" + name}, func(_ string, err error) { failures = append(failures, err) })
		if err != nil {
			t.Fatal(err)
		}
		s.Send(Ready)
		s.Send(Stopping)
		s.Close()
		if len(failures) != 1 {
			t.Errorf("%s: %v", name, failures)
		}
	}
}

func TestStrip(t *testing.T) {
	t.Parallel()
	given := []string{"A=b", "NOTIFY_SOCKET=x", "WATCHDOG_USEC=1", "NOTIFY_SOCKETS=y", "WATCHDOG_PID=2", "odd", "="}
	if got := Strip(given); !slices.Equal(got, []string{"A=b", "NOTIFY_SOCKETS=y", "odd", "="}) {
		t.Errorf("%q", got)
	}
	if given[1] != "NOTIFY_SOCKET=x" {
		t.Error("it changed what it was given")
	}
}

func TestInterval(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		environ string
		want    time.Duration
		ok      bool
	}{
		{"", 0, true},
		{"WATCHDOG_USEC=3000000", 3 * time.Second, true},
		{"WATCHDOG_USEC=3000000 WATCHDOG_PID=7", 3 * time.Second, true},
		{"WATCHDOG_USEC=3000000 WATCHDOG_PID=8", 0, true},
		{"WATCHDOG_USEC=x WATCHDOG_PID=8", 0, true},
		{"WATCHDOG_PID=7", 0, true},
		{"WATCHDOG_USEC=0", 0, false},
		{"WATCHDOG_USEC=", 0, false},
		{"WATCHDOG_USEC=-1", 0, false},
		{"WATCHDOG_USEC=18446744073709551615", 0, false},
	} {
		got, err := Interval(strings.Fields(c.environ), 7)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("%q: %v, %v", c.environ, got, err)
		}
	}
}

func FuzzEnvironment(f *testing.F) {
	f.Add("WATCHDOG_USEC=1\x00NOTIFY_SOCKET=@x")
	f.Fuzz(func(t *testing.T, environ string) {
		list := strings.Split(environ, "\x00")
		if d, err := Interval(list, 1); d < 0 || err != nil && d != 0 {
			t.Errorf("%v, %v", d, err)
		}
		for _, entry := range Strip(list) {
			if strings.HasPrefix(entry, "NOTIFY_SOCKET=") || strings.HasPrefix(entry, "WATCHDOG_USEC=") || strings.HasPrefix(entry, "WATCHDOG_PID=") {
				t.Errorf("%q is handed on", entry)
			}
		}
	})
}
