package svc

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

// pollEvery is how often Wait looks where it cannot be notified. A person does
// not notice it, and it costs 20 small reads a second.
const pollEvery = 50 * time.Millisecond

// Wait blocks until done holds of the service, and returns the record of which
// it held. done is called at once and after every change; alive says whether
// the service is supervised. The record is the zero Record while status is
// missing or too short for the layout, and what the last supervisor left
// behind if alive is false.
//
// No change that lasts is missed, also none between the first look and the
// beginning of the wait; states that come and go in between may be. Nothing
// wakes up while nothing changes, except for a poll every 50 ms while there is
// no status file and where inotify is refused.
//
// After the deadline, a zero one being never, the error is ErrTimeout with
// StepWait and the record is the last one seen. Other errors have StepOK,
// StepOpenStatus, StepReadStatus or StepWait.
func (d *Dir) Wait(l status.Layout, deadline time.Time, done func(r status.Record, alive bool) bool) (status.Record, error) {
	w := watch{dir: d, inotify: -1, ok: -1}
	defer w.close()
	return w.wait(l, deadline, done)
}

// watch is the state of one Wait.
//
// Looking must not cause events that lead to looking again. So ok is kept open
// once it has a reader, and its end is seen by poll(2), which marks the write
// end of a FIFO when the last reader is gone; and of the events in the state
// directory only those count that no reader of status and no client causes.
type watch struct {
	dir     *Dir
	inotify int  // -1 while the state directory is not watched
	ok      int  // write end of ok, in the directory watched; -1 while it has no reader
	refused bool // inotify will not do
}

func (w *watch) wait(l status.Layout, deadline time.Time, done func(status.Record, bool) bool) (status.Record, error) {
	for {
		// First watch, then look: what changes after the look leaves an event.
		w.arm()
		alive, err := w.alive()
		if err != nil {
			return status.Record{}, err
		}
		r, err := w.dir.Status(l)
		switch {
		case err == nil, errors.Is(err, status.ErrFormat):
		case errors.Is(err, unix.ENOENT):
			w.close() // the next state directory may be another one
		default:
			return r, err
		}
		if done(r, alive) {
			return r, nil
		}
		if err := w.sleep(deadline); err != nil {
			return r, &Error{StepWait, w.dir.state, err}
		}
	}
}

func (w *watch) close() {
	drop(&w.inotify)
	drop(&w.ok)
}

func drop(fd *int) {
	if *fd >= 0 {
		unix.Close(*fd)
		*fd = -1
	}
}

// arm watches the state directory if that is possible now.
func (w *watch) arm() {
	if w.inotify >= 0 || w.refused {
		return
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		w.refused = true
		return
	}
	if _, err := unix.InotifyAddWatch(fd, w.dir.statePath(), statusMask); err != nil {
		w.refused = err != unix.ENOENT && err != unix.ENOTDIR
		unix.Close(fd)
		return
	}
	w.inotify = fd
}

// statePath is the state directory for system calls that take no descriptor.
func (d *Dir) statePath() string {
	if d.state[0] == '/' {
		return d.state
	}
	return procPath(d.fd) + "/" + d.state
}

func (w *watch) alive() (bool, error) {
	if w.ok >= 0 && w.inotify >= 0 {
		p := []unix.PollFd{{Fd: int32(w.ok)}}
		if n, err := unix.Poll(p, 0); n == 0 && err == nil {
			return true, nil
		}
	}
	drop(&w.ok) // without a watch it may be the FIFO of a directory that is gone
	fd, err := w.dir.openOK()
	if dead(err) {
		return false, nil
	}
	w.ok = fd
	return err == nil, err
}

// sleep returns when it is worth looking again.
func (w *watch) sleep(deadline time.Time) error {
	for {
		wait := time.Duration(-1)
		if w.inotify < 0 {
			wait = pollEvery
		}
		if !deadline.IsZero() {
			left := time.Until(deadline)
			if left <= 0 {
				return ErrTimeout
			}
			if wait < 0 || left < wait {
				wait = left
			}
		}
		p := [...]unix.PollFd{
			{Fd: int32(w.inotify), Events: unix.POLLIN}, // poll skips negative ones
			{Fd: int32(w.ok)}, // POLLERR is always reported
		}
		n, err := unix.Poll(p[:], millis(wait))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err
		case p[1].Revents != 0, p[0].Revents != 0 && w.changed():
			return nil
		case n == 0 && w.inotify < 0:
			return nil
		}
	}
}

// millis rounds up, so that a wait for less than a millisecond does not spin.
func millis(d time.Duration) int {
	if d < 0 {
		return -1
	}
	return int(min((d+time.Millisecond-1)/time.Millisecond, 1<<30))
}

// changed reads the events and reports whether one of them matters.
func (w *watch) changed() bool {
	matters, over := false, false
	known := readEvents(w.inotify, func(_ int32, mask uint32, name string) {
		switch {
		case mask&(unix.IN_MOVE_SELF|unix.IN_IGNORED) != 0:
			over = true
		case mask&unix.IN_Q_OVERFLOW != 0,
			mask&(unix.IN_MODIFY|unix.IN_MOVED_TO|unix.IN_DELETE) != 0 && name == "status",
			mask&unix.IN_OPEN != 0 && name == "ok" && w.ok < 0:
			matters = true
		}
	})
	if over || !known {
		w.close()
		return true
	}
	return matters
}
