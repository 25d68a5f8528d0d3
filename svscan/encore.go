package svscan

import (
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
	"upkeep/supervise/servicedir"
	"upkeep/svscan/internal/handoff"
	"upkeep/svscan/internal/spawn"
)

// What daemontools-encore has beside daemontools: the script log, whose process shares
// its service's control FIFO and status file, and notify (daemontools.md, section 5).

// encoreUnit is what a unit of encore has in addition.
type encoreUnit struct {
	at       int // the service directory, where the unit's own is only its log's home; else 0
	notifies atomic.Bool
	ended    supervise.WaitStatus // of endedPID; under the unit's mu
	endedPID int32
}

// makeEncore makes a unit one of encore's. at is the entry's scriptAt for its script
// log, and else 0.
func (u *unit) makeEncore(at int) { u.encore = &encoreUnit{at: at, ended: supervise.UnknownEnd} }

// place is the directory of the unit's scripts.
func (u *unit) place() int {
	if u.isScriptLog() {
		return u.encore.at
	}
	return u.dir.FD
}

// isScriptLog tells whether this is the process of a script log.
func (u *unit) isScriptLog() bool { return u.encore != nil && u.encore.at > 0 }

// scriptName is the file's name.
func (u *unit) scriptName(s supervise.Script) string {
	if u.isScriptLog() {
		return "log"
	}
	return s.Name()
}

// lookForEncore looks at what only encore has.
func (u *unit) lookForEncore() {
	if u.encore == nil {
		return
	}
	notifies, inGroup := servicedir.Executable(u.place(), "notify"), servicedir.SessionsOff(u.place())
	u.encore.notifies.Store(notifies)
	u.inGroup.Store(inGroup)
	if p := u.partner.Load(); p != nil && p.isScriptLog() {
		p.encore.notifies.Store(notifies)
		p.inGroup.Store(inGroup)
	}
}

// openScript opens the log's home of a service directory whose log is a script.
func (e *entry) openScript(fd int) (home int, err error) {
	if e.scriptAt == 0 {
		at, err := unix.Openat(fd, ".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, err
		}
		e.scriptAt = at
	}
	return servicedir.OpenLogHome(fd)
}

// forgetScript is for an entry whose log service is over.
func (e *entry) forgetScript() {
	if e.scriptAt > 0 {
		unix.Close(e.scriptAt)
	}
	e.scriptAt, e.draining = 0, nil
}

// inheritScript finds out whether what a former program has left is of a script log.
func (e *entry) inheritScript(left *handoff.Entry) {
	if e.scanner.k.config.Dialect != supervise.Encore || left.Main == nil || left.Log == nil {
		return
	}
	if servicedir.IsLogHome(left.Main.Dir, left.Log.Dir) {
		if home, err := e.openScript(left.Main.Dir); err == nil {
			unix.Close(home)
		}
	}
}

// pair has the service and its log service know each other.
func (e *entry) pair() {
	main, log := e.main.unit, e.log.unit
	if main != nil {
		main.partner.Store(log)
	}
	if log != nil {
		log.partner.Store(main)
	}
}

// LogControl implements supervise.Port.
func (u *unit) LogControl(ev supervise.Event) {
	if p := u.partner.Load(); p != nil && p.log {
		p.Post(ev)
	}
}

// appendLog appends the record of a script log's process to its service's.
func (u *unit) appendLog(b []byte) []byte {
	p := u.partner.Load()
	if u.encore == nil || p == nil || !p.isScriptLog() {
		return b
	}
	p.mu.Lock()
	m := p.state
	p.mu.Unlock()
	if !m.Booted {
		return b
	}
	r := m.Record(p.policy())
	return r.Append(b, u.k.layout)
}

// announced sees to the status file in which this unit's record is, and has notify told
// of processes that have begun and ended since the machine was was.
func (u *unit) announced(was, is *supervise.Machine) {
	if u.encore == nil {
		return
	}
	if p := u.partner.Load(); p != nil && u.isScriptLog() {
		p.mu.Lock()
		p.order(jobStatus)
		p.mu.Unlock()
	}
	if was.PID == is.PID || !u.encore.notifies.Load() {
		return
	}
	if was.PID != 0 {
		u.mu.Lock()
		end := is.Last
		if u.encore.endedPID == was.PID {
			end = u.encore.ended
		}
		u.mu.Unlock()
		switch {
		case end.Signalled():
			u.notify(was.Script, "killed", was.PID, end.Signal())
		case end != supervise.UnknownEnd:
			u.notify(was.Script, "exit", was.PID, end.Code())
		}
	}
	if is.PID != 0 {
		u.notify(is.Script, "start", is.PID, 0)
	}
}

// noteEnd keeps how a process ended: of start and stop, the machine does not.
func (u *unit) noteEnd(pid int32, st supervise.WaitStatus) {
	if u.encore == nil {
		return
	}
	u.mu.Lock()
	u.encore.endedPID, u.encore.ended = pid, st
	u.mu.Unlock()
}

// notExecuted has notify told of a process that was there until it could not execute
// its script.
func (u *unit) notExecuted() {
	if u.encore == nil || !u.encore.notifies.Load() {
		return
	}
	u.mu.Lock()
	s := u.script
	u.mu.Unlock()
	u.notify(s, "start", u.request.Failed, 0)
	u.notify(s, "exit", u.request.Failed, exitFatal)
}

// notify runs the script notify (daemontools.md, section 5.5). Nobody waits for it.
func (u *unit) notify(s supervise.Script, event string, pid int32, code int) {
	p, err := u.k.program("notify", u.scriptName(s), event, strconv.Itoa(int(pid)), strconv.Itoa(code))
	if err != nil {
		return // with arguments as these it cannot fail
	}
	u.mu.Lock()
	if u.broken || u.closing {
		u.mu.Unlock()
		return
	}
	u.starts++
	u.mu.Unlock()
	o := &notifier{unit: u}
	o.request = spawn.Request{
		Owner: o, Program: p, Dir: u.place(), Stdin: -1, Stdout: -1, Notify: -1, Journal: -1,
		Session: !u.inGroup.Load(),
	}
	u.k.spawner.Spawn(&o.request)
}

// notifier is a start of notify.
type notifier struct {
	unit    *unit
	request spawn.Request
}

// Started implements spawn.Owner.
func (o *notifier) Started(int32, time.Time) { o.unit.answered() }

// Proceed implements spawn.Owner.
func (o *notifier) Proceed() {}

// StartFailed implements spawn.Owner.
func (o *notifier) StartFailed(err error, _ bool, _ time.Time) {
	o.unit.answered()
	u := o.unit
	u.k.report(Warning, u.name(), "start", u.name()+"/notify", err)
}

// Slow implements spawn.Owner.
func (o *notifier) Slow() {}

// Died implements reap.Owner.
func (o *notifier) Died(int32, uint32) {}

// Where the log service is a script, the pipe never ends: the process is told to once
// it has read everything.
const (
	drainEvery = 20 * time.Millisecond
	// drainQuiet is how long the pipe has to have been empty.
	drainQuiet = 200 * time.Millisecond
)

// drainScript goes on with that.
func (s *Scanner) drainScript(e *entry) {
	if e.log.up {
		s.drain(e, e.log.unit, e.pipe[0])
	}
}

// drained is for a unit that has not closed meanwhile.
func (s *Scanner) drained(u *unit) {
	switch e := u.entry; u {
	case e.log.unit:
		s.drainScript(e)
	case e.main.unit:
		s.drainLogService()
	}
}
