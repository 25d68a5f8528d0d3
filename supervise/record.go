package supervise

import "upkeep/supervise/status"

// Record is what the status file says of the machine.
func (m *Machine) Record(p *Policy) status.Record {
	r := status.Record{
		Since:      status.StampOf(m.Since),
		ReadySince: status.StampOf(m.ReadySince),
		PID:        uint32(m.PID),
		Paused:     m.Paused,
		GotTerm:    m.GotTerm,
		Ready:      m.alive() && m.Ready != 0 || m.Phase == PhaseDown || m.Phase == PhaseHeld || m.Phase == PhaseGone,
		Want:       m.Want,
		Encore:     m.encore(),
		WaitStatus: uint16(m.Last),
	}
	switch {
	case m.Phase == PhaseFinishing:
		r.Process = status.ProcessFinish
	case m.PID != 0:
		r.Process = status.ProcessRun
	}
	if p.OnceIsDown && m.Want == status.WantOnce || p.ExitIsDown && m.Exiting {
		r.Want = status.WantDown
	}
	return r
}

// encore is daemontools-encore's byte 18. A stop script runs as "stopped", and
// between two runs the state stays "running" (daemontools.md, section 5.3).
func (m *Machine) encore() status.Encore {
	switch {
	case m.Failed:
		return status.EncoreFailed
	case m.Phase == PhaseStopping:
		return status.EncoreStopping
	case m.Script == ScriptStart:
		return status.EncoreStarting
	case m.Idle:
		return status.EncoreStarted
	case m.Script == ScriptRun, m.Waiting && m.Deaths > 0:
		return status.EncoreRunning
	}
	return status.EncoreStopped
}
