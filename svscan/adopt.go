package svscan

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
	"upkeep/supervise/servicedir"
	"upkeep/svscan/internal/handoff"
)

// takeOver sets the machine going: where a former scanner's journal says it stood,
// with the process that it left behind if that still runs, or from the beginning.
// The directory is watched already: what changes later is an event.
func (u *unit) takeOver() error {
	j, err := u.dir.Recall(u.k.world)
	var unread *servicedir.StepError
	if errors.As(err, &unread) {
		return err // and start nothing that may run already
	}
	if errors.Is(err, servicedir.ErrNotOurs) || err == unix.EACCES {
		u.k.report(Warning, u.name(), "keep a journal of", u.name()+", which a crash would leave unsupervised", err)
	}
	ev := supervise.Event{Kind: supervise.EvBoot, Facts: u.facts(), At: u.Now()}
	if j != nil && (j.State.Booted || j.Mark != (servicedir.Mark{})) {
		ev.Kind = supervise.EvResumed
		m := j.State
		if !m.Booted {
			m = supervise.Unsaved()
		}
		if err := u.findProcess(&j.Mark, &ev); err != nil {
			return err
		}
		if ev.Flag {
			u.mu.Lock()
			u.script = ev.Script
			u.mu.Unlock()
		} else if ev.PID != 0 && m.Awaits(ev.Life) {
			ev.Final = u.final(ev.Script)
		}
		u.Restore(m)
	}
	u.Post(ev)
	u.tellFinal(&ev)
	return nil
}

// findProcess fills in what has become of the last process that was started.
func (u *unit) findProcess(mark *servicedir.Mark, ev *supervise.Event) error {
	if *mark == (servicedir.Mark{}) {
		return nil
	}
	ev.PID, ev.Life, ev.Script = mark.PID(), mark.Life(), mark.Script()
	ev.Status = supervise.UnknownEnd
	age := time.Duration(handoff.Boottime() - mark[servicedir.MarkAfter])
	ev.Since = supervise.Instant{Mono: ev.At.Mono - age, Wall: ev.At.Wall - int64(age)}
	p, hidden := handoff.Find(mark)
	switch {
	case hidden:
		return fmt.Errorf("process %d may be the service, and /proc does not tell: %w", mark.PID(), unix.EAGAIN)
	case p == nil:
		if st, ok := u.k.statusOf(mark); ok {
			ev.Status = st
		}
		return nil
	}
	ev.Flag = p.Alive()
	if p.Ours {
		// Made by us before an exec; if it has ended, it is a zombie until it is
		// registered.
		u.k.table.Begin()
		ev.Flag = true
		u.k.table.Register(p.PID, u, func() {})
		p.Close()
		return nil
	}
	if !ev.Flag {
		ev.Status, _ = u.k.endOf(p)
		p.Close()
		return nil
	}
	u.stranger = p
	u.k.anchor.Want(p.PID)
	u.k.table.Adopt(p.PID, p)
	if p.FD < 0 || u.k.pump.Add(p.FD, strangerToken|uint64(u.token)) != nil {
		u.lookAgain(strangerPoll)
	}
	return nil
}

// strangerToken is the pump's token for the process of the unit in the low half.
const strangerToken = 2 << 32

const (
	// strangerPoll is for where there is no notice of a process's end.
	strangerPoll = time.Second
	// endPoll and endPatience are for a process that has ended, and whose parent
	// has not reaped it, so that its status cannot be had yet.
	endPoll     = 20 * time.Millisecond
	endPatience = 25
)

func (u *unit) lookAgain(after time.Duration) {
	time.AfterFunc(after, u.strangerChanged)
}

// strangerChanged is the pump's, or a timer's: have a look at the process.
func (u *unit) strangerChanged() {
	u.mu.Lock()
	u.order(jobEnd)
	u.mu.Unlock()
}

// strangerEnded tells the machine of the end of a process that is not our child.
func (u *unit) strangerEnded() {
	p := u.stranger
	switch {
	case p == nil:
		return
	case p.Alive():
		if p.FD < 0 {
			u.lookAgain(strangerPoll)
		}
		return
	}
	st, known := u.k.endOf(p)
	if !known && u.endTries < endPatience {
		u.endTries++
		u.lookAgain(endPoll)
		return
	}
	u.stranger, u.endTries = nil, 0
	u.k.table.Dismiss(p.PID)
	p.Close()
	ev := u.died(p.PID, st)
	u.Post(ev)
	u.tellFinal(&ev)
}

// lockPoll and lockPatience are for a lock that a child of a scanner which was
// killed still holds, until it executes run.
const (
	lockPoll     = 20 * time.Millisecond
	lockPatience = 25
)

// startsUp tells whether the lock may be free in a moment, and tries again then.
func (u *unit) startsUp(err error) bool {
	var step *servicedir.StepError
	if u.lockTries == lockPatience || !errors.As(err, &step) || step.Err != unix.EAGAIN ||
		servicedir.Peek(u.dir.FD, u.k.world) == nil {
		return false
	}
	u.lockTries++
	time.AfterFunc(lockPoll, u.begin)
	return true
}
