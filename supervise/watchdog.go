package supervise

import (
	"syscall"
	"time"
)

// What a service that speaks to its supervisor (sd_notify(3)) says beside that it is ready:
// signs of life, that something takes longer, and what it is at.

// Mood is what a service says of itself.
type Mood uint8

// The moods.
const (
	MoodNone      Mood = iota
	MoodReloading      // and not ready until it says so again
	MoodLeaving        // it ends without having been told to
	Moods
)

// mostExtension is as much as a service can get at a time.
const mostExtension = 24 * time.Hour

// begin is that of a life: nothing was said yet.
func (m *Machine) begin(p *Policy) {
	m.Mood, m.Missed, m.Watchdog, m.LimitDue = MoodNone, false, 0, 0
	if m.Script == ScriptRun {
		m.Watchdog = milliseconds(p.WatchdogFor)
	}
}

func milliseconds(d time.Duration) uint32 {
	return uint32(min((max(d, 0)+time.Millisecond-1)/time.Millisecond, 1<<32-1))
}

// notified is anything that a service says but that it is ready.
func (m *Machine) notified(p *Policy, ev *Event, a *Actions) {
	if !m.alive() || m.Script != ScriptRun || ev.Life != 0 && ev.Life != m.Life {
		return
	}
	switch ev.Kind {
	case EvBeat:
		switch {
		case ev.Flag:
			if m.Phase != PhaseStopping {
				m.abort(p, ev.At, a)
			}
		case m.guarded() && (p.ReadyFor == 0 || m.Ready != 0 || m.Mood == MoodReloading):
			if !m.Watched { // which is worth knowing after a crash
				a.add(Action{Kind: Announce})
			}
			m.beat(ev.At, a)
		}
	case EvPeriod:
		m.Watchdog = milliseconds(ev.After)
		if m.Watched && m.Watchdog > 0 {
			m.beat(ev.At, a)
		}
		a.add(Action{Kind: Announce})
	case EvExtend:
		m.extend(p, ev, a)
	case EvMood:
		mood := Mood(ev.Byte)
		if mood == m.Mood || mood == MoodReloading && m.Ready == 0 {
			return
		}
		m.Mood, m.Ready = mood, 0
		if m.Phase == PhaseReady {
			m.Phase = PhaseUp
		}
		a.add(Action{Kind: Announce})
	}
}

// guarded tells whether signs of life are due, once there was a first one.
func (m *Machine) guarded() bool {
	return m.Watchdog > 0 && m.alive() && m.Script == ScriptRun && m.Phase != PhaseStopping &&
		!m.Paused && !m.Loaded && m.Mood != MoodLeaving
}

// guard arms the watchdog when a service is ready, or goes on, and disarms it when nobody
// can expect anything.
func (m *Machine) guard(at Instant, a *Actions) {
	switch on := m.guarded(); {
	case on && !m.Watched && (m.Ready != 0 || m.Mood == MoodReloading):
		m.beat(at, a)
	case !on && m.Watched:
		m.Watched = false
		a.add(Action{Kind: Disarm, Timer: TimerWatchdog})
	}
}

// beat is a sign of life: the next one is due a period later.
func (m *Machine) beat(at Instant, a *Actions) {
	period := time.Duration(m.Watchdog) * time.Millisecond
	m.Watched, m.LimitDue = true, at.Mono+period
	a.add(Action{Kind: Arm, Timer: TimerWatchdog, After: period})
}

// abort ends what gives no sign of life: it may dump its core, and is not waited for
// without end.
func (m *Machine) abort(p *Policy, at Instant, a *Actions) {
	m.Missed = true
	m.Phase, m.Paused = PhaseStopping, false
	if m.armKill(p, at, a); !m.Stopped {
		after := p.ShutdownAfter
		if after == 0 {
			after = shutdownAfter
		}
		m.Stopped, m.KillDue = true, at.Mono+after
		a.add(Action{Kind: Arm, Timer: TimerKill, After: after})
	}
	a.add(Action{Kind: Signal, Signal: syscall.SIGABRT, PID: m.PID})
	a.add(Action{Kind: Signal, Signal: syscall.SIGCONT, PID: m.PID})
	a.add(Action{Kind: Announce})
}

// extend prolongs the limit that runs now, if it would end before.
func (m *Machine) extend(p *Policy, ev *Event, a *Actions) {
	due, timer := &m.LimitDue, TimerReady
	switch {
	case m.Stopped:
		due, timer = &m.KillDue, TimerKill
	case m.Watched:
		timer = TimerWatchdog
	case p.ReadyFor == 0 || m.Phase != PhaseUp || m.Mood != MoodNone:
		return
	}
	after := min(ev.After, mostExtension)
	if m.Hurried || ev.At.Mono+after <= *due {
		return
	}
	*due = ev.At.Mono + after
	a.add(Action{Kind: Arm, Timer: timer, After: after})
	a.add(Action{Kind: Announce})
}
