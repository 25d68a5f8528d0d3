package spawn

import (
	"fmt"
	"os"
	"strings"
	"testing"

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
