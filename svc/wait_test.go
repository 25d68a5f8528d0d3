package svc

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
	"upkeep/svc/svctest"
)

// patience is for what happens at once unless the machine is very busy.
const patience = time.Minute

// waiter runs a Wait whose looks the test sees and answers.
type waiter struct {
	t     *testing.T
	looks chan look
	stop  chan bool // is the look what was waited for?
	end   chan error
}

type look struct {
	pid   uint32
	alive bool
}

func startWait(t *testing.T, path string, refused bool, limit time.Duration) *waiter {
	d, err := Open(path, StateDir)
	if err != nil {
		t.Fatal(err)
	}
	v := &waiter{t, make(chan look), make(chan bool), make(chan error, 1)}
	go func() { // ends with the wait
		defer d.Close()
		w := watch{dir: d, inotify: -1, ok: -1, refused: refused}
		defer w.close()
		_, err := w.wait(status.Daemontools, time.Now().Add(limit), func(r status.Record, alive bool) bool {
			v.looks <- look{r.PID, alive}
			return <-v.stop
		})
		v.end <- err
	}()
	return v
}

// until lets the wait go on until it sees want, and keeps it there.
func (v *waiter) until(want look) {
	v.t.Helper()
	for {
		select {
		case got := <-v.looks:
			if got == want {
				return
			}
			v.stop <- false
		case err := <-v.end:
			v.t.Fatalf("waiting for %+v: %v", want, err)
		}
	}
}

func write18(t *testing.T, path string, pid uint32) {
	t.Helper()
	b := svctest.Status(status.Daemontools, status.Record{PID: pid}, 0)
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// announce replaces the status file as supervise does.
func announce(t *testing.T, s *svctest.Site, pid uint32) {
	t.Helper()
	write18(t, s.Path("sv/supervise/status.new"), pid)
	if err := os.Rename(s.Path("sv/supervise/status.new"), s.Path("sv/supervise/status")); err != nil {
		t.Fatal(err)
	}
}

// TestWait goes through the life of a service. The test changes something while
// the wait is between its look and its sleep, where a change is easily lost.
func TestWait(t *testing.T) {
	t.Parallel()
	for name, refused := range map[string]bool{"inotify": false, "polling": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := svctest.Build(t, svctest.Tree{"sv": svctest.Dir()})
			v := startWait(t, s.Path("sv"), refused, patience)
			step := func(change func(), want look) {
				t.Helper()
				change()
				v.stop <- false
				v.until(want)
			}
			v.until(look{0, false})
			step(func() { s.Make(t, "sv/supervise/ok", svctest.FIFO()); announce(t, s, 0) }, look{0, false})
			step(func() { announce(t, s, 1) }, look{1, false})
			step(func() { s.Read(t, "sv/supervise/ok") }, look{1, true})
			step(func() { announce(t, s, 2) }, look{2, true})
			step(func() { write18(t, s.Path("sv/supervise/status"), 3) }, look{3, true}) // as encore does
			step(func() { s.Hang(t, "sv/supervise/ok") }, look{3, false})
			step(func() { s.Read(t, "sv/supervise/ok") }, look{3, true})
			// Another state directory takes the place of this one.
			step(func() {
				if err := os.Rename(s.Path("sv/supervise"), s.Path("old")); err != nil {
					t.Fatal(err)
				}
				s.Make(t, "sv/supervise/status", svctest.File(""))
			}, look{0, false})
			step(func() { announce(t, s, 4) }, look{4, false})
			step(func() { s.Make(t, "sv/supervise/ok", svctest.Reader()) }, look{4, true})
			step(func() {
				if err := os.RemoveAll(s.Path("sv/supervise")); err != nil {
					t.Fatal(err)
				}
			}, look{0, false})
			step(func() { s.Make(t, "sv/supervise/ok", svctest.FIFO()); announce(t, s, 5) }, look{5, false})
			v.stop <- true
			if err := <-v.end; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestWaitSleeps: what others do to look at a service, and what Wait does
// itself, wakes it up no more than once.
func TestWaitSleeps(t *testing.T) {
	t.Parallel()
	s := svctest.Build(t, svctest.Tree{}.Supervised("sv", nil))
	announce(t, s, 1)
	v := startWait(t, s.Path("sv"), false, patience)
	v.until(look{1, true})
	v.stop <- false
	var raw [status.MaxSize]byte
	for range 100 {
		if _, _, err := Look(s.Path("sv"), StateDir, raw[:]); err != nil {
			t.Fatal(err)
		}
	}
	// The events of all this come before the one of the announcement.
	announce(t, s, 2)
	looks := 0
	for got := range v.looks {
		if got.pid == 2 {
			break
		}
		looks++
		v.stop <- false
	}
	v.stop <- true
	if err := <-v.end; err != nil || looks > 0 {
		t.Errorf("%d looks for nothing, %v", looks, err)
	}
}

func TestWaitDeadline(t *testing.T) {
	t.Parallel()
	s := svctest.Build(t, svctest.Tree{"none": svctest.Dir()}.Supervised("sv", nil))
	announce(t, s, 7)
	for _, name := range []string{"sv", "none"} {
		for _, limit := range []time.Duration{-time.Second, time.Microsecond, 60 * time.Millisecond} {
			d, err := Open(s.Path(name), StateDir)
			if err != nil {
				t.Fatal(err)
			}
			looks := 0
			begin := time.Now()
			r, err := d.Wait(status.Daemontools, begin.Add(limit), func(status.Record, bool) bool { looks++; return false })
			var e *Error
			if !errors.Is(err, ErrTimeout) || !errors.As(err, &e) || e.Step != StepWait || looks == 0 {
				t.Errorf("%s, %v: %d looks, %v", name, limit, looks, err)
			}
			if (r.PID == 7) != (name == "sv") {
				t.Errorf("%s: pid %d", name, r.PID)
			}
			if took := time.Since(begin); took < limit {
				t.Errorf("%s, %v: ended after %v", name, limit, took)
			}
			d.Close()
		}
	}
}

func TestWaitErrors(t *testing.T) {
	t.Parallel()
	s := svctest.Build(t, svctest.Tree{"ok/supervise/ok": svctest.Dir(), "status/supervise/status": svctest.Dir()})
	for name, step := range map[string]Step{"ok": StepOK, "status": StepReadStatus} {
		d, err := Open(s.Path(name), StateDir)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		_, err = d.Wait(status.Daemontools, time.Time{}, func(status.Record, bool) bool { return false })
		if e, ok := errors.AsType[*Error](err); !ok || e.Step != step || e.Err != unix.EISDIR {
			t.Errorf("%s: %v", name, err)
		}
	}
}
