package supervise

import (
	"time"

	"upkeep/supervise/status"
)

// What ends a process so that another one is started, and how often and how soon one is:
// the files once, bounce, depends, min-uptime and restart-delay of a service directory.

// wish is what a service begins with that is not down.
func (f *Facts) wish() status.Want {
	if f.Once {
		return status.WantOnce
	}
	return status.WantUp
}

// know takes facts in, and tells whether what the service depends on has another
// content than it had.
func (m *Machine) know(f *Facts) (changed bool) {
	old := m.Facts.Content
	m.Facts = *f
	if f.Lacking {
		m.Facts.Content = old
	}
	return old != 0 && m.Facts.Content != 0 && m.Facts.Content != old
}

// blocked tells that nothing may be started now.
func (m *Machine) blocked() bool { return m.Needy || m.Loaded || m.Facts.Lacking }

// unwanted tells that the process has to end.
func (m *Machine) unwanted(p *Policy) bool {
	return m.Want == status.WantDown || m.Shutdown || m.Exiting && p.ExitStops ||
		m.Script == ScriptRun && (m.Renew || m.Facts.Lacking)
}

// onceMore tells that another run is due although one was wished for.
func (m *Machine) onceMore() bool { return m.Again && m.Want == status.WantOnce }

// finishedOnce tells that the one run was, and what it came to is over.
func (m *Machine) finishedOnce() bool {
	return m.Facts.Once && m.Want == status.WantOnce && m.Phase == PhaseDown && m.vacant() &&
		!m.Waiting && !m.Unsettled && !m.Failed && !m.Exiting
}

// replace ends run, or has it end as soon as it has been started. Encore's start script
// is left alone: run is still to come.
func (m *Machine) replace(p *Policy, at Instant, a *Actions) (replaced bool) {
	if m.Script != ScriptRun || !m.Asked && !m.alive() {
		return false
	}
	if m.Exiting {
		return true // there will be no other
	}
	m.Again = m.Facts.Once && m.Want == status.WantOnce
	if m.Phase == PhaseStopping {
		return true
	}
	m.Renew = true
	if m.alive() {
		m.stop(p, at, a)
		a.add(Action{Kind: Announce})
	}
	return true
}

// renew is that what the service depends on has changed. One that waits out the delay
// after a short life does not have to any more, and what runs once runs again.
func (m *Machine) renew(p *Policy, at Instant, a *Actions) {
	if m.replace(p, at, a) || !m.wanted() || m.Exiting {
		return
	}
	if m.finishFirst() || m.Phase != PhaseDown || !m.Waiting && !m.finishedOnce() {
		return
	}
	m.startAfresh(p, at, a)
}

// finishFirst notes what is to follow once that is over which comes after run.
func (m *Machine) finishFirst() bool {
	if m.Phase != PhaseFinishing && !m.Unsettled {
		return false
	}
	m.Again = m.Facts.Once && m.Want == status.WantOnce
	if !m.Waiting {
		m.Due = 0
	}
	return true
}

// startAfresh starts what is down, which a short life does not delay.
func (m *Machine) startAfresh(p *Policy, at Instant, a *Actions) {
	m.endWait(a)
	m.Due = 0
	if d := m.Started + p.Pause - at.Mono; d > 0 {
		m.wait(d, at, a)
		return
	}
	m.start(p, at, a)
}

// redefine begins anew as another definition has it.
func (m *Machine) redefine(p *Policy, ev *Event, a *Actions) {
	m.Facts = ev.Facts
	if m.Exiting {
		return
	}
	m.Failed = false
	if m.Facts.Down {
		m.down(p, ev, a)
		m.timeBounce(p, ev.At, a)
		return
	}
	m.First = m.First || !m.wanted()
	m.Want, m.Again = m.Facts.wish(), false
	switch {
	case m.replace(p, ev.At, a), m.finishFirst():
	case m.Phase == PhaseHeld:
		m.holdOrRelease(p, ev.At, a)
	case m.Phase == PhaseDown:
		m.startAfresh(p, ev.At, a)
	}
	m.timeBounce(p, ev.At, a)
}

// timeBounce arms the timer for the age at which run is started anew.
func (m *Machine) timeBounce(p *Policy, at Instant, a *Actions) {
	switch {
	case p.Bounce > 0 && m.alive() && m.Script == ScriptRun && m.Phase != PhaseStopping && !m.Renew:
		m.Timed = true
		a.add(Action{Kind: Arm, Timer: TimerBounce, After: max(m.Started+p.Bounce-at.Mono, 0)})
	case m.Timed:
		m.Timed = false
		a.add(Action{Kind: Disarm, Timer: TimerBounce})
	}
}

func (m *Machine) bounce(p *Policy, at Instant, a *Actions) {
	// A firing that was under way when the timer was armed anew is early.
	if !m.Timed || at.Mono < m.Started+p.Bounce {
		return
	}
	m.Timed = false
	if p.Bounce > 0 && m.Phase != PhaseStopping && !m.Renew && !m.Exiting {
		m.Renew, m.Prompt = true, true
		m.stop(p, at, a)
		a.add(Action{Kind: Announce})
	}
}

// judge notes, at the end of run, how long a life too short delays the next one.
func (m *Machine) judge(p *Policy, at Instant) {
	if p.MinUptime <= 0 {
		return
	}
	m.Due = 0
	if m.Script == ScriptRun && !m.Prompt && at.Mono-m.Started < p.MinUptime {
		m.Due = at.Mono + p.RestartDelay
	}
}

// delay is what is left of that.
func (m *Machine) delay(p *Policy, now time.Duration) time.Duration {
	if p.MinUptime <= 0 {
		return 0
	}
	return m.Due - now
}

// strikeUnit is as exactly as the first end is remembered of those that count.
const strikeUnit = 100 * time.Millisecond

// struck counts an end of run against the limit, and tells whether it is one too many. What
// was ended only to be started anew does not count.
func (m *Machine) struck(p *Policy, at Instant) bool {
	if p.Strikes == 0 || m.Script != ScriptRun || m.Renew || m.Want != status.WantUp {
		return false
	}
	now := uint32(at.Mono / strikeUnit)
	if m.Strikes == 0 || p.StrikesIn > 0 && time.Duration(now-m.Struck)*strikeUnit > p.StrikesIn {
		m.Strikes, m.Struck = 0, now
	}
	if int(m.Strikes) >= p.Strikes {
		m.Strikes = 0 // it begins anew, if it does
		return true
	}
	m.Strikes++
	return false
}
