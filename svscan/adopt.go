package svscan

import (
	"errors"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
	"upkeep/supervise/servicedir"
	"upkeep/svscan/internal/handoff"
)

// takeOver sets the machine going: as it was left by the program that we were; or
// where a former scanner's journal says it stood, with the process that it left
// behind if that still runs; or from the beginning. The directory is watched
// already: what changes later is an event.
func (u *unit) takeOver(left *handoff.Unit) (err error) {
	var p *handoff.Process
	// From before the process is looked for until its end is listened for.
	u.k.table.Begin()
	defer func() {
		if p == nil || !p.Ours || err != nil {
			u.k.table.Abort()
		}
	}()
	j, err := u.dir.Recall(u.k.world)
	var unread *servicedir.StepError
	if errors.As(err, &unread) && left == nil {
		return err // and start nothing that may run already
	}
	if left == nil && (errors.Is(err, servicedir.ErrNotOurs) || err == unix.EACCES) {
		u.k.report(Warning, u.name(), "keep a journal of", u.name()+", which a crash would leave unsupervised", err)
	}
	ev := supervise.Event{Kind: supervise.EvBoot, Facts: u.facts(), At: u.Now()}
	u.findLeaf(j != nil && j.Mark.Leaf())
	var m supervise.Machine
	writes := false
	switch {
	case left != nil:
		m = left.State
		ev.Kind, ev.Exec = supervise.EvResumed, true
		switch {
		case m.PID != 0 && u.wroteLog(&m, j):
			writes = true
		case m.PID != 0:
			ev.PID, ev.Life, ev.Script, ev.Flag = m.PID, m.Life, m.Script, !left.Ended
			if left.Ended {
				ev.Status = left.End
				break
			}
			if p = left.Stranger; p == nil {
				p = &handoff.Process{PID: m.PID, FD: -1, Ours: true}
			}
			p.Group = j != nil && j.Mark.PID() == m.PID && j.Mark.Group()
		case m.Asked && j != nil && j.Mark.Life() == m.Life:
			// A start that took too long to be waited for.
			if p, err = u.findProcess(&j.Mark, &ev); err != nil {
				return err
			}
		}
		u.Restore(m)
	case j != nil && (j.State.Booted || j.Mark != (servicedir.Mark{})):
		ev.Kind = supervise.EvResumed
		m = j.State
		if !m.Booted {
			m = supervise.Unsaved(ev.Facts)
		}
		if writes = u.wroteLog(&m, j); !writes {
			if p, err = u.findProcess(&j.Mark, &ev); err != nil {
				return err
			}
		}
		u.Restore(m)
	}
	ev.Veto = u.heldBack(&m)
	if writes {
		ev.PID, ev.Life, ev.Script, ev.Flag = int32(os.Getpid()), m.Life, m.Script, true
	}
	if ev.Flag {
		u.mu.Lock()
		u.script = ev.Script
		u.mu.Unlock()
	} else {
		ev.Final = ev.PID != 0 && m.Awaits(ev.Life) && u.final(ev.Script)
	}
	if u.holdFirst(ev) {
		if u.log {
			u.entry.gate.open()
		}
		return nil
	}
	if ev.Flag && ev.Script == supervise.ScriptRun && !writes {
		u.keepReadiness(left, p, &m, ev.Life)
	}
	heard := u.keepVoice(p, &m, &ev)
	if left != nil {
		u.inheritChanges(left)
	}
	if !ev.Exec {
		u.begins(ev.Kind == supervise.EvBoot)
	}
	if u.log && p != nil && u.entry.ended {
		u.entry.gate.leaves(p.PID)
	}
	if writes {
		l := u.makeLogger()
		defer l.resume(&m, left != nil)
	}
	u.Post(ev)
	if !heard { // so that it is not taken for silent
		u.Post(supervise.Event{Kind: supervise.EvPeriod, Life: ev.Life, At: ev.At})
	}
	u.tellFinal(&ev)
	if p != nil {
		u.attend(p)
	}
	return nil
}

// wroteLog tells whether what the saved machine takes for its process was a scanner that
// wrote the log itself: there is no mark of a process of that start.
func (u *unit) wroteLog(m *supervise.Machine, j *servicedir.Journal) bool {
	u.mu.Lock()
	builtin := u.builtin
	u.mu.Unlock()
	return builtin && m.PID != 0 && m.Script == supervise.ScriptRun &&
		(j == nil || j.Mark == servicedir.Mark{} || j.Mark.Life() != m.Life)
}

// findProcess fills in what has become of the last process that was started, and
// returns it if its end is still to come.
func (u *unit) findProcess(mark *servicedir.Mark, ev *supervise.Event) (*handoff.Process, error) {
	if *mark == (servicedir.Mark{}) {
		return nil, nil
	}
	ev.PID, ev.Life, ev.Script = mark.PID(), mark.Life(), mark.Script()
	ev.Status = supervise.UnknownEnd
	age := time.Duration(handoff.Boottime() - mark[servicedir.MarkAfter])
	ev.Since = supervise.Instant{Mono: ev.At.Mono - age, Wall: ev.At.Wall - int64(age)}
	p, hidden := handoff.Find(mark)
	switch {
	case hidden:
		return nil, errors.New("process " + strconv.Itoa(int(mark.PID())) + " may be it, and the kernel does not tell: waiting for its end")
	case p == nil:
		if st, ok := u.k.statusOf(mark); ok {
			ev.Status = st
		}
		return nil, nil
	}
	// A child of ours that has ended is a zombie until it is registered.
	if ev.Flag = p.Ours || p.Alive(); !ev.Flag {
		ev.Status, _ = u.k.endOf(p)
		p.Close()
		return nil, nil
	}
	return p, nil
}

// attend sees to it that the end of the process is heard of. For one of ours a start
// was announced to the reaper.
func (u *unit) attend(p *handoff.Process) {
	if p.Ours {
		p.Close()
		u.k.table.Register(p.PID, u, p.Group, func() {})
		return
	}
	u.stranger = p
	u.k.anchor.Want(p.PID)
	u.k.table.Adopt(p.PID, p)
	if p.FD < 0 || u.k.pump.Add(p.FD, strangerToken|uint64(u.token)) != nil {
		u.lookAgain(strangerPoll)
	}
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
	reaped := p.Reaped() // and if so, nothing more will be known later
	st, known := u.k.endOf(p)
	if !known && !reaped && u.endTries < endPatience {
		u.endTries++
		u.lookAgain(endPoll)
		return
	}
	u.stranger, u.endTries = nil, 0
	u.k.table.Dismiss(p.PID)
	if p.Group {
		p.KillGroup()
	}
	p.Close()
	ev := u.died(p.PID, st)
	if !u.hold(ev) {
		u.Post(ev)
		u.tellFinal(&ev)
	}
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
		u.k.store.Peek(u.dir.FD, u.key(), u.k.world) == nil {
		return false
	}
	u.lockTries++
	time.AfterFunc(lockPoll, u.begin)
	return true
}
