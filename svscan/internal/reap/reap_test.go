package reap

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The reaper takes every exit of this process, so the tests start children by
// syscall.ForkExec and never wait for them otherwise.
var table Table

func TestMain(m *testing.M) {
	if os.Getenv(alone) == "" {
		unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
		go table.Run()
	}
	os.Exit(m.Run())
}

type owner struct {
	started bool
	died    chan uint32
}

func (o *owner) Died(pid int32, status uint32) {
	if !o.started {
		status = 1 << 31
	}
	o.died <- status
}

func fork(t *testing.T, script string) int32 {
	t.Helper()
	pid, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", script}, &syscall.ProcAttr{Env: []string{}, Files: []uintptr{0, 1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	return int32(pid)
}

func start(t *testing.T, script string) (int32, *owner) {
	t.Helper()
	o := &owner{died: make(chan uint32, 1)}
	table.Begin()
	pid := fork(t, script)
	table.Register(pid, o, false, func() { o.started = true })
	return pid, o
}

func receive(t *testing.T, c <-chan uint32) uint32 {
	t.Helper()
	select {
	case st := <-c:
		return st
	case <-time.After(20 * time.Second):
		t.Fatal("an exit got lost")
		return 0
	}
}

// Children that end before, while and after they are registered: each is told of
// once, with its status, and after its beginning.
func TestNoExitIsLost(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for code := range 40 {
				_, o := start(t, "exit "+string(rune('0'+code%10)))
				if st := receive(t, o.died); st != uint32(code%10)<<8 {
					t.Errorf("status %#x, want exit %d", st, code%10)
				}
			}
		})
	}
	wg.Wait()
}

func TestExitBeforeRegister(t *testing.T) {
	t.Parallel()
	o := &owner{died: make(chan uint32, 1)}
	table.Begin()
	pid := fork(t, "exit 3")
	// It is gone, not just dead, once its pid cannot be signalled.
	for syscall.Kill(int(pid), 0) == nil {
		time.Sleep(time.Millisecond)
	}
	table.Register(pid, o, false, func() { o.started = true })
	if st := receive(t, o.died); st != 3<<8 {
		t.Errorf("status %#x", st)
	}
}

// A child's group is killed when it ends, and nobody else's is; also if it ended
// before it was registered.
func TestGroup(t *testing.T) {
	t.Parallel()
	for _, early := range []bool{false, true} {
		for _, group := range []bool{true, false} {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			o := &owner{died: make(chan uint32, 1)}
			table.Begin()
			child, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", "sleep 1000 & echo $!; exit 4"},
				&syscall.ProcAttr{Env: []string{"PATH=/bin:/usr/bin"}, Files: []uintptr{0, w.Fd(), 2}, Sys: &syscall.SysProcAttr{Setpgid: true}})
			w.Close()
			if err != nil {
				t.Fatal(err)
			}
			for early && syscall.Kill(child, 0) == nil {
				time.Sleep(time.Millisecond)
			}
			table.Register(int32(child), o, group, func() { o.started = true })
			if st := receive(t, o.died); st != 4<<8 {
				t.Errorf("status %#x", st)
			}
			var helper int
			if _, err := fmt.Fscan(r, &helper); err != nil {
				t.Fatal(err)
			}
			if !group {
				if err := syscall.Kill(helper, 0); err != nil {
					t.Errorf("early %v: a helper of another group: %v", early, err)
				}
				_ = syscall.Kill(helper, syscall.SIGKILL)
			}
			for end := time.Now().Add(20 * time.Second); syscall.Kill(helper, 0) == nil; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("early %v: a helper is not killed", early)
				}
			}
		}
	}
}

func TestSignal(t *testing.T) {
	t.Parallel()
	pid, o := start(t, "exec sleep 1000")
	if err := table.Signal(pid, syscall.SIGTERM, false); err != nil {
		t.Fatal(err)
	}
	if st := receive(t, o.died); st != uint32(syscall.SIGTERM) {
		t.Errorf("status %#x", st)
	}
	if err := table.Signal(pid, syscall.SIGTERM, false); err != syscall.ESRCH {
		t.Errorf("a reaped child can be signalled: %v", err)
	}
	if err := table.Signal(int32(os.Getpid()), 0, false); err != syscall.ESRCH {
		t.Errorf("a stranger can be signalled: %v", err)
	}
}

// Orphans that come to us as subreaper are reaped although nobody asks for them,
// also when the last child of our own is gone.
func TestOrphans(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	pid, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", "sleep 0.05 & echo $!"},
		&syscall.ProcAttr{Env: []string{"PATH=/bin:/usr/bin"}, Files: []uintptr{0, w.Fd(), 2}})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	_ = pid
	var buf [32]byte
	n, err := r.Read(buf[:])
	if err != nil {
		t.Fatal(err)
	}
	orphan := 0
	for _, c := range buf[:n-1] {
		orphan = orphan*10 + int(c-'0')
	}
	for end := time.Now().Add(20 * time.Second); syscall.Kill(orphan, 0) == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the orphan was never reaped")
		}
	}
}

// While the reaper is paused a child that ends stays a zombie, and nobody hears of
// it. Not parallel: the others need the reaper.
func TestPause(t *testing.T) {
	table.Pause()
	pid, o := start(t, "exit 3")
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, int(pid), &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Error(err)
	}
	table.Pause() // as often as one likes
	select {
	case st := <-o.died:
		t.Errorf("told of %#x", st)
	default:
	}
	table.Resume()
	if st := receive(t, o.died); st != 3<<8 {
		t.Errorf("told of %#x", st)
	}
}
