package supervise

import (
	"syscall"
	"time"

	"upkeep/supervise/status"
)

// Phase is where a service stands.
type Phase uint8

// The phases.
const (
	PhaseDown      Phase = iota // no process; Waiting tells of a start to come
	PhaseStarting               // run (or start) was asked for and has no pid yet
	PhaseUp                     // it runs
	PhaseReady                  // it runs and said that it is ready
	PhaseStopping               // it runs and was told to stop for good
	PhaseFinishing              // finish (or stop) was asked for or runs
	PhaseHeld                   // wanted up, but its needs or the load forbid it
	PhaseGone                   // over; the next one needs a new Machine
	Phases
)

// String names the phase as the docs do.
func (p Phase) String() string {
	switch p {
	case PhaseDown:
		return "down"
	case PhaseStarting:
		return "starting"
	case PhaseUp:
		return "up"
	case PhaseReady:
		return "ready"
	case PhaseStopping:
		return "stopping"
	case PhaseFinishing:
		return "finishing"
	case PhaseHeld:
		return "held"
	}
	return "gone"
}

// Machine is the state of one service: a value without pointers. Only Step
// changes it.
type Machine struct {
	Phase      Phase
	Script     Script // what runs as PID, or was asked for
	Want       status.Want
	Consulting byte // the letter whose control script runs, or 0
	Failures   uint8
	Strikes    uint8 // ends of run that count against the limit, from Struck on
	Facts      Facts

	Booted    bool
	Restored  bool // from a saved state; EvResumed is to come
	Asked     bool // a Spawn is unanswered
	Slow      bool // and overdue
	Waiting   bool // TimerRestart is armed, for Due
	Stopped   bool // TimerKill is armed
	Unsettled bool // it died while a control script ran: what follows is due
	Exiting   bool
	Shutdown  bool
	Draining  bool
	Removed   bool
	Paused    bool
	GotTerm   bool
	Failed    bool // permanently, by exit code or too many ends
	Unfit     bool // run could not be executed last time
	Idle      bool // encore: started, with no run script
	First     bool // encore: start runs before run
	RanStop   bool // encore: stop ran since the last start
	Hurried   bool // past the deadline of a shutdown
	Needy     bool // what it needs is not up
	Loaded    bool // the load is above its limit
	Renew     bool // the process is to end so that another one is started
	Prompt    bool // and that without a pause
	Again     bool // one more run is due although it is wanted once
	Timed     bool // TimerBounce is armed
	Mood      Mood // what the service says of itself
	Watched   bool // TimerWatchdog is armed, for LimitDue
	Missed    bool // no sign of life came in time, and it was aborted

	Life       uint32 // counts the starts asked for; names the process among them
	PID        int32
	Last       WaitStatus // of the last end of run
	Deaths     uint32
	Watchdog   uint32        // the most milliseconds between two signs of life of this start; 0: none are due
	Struck     uint32        // in units of strikeUnit
	Since      int64         // wall clock of the last pid change
	ReadySince int64         // wall clock of the last time ready, or down and ready
	Started    time.Duration // last start of run
	Ready      time.Duration // last time ready; 0 when it was not since Started
	Due        time.Duration // when TimerRestart fires, if Waiting; after a short life, before when nothing starts
	KillDue    time.Duration // when TimerKill fires, if Stopped
	LimitDue   time.Duration // when TimerFinish fires, or TimerReady or TimerWatchdog, which never are at the same time
	DrainDue   time.Duration // likewise TimerDrain
}

// Step is one event: the next state, and what has to be done about it. Every
// kind of event is answered in every phase; what makes no sense there changes
// nothing.
func (m Machine) Step(p *Policy, ev Event) (Machine, Actions) {
	var a Actions
	m.step(p, &ev, &a)
	return m, a
}

// step is Step in place.
func (m *Machine) step(p *Policy, ev *Event, a *Actions) {
	if m.Phase == PhaseGone || !m.Booted && ev.Kind != EvBoot || m.Restored != (ev.Kind == EvResumed) {
		return
	}
	switch ev.Kind {
	case EvBoot:
		m.boot(p, ev, a)
	case EvControl:
		m.control(p, ev, a)
	case EvStarted:
		m.started(p, ev, a)
	case EvStartFailed:
		m.startFailed(p, ev, a)
	case EvDied:
		m.died(p, ev, a)
	case EvConsulted:
		m.consulted(p, ev, a)
	case EvTimer:
		m.timer(p, ev, a)
	case EvReady:
		m.ready(p, ev, a)
	case EvBeat, EvPeriod, EvExtend, EvMood:
		m.notified(p, ev, a)
	case EvResumed:
		m.resumed(p, ev, a)
	case EvNeeds:
		m.Needy = !ev.Flag
		m.holdOrRelease(p, ev.At, a)
	case EvLoad:
		m.load(p, ev, a)
	case EvFacts:
		m.facts(p, ev, a)
	case EvRemoved:
		m.Removed = true
		if p.RemovedStops {
			m.exit(p, true, ev.At, a)
		}
	case EvReturned:
		m.Removed = false
	case EvShutdown:
		if !m.Shutdown {
			m.shutdown(p, ev.At, a)
		}
	case EvDrain:
		m.drain(p, ev.At, a)
	case EvSlow:
		if m.Asked && !m.Slow {
			m.Slow = true
			a.add(Action{Kind: Announce})
		}
	case EvDeadline:
		m.deadline(p, ev.At, a)
	case EvRedefined:
		m.redefine(p, ev, a)
	}
	if m.Watchdog > 0 || m.Watched {
		m.guard(ev.At, a)
	}
	if m.Exiting && (m.Phase == PhaseDown || m.Phase == PhaseHeld) && m.vacant() && !m.Waiting && !m.Unsettled {
		m.gone(a)
	}
}

// HoldsControl tells how long control bytes have to wait in the FIFO: those
// that come while a start or a control script is under way are obeyed after it,
// and some dialects are deaf for a time after each start. forever means until
// some other event.
func (m *Machine) HoldsControl(p *Policy, now time.Duration) (wait time.Duration, forever bool) {
	if !m.Booted || m.Restored || m.Consulting != 0 || m.Asked && !m.Slow {
		return 0, true
	}
	if p.DeafFor > 0 && m.PID != 0 {
		return max(m.Started+p.DeafFor-now, 0), false
	}
	return 0, false
}

// alive tells whether run (or start) runs: finish scripts are never signalled.
func (m *Machine) alive() bool {
	return m.PID != 0 && (m.Script == ScriptRun || m.Script == ScriptStart)
}

// vacant tells that nothing runs, is being started or is under way.
func (m *Machine) vacant() bool {
	return m.PID == 0 && !m.Asked && m.Consulting == 0 && m.Phase != PhaseFinishing
}

func (m *Machine) boot(p *Policy, ev *Event, a *Actions) {
	if m.Booted {
		return
	}
	m.Booted, m.First = true, true
	m.Facts, m.Needy = ev.Facts, ev.Veto
	m.Since, m.ReadySince = ev.At.Wall, ev.At.Wall
	m.Started = ev.At.Mono - max(p.Pause, p.DeafFor)
	m.Want = m.Facts.wish()
	if ev.Facts.Down {
		m.Want = status.WantDown
		a.add(Action{Kind: Announce})
		return
	}
	if p.ShowFirst {
		a.add(Action{Kind: Announce})
	} // else the first status is the one with the pid
	m.start(p, ev.At, a)
}

// start begins a life of run: through control/u and encore's start script where
// there are any.
func (m *Machine) start(p *Policy, at Instant, a *Actions) {
	m.endWait(a)
	if m.blocked() {
		if m.Phase != PhaseHeld {
			m.Phase = PhaseHeld
			a.add(Action{Kind: Announce})
		}
		return
	}
	if m.Facts.Start == Absent {
		m.First = false
	}
	m.Script = ScriptRun
	if p.StartStopScripts && m.First {
		m.Script = ScriptStart
	}
	if p.RunOptional && m.Facts.NoRun && m.Script == ScriptRun {
		m.Phase, m.Script = PhaseDown, ScriptNone
		m.Idle, m.Want, m.RanStop = true, status.WantOnce, false
		a.add(Action{Kind: Announce})
		return
	}
	m.Phase = PhaseStarting
	if m.consult(p, 'u', a) {
		return
	}
	m.ask(a)
}

func (m *Machine) ask(a *Actions) {
	m.Asked, m.Slow = true, false
	if m.Script == ScriptRun {
		m.Renew, m.Prompt, m.Again = false, false, false
	}
	m.Life++
	a.add(Action{Kind: Spawn, Script: m.Script, Life: m.Life})
}

// consult asks the control script of a letter first, if there may be one.
func (m *Machine) consult(p *Policy, letter byte, a *Actions) bool {
	if !p.ControlScripts || m.Facts.Controls == Absent || m.Consulting != 0 || m.Hurried {
		return false
	}
	m.Consulting = letter
	if letter == 'u' {
		a.add(Action{Kind: Announce}) // the script may look
	}
	a.add(Action{Kind: Consult, Byte: letter})
	return true
}

func (m *Machine) started(p *Policy, ev *Event, a *Actions) {
	if !m.Asked {
		return
	}
	m.Asked, m.Slow, m.Failures = false, false, 0
	m.PID = ev.PID
	if m.Phase == PhaseFinishing {
		if !p.FinishKeepsTime {
			m.Since = ev.At.Wall
		}
		if p.FinishFor > 0 && m.Script == ScriptFinish {
			m.LimitDue = ev.At.Mono + p.FinishFor
			a.add(Action{Kind: Arm, Timer: TimerFinish, After: p.FinishFor})
		}
		a.add(Action{Kind: Announce})
		if m.Shutdown {
			m.armKill(p, ev.At, a)
		}
		return
	}
	m.Phase = PhaseUp
	m.Paused, m.GotTerm, m.Failed, m.Unfit, m.Idle = false, false, false, false, false
	m.RanStop = m.RanStop && m.Script != ScriptRun
	m.Since, m.Started, m.Ready = ev.At.Wall, ev.At.Mono, 0
	m.begin(p)
	a.add(Action{Kind: Announce})
	a.add(Action{Kind: Emit, Byte: byte(ChangeUp)})
	m.timeBounce(p, ev.At, a)
	if p.ReadyFor > 0 {
		m.LimitDue = ev.At.Mono + p.ReadyFor
		a.add(Action{Kind: Arm, Timer: TimerReady, After: p.ReadyFor})
	}
	switch {
	case m.unwanted(p):
		m.stop(p, ev.At, a) // told so while the start was under way
	case m.Draining:
		m.armDrain(p, ev.At, a)
	}
}

func (m *Machine) startFailed(p *Policy, ev *Event, a *Actions) {
	if !m.Asked {
		return
	}
	m.Asked, m.Slow = false, false
	if ev.Exec {
		// To everybody else this is a process that ended at once with 111.
		m.Failures = 0
		if m.Phase == PhaseFinishing {
			m.rest(p, ev.At, a)
			return
		}
		m.Started, m.Ready, m.Unfit = ev.At.Mono, 0, true
		if ev.Final {
			m.leave()
		} else if p.UnfitPause > 0 && !m.Exiting && m.wanted() {
			m.Phase, m.Script, m.Renew = PhaseDown, ScriptNone, false
			if m.Want == status.WantUp || m.onceMore() {
				m.wait(p.UnfitPause, ev.At, a)
			}
			a.add(Action{Kind: Announce})
			return
		}
		m.ended(p, Exited(111), ev.At, a)
		return
	}
	if m.Phase != PhaseFinishing {
		m.Phase = PhaseDown
		if m.Exiting || !m.wanted() {
			m.rest(p, ev.At, a)
			return
		}
	} else if m.Shutdown {
		m.rest(p, ev.At, a)
		return
	}
	pause := min(forkRetry<<min(m.Failures, 6), forkRetryMax)
	m.Failures = min(m.Failures+1, 6)
	m.wait(pause, ev.At, a)
	a.add(Action{Kind: Announce})
}

// wanted tells whether a process is wished for at all.
func (m *Machine) wanted() bool { return m.Want != status.WantDown }

func (m *Machine) wait(d time.Duration, at Instant, a *Actions) {
	m.Waiting, m.Due = true, at.Mono+d
	a.add(Action{Kind: Arm, Timer: TimerRestart, After: d})
}

func (m *Machine) endWait(a *Actions) {
	if m.Waiting {
		m.Waiting = false
		a.add(Action{Kind: Disarm, Timer: TimerRestart})
	}
}

func (m *Machine) died(p *Policy, ev *Event, a *Actions) {
	if m.PID == 0 || ev.PID != m.PID {
		return
	}
	m.PID, m.LimitDue = 0, 0
	if ev.Final {
		m.leave()
	}
	if m.Stopped {
		m.Stopped = false
		a.add(Action{Kind: Disarm, Timer: TimerKill})
	}
	if m.Script == ScriptFinish || m.Script == ScriptStop {
		if p.FinishFor > 0 && m.Script == ScriptFinish {
			a.add(Action{Kind: Disarm, Timer: TimerFinish})
		}
		if p.PermanentOf == m.Script && ev.Status.Code() == p.Permanent {
			m.Want, m.Failed = status.WantDown, true
			a.add(Action{Kind: Emit, Byte: byte(ChangeFailed)})
		}
		m.rest(p, ev.At, a)
		return
	}
	if p.ReadyFor > 0 {
		a.add(Action{Kind: Disarm, Timer: TimerReady})
	}
	if m.Timed {
		m.Timed = false
		a.add(Action{Kind: Disarm, Timer: TimerBounce})
	}
	if m.Draining {
		a.add(Action{Kind: Disarm, Timer: TimerDrain})
	}
	m.ended(p, ev.Status, ev.At, a)
}

// ended is the end of run or start, however it came about.
func (m *Machine) ended(p *Policy, st WaitStatus, at Instant, a *Actions) {
	m.Last = st
	m.Deaths++
	m.GotTerm = false
	if !p.PauseWhenDown {
		m.Paused = false
	}
	if m.Script == ScriptStart && st != UnknownEnd {
		m.First = false
		if st != 0 {
			m.fail()
		}
	}
	if p.PermanentOf == m.Script && st.Code() == p.Permanent ||
		m.Script == ScriptRun && st.Code() == p.PermanentRun && p.PermanentRun >= 0 {
		m.fail()
	}
	m.judge(p, at)
	if m.struck(p, at) {
		m.fail()
	}
	m.Renew = false
	finish := p.FinishScript && m.Facts.Finish != Absent
	if !finish || !p.FinishKeepsTime {
		m.Since = at.Wall
	}
	a.add(Action{Kind: Emit, Byte: byte(ChangeDown)})
	if m.Consulting != 0 {
		m.Unsettled = true
		m.Phase = PhaseDown
		a.add(Action{Kind: Announce})
		return
	}
	m.settle(p, at, a)
}

func (m *Machine) fail() {
	m.Failed = true
	if m.Want == status.WantUp {
		m.Want = status.WantDown
	}
}

// settle is what follows the end of run: finish, or a rest.
func (m *Machine) settle(p *Policy, at Instant, a *Actions) {
	m.Unsettled = false
	if p.FinishScript && m.Facts.Finish != Absent && m.Script == ScriptRun && !m.Hurried {
		m.Phase, m.Script = PhaseFinishing, ScriptFinish
		if p.AnnounceDeaths {
			a.add(Action{Kind: Announce})
		}
		m.ask(a)
		return
	}
	m.rest(p, at, a)
}

// rest is when nothing is left of a life: leave, start again, or stay down.
func (m *Machine) rest(p *Policy, at Instant, a *Actions) {
	last := m.Script
	stopped := m.Phase == PhaseStopping
	m.endWait(a)
	m.Phase, m.Script = PhaseDown, ScriptNone
	if last == ScriptFinish {
		m.Since = at.Wall
	}
	m.ReadySince = at.Wall
	switch {
	case m.Exiting && !(p.StartStopScripts && m.Want != status.WantUp && last != ScriptStart):
		a.add(Action{Kind: Emit, Byte: byte(ChangeDownReady)})
		m.gone(a)
	case last == ScriptStart && !m.First && !m.Failed && !stopped && !m.Exiting,
		(m.Want == status.WantUp || m.onceMore()) && !m.Failed:
		m.again(p, at, a)
	default:
		m.windUp(p, at, a)
	}
}

// again starts run, at once or after what is left of the pause.
func (m *Machine) again(p *Policy, at Instant, a *Actions) {
	d := max(m.pause(p, at.Mono), m.delay(p, at.Mono))
	if m.Facts.Lacking {
		d = 0 // it is held, and has no history once it is not
	}
	if d <= 0 && !p.AnnounceDeaths {
		// What is published next is the new pid: one write for both changes.
		a.add(Action{Kind: Emit, Byte: byte(ChangeDownReady)})
		m.start(p, at, a)
		return
	}
	a.add(Action{Kind: Announce})
	a.add(Action{Kind: Emit, Byte: byte(ChangeDownReady)})
	if d <= 0 {
		m.start(p, at, a)
		return
	}
	m.wait(d, at, a)
}

// pause is how long after a death the next start has to wait.
func (m *Machine) pause(p *Policy, now time.Duration) time.Duration {
	if m.Prompt {
		return 0
	}
	switch p.Rule {
	case FullIfShort:
		if now-m.Started < p.Pause {
			return p.Pause
		}
		return 0
	case AfterReady:
		if m.Ready != 0 {
			return m.Ready + p.Pause - now
		}
		return p.Pause
	}
	return m.Started + p.Pause - now
}

// windUp goes down for good, through encore's stop script.
func (m *Machine) windUp(p *Policy, at Instant, a *Actions) {
	if p.StartStopScripts && !m.RanStop && !m.Failed && m.Facts.Stop != Absent && !m.Hurried {
		m.RanStop, m.Idle = true, false
		m.Phase, m.Script = PhaseFinishing, ScriptStop
		m.ask(a)
		return
	}
	m.RanStop, m.Idle, m.Prompt = true, false, false
	if m.Exiting {
		m.gone(a)
		return
	}
	a.add(Action{Kind: Announce})
	a.add(Action{Kind: Emit, Byte: byte(ChangeDownReady)})
}

func (m *Machine) gone(a *Actions) {
	m.endWait(a)
	m.Phase, m.Script = PhaseGone, ScriptNone
	a.add(Action{Kind: Announce})
	a.add(Action{Kind: Emit, Byte: byte(ChangeGone)})
	a.add(Action{Kind: Close})
}

// stop tells the process to end: TERM and CONT, preceded and followed by control
// scripts where there are any.
func (m *Machine) stop(p *Policy, at Instant, a *Actions) {
	m.armKill(p, at, a)
	if m.Consulting == 0 || m.Consulting == 't' {
		m.Phase = PhaseStopping
	}
	if m.consult(p, 't', a) {
		return
	}
	if m.Consulting != 0 {
		return // consulted comes back to it
	}
	m.Paused = false
	m.terminate(p, false, a)
}

// terminate sends the stop signal, then CONT for those who are stopped.
func (m *Machine) terminate(p *Policy, group bool, a *Actions) {
	m.GotTerm = true
	a.add(Action{Kind: Signal, Signal: p.StopSignal, PID: m.PID, Group: group})
	a.add(Action{Kind: Signal, Signal: syscall.SIGCONT, PID: m.PID, Group: group})
}

func (m *Machine) armKill(p *Policy, at Instant, a *Actions) {
	if m.Hurried {
		m.Stopped = true
		m.kill(TimerKill, &m.KillDue, at, a)
		return
	}
	after := p.KillAfter
	if after == 0 && m.Shutdown {
		after = p.ShutdownAfter
	}
	if after > 0 && !m.Stopped {
		m.Stopped, m.KillDue = true, at.Mono+after
		a.add(Action{Kind: Arm, Timer: TimerKill, After: after})
	}
}

func (m *Machine) consulted(p *Policy, ev *Event, a *Actions) {
	letter := m.Consulting
	if letter == 0 {
		return
	}
	m.Consulting = 0
	if m.Unsettled {
		m.settle(p, ev.At, a)
		return
	}
	if letter == 'u' {
		if m.Phase != PhaseStarting {
			return
		}
		if m.Shutdown || m.Exiting && !m.Draining {
			m.Phase = PhaseDown
			m.rest(p, ev.At, a)
			return
		}
		m.ask(a)
		return
	}
	if !m.alive() {
		return
	}
	switch letter {
	case 't':
		sig := syscall.SIGTERM
		if m.Phase == PhaseStopping {
			sig = p.StopSignal
		}
		if !ev.Veto {
			m.GotTerm = true
			a.add(Action{Kind: Signal, Signal: sig, PID: m.PID})
		}
		if m.Phase == PhaseStopping {
			m.Paused = false
			a.add(Action{Kind: Signal, Signal: syscall.SIGCONT, PID: m.PID})
			switch {
			case m.Exiting && p.ExitStops:
				m.consult(p, 'x', a)
			case !m.wanted():
				m.consult(p, 'd', a)
			}
		}
		a.add(Action{Kind: Announce})
		return
	case 'd', 'x':
	default:
		if sig := signalOf(p, letter); sig != 0 && !ev.Veto {
			a.add(Action{Kind: Signal, Signal: sig, PID: m.PID})
		}
	}
	if m.Phase != PhaseStopping && m.unwanted(p) {
		m.stop(p, ev.At, a)
	}
}

func (m *Machine) timer(p *Policy, ev *Event, a *Actions) {
	switch ev.Timer {
	case TimerRestart:
		// A firing that was under way when the timer was armed anew is early.
		if !m.Waiting || ev.At.Mono < m.Due {
			return
		}
		m.Waiting = false
		if m.Phase == PhaseFinishing {
			m.ask(a)
			return
		}
		m.start(p, ev.At, a)
	case TimerKill:
		if !m.Stopped || m.PID == 0 {
			return
		}
		m.kill(TimerKill, &m.KillDue, ev.At, a)
	case TimerFinish:
		if m.Script == ScriptFinish && m.PID != 0 && p.FinishFor > 0 {
			m.kill(TimerFinish, &m.LimitDue, ev.At, a)
		}
	case TimerDrain:
		if m.Draining {
			m.shutdown(p, ev.At, a)
		}
	case TimerReady:
		// A firing that was under way when the timer was armed anew is early.
		if m.Phase == PhaseUp && m.Script == ScriptRun && p.ReadyFor > 0 && ev.At.Mono >= max(m.Started+p.ReadyFor, m.LimitDue) &&
			m.Mood != MoodReloading && !m.Renew && !m.Exiting {
			m.Renew = true
			m.stop(p, ev.At, a)
			a.add(Action{Kind: Announce})
		}
	case TimerControl:
		// The owner reads the control FIFO after every event.
	case TimerBounce:
		m.bounce(p, ev.At, a)
	case TimerWatchdog:
		// A firing that was under way when the timer was armed anew is early.
		if m.Watched && ev.At.Mono >= m.LimitDue {
			m.abort(p, ev.At, a)
		}
	}
}

// kill repeats itself: a process in an uninterruptible sleep may outlive one.
func (m *Machine) kill(t Timer, due *time.Duration, at Instant, a *Actions) {
	a.add(Action{Kind: Signal, Signal: syscall.SIGKILL, PID: m.PID})
	a.add(Action{Kind: Signal, Signal: syscall.SIGCONT, PID: m.PID})
	*due = at.Mono + killAgain
	a.add(Action{Kind: Arm, Timer: t, After: killAgain})
}

// ready is once in a life, and after a reload; it may come when the process has been told to stop.
func (m *Machine) ready(p *Policy, ev *Event, a *Actions) {
	if !m.alive() || m.Script != ScriptRun || m.Ready != 0 || ev.Life != 0 && ev.Life != m.Life {
		return
	}
	if m.Phase == PhaseUp {
		m.Phase = PhaseReady
	}
	m.Ready, m.ReadySince, m.Mood = max(ev.At.Mono, 1), ev.At.Wall, MoodNone
	if p.ReadyFor > 0 {
		a.add(Action{Kind: Disarm, Timer: TimerReady})
	}
	a.add(Action{Kind: Announce})
	a.add(Action{Kind: Emit, Byte: byte(ChangeReady)})
}

// holdOrRelease lets a held service start, or holds one that waits to.
func (m *Machine) holdOrRelease(p *Policy, at Instant, a *Actions) {
	switch {
	case m.Phase == PhaseHeld && !m.blocked():
		m.Phase = PhaseDown
		m.start(p, at, a)
	case m.Phase == PhaseDown && m.Waiting && m.blocked():
		m.start(p, at, a) // which finds that it must not
	}
}

// load suspends what runs above its load limit, and holds what does not.
func (m *Machine) load(p *Policy, ev *Event, a *Actions) {
	if m.Loaded == ev.Flag {
		return
	}
	m.Loaded = ev.Flag
	if m.alive() && m.Phase != PhaseStopping && !m.Paused {
		sig := syscall.SIGCONT
		if ev.Flag {
			sig = syscall.SIGSTOP
		}
		a.add(Action{Kind: Signal, Signal: sig, PID: m.PID})
	}
	m.holdOrRelease(p, ev.At, a)
}

func (m *Machine) facts(p *Policy, ev *Event, a *Actions) {
	lacked := m.Facts.Lacking
	switch changed := m.know(&ev.Facts); {
	case changed:
		m.renew(p, ev.At, a)
	case m.Facts.Lacking && !lacked:
		m.replace(p, ev.At, a)
	}
	m.holdOrRelease(p, ev.At, a)
	m.timeBounce(p, ev.At, a)
	// A script that could not be executed, and changed, is worth another try at
	// once. Nothing ran, so starts keep their distance.
	if ev.Flag && m.Unfit && m.Phase == PhaseDown && (m.Waiting || m.finishedOnce()) {
		m.start(p, ev.At, a)
	}
}

// exit is the wish to leave once nothing runs; with stop, what runs is stopped.
func (m *Machine) exit(p *Policy, stop bool, at Instant, a *Actions) {
	m.Exiting = true
	if stop {
		m.Want = status.WantDown
		if m.alive() {
			m.stop(p, at, a)
		}
	}
	a.add(Action{Kind: Announce})
	if !m.vacant() || m.Unsettled {
		return
	}
	if stop && p.StartStopScripts && !m.RanStop {
		m.endWait(a)
		m.Phase = PhaseDown
		m.windUp(p, at, a)
		return
	}
	m.gone(a)
}

func (m *Machine) shutdown(p *Policy, at Instant, a *Actions) {
	m.Shutdown, m.Draining = true, false
	switch {
	case m.PID != 0 && !m.alive():
		m.armKill(p, at, a)
	case m.Phase == PhaseFinishing && m.Waiting: // finish could not be forked
		m.Exiting, m.Want = true, status.WantDown
		m.rest(p, at, a)
		return
	}
	m.exit(p, true, at, a)
}

// leave has the service stay down and leave, as after a shutdown that it did not
// have to be told of.
func (m *Machine) leave() {
	m.Shutdown, m.Exiting, m.Draining, m.Want = true, true, false, status.WantDown
}

// deadline ends a shutdown by force. Who waits for a control script goes on waiting:
// its process is not ours to kill.
func (m *Machine) deadline(p *Policy, at Instant, a *Actions) {
	if m.Hurried {
		return
	}
	m.Hurried = true
	m.leave()
	switch {
	case m.PID != 0:
		if m.alive() {
			m.Phase = PhaseStopping
		}
		m.armKill(p, at, a)
	case m.Phase == PhaseFinishing && m.Waiting:
		m.rest(p, at, a)
		return
	case m.vacant() && !m.Unsettled:
		m.gone(a)
		return
	}
	a.add(Action{Kind: Announce})
}

// drain lets a log service read its input to the end. One that is about to be
// started is started once more: there may be lines in the pipe.
func (m *Machine) drain(p *Policy, at Instant, a *Actions) {
	if m.Shutdown || m.Draining {
		return
	}
	m.Exiting = true
	if m.vacant() && !m.Waiting && !m.Unsettled {
		m.gone(a)
		return
	}
	m.Draining = true
	if p.ExitIsDown {
		a.add(Action{Kind: Announce})
	}
	if m.alive() {
		m.armDrain(p, at, a)
	}
}

func (m *Machine) armDrain(p *Policy, at Instant, a *Actions) {
	if p.DrainFor <= 0 {
		return
	}
	m.DrainDue = at.Mono + p.DrainFor
	a.add(Action{Kind: Arm, Timer: TimerDrain, After: p.DrainFor})
}
