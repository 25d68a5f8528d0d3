package spawn

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/svscan/internal/listen"
	"upkeep/svscan/internal/reap"
)

var (
	table   reap.Table
	private *Spawner
	copying *Spawner
	limit   *unix.Rlimit
)

// The tests run in a process that began with a soft limit of 300 open files, an
// ignored SIGUSR2 and an inherited descriptor 9: see TestMain.
const stage = "UPKEEP_SPAWN_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(stage) == "" {
		signal.Ignore(syscall.SIGUSR2)
		os.Setenv(stage, "1")
		f, err := os.Open("/dev/null")
		if err == nil {
			err = unix.Dup2(int(f.Fd()), 9)
		}
		if err == nil {
			var l unix.Rlimit
			unix.Getrlimit(unix.RLIMIT_NOFILE, &l)
			l.Cur = 300
			err = syscall.Setrlimit(unix.RLIMIT_NOFILE, (*syscall.Rlimit)(&l)) // the one that Exec keeps
		}
		if err == nil {
			err = syscall.Exec("/proc/self/exe", os.Args, os.Environ())
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	unix.CloseRange(3, 1<<32-1, unix.CLOSE_RANGE_CLOEXEC)
	var err error
	if limit, err = OriginalLimit(); err == nil {
		private, err = New(&table, Options{Env: os.Environ(), Limit: limit})
	}
	if err == nil {
		copying, err = New(&table, Options{Env: os.Environ(), Limit: limit, Copy: true})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go table.Run()
	os.Exit(m.Run())
}

type owner struct{ events chan string }

func newOwner() *owner { return &owner{make(chan string, 9)} }

func (o *owner) Started(pid int32, at time.Time) { o.events <- "started" }
func (o *owner) StartFailed(err error, exec bool, at time.Time) {
	o.events <- fmt.Sprintf("failed %v exec=%v", err, exec)
}
func (o *owner) Proceed()                      {}
func (o *owner) Slow()                         { o.events <- "slow" }
func (o *owner) Died(pid int32, status uint32) { o.events <- fmt.Sprintf("died %#x", status) }

func (o *owner) expect(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-o.events:
		if got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("no answer, want %s", want)
	}
}

func openDir(t *testing.T, path string) int {
	t.Helper()
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func program(t *testing.T, path string, argv ...string) *Program {
	t.Helper()
	p, err := NewProgram(path, argv...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// output runs a shell command and returns what it wrote to standard output.
func output(t *testing.T, s *Spawner, dir, script string, change func(*Request)) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	o := newOwner()
	req := &Request{
		Owner: o, Program: program(t, "/bin/sh", "sh", "-c", script), Dir: openDir(t, dir),
		Stdin: -1, Stdout: int(w.Fd()), Notify: -1, Journal: -1,
	}
	if change != nil {
		change(req)
	}
	s.Spawn(req)
	o.expect(t, "started")
	w.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	o.expect(t, "died 0x0")
	return string(b)
}

func both(t *testing.T, f func(t *testing.T, s *Spawner)) {
	t.Parallel()
	for name, s := range map[string]*Spawner{"private": private, "copying": copying} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, s)
		})
	}
}

// A service gets its three descriptors and nothing else, default dispositions,
// an empty mask, and the limit that we began with.
func TestWhatAServiceGets(t *testing.T) {
	both(t, func(t *testing.T, s *Spawner) {
		dir := t.TempDir()
		got := output(t, s, dir, `
			grep -E '^Sig(Blk|Ign):' /proc/self/status
			echo limit $(ulimit -Sn)
			pwd
			exec ls /proc/self/fd`, nil)
		// 3 is the directory that ls reads.
		want := "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nlimit 300\n" + dir + "\n0\n1\n2\n3\n"
		if got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	})
}

func TestOriginalLimit(t *testing.T) {
	t.Parallel()
	if limit == nil {
		return // TestWhatAServiceGets is what counts
	}
	var now unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_NOFILE, &now)
	if limit.Cur != 300 || now.Cur != now.Max {
		t.Errorf("original %d, now %d of %d", limit.Cur, now.Cur, now.Max)
	}
}

func TestDescriptors(t *testing.T) {
	both(t, func(t *testing.T, s *Spawner) {
		in, feed, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		feed.WriteString("through stdin\n")
		feed.Close()
		got := output(t, s, "/", "cat; echo through 7 >&7", func(r *Request) {
			r.Stdin = int(in.Fd())
			r.Notify, r.At = r.Stdout, 7
		})
		if got != "through stdin\nthrough 7\n" {
			t.Errorf("%q", got)
		}
	})
}

// TestTwoExtras: each comes where it belongs, whatever our own numbers are.
func TestTwoExtras(t *testing.T) {
	both(t, func(t *testing.T, s *Spawner) {
		one, err := os.CreateTemp(t.TempDir(), "one")
		if err != nil {
			t.Fatal(err)
		}
		defer one.Close()
		two, err := os.CreateTemp(t.TempDir(), "two")
		if err != nil {
			t.Fatal(err)
		}
		defer two.Close()
		for i := range 30 {
			at := [2]int{i % 30, (i + 1 + i%3) % 30}
			if at[0] == 1 || at[1] == 1 {
				continue // which tells
			}
			script := fmt.Sprintf("readlink /proc/$$/fd/%d /proc/$$/fd/%d; set -- /proc/$$/fd/*; echo $#", at[0], at[1])
			got := output(t, s, "/", script, func(r *Request) {
				r.Notify, r.At = int(one.Fd()), at[0]
				r.Lock = &Passed{int(two.Fd()), at[1]}
			})
			n := 4 // with the directory that the shell reads
			for _, x := range at {
				if x > 2 {
					n++
				}
			}
			if want := fmt.Sprintf("%s\n%s\n%d\n", one.Name(), two.Name(), n); got != want {
				t.Errorf("at %d: %q, expected is %q", at, got, want)
			}
		}
	})
}

func TestSession(t *testing.T) {
	both(t, func(t *testing.T, s *Spawner) {
		const ids = `set -- $(cat /proc/$$/stat); [ $5 = $$ ] && echo leads group; [ $6 = $$ ] && echo leads session; :`
		for want, change := range map[string]func(*Request){
			"":                             nil,
			"leads group\n":                func(r *Request) { r.Group = true },
			"leads group\nleads session\n": func(r *Request) { r.Session = true },
		} {
			if got := output(t, s, "/", ids, change); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
	})
}

// TestFollow: the process leads nothing, is in a session and a group of its own all the same,
// is our child, and can make a session.
func TestFollow(t *testing.T) {
	both(t, func(t *testing.T, s *Spawner) {
		const ids = `set -- $(cat /proc/$$/stat); [ $5 = $$ ] && echo leads; [ $5 = $6 ] && echo same; echo $4 $6
			exec setsid sh -c 'set -- $(cat /proc/$$/stat); [ $6 = $$ ] && echo leads now'`
		sid, err := unix.Getsid(0)
		if err != nil {
			t.Fatal(err)
		}
		leads := ""
		if portable { // there it is a session of the process's own
			leads = "leads\n"
		}
		for range 5 {
			got := output(t, s, "/", ids, func(r *Request) { r.Follow = true })
			var parent, session int
			if n, _ := fmt.Sscanf(got, leads+"same\n%d %d\nleads now\n", &parent, &session); n != 2 || parent != os.Getpid() || session == sid {
				t.Errorf("%q; we are %d of session %d", got, os.Getpid(), sid)
			}
		}
		o := newOwner()
		req := &Request{Owner: o, Program: program(t, "/nonexistent", "x"), Dir: openDir(t, "/"), Stdin: -1, Stdout: -1, Notify: -1, Journal: -1, Follow: true}
		s.Spawn(req)
		o.expect(t, "failed "+unix.ENOENT.Error()+" exec=true")
	})
}

func TestCannotExecute(t *testing.T) {
	both(t, func(t *testing.T, s *Spawner) {
		dir := t.TempDir()
		// By another process: in this one, a child of a test beside might have a copy of
		// the descriptor that writes, and the file were busy.
		if said := output(t, s, dir, `echo '#!/bin/sh' >plain; echo echo >noformat
			echo '#!/nonexistent' >nointerpreter; chmod 755 noformat nointerpreter`, nil); said != "" {
			t.Fatal(said)
		}
		for path, errno := range map[string]syscall.Errno{
			"./missing": unix.ENOENT, "./plain": unix.EACCES, "./noformat": unix.ENOEXEC,
			"./nointerpreter": unix.ENOENT, ".": unix.EACCES,
		} {
			o := newOwner()
			s.Spawn(&Request{Owner: o, Program: program(t, path, path), Dir: openDir(t, dir), Stdin: -1, Stdout: -1, Notify: -1, Journal: -1})
			o.expect(t, fmt.Sprintf("failed %v exec=true", errno))
		}
	})
}

func TestBadDescriptor(t *testing.T) {
	t.Parallel()
	o := newOwner()
	private.Spawn(&Request{Owner: o, Program: program(t, "/bin/true", "true"), Dir: openDir(t, "/"), Stdin: 299, Stdout: -1, Notify: -1, Journal: -1})
	o.expect(t, fmt.Sprintf("failed %v exec=false", unix.EBADF))
}

// Directories may be renamed and unlinked under a descriptor.
// detained is an owner that keeps whoever starts its process.
type detained struct {
	*owner
	kept, free chan struct{}
}

func (o *detained) Proceed() {
	close(o.kept)
	<-o.free
}

// TestTwoHelp: one who helps and got stuck may be at it again while another has taken
// over; each works on what is its own.
func TestTwoHelp(t *testing.T) {
	t.Parallel()
	s, err := New(&table, Options{Env: os.Environ(), Limit: limit})
	if err != nil {
		t.Fatal(err)
	}
	request := func(o Owner) *Request {
		return &Request{
			Owner: o, Program: program(t, "/bin/sh", "sh", "-c", ":"), Dir: openDir(t, "/"), Stdin: -1, Stdout: -1, Notify: -1, Journal: -1,
		}
	}
	first := &detained{newOwner(), make(chan struct{}), make(chan struct{})}
	s.Hold()
	s.Spawn(request(first))
	over := make(chan struct{})
	go func() {
		s.Release()
		close(over)
	}()
	<-first.kept
	if s.spare.Load() != nil {
		t.Error("what one works on is there for another")
	}
	second := newOwner()
	s.Hold()
	s.Spawn(request(second))
	s.Release()
	second.expect(t, "started")
	second.expect(t, "died 0x0")
	close(first.free)
	first.expect(t, "started")
	first.expect(t, "died 0x0")
	<-over
}

func TestRenamedDirectory(t *testing.T) {
	both(t, func(t *testing.T, s *Spawner) {
		dir := t.TempDir()
		os.Mkdir(dir+"/a", 0o755)
		got := output(t, s, dir+"/a", "pwd", func(*Request) {
			if err := os.Rename(dir+"/a", dir+"/b"); err != nil {
				t.Error(err)
			}
		})
		if got != dir+"/b\n" {
			t.Errorf("%q", got)
		}
	})
}

// Where clone3 is refused, dispositions are reset one by one.
func TestWithoutClone3(t *testing.T) {
	t.Parallel()
	got := output(t, private, "/", "grep ^SigIgn: /proc/self/status", nil)
	was := setNoClone3(true)
	defer setNoClone3(was)
	if again := output(t, private, "/", "grep ^SigIgn: /proc/self/status", nil); again != got {
		t.Errorf("%q with clone3, %q without", got, again)
	}
}

// No thread goes on with the signals blocked that a start keeps away from itself.
func TestMaskRestored(t *testing.T) {
	for range 300 {
		o := newOwner()
		private.Spawn(&Request{
			Owner: o, Program: program(t, "/bin/true", "true"), Dir: openDir(t, "/"),
			Stdin: -1, Stdout: -1, Notify: -1, Journal: -1,
		})
		o.expect(t, "started")
		o.expect(t, "died 0x0")
	}
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(tasks) == 0 {
		t.Fatalf("%d threads, %v", len(tasks), err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue // it has ended
		}
		for line := range strings.Lines(string(text)) {
			digits, ok := strings.CutPrefix(line, "SigBlk:")
			if !ok {
				continue
			}
			set, err := strconv.ParseUint(strings.TrimSpace(digits), 16, 64)
			if err != nil || set&(1<<(unix.SIGTERM-1)) != 0 {
				t.Errorf("%s: %s, %v", task, line, err)
			}
		}
	}
}

// TestSockets has descriptors come one after the other, with an environment that names
// the process itself.
func TestSockets(t *testing.T) {
	both(t, func(t *testing.T, s *Spawner) {
		var fds []int
		dir := t.TempDir()
		for _, name := range []string{"one", "two", "three"} {
			fd, err := unix.Open(filepath.Join(dir, name), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
			if err == nil {
				defer unix.Close(fd)
				fd, err = listen.High(fd)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			fds = append(fds, fd)
		}
		const script = `echo "$LISTEN_FDS $LISTEN_FDNAMES"
			[ "$LISTEN_PID" = $$ ] || echo "LISTEN_PID is $LISTEN_PID, not $$"
			env | grep -c ^LISTEN_
			for i in 0 3 4 5 6; do readlink /proc/$$/fd/$i; done
			exit 0`
		sockets, err := s.Sockets(fds, []string{"a", "", "c"})
		if err != nil {
			t.Fatal(err)
		}
		null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(null)
		for range 2 { // the second finds the environment as the first has left it
			got := output(t, s, dir, script, func(r *Request) { r.Sockets, r.Stdin = sockets, null })
			want := "3 a::c\n3\n/dev/null\n" + dir + "/one\n" + dir + "/two\n" + dir + "/three\n"
			if got != want {
				t.Errorf("it found %q, want %q", got, want)
			}
		}
	})
}
