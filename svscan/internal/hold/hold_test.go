package hold

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests have this program be the holder, the process that is held, and what that
// becomes.
const role = "UPKEEP_HOLD_TEST"

const patience = time.Minute

func TestMain(m *testing.M) {
	switch what, arg, _ := strings.Cut(os.Getenv(role), " "); what {
	case "holder":
		if arg == "short" {
			limit = 50 * time.Millisecond
		}
		Hold(0, unix.SIGTERM, unix.SIGHUP)
	case "held":
		held(arg)
	case "new":
		became(arg)
	default:
		os.Exit(m.Run())
	}
}

func die(what string, err error) {
	if err != nil {
		fmt.Println(what, err)
		os.Exit(1)
	}
}

// held starts a holder, says held, reads a line and becomes the new program.
func held(arg string) {
	theirs, ours, err := Socket()
	die("socket", err)
	holder := exec.Command("/proc/self/exe")
	holder.Env = append(os.Environ(), role+"=holder "+arg)
	holder.Stdin = os.NewFile(uintptr(theirs), "theirs")
	holder.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	die("start", holder.Start())
	holder.Stdin.(io.Closer).Close()
	if arg == "killed" {
		die("kill", holder.Process.Kill())
		_, err := holder.Process.Wait()
		die("wait", err)
		fmt.Println(Ready(ours, patience) && Begin(ours, patience))
		os.Exit(0)
	}
	if !Ready(ours, patience) || !Begin(ours, patience) {
		fmt.Println("refused")
		os.Exit(1)
	}
	fmt.Println("held")
	line()
	_, err = unix.FcntlInt(uintptr(ours), unix.F_SETFD, 0)
	die("keep", err)
	os.Setenv(role, "new "+strconv.Itoa(ours)+" "+arg)
	// From a thread that is not the first, as it may be in a scanner.
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		die("exec", syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
		close(done)
	}()
	<-done
}

// became asks for the signals and says what there was.
func became(arg string) {
	number, how, _ := strings.Cut(arg, " ")
	fd, err := strconv.Atoi(number)
	die("number", err)
	fmt.Println("new")
	line()
	c := make(chan os.Signal, 4)
	if how == "short" {
		select {} // it knows nothing of a hold
	}
	signal.Notify(c, unix.SIGTERM, unix.SIGHUP)
	fmt.Println(Release(fd, patience))
	unix.Close(fd)
	line()
	fmt.Println(<-c)
}

// line reads one from standard input, and nothing behind it.
func line() {
	var b [1]byte
	for b[0] != '\n' {
		if _, err := os.Stdin.Read(b[:]); err != nil {
			os.Exit(3)
		}
	}
}

// scene is a process that is held.
type scene struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

func begins(t *testing.T, arg string) *scene {
	ctx, cancel := context.WithTimeout(context.Background(), patience) // after which it says nothing
	t.Cleanup(cancel)
	s := &scene{t: t, cmd: exec.CommandContext(ctx, "/proc/self/exe")}
	s.cmd.Env = append(os.Environ(), role+"=held "+arg)
	s.cmd.Stderr = os.Stderr
	in, err := s.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	})
	s.in, s.out = in, bufio.NewReader(out)
	return s
}

func (s *scene) says(want string) {
	s.t.Helper()
	got, err := s.out.ReadString('\n')
	if got == "refused\n" {
		if os.Getenv("UPKEEP_REQUIRE") != "" {
			s.t.Fatal("ptrace is refused")
		}
		s.t.Skip("ptrace is refused")
	}
	if got != want+"\n" {
		s.t.Fatalf("it says %q, %v; expected is %q", got, err, want)
	}
}

func (s *scene) goOn() {
	s.t.Helper()
	if _, err := io.WriteString(s.in, "\n"); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// TestHold: signals before, during and after the exec all arrive, once each, and none
// ends a program that has not asked for them yet.
func TestHold(t *testing.T) {
	t.Parallel()
	s := begins(t, "")
	s.says("held")
	s.signal(unix.SIGTERM)
	s.goOn()
	s.signal(unix.SIGTERM)
	s.says("new")
	s.signal(unix.SIGTERM)
	s.signal(unix.SIGHUP)
	s.goOn()
	s.says("[terminated hangup]")
	s.signal(unix.SIGHUP)
	s.goOn()
	s.says("hangup")
	if err := s.cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestStopped: who is told to stop stops, and goes on when it is told to.
func TestStopped(t *testing.T) {
	t.Parallel()
	s := begins(t, "")
	s.says("held")
	s.signal(unix.SIGSTOP)
	until := time.Now().Add(patience)
	for state(s.cmd.Process.Pid) != 't' && state(s.cmd.Process.Pid) != 'T' {
		if time.Now().After(until) {
			t.Fatalf("it is in state %c", state(s.cmd.Process.Pid))
		}
		time.Sleep(time.Millisecond)
	}
	s.signal(unix.SIGTERM)
	// A CONT that comes while the tracer has the STOP in its hands comes too early.
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			select {
			case <-tick.C:
				_ = s.cmd.Process.Signal(unix.SIGCONT)
			case <-over:
				return
			}
		}
	}()
	s.goOn()
	s.says("new")
	s.goOn()
	s.says("[terminated]")
	close(over)
	<-done
}

func state(pid int) byte {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	return b[strings.LastIndexByte(string(b), ')')+2]
}

// TestIgnorant: a program that does not know of the hold gets the signals in the end.
func TestIgnorant(t *testing.T) {
	t.Parallel()
	s := begins(t, "short")
	s.says("held")
	s.signal(unix.SIGTERM)
	s.goOn()
	said, _ := io.ReadAll(s.out)
	err := s.cmd.Wait()
	status, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != unix.SIGTERM {
		t.Errorf("it ended with %v and said %q", err, said)
	}
}

// TestKilled: a holder that is not there holds nobody up.
func TestKilled(t *testing.T) {
	t.Parallel()
	s := begins(t, "killed")
	s.says("false")
}
