package spawn

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"upkeep/svscan/internal/cgroup"
)

func ownLeaf(t *testing.T, n int) *cgroup.Leaf {
	t.Helper()
	b, err := cgroup.Own()
	if err != nil {
		t.Skip("no cgroup of our own: ", err)
	}
	t.Cleanup(func() { unix.Close(b.FD) })
	l := b.Leaf(t.Name(), uint64(os.Getpid()), uint64(n))
	if err := l.Make(); err != nil {
		t.Skip("no cgroup can be made here: ", err)
	}
	t.Cleanup(func() {
		if err := l.Remove(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// TestLeaf: a process is in its cgroup before it executes anything, with clone3 and
// where a seccomp filter refuses that, and also after the cgroup was killed.
func TestLeaf(t *testing.T) {
	both(t, func(t *testing.T, s *Spawner) {
		l := ownLeaf(t, 1)
		check := func() {
			t.Helper()
			got := output(t, s, "/", "grep ^0:: /proc/self/cgroup", func(r *Request) { r.Leaf = l })
			if !strings.HasSuffix(got, "/"+l.Name+"\n") {
				t.Errorf("it is in %q, expected is %s", got, l.Name)
			}
		}
		check()
		check()
		was := setNoClone3(true)
		check()
		setNoClone3(was)
		if err := l.Kill(); err != nil {
			t.Fatal(err)
		}
		if !portable { // which has no way to find out
			check()
		}
	})
}

// TestNoLeaf: nothing is executed outside of a cgroup that is not there.
func TestNoLeaf(t *testing.T) {
	t.Parallel()
	l := ownLeaf(t, 2)
	if err := l.Remove(); err != nil {
		t.Fatal(err)
	}
	o := newOwner()
	private.Spawn(&Request{Owner: o, Program: program(t, "/bin/true", "true"), Dir: openDir(t, "/"), Stdin: -1, Stdout: -1, Notify: -1, Journal: -1, Leaf: l})
	o.expect(t, fmt.Sprintf("failed %v exec=false", unix.ENOENT))
}

// TestBarred: likewise of one that the process may not enter.
func TestBarred(t *testing.T) {
	t.Parallel()
	if portable {
		t.Skip("there, entering is up to the kernel or late")
	}
	l := ownLeaf(t, 3)
	// A domain beside a threaded cgroup takes no processes.
	below := &cgroup.Leaf{Base: l.Base, Name: l.Name + "/below"}
	beside := &cgroup.Leaf{Base: l.Base, Name: l.Name + "/threaded"}
	for _, x := range []*cgroup.Leaf{below, beside} {
		if err := x.Make(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(l.Base.Path+"/"+beside.Name+"/cgroup.type", []byte("threaded"), 0); err != nil {
		t.Skip("no threaded cgroup can be made: ", err)
	}
	for range 2 {
		o := newOwner()
		private.Spawn(&Request{Owner: o, Program: program(t, "/bin/true", "true"), Dir: openDir(t, "/"), Stdin: -1, Stdout: -1, Notify: -1, Journal: -1, Leaf: below})
		o.expect(t, fmt.Sprintf("failed %v exec=false", unix.EOPNOTSUPP))
		defer setNoClone3(setNoClone3(true))
	}
}

// TestLeafUnderSeccomp: where a filter refuses clone3, in either way that filters do,
// the process goes into its cgroup by itself.
func TestLeafUnderSeccomp(t *testing.T) {
	if portable {
		t.Skip("there it is moved when it runs already")
	}
	for _, errno := range []syscall.Errno{unix.ENOSYS, unix.EPERM} {
		l := ownLeaf(t, 4)
		was := setNoClone3(false)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		o := newOwner()
		req := &Request{
			Owner: o, Program: program(t, "/bin/grep", "grep", "^0::", "/proc/self/cgroup"), Dir: openDir(t, "/"),
			Stdin: -1, Stdout: int(w.Fd()), Notify: -1, Journal: -1, Leaf: l,
		}
		filtered := make(chan error)
		go func() {
			runtime.LockOSThread() // for good: the thread ends with this goroutine
			err := refuse(unix.SYS_CLONE3, errno)
			if err == nil {
				private.start(new(child), req)
			}
			filtered <- err
		}()
		if err := <-filtered; err != nil {
			t.Skip("no filter can be installed: ", err)
		}
		o.expect(t, "started")
		w.Close()
		got, err := io.ReadAll(r)
		if err != nil || !strings.HasSuffix(string(got), "/"+l.Name+"\n") {
			t.Errorf("%v: it is in %q, expected is %s; %v", errno, got, l.Name, err)
		}
		o.expect(t, "died 0x0")
		setNoClone3(was)
	}
}

// refuse has a system call fail on this thread from now on.
func refuse(trap uint32, errno syscall.Errno) error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 1, K: trap},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
}
