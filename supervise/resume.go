package supervise

import (
	"syscall"
	"time"

	"upkeep/supervise/status"
)

// resumed takes up where a former supervisor was cut off. The machine is as it
// was last saved, which may be a few steps ago: a process that was started since
// then has a higher Life. What the saved state asked for and did not get is asked
// for again, and timers run on for what is left of their time. Control scripts
// leave no trace; one that was under way is run again.
func (m *Machine) resumed(p *Policy, ev *Event, a *Actions) {
	m.Restored = false
	changed := m.know(&ev.Facts)
	m.Needy, m.Removed = ev.Veto, false
	if m.Shutdown && !ev.Exec {
		// Whoever starts a supervisor again wants its services.
		m.Shutdown, m.Exiting, m.Draining, m.Failed, m.Want = false, false, false, false, m.Facts.wish()
		m.Again = m.Want == status.WantOnce
		if m.Facts.Down {
			m.Want = status.WantDown
		}
	}
	m.goOn(p, ev, a)
	switch {
	case changed:
		m.renew(p, ev.At, a)
	case m.Facts.Lacking:
		m.replace(p, ev.At, a)
	}
}

// goOn is the part of resumed that is about the process.
func (m *Machine) goOn(p *Policy, ev *Event, a *Actions) {
	was := *m
	m.Asked, m.Slow, m.Waiting, m.Stopped, m.Loaded, m.Watched = false, false, false, false, false, false
	m.Consulting, m.PID = 0, 0

	age := int32(ev.Life - was.Life) // it wraps around
	switch {
	case ev.PID == 0 || !was.Awaits(ev.Life):
		m.resumeVacant(p, &was, ev.At, a)
		return
	case age > 0 || was.Asked:
		m.overtaken(&was, age > 0, ev)
		m.begin(p)
		was.Consulting, was.Stopped, was.Watched = 0, false, false
	}
	m.PID = ev.PID
	if !ev.Flag {
		dead := Event{Kind: EvDied, PID: ev.PID, Status: ev.Status, Final: ev.Final, At: ev.At}
		m.died(p, &dead, a)
		return
	}
	m.resumeAlive(p, &was, ev.At, a)
}

// Awaits tells whether a restored machine has not heard yet of the end of the process
// that is start life.
func (m *Machine) Awaits(life uint32) bool {
	age := int32(life - m.Life)
	return age > 0 || age == 0 && (m.Asked || m.PID != 0)
}

// overtaken brings a state that was saved before a process was started up to date.
// missed tells that it does not even know that it was asked for.
func (m *Machine) overtaken(was *Machine, missed bool, ev *Event) {
	m.Life, m.Script, m.Unsettled = ev.Life, ev.Script, false
	m.Renew, m.Prompt, m.Again = false, false, false
	if ev.Script == ScriptFinish || ev.Script == ScriptStop {
		if missed && was.alive() {
			m.Deaths++
			m.Last = UnknownEnd
		}
		m.Phase, m.GotTerm, m.LimitDue = PhaseFinishing, false, 0
		m.RanStop = m.RanStop || ev.Script == ScriptStop
		return
	}
	m.Phase = PhaseUp
	m.Paused, m.GotTerm, m.Failed, m.Unfit, m.Idle = false, false, false, false, false
	m.First = m.First && ev.Script == ScriptStart
	m.RanStop = m.RanStop && ev.Script != ScriptRun
	m.Since, m.Started, m.Ready, m.DrainDue = ev.Since.Wall, ev.Since.Mono, 0, 0
}

// resumeAlive goes on with a process that still runs.
func (m *Machine) resumeAlive(p *Policy, was *Machine, at Instant, a *Actions) {
	again := func(t Timer, due *time.Duration, whole time.Duration) {
		left := whole
		if *due != 0 {
			left = min(max(*due-at.Mono, 0), max(whole, mostExtension))
		}
		*due = at.Mono + left
		a.add(Action{Kind: Arm, Timer: t, After: left})
	}
	if was.Stopped {
		m.Stopped = true
		again(TimerKill, &m.KillDue, max(p.KillAfter, p.ShutdownAfter, killAgain))
	}
	if p.FinishFor > 0 && m.Script == ScriptFinish {
		again(TimerFinish, &m.LimitDue, p.FinishFor)
	}
	a.add(Action{Kind: Announce})
	if !m.alive() {
		if m.Shutdown {
			m.armKill(p, at, a)
		}
		return
	}
	if m.Draining {
		again(TimerDrain, &m.DrainDue, p.DrainFor)
	}
	switch {
	case was.Watched: // for a whole period
		m.beat(at, a)
	case p.ReadyFor > 0 && m.Phase == PhaseUp && m.Mood == MoodNone:
		m.LimitDue = max(m.LimitDue, m.Started+p.ReadyFor)
		again(TimerReady, &m.LimitDue, p.ReadyFor)
	}
	if was.Loaded && !m.Paused {
		a.add(Action{Kind: Signal, Signal: syscall.SIGCONT, PID: m.PID})
	}
	m.timeBounce(p, at, a)
	switch letter := was.Consulting; {
	case m.unwanted(p) && (m.Phase != PhaseStopping || letter == 't'):
		m.stop(p, at, a)
	case letter != 0 && letter != 'u' && !m.consult(p, letter, a):
		if sig := signalOf(p, letter); sig != 0 {
			a.add(Action{Kind: Signal, Signal: sig, PID: m.PID})
		}
	}
}

// resumeVacant goes on where no process is left over.
func (m *Machine) resumeVacant(p *Policy, was *Machine, at Instant, a *Actions) {
	switch {
	case m.Unsettled:
		m.settle(p, at, a)
	case was.PID != 0 && was.alive():
		// There is a pid, but nothing that would prove whose it is.
		m.ended(p, UnknownEnd, at, a)
	case m.Phase == PhaseFinishing && (was.Asked || was.Waiting):
		m.ask(a)
	case m.Phase == PhaseFinishing, m.Phase == PhaseStarting && (m.Exiting && !m.Draining || !m.wanted()):
		m.rest(p, at, a)
	case m.Phase == PhaseStarting, m.Phase == PhaseHeld:
		m.Phase = PhaseDown
		m.start(p, at, a)
	case was.Waiting:
		a.add(Action{Kind: Announce})
		m.wait(min(max(was.Due-at.Mono, 0), max(p.Pause, p.RestartDelay, forkRetryMax)), at, a)
	case m.Phase == PhaseDown && (m.Want == status.WantUp || m.onceMore()) && !m.Failed && !m.Exiting:
		m.again(p, at, a)
	default:
		a.add(Action{Kind: Announce})
	}
}
