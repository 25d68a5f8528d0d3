package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
	"upkeep/svc"
)

// condition is what a test waits for: something about the status of a service
// and whether it is supervised.
type condition func(r status.Record, alive bool) bool

// The usual conditions.
var (
	up         condition = func(r status.Record, alive bool) bool { return alive && r.PID != 0 }
	down       condition = func(r status.Record, alive bool) bool { return alive && r.PID == 0 }
	paused     condition = func(r status.Record, alive bool) bool { return up(r, alive) && r.Paused }
	running    condition = func(r status.Record, alive bool) bool { return up(r, alive) && !r.Paused }
	supervised condition = func(_ status.Record, alive bool) bool { return alive }
	abandoned  condition = func(_ status.Record, alive bool) bool { return !alive }
)

// upAnew is up with another process than pid.
func upAnew(pid uint32) condition {
	return func(r status.Record, alive bool) bool { return up(r, alive) && r.PID != pid }
}

// waitStatus waits until a condition holds of a service directory, and returns
// the record of which it did: its first 18 bytes, which all dialects but s6
// share.
func waitStatus(t testing.TB, dir string, c condition) status.Record {
	t.Helper()
	r, err := awaitStatus(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func awaitStatus(dir string, c condition) (status.Record, error) {
	d, err := svc.Open(dir, svc.StateDir)
	if err != nil {
		return status.Record{}, err
	}
	defer d.Close()
	last := false
	r, err := d.Wait(status.Daemontools, time.Now().Add(patience), func(r status.Record, alive bool) bool {
		last = alive
		return c(r, alive)
	})
	if err != nil {
		err = fmt.Errorf("%s: %w; supervised: %v, status: %+v", dir, err, last, r)
	}
	return r, err
}

// waitDir looks whether cond holds, and again at each change of something in
// the directory dir.
func waitDir(t testing.TB, dir string, cond func() bool) (ok bool) {
	t.Helper()
	w, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Add(dir); err != nil {
		t.Fatal(err)
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for !cond() {
		select {
		case <-w.Events:
		case err := <-w.Errors: // too many events: look again, as for one
			t.Log(err)
		case <-timer.C:
			return cond()
		}
	}
	return true
}

// waitFile waits until the content of a file satisfies c, and returns it. A
// missing file is empty; its directory must be there.
func waitFile(t testing.TB, path string, c func(content string) bool) string {
	t.Helper()
	var content []byte
	ok := waitDir(t, filepath.Dir(path), func() bool {
		var err error
		if content, err = os.ReadFile(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return c(string(content))
	})
	if !ok {
		t.Fatalf("%s does not get what it should; it has %q", path, content)
	}
	return string(content)
}

// something is what waitFile may wait for if anything will do.
func something(content string) bool { return content != "" }

// waitLines waits until a file has n whole lines, and returns all it has then.
func waitLines(t testing.TB, path string, n int) []string {
	t.Helper()
	content := waitFile(t, path, func(c string) bool { return strings.Count(c, "\n") >= n })
	return strings.FieldsFunc(content, func(r rune) bool { return r == '\n' })
}

// waitEnd waits until a process of any parent is dead, though maybe not yet
// waited for.
func waitEnd(t testing.TB, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if !readable(fd, patience) {
		t.Fatalf("process %d does not end", pid)
	}
}

// readable waits until there is something to read; from a pidfd, the end of
// the process.
func readable(fd int, within time.Duration) bool {
	for deadline := time.Now().Add(within); ; {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, int(max(time.Until(deadline), 0).Milliseconds()))
		if err != unix.EINTR {
			return n > 0
		}
	}
}

// waitFrozen waits until a process is stopped by SIGSTOP, of which nobody but
// its parent is told: so this looks every few milliseconds.
func waitFrozen(t testing.TB, pid int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		p, ok := lookAt(pid)
		if ok && p.state == 'T' {
			return
		}
		if !ok || time.Now().After(deadline) {
			t.Fatalf("process %d is not stopped: %v", pid, p)
		}
	}
}
