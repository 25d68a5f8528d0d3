package integration

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

// TestFaultStatusReader: whoever reads the status, whenever he does, finds it
// whole and true to itself.
func TestFaultStatusReader(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dialect string
		layout  status.Layout
	}{{"common", status.Runit}, {"daemontools", status.Daemontools}, {"runit", status.Runit}} {
		t.Run(c.dialect, func(t *testing.T) {
			t.Parallel()
			f := prepareFault(t, tree{"service/web/run!": faultSleeper})
			f.args = []string{"--dialect", c.dialect}
			f.begin()
			pid := f.wait("web", up).PID
			reader := readStatus(f.dir("web/supervise/status"), c.layout)
			for range 3 {
				for range 40 {
					f.tell("web", "p")
					f.wait("web", paused)
					f.tell("web", "c")
					f.wait("web", running)
				}
				f.tell("web", "t")
				pid = f.wait("web", upAnew(pid)).PID
			}
			f.tell("web", "d")
			f.wait("web", down)
			f.tell("web", "u")
			f.wait("web", up)
			if err := reader.stop(); err != nil {
				t.Error(err)
			}
			if reader.reads < 1000 {
				t.Errorf("it was read only %d times", reader.reads)
			}
		})
	}
}

// statusReader reads a status file as fast as it can.
type statusReader struct {
	path   string
	layout status.Layout
	reads  int
	quit   atomic.Bool
	done   chan error

	last status.Stamp
	pids map[status.Stamp]uint32 // a stamp is that of one change of the pid
}

func readStatus(path string, layout status.Layout) *statusReader {
	r := &statusReader{path: path, layout: layout, done: make(chan error, 1), pids: map[status.Stamp]uint32{}}
	go func() { // until stop, or the first error
		var err error
		for err == nil && !r.quit.Load() {
			err = r.read()
		}
		r.done <- err
	}()
	return r
}

func (r *statusReader) stop() error {
	r.quit.Store(true)
	return <-r.done
}

func (r *statusReader) read() error {
	fd, err := unix.Open(r.path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("after %d reads: %w", r.reads, err)
	}
	defer unix.Close(fd)
	var b [64]byte
	n, err := unix.Read(fd, b[:])
	if err == unix.EINTR {
		return nil
	}
	if err != nil {
		return err
	}
	r.reads++
	if err := r.check(b[:n]); err != nil {
		return fmt.Errorf("%w in % x, after %d reads", err, b[:n], r.reads)
	}
	return nil
}

func (r *statusReader) check(b []byte) error {
	if len(b) != r.layout.Size() {
		return fmt.Errorf("%d bytes", len(b))
	}
	rec, err := status.Decode(b, r.layout)
	if err != nil {
		return err
	}
	pid, seen := r.pids[rec.Since]
	r.pids[rec.Since] = rec.PID
	last := r.last
	r.last = rec.Since
	switch {
	case rec.Since.Sec < last.Sec || rec.Since.Sec == last.Sec && rec.Since.Nsec < last.Nsec:
		return fmt.Errorf("a stamp older than that of the last read")
	case seen && pid != rec.PID:
		return fmt.Errorf("another pid than %d with the same stamp", pid)
	case rec.Since.Nsec > 999_999_999:
		return fmt.Errorf("a stamp that is none")
	case b[16] > 1:
		return fmt.Errorf("an odd byte 16")
	case rec.Want != status.WantUp && rec.Want != status.WantDown && rec.Want != status.WantOnce:
		return fmt.Errorf("an odd byte 17")
	case rec.Paused && rec.PID == 0:
		return fmt.Errorf("paused without a process")
	}
	if r.layout != status.Runit {
		return nil
	}
	switch {
	case b[18] > 1:
		return fmt.Errorf("an odd byte 18")
	case (rec.PID != 0) != (rec.Process != status.ProcessNone):
		return fmt.Errorf("a process that is not there, or one not shown")
	case rec.GotTerm && rec.PID == 0:
		return fmt.Errorf("TERM without a process")
	}
	return nil
}

// TestFaultStatusRemoved: files of the state directory that somebody removes
// come back with the next change, and harm nobody.
func TestFaultStatusRemoved(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/web/run!": faultSleeper})
	for range 2 {
		f.wait("web", up)
		for _, name := range []string{"status", "stat", "pid"} {
			waitFile(t, f.dir("web/supervise", name), func(c string) bool { return c != "" })
			if err := os.Remove(f.dir("web/supervise", name)); err != nil {
				t.Fatal(err)
			}
		}
		f.tell("web", "d")
		f.wait("web", down)
		waitFile(t, f.dir("web/supervise/stat"), func(c string) bool { return c == "down\n" })
		f.tell("web", "u")
		f.wait("web", up)
	}
}
