package pmtr

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"upkeep/compat/cli"
)

// capture is a journal whose standard error is a pipe.
func capture(t *testing.T) (l *journal, stderr func() string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	env := cli.System()
	env.Stderr = cli.FD(w.Fd())
	l = newJournal(env)
	l.path, l.zone = "/no/such/log", time.UTC
	return l, func() string {
		w.Close()
		var b strings.Builder
		buf := make([]byte, 64<<10)
		for n, err := r.Read(buf); err == nil; n, err = r.Read(buf) {
			b.Write(buf[:n])
		}
		return b.String()
	}
}

// TestJournal: entries on standard error and, as syslog(3) sends them, in the system's log.
func TestJournal(t *testing.T) {
	t.Parallel()
	self := os.Getpid()
	for _, network := range []string{"unixgram", "unix"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			l, stderr := capture(t)
			l.path = filepath.Join(t.TempDir(), "log")
			got := make(chan string, 10)
			var server interface{ Close() error }
			switch network {
			case "unixgram":
				c, err := net.ListenUnixgram(network, &net.UnixAddr{Name: l.path, Net: network})
				if err != nil {
					t.Fatal(err)
				}
				server = c
				go receive(c, got)
			case "unix":
				c, err := net.ListenUnix(network, &net.UnixAddr{Name: l.path, Net: network})
				if err != nil {
					t.Fatal(err)
				}
				server = c
				go func() {
					if conn, err := c.Accept(); err == nil {
						receive(conn, got)
					}
				}()
			}
			defer server.Close()
			l.say(info, "pmtr: ", "starting")
			l.output("web", 1<<30, []byte("a\x01b\n\npmtr[1073741824]: can't exec /x: no\n"))
			want := []string{
				fmt.Sprintf(`<134>\w{3} [ \d]\d \d\d:\d\d:\d\d pmtr\[%d\]: pmtr: starting`, self),
				fmt.Sprintf(`<30>\w{3} [ \d]\d \d\d:\d\d:\d\d pmtr\[%d\]: web\[1073741824\]: a\?b`, self),
				`<131>\w{3} [ \d]\d \d\d:\d\d:\d\d pmtr\[1073741824\]: can't exec /x: no`,
			}
			all := ""
			for !strings.Contains(all, "can't exec /x: no") {
				all += <-got
			}
			end := ""
			if network == "unix" {
				end = "\x00"
			}
			if !regexp.MustCompile("^" + strings.Join(want, end) + end + "$").MatchString(all) {
				t.Errorf("the log got %q", all)
			}
			if got, want := stderr(), fmt.Sprintf("pmtr[%d]: pmtr: starting\npmtr[%d]: web[1073741824]: a?b\npmtr[1073741824]: can't exec /x: no\n", self, self); got != want {
				t.Errorf("standard error got %q, want %q", got, want)
			}
		})
	}
}

func receive(from interface{ Read([]byte) (int, error) }, to chan<- string) {
	b := make([]byte, 4096)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		to <- string(b[:n])
	}
}

// TestJournalAgain: a log that was away is found again.
func TestJournalAgain(t *testing.T) {
	t.Parallel()
	l, stderr := capture(t)
	l.path = filepath.Join(t.TempDir(), "log")
	address := &net.UnixAddr{Name: l.path, Net: "unixgram"}
	for _, text := range []string{"one", "three"} {
		c, err := net.ListenUnixgram("unixgram", address)
		if err != nil {
			t.Fatal(err)
		}
		l.say(info, text)
		b := make([]byte, 100)
		if n, err := c.Read(b); err != nil || !strings.HasSuffix(string(b[:n]), ": "+text) {
			t.Errorf("got %q, %v", b[:n], err)
		}
		c.Close()
		if err := os.Remove(l.path); err != nil {
			t.Fatal(err)
		}
		l.say(info, "lost")
	}
	if got := strings.Count(stderr(), "\n"); got != 4 {
		t.Errorf("%d lines on standard error", got)
	}
}
