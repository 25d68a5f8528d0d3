package handoff

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

func TestBelongs(t *testing.T) {
	t.Parallel()
	kin := map[int32]Kin{
		10: {Parent: 1, Group: 10, Session: 5},  // the service, which leads a group
		11: {Parent: 10, Group: 11, Session: 5}, // its child
		12: {Parent: 11, Group: 12, Session: 12},
		13: {Parent: 1, Group: 10, Session: 5},  // an orphan in its group
		14: {Parent: 13, Group: 14, Session: 5}, // and the child of that
		15: {Parent: 1, Group: 15, Session: 5},
		20: {Parent: 1, Group: 20, Session: 20}, // another service, with a session
		21: {Parent: 1, Group: 21, Session: 20},
		30: {Parent: 31}, 31: {Parent: 30}, // what cannot be
		40: {Parent: 99},
	}
	look := func(pid int32) (Kin, error) {
		k, ok := kin[pid]
		if !ok {
			return k, unix.ESRCH
		}
		return k, nil
	}
	for _, c := range []struct {
		pid       int32
		heads     []int32
		yes, gone bool
	}{
		{10, []int32{10}, true, false}, {11, []int32{10}, true, false}, {12, []int32{10}, true, false},
		{13, []int32{10}, true, false}, {14, []int32{10}, true, false}, {15, []int32{10}, false, false},
		{20, []int32{10}, false, false}, {21, []int32{10}, false, false}, {21, []int32{20}, true, false},
		{11, []int32{20, 11}, true, false}, {30, []int32{10}, false, false}, {40, []int32{10}, false, false},
		{99, []int32{10}, false, true}, {0, []int32{0, 10}, false, false}, {1, []int32{1}, false, false},
	} {
		if yes, gone := Belongs(c.pid, c.heads, look); yes != c.yes || gone != c.gone {
			t.Errorf("%d to %v: %v, %v", c.pid, c.heads, yes, gone)
		}
	}
}

func TestKin(t *testing.T) {
	t.Parallel()
	c := exec.Command("/bin/sleep", "1000")
	c.Env = []string{"A=1", "NOTIFY_SOCKET=@x", "B="}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}()
	pid, self := int32(c.Process.Pid), int32(os.Getpid())
	k, err := KinOf(pid)
	if group, _ := unix.Getpgid(int(self)); err != nil || k.Parent != self || k.Group != int32(group) || k.Start == 0 {
		t.Errorf("%+v, %v", k, err)
	}
	if yes, gone := Belongs(pid, []int32{self}, KinOf); !yes || gone {
		t.Error("it does not belong to us")
	}
	if UserOf(pid) != os.Getuid() || UserOf(-1) != -1 {
		t.Errorf("user %d", UserOf(pid))
	}
	if v := Variable(pid, "NOTIFY_SOCKET"); v != "@x" {
		t.Errorf("%q", v)
	}
	if Variable(pid, "B") != "" || Variable(pid, "SOCKET") != "" || Variable(-1, "A") != "" || InCgroup(pid, "no such") {
		t.Error("there is more than there is")
	}
}
