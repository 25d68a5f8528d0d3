package reap

import (
	"os"
	"os/exec"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// alone is set in the environment of a process where nobody reaps.
const alone = "UPKEEP_REAP_TEST"

// TestUnreaped runs in a process of its own.
func TestUnreaped(t *testing.T) {
	if os.Getenv(alone) == "" {
		c := exec.Command(os.Args[0], "-test.run=^TestUnreaped$", "-test.v")
		c.Env = append(os.Environ(), alone+"=1")
		// The table of the other tests takes the exit code away.
		out, _ := c.CombinedOutput()
		if s := string(out); len(s) < 5 || s[len(s)-5:] != "PASS\n" {
			t.Errorf("%s", s)
		}
		return
	}
	var table Table
	if pid := table.Unreaped(); pid != 0 {
		t.Errorf("without children: %d", pid)
	}
	c := exec.Command("sleep", "1000")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if pid := table.Unreaped(); pid != 0 {
		t.Errorf("of a child that lives: %d", pid)
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var info [128]byte
	for waitAny(&info, 0) != 0 {
		time.Sleep(time.Millisecond)
	}
	for range 2 {
		if pid := table.Unreaped(); int(pid) != c.Process.Pid {
			t.Errorf("%d, want %d", pid, c.Process.Pid)
		}
	}
	if at := unsafe.Offsetof(siginfo{}.pid); at != 12 && at != 16 {
		t.Errorf("the pid is at %d", at)
	}
	if _, err := unix.Wait4(c.Process.Pid, nil, 0, nil); err != nil {
		t.Error(err)
	}
	if pid := table.Unreaped(); pid != 0 {
		t.Errorf("after it was reaped: %d", pid)
	}
}
