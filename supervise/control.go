package supervise

import (
	"syscall"

	"upkeep/supervise/status"
)

// knows tells whether a dialect obeys a letter at all.
func knows(p *Policy, letter byte) bool {
	switch letter {
	case 'x':
		return p.Letters&(LettersDaemontools|LettersNoExit) == LettersDaemontools
	case 'u', 'd', 'o', 'p', 'c', 'h', 'a', 'i', 't', 'k':
		return p.Letters&LettersDaemontools != 0
	case 'q', '1', '2':
		return p.Letters&LettersMore != 0
	case 'w':
		return p.Letters&LettersEncore != 0
	case 'r', 'b', 'y', 'D', 'U', 'O', 'Q', 'P', 'C', 'K':
		return p.Letters&LettersS6 != 0
	case 'l':
		return p.ReloadSignal != 0
	}
	return false
}

// signalOf is the signal a letter stands for, or 0.
func signalOf(p *Policy, letter byte) syscall.Signal {
	switch letter {
	case 'h':
		return syscall.SIGHUP
	case 'a':
		return syscall.SIGALRM
	case 'i':
		return syscall.SIGINT
	case 't':
		return syscall.SIGTERM
	case 'k', 'K':
		return syscall.SIGKILL
	case 'q':
		return syscall.SIGQUIT
	case '1':
		return syscall.SIGUSR1
	case '2':
		return syscall.SIGUSR2
	case 'w', 'y':
		return syscall.SIGWINCH
	case 'b':
		return syscall.SIGABRT
	case 'p', 'P':
		return syscall.SIGSTOP
	case 'c', 'C':
		return syscall.SIGCONT
	case 'r':
		return p.StopSignal
	case 'l':
		return p.ReloadSignal
	}
	return 0
}

// control obeys one byte of the control FIFO. HoldsControl keeps bytes away
// while a start or a control script is under way; one that comes all the same
// may still change the wish, but reaches no process.
func (m *Machine) control(p *Policy, ev *Event, a *Actions) {
	if !knows(p, ev.Byte) {
		return
	}
	if p.ExitYields && !m.Removed && !m.Shutdown && !m.Draining {
		switch ev.Byte {
		case 'u', 'd', 'o':
			m.Exiting = false
		}
	}
	switch ev.Byte {
	case 'u', 'U':
		if ev.Byte == 'U' {
			a.add(Action{Kind: UnmarkDown})
		}
		if m.Want != status.WantUp {
			m.First = true
		}
		m.wish(p, status.WantUp, true, ev, a)
	case 'o':
		m.wish(p, status.WantOnce, true, ev, a)
	case 'O':
		m.wish(p, status.WantOnce, false, ev, a)
	case 'Q':
		a.add(Action{Kind: MarkDown})
		m.wish(p, status.WantOnce, false, ev, a)
	case 'd', 'D':
		if ev.Byte == 'D' {
			a.add(Action{Kind: MarkDown})
		}
		m.down(p, ev, a)
	case 'x':
		m.exit(p, p.ExitStops, ev.At, a)
	case 'p', 'P', 'c', 'C':
		m.pauseOrContinue(p, ev, a)
	default:
		m.signal(p, ev, a)
	}
}

// wish sets the wish for a process and, if start, sees to it that there is one.
func (m *Machine) wish(p *Policy, w status.Want, start bool, ev *Event, a *Actions) {
	if w == status.WantUp {
		m.Failed = false
		if m.Want != w {
			m.Strikes = 0
		}
	}
	m.Want, m.Again = w, false
	if !start && m.Waiting && m.Phase == PhaseDown {
		m.endWait(a)
	}
	if !start || !m.vacant() || m.Unsettled || m.Phase == PhaseHeld || m.Exiting {
		a.add(Action{Kind: Announce})
		return
	}
	if m.Waiting {
		a.add(Action{Kind: Announce})
		if p.UpCuts {
			m.start(p, ev.At, a)
		}
		return
	}
	// Two starts keep their distance also when a d and a u lie between them.
	if d := max(m.Started+p.Pause-ev.At.Mono, m.delay(p, ev.At.Mono)); d > 0 && !p.UpCuts && m.Deaths > 0 {
		m.wait(d, ev.At, a)
		a.add(Action{Kind: Announce})
		return
	}
	a.add(Action{Kind: Announce})
	m.start(p, ev.At, a)
}

func (m *Machine) down(p *Policy, ev *Event, a *Actions) {
	m.Want, m.Again = status.WantDown, false
	switch {
	case m.alive() && ev.Group:
		m.Phase, m.Paused = PhaseStopping, false
		m.armKill(p, ev.At, a)
		m.terminate(p, true, a)
	case m.alive():
		m.stop(p, ev.At, a)
	case m.Phase == PhaseHeld, m.Phase == PhaseDown && (m.Waiting || m.Idle) && !m.Unsettled:
		m.endWait(a)
		m.Phase = PhaseDown
		m.windUp(p, ev.At, a)
		return
	}
	a.add(Action{Kind: Announce})
}

func (m *Machine) pauseOrContinue(p *Policy, ev *Event, a *Actions) {
	pause := ev.Byte == 'p' || ev.Byte == 'P'
	if !m.alive() {
		if p.PauseWhenDown {
			m.Paused = pause
		}
		a.add(Action{Kind: Announce})
		return
	}
	m.Paused = pause
	a.add(Action{Kind: Announce})
	m.signal(p, ev, a)
}

func (m *Machine) signal(p *Policy, ev *Event, a *Actions) {
	if !m.alive() {
		return
	}
	if m.consult(p, ev.Byte, a) || m.Consulting != 0 {
		return
	}
	group := ev.Group || ev.Byte == 'P' || ev.Byte == 'C' || ev.Byte == 'K'
	a.add(Action{Kind: Signal, Signal: signalOf(p, ev.Byte), PID: m.PID, Group: group})
	if ev.Byte == 't' {
		m.GotTerm = true
		a.add(Action{Kind: Announce})
	}
}
