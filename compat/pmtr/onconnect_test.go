package pmtr

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"upkeep/compat/cli"
	"upkeep/compat/cli/clitest"
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "onconnect" {
		syscall.Exit(Onconnect(cli.System(), os.Args))
	}
	clitest.Main(m, map[string]cli.Applet{"onconnect": Onconnect})
}

var listeners atomic.Int32

// listener is a running onconnect on an address of its own.
type listener struct {
	t       *testing.T
	cmd     *exec.Cmd
	address string
	port    string
	lines   *bufio.Reader
	all     []string
}

func serve(t *testing.T, program ...string) *listener {
	t.Helper()
	pid, n := os.Getpid(), listeners.Add(1)
	l := &listener{t: t, port: fmt.Sprint(20000 + pid%10000), address: fmt.Sprintf("127.%d.%d.%d", 1+n, pid>>8&255, 1+pid&127)}
	l.cmd = exec.Command("/proc/self/exe", append([]string{"-v", "-a", l.address, "-p", l.port}, program...)...)
	l.cmd.Args[0] = "onconnect"
	stderr, err := l.cmd.StderrPipe()
	if err == nil {
		err = l.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	l.lines = bufio.NewReader(stderr)
	t.Cleanup(func() {
		_ = l.cmd.Process.Kill()
		_ = l.cmd.Wait()
	})
	l.until("adding fd ")
	return l
}

// until reads lines until one has a beginning.
func (l *listener) until(prefix string) string {
	l.t.Helper()
	for {
		line, err := l.lines.ReadString('\n')
		if err != nil {
			l.t.Fatalf("%v before %q; %q", err, prefix, l.all)
		}
		l.all = append(l.all, line)
		if strings.HasPrefix(line, prefix) {
			return strings.TrimSuffix(line, "\n")
		}
	}
}

func (l *listener) dial() net.Conn {
	l.t.Helper()
	c, err := net.Dial("tcp4", l.address+":"+l.port)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		l.t.Fatal(err)
	}
	return c
}

func TestOnconnect(t *testing.T) {
	t.Parallel()
	l := serve(t, "/bin/sh", "-c", `read line <&3; echo "$0 $* said $line" >&3; exit 7`, "one", "-v", "-p", "x")
	c := l.dial()
	defer c.Close()
	if _, err := c.Write([]byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if string(answer) != "one -v -p x said hello\n" || err != nil {
		t.Errorf("%q, %v", answer, err)
	}
	forked := l.until("forked pid ")
	pid := strings.TrimPrefix(forked, "forked pid ")
	if got := l.until("pid "); got != "pid "+pid+" exited: status 7" {
		t.Error(got)
	}
	all := strings.Join(l.all, "")
	want := regexp.MustCompile(`^adding fd \d+ to epoll\nconnection fd \d+ from 127\.[0-9.]+:\d+\nargv\[0\]: /bin/sh\nargv\[1\]: -c\n(.*\n)*argv\[6\]: x\nforked pid`)
	if !want.MatchString(all) {
		t.Error(all)
	}
}

// What the program finds: the connection and no other socket, standard signals.
func TestOnconnectChild(t *testing.T) {
	t.Parallel()
	l := serve(t, "/bin/sh", "-c", `all=$(for f in /proc/$$/fd/[0-9] /proc/$$/fd/[0-9][0-9]; do case $(readlink $f) in socket*|*epoll*|*event*) echo ${f##*/};; esac; done); echo "$all" >&3
grep -E 'Sig(Blk|Ign)' /proc/self/status >&3; grep flags /proc/self/fdinfo/3 >&3; kill -9 $$`)
	c := l.dial()
	defer c.Close()
	text, err := io.ReadAll(c)
	want := regexp.MustCompile(`^3\nSigBlk:\t0{16}\nSigIgn:\t0{16}\nflags:\t0?2\n$`)
	if !want.Match(text) || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if got := l.until("pid "); !strings.HasSuffix(got, " exited: signal 9") {
		t.Error(got)
	}
}

// Many at the same time; they outlive onconnect, which ends with status 0.
func TestOnconnectMany(t *testing.T) {
	t.Parallel()
	l := serve(t, "/bin/sh", "-c", "read word <&3; echo bye $word >&3")
	const many = 20
	var connections []net.Conn
	for range many {
		c := l.dial()
		defer c.Close()
		connections = append(connections, c)
		l.until("forked pid ")
	}
	for _, sig := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGPIPE, syscall.SIGTERM} {
		if err := l.cmd.Process.Signal(sig); err != nil { // only the last does something
			t.Fatal(err)
		}
	}
	if got := l.until("got signal"); got != "got signal 15" {
		t.Error(got)
	}
	if state, err := l.cmd.Process.Wait(); err != nil || state.ExitCode() != 0 {
		t.Errorf("%v, %v", state, err)
	}
	for _, c := range connections {
		if _, err := c.Write([]byte("you\n")); err != nil {
			t.Error(err)
		}
		if b, err := io.ReadAll(c); string(b) != "bye you\n" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
	}
}

func TestOnconnectSignals(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGIO} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			l := serve(t, "/bin/true")
			if err := l.cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if got := l.until("got"); got != fmt.Sprintf("got signal %d", sig) {
				t.Error(got)
			}
			if state, err := l.cmd.Process.Wait(); err != nil || state.ExitCode() != 0 {
				t.Errorf("%v, %v", state, err)
			}
		})
	}
}

func TestOnconnectFailures(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for want, program := range map[string][]string{
		"127 execv: No such file or directory": {filepath.Join(dir, "none"), "x"},
		"126 execv: Permission denied":         {plain},
		"127 execv: ":                          nil,                // no program at all
		"127 execv: No such file":              {"--", "sh", "-c"}, // PATH does not count
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			l := serve(t, program...)
			c := l.dial()
			defer c.Close()
			if b, err := io.ReadAll(c); len(b) > 0 || err != nil {
				t.Errorf("%q, %v", b, err)
			}
			got := l.until("pid ")
			code, text, _ := strings.Cut(want, " ")
			if !strings.HasSuffix(got, " exited: status "+code) || !strings.Contains(strings.Join(l.all, ""), text) {
				t.Errorf("%q", l.all)
			}
			l.dial().Close() // it goes on
			l.until("forked pid ")
		})
	}
	first := serve(t, "/bin/true")
	r := clitest.Ours(t, "onconnect", clitest.Cmd{Args: []string{"onconnect", "-a", first.address, "-p", first.port, "/bin/true"}})
	if r.Code != 1 || r.Stderr != "bind: Address already in use\n" {
		t.Error(r)
	}
	for _, args := range []string{"", "-h", "-x", "/bin/true", "-p", "-p 0 /bin/true", "-p x /bin/true", "-p 65536 /bin/true", "-p -5 /bin/true",
		"-a localhost -p 5 /bin/true", "-a 255.255.255.255 -p 5 /bin/true", "-a 1.2.3 -p 5 /bin/true", "-a 1.2.3.4.5 -p 5 /bin/true", "-a 1.2.3.+4 -p 5 /bin/true"} {
		r := clitest.Ours(t, "onconnect", clitest.Cmd{Args: append([]string{"onconnect"}, strings.Fields(args)...)})
		if r.Code != 255 || r.Stdout != "" || !strings.HasSuffix(r.Stderr, onconnectUsage) {
			t.Errorf("%s: %v", args, r)
		}
	}
}

func TestLeadingNumber(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"5000": 5000, "5000x": 5000, "": 0, "x": 0, "-5": 0, "+7": 7, "99999999999": 99999, "65536": 65536} {
		if got := leadingNumber(text); got != want {
			t.Errorf("%q: %d", text, got)
		}
	}
}
