package svscan

import (
	"errors"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
	"upkeep/supervise/servicedir"
	"upkeep/supervise/status"
	"upkeep/svscan/internal/handoff"
)

// What s6 has beside runit: readiness, the directory of events and the record of deaths
// (s6.md, sections 4, 6 and 7). Other dialects have them where there are such files.

// readiness is the pipe by which a service with a file notification-fd says that it is
// ready. The service has it for reading as well, so that it does not die of what it says
// while no scanner runs; a new one opens the service's.
type readiness struct {
	fault string // what was said; of who does the unit's disk jobs

	// The rest is under the unit's mu.

	read, write int // -1: closed
	at          int // the descriptor in the service
	life        uint32
	answered    bool // the start is not under way any more
	listened    bool // read is in the pump
}

var errSocketFD = errors.New("it is the number of a socket")

// readyToken is the pump's token for that of the unit in the low half.
const readyToken = 128 << 32

func (r *readiness) close() {
	for _, fd := range []*int{&r.read, &r.write} {
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
}

// needReadiness is that there is a file notification-fd.
func (u *unit) needReadiness() *readiness {
	x := u.extend()
	u.mu.Lock()
	defer u.mu.Unlock()
	if x.ready == nil {
		x.ready = &readiness{read: -1, write: -1}
	}
	return x.ready
}

func (u *unit) hasReadiness() *readiness {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ext == nil {
		return nil
	}
	return u.ext.ready
}

// dropReadiness is for a unit that has no more use for it.
func (u *unit) dropReadiness() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ext != nil && u.ext.ready != nil {
		u.ext.ready.close()
		u.ext.ready = nil
	}
}

// offerReadiness makes the pipe for the start of run that is under way. If it is false,
// that has failed.
func (u *unit) offerReadiness() bool {
	r := u.hasReadiness()
	if r == nil {
		return true
	}
	at, ok, err := servicedir.NotificationFD(u.dir.FD)
	if !ok {
		u.dropReadiness()
		return true
	}
	if err == nil && at >= u.k.fdLimit {
		err = unix.EBADF
	}
	if err == nil && u.request.Sockets.Has(at) {
		err = errSocketFD
	}
	if err != nil { // as if there was none
		u.mu.Lock()
		r.close()
		u.mu.Unlock()
		if text := err.Error(); r.fault != text {
			r.fault = text
			u.k.report(Warning, u.name(), "use", u.name()+"/notification-fd", err)
		}
		return true
	}
	r.fault = ""
	var p [2]int
	if err = unix.Pipe2(p[:], unix.O_CLOEXEC); err == nil {
		err = unix.SetNonblock(p[0], true)
		if w, err := handoff.Writer(p[0]); err == nil {
			unix.Close(p[1])
			p[1] = w
		}
	}
	if err != nil {
		u.k.report(Warning, u.name(), "create", "pipe for "+u.name(), err)
		u.notStarted(nil, false, time.Now())
		return false
	}
	u.mu.Lock()
	r.close()
	r.read, r.write, r.at = p[0], p[1], at
	r.life, r.answered, r.listened = uint32(u.request.Mark[servicedir.MarkLife]), false, false
	u.mu.Unlock()
	return true
}

// notification is what a script gets by which it can say that it is ready.
func (u *unit) notification() (fd, at int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ext == nil || u.ext.ready == nil || u.script != supervise.ScriptRun {
		return -1, 0
	}
	return u.ext.ready.write, u.ext.ready.at
}

// listenReadiness leaves the pipe to the process that was started with it, and listens to
// what that says; one that has ended says nothing more.
func (u *unit) listenReadiness() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ext == nil || u.ext.ready == nil {
		return
	}
	r, m := u.ext.ready, &u.state
	switch {
	case !r.answered || int32(m.Life-r.life) < 0 || m.Asked && m.Life == r.life: // the machine has not heard of it
	case m.PID == 0 || m.Life != r.life:
		r.close()
	default:
		if r.write >= 0 {
			unix.Close(r.write)
			r.write = -1
		}
		if r.read >= 0 && !r.listened {
			r.listened = u.k.pump.Add(r.read, readyToken|uint64(u.token)) == nil
		}
	}
}

// readReadiness is the pump's: the service says something. A newline is that it is ready.
func (u *unit) readReadiness() {
	u.mu.Lock()
	if u.ext == nil || u.ext.ready == nil {
		u.mu.Unlock()
		return
	}
	r := u.ext.ready
	ready, life := false, r.life
	for r.read >= 0 && !ready {
		var b [512]byte
		n, err := unix.Read(r.read, b[:])
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			break
		}
		ready = strings.IndexByte(string(b[:max(n, 0)]), '\n') >= 0
		if ready || n <= 0 {
			r.close()
		}
	}
	u.mu.Unlock()
	if ready {
		u.Post(supervise.Event{Kind: supervise.EvReady, Life: life, At: u.Now()})
	}
}

// keepReadiness goes on listening to a service that was started by another program: by the
// descriptor that was left, or else by the one that the service has.
func (u *unit) keepReadiness(left *handoff.Unit, p *handoff.Process, m *supervise.Machine, life uint32) {
	fd := -1
	at, ok, err := servicedir.NotificationFD(u.dir.FD)
	switch {
	case left != nil && left.Notify > 0:
		fd = left.Notify
	case left != nil || p == nil || !ok || err != nil || m.Ready != 0 && m.Life == life:
		return
	default:
		if fd = p.Readiness(at); fd < 0 {
			return
		}
	}
	r := u.needReadiness()
	u.mu.Lock()
	r.read, r.at, r.life, r.answered = fd, at, life, true
	u.mu.Unlock()
}

// leaveChanges leaves the pipe, and what is still to be told, to another program.
func (u *unit) leaveChanges(left *handoff.Unit) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, c := range u.changes {
		left.Changes = append(left.Changes, byte(c))
	}
	x := u.ext
	if x == nil {
		return
	}
	left.Deaths = x.deaths
	if x.ready != nil && x.ready.read >= 0 && x.ready.answered {
		left.Notify = x.ready.read
	}
}

// inheritChanges takes over what another program did not tell any more.
func (u *unit) inheritChanges(left *handoff.Unit) {
	if len(left.Deaths) > 0 {
		x := u.extend()
		u.mu.Lock()
		x.deaths = left.Deaths
		u.mu.Unlock()
	}
	u.mu.Lock()
	for _, c := range left.Changes {
		u.changes = append(u.changes, supervise.Change(c))
	}
	u.mu.Unlock()
}

// lookForEvents finds out whether there is anybody who may listen.
func (u *unit) lookForEvents() {
	if u.isScriptLog() {
		return
	}
	if u.k.config.Dialect == supervise.S6 {
		if err := servicedir.MakeEvents(u.dir.Home); err != nil && u.extend().unheard != err.Error() {
			u.ext.unheard = err.Error()
			u.k.report(Warning, u.name(), "create", u.name()+"/"+servicedir.EventDir, err)
		}
	}
	events := servicedir.HasEvents(u.dir.Home)
	if events || u.ext != nil {
		x := u.extend()
		u.mu.Lock()
		x.events = events
		u.mu.Unlock()
	}
}

// begins is that a new scanner supervises the service: who listens is told with the first
// status. The record of deaths begins anew with a new life of the service.
func (u *unit) begins(anew bool) {
	if anew && u.Policy().Tally > 0 {
		u.wrote(jobTally, servicedir.TallyName, servicedir.WriteTally(u.dir.Home, nil))
	}
	u.mu.Lock()
	u.changes = append(u.changes, supervise.ChangeBegun)
	u.mu.Unlock()
}

// Emit implements supervise.Port.
func (u *unit) Emit(c supervise.Change, m *supervise.Machine) {
	tally := c == supervise.ChangeDown && u.Policy().Tally > 0
	u.mu.Lock()
	defer u.mu.Unlock()
	if tally = tally && u.ext != nil; tally {
		u.ext.deaths = appendDeath(u.ext.deaths, m.Last)
	}
	if !tally && u.k.config.Changed == nil && (u.ext == nil || !u.ext.events) {
		return
	}
	u.changes = append(u.changes, c)
	u.order(jobStatus)
}

// appendDeath records how a process has ended just now.
func appendDeath(b []byte, w supervise.WaitStatus) []byte {
	d := status.Death{At: status.Now(), Code: byte(w.Code()), Signal: byte(w.Signal())}
	if d.Signal > 0 {
		d.Code = 128 + d.Signal
	}
	return d.Append(b)
}

// tell tells of changes, after the status that goes with them.
func (u *unit) tell(changes []supervise.Change) {
	u.mu.Lock()
	x := u.ext
	var deaths []byte
	events := false
	if x != nil {
		deaths, events = x.deaths, x.events
		x.deaths = nil
	}
	u.mu.Unlock()
	if deaths != nil {
		u.wrote(jobTally, servicedir.TallyName, servicedir.AddDeaths(u.dir.Home, deaths, u.Policy().Tally))
	}
	if len(changes) == 0 {
		return
	}
	if events {
		b := make([]byte, len(changes))
		for i, c := range changes {
			b[i] = byte(c)
		}
		_ = servicedir.Notify(u.dir.Home, b) // the directory may be gone, and they with it
	}
	if f := u.k.config.Changed; f != nil {
		for _, c := range changes {
			f(u.name(), c)
		}
	}
}

// tellFinishKilled says what s6 says when a finish script is killed.
func (u *unit) tellFinishKilled() {
	u.mu.Lock()
	finish := u.script == supervise.ScriptFinish
	u.mu.Unlock()
	if finish {
		u.k.report(Warning, u.name(), "finish script lifetime reached maximum value - sending it a SIGKILL", "", nil)
	}
}
