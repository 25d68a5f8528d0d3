package loaders

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli/clitest"
)

// TestSetlockWaits has ours and the real one wait for a lock. One alarm ends a
// waiting one, as alarm(2) before an exec is how scripts give up; the other gets
// the lock when it is free.
func TestSetlockWaits(t *testing.T) {
	t.Parallel()
	for name, exe := range map[string]string{"ours": program(t), "theirs": clitest.Find(t, "daemontools", "setlock")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lock := t.TempDir() + "/lock"
			f, err := os.Create(lock)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
				t.Fatal(err)
			}
			var waiting [2]*exec.Cmd
			for i := range waiting {
				waiting[i] = exec.Command(exe, lock, "sh", "-c", "exit 7")
				waiting[i].Args[0] = "setlock"
				if err := waiting[i].Start(); err != nil {
					t.Fatal(err)
				}
				awaitWaiting(t, waiting[i].Process.Pid)
			}
			if err := waiting[0].Process.Signal(unix.SIGALRM); err != nil {
				t.Fatal(err)
			}
			waiting[0].Wait()
			if status := waiting[0].ProcessState.Sys().(syscall.WaitStatus); status.Signal() != unix.SIGALRM {
				t.Errorf("after an alarm: %v", waiting[0].ProcessState)
			}
			if err := unix.Flock(int(f.Fd()), unix.LOCK_UN); err != nil {
				t.Fatal(err)
			}
			waiting[1].Wait()
			if code := waiting[1].ProcessState.ExitCode(); code != 7 {
				t.Errorf("with the lock: %v", waiting[1].ProcessState)
			}
		})
	}
}

// awaitWaiting returns once the kernel has a process in line for a lock.
func awaitWaiting(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		locks, err := os.ReadFile("/proc/locks")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(locks)) {
			if f := strings.Fields(line); len(f) > 5 && f[1] == "->" && f[5] == strconv.Itoa(pid) {
				return
			}
		}
	}
	t.Fatalf("%d does not wait for a lock", pid)
}
