package svscan

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
	"upkeep/svscan/internal/reap"
)

// The end of a scanner: what it exits with, whose end is its own, and how long it
// may take.

const (
	// ContainerDeadline is the deadline of PID 1 if none is given: container
	// runtimes grant ten seconds between TERM and KILL.
	ContainerDeadline = 8 * time.Second
	// NoDeadline is a Config.Deadline.
	NoDeadline time.Duration = -1
)

// exitFatal is the exit code for what could not be done or found out.
const exitFatal = 111

// ending is how the scanner ends.
type ending struct {
	code     int  // for Run to return
	known    bool // main has ended with code, or there is no main
	sought   bool // main was looked for
	deadline time.Duration
	timer    *time.Timer // of the next step below
	step     int
}

// deadlineSteps are when, in eighths of the deadline, a shutdown becomes harsher:
// services are killed, then log services, then everything is left as it is.
var deadlineSteps = [...]time.Duration{6, 7, 8}

func deadlineOf(c Config, container bool) time.Duration {
	switch {
	case c.Deadline > 0:
		return c.Deadline
	case c.Deadline == 0 && container:
		return ContainerDeadline
	}
	return 0
}

// exitCode is what a shell makes of a wait status.
func exitCode(st supervise.WaitStatus) int {
	switch {
	case st == supervise.UnknownEnd:
		return exitFatal
	case st.Signalled():
		return 128 + st.Signal()
	}
	return st.Code()
}

// final tells whether the end of a script is that of main.
func (u *unit) final(s supervise.Script) bool {
	return s == supervise.ScriptRun && u.k.main.Load() == u
}

// died is the event of the end of the process that the unit has.
func (u *unit) died(pid int32, st supervise.WaitStatus) supervise.Event {
	u.mu.Lock()
	s := u.script
	u.mu.Unlock()
	return supervise.Event{Kind: supervise.EvDied, PID: pid, Status: st, Final: u.final(s), At: u.Now()}
}

// tellFinal tells the scanner of an event that the service has been told of, if it
// is the end of main.
func (u *unit) tellFinal(ev *supervise.Event) {
	if ev.Final {
		u.entry.scanner.post(message{kind: msgMain, code: exitCode(ev.Status)})
	}
}

// seekMain gives up if there is no main service when all directories have been
// looked at.
func (s *Scanner) seekMain() {
	name := s.k.config.Main
	if name == "" || s.ending.sought {
		return
	}
	s.ending.sought = true
	for _, e := range s.entries {
		if e.present && e.name == name {
			return
		}
	}
	s.k.report(Fatal, "", "find", "main service "+name, unix.ENOENT)
	s.ending.code, s.ending.known = exitFatal, true
	s.post(message{kind: msgStop}) // not in the middle of a scan
}

// mainEnded is the end of main: the first that is told counts.
func (s *Scanner) mainEnded(code int) {
	if !s.ending.known {
		s.ending.code, s.ending.known = code, true
		s.tellStopping()
	}
	s.shutdown()
}

// limit sets the deadline of a shutdown that begins now.
func (s *Scanner) limit() {
	if d := s.ending.deadline; d > 0 {
		s.ending.timer = time.AfterFunc(d/8*deadlineSteps[0], func() { s.post(message{kind: msgDeadline}) })
	}
}

// hurry is the next step of a shutdown that takes long.
func (s *Scanner) hurry() {
	i := s.ending.step
	s.ending.step++
	logs := i > 0
	for _, e := range s.entries {
		for _, x := range []*slot{&e.main, &e.log} {
			if x.up && (logs || !x.unit.log) {
				x.unit.Post(supervise.Event{Kind: supervise.EvDeadline, At: x.unit.Now()})
			}
		}
	}
	// Control scripts, for which a machine waits.
	s.k.table.Kill(func(o reap.Owner) bool {
		c, ok := o.(*controlScript)
		return ok && (logs || !c.unit.log)
	})
	if i+1 < len(deadlineSteps) {
		s.ending.timer.Reset(s.ending.deadline / 8 * (deadlineSteps[i+1] - deadlineSteps[i]))
		return
	}
	s.abandon()
}

// abandon is the deadline: whatever there is is killed, and forgotten.
func (s *Scanner) abandon() {
	object := ""
	for _, e := range s.entries {
		object = e.name
		if n := len(s.entries) - 1; n > 0 {
			object = e.name + " and " + strconv.Itoa(n) + " more"
		}
		break
	}
	s.k.report(Warning, "", "stop", object+" within "+s.ending.deadline.String(), nil)
	s.k.table.Kill(func(reap.Owner) bool { return true })
	if s.k.config.Main != "" && !s.ending.known && s.mainRuns() {
		s.ending.code = exitCode(supervise.WaitStatus(unix.SIGKILL))
	}
	clear(s.entries)
}

// mainRuns tells whether main is there, so that it is killed when we leave.
func (s *Scanner) mainRuns() bool {
	for _, e := range s.entries {
		if e.main.unit != nil && s.k.main.Load() == e.main.unit {
			e.main.unit.mu.Lock()
			defer e.main.unit.mu.Unlock()
			return e.main.unit.state.PID != 0
		}
	}
	return false
}
