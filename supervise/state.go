package supervise

import (
	"encoding/binary"
	"errors"
	"time"

	"upkeep/supervise/status"
)

// StateSize is the length of a saved machine, in bytes.
const StateSize = 104

// stateVersion is raised when the meaning of a field changes. A reader knows all
// versions up to its own.
const stateVersion = 1

// ErrState is the error for bytes that are no saved machine, or one of a version
// to come.
var ErrState = errors.New("not a saved state")

// flags are the booleans that outlive a supervisor, in the order of their bits. Bits that
// a former program did not know are zero in what it saved.
func (m *Machine) flags() [22]*bool {
	return [...]*bool{
		&m.Booted, &m.Asked, &m.Waiting, &m.Stopped, &m.Unsettled, &m.Exiting, &m.Shutdown,
		&m.Draining, &m.Removed, &m.Paused, &m.GotTerm, &m.Failed, &m.Unfit, &m.Idle, &m.First,
		&m.RanStop, &m.Loaded, &m.Renew, &m.Prompt, &m.Again,
		&m.Watched, &m.Missed,
	}
}

// AppendState saves the machine: StateSize bytes in the byte order of this host,
// on which alone its pids and instants mean anything.
//
//	0 version, phase, script, want, consulting, failures, mood, strikes
//	8 flags, pid, last, deaths, life, watchdog (32 bits each)
//	32 since, ready since, started, ready, due, kill due, limit due, drain due,
//	   content (64 bits each)
func (m *Machine) AppendState(b []byte) []byte {
	o := binary.NativeEndian
	b = append(b, stateVersion, byte(m.Phase), byte(m.Script), byte(m.Want), m.Consulting, m.Failures, byte(m.Mood), m.Strikes)
	var bits uint32
	for i, f := range m.flags() {
		if *f {
			bits |= 1 << i
		}
	}
	for _, x := range [...]uint32{bits, uint32(m.PID), uint32(m.Last), m.Deaths, m.Life, m.Watchdog} {
		b = o.AppendUint32(b, x)
	}
	for _, x := range [...]int64{m.Since, m.ReadySince, int64(m.Started), int64(m.Ready), int64(m.Due),
		int64(m.KillDue), int64(m.LimitDue), int64(m.DrainDue), int64(m.Facts.Content)} {
		b = o.AppendUint64(b, uint64(x))
	}
	return b
}

// DecodeState restores a machine; it then waits for EvResumed. The error is
// ErrState.
func DecodeState(b []byte) (Machine, error) {
	var m Machine
	if len(b) < StateSize || b[0] != stateVersion {
		return m, ErrState
	}
	o := binary.NativeEndian
	m.Phase, m.Script, m.Consulting, m.Failures = Phase(b[1]), Script(b[2]), b[4], b[5]
	m.Want, m.Mood = status.Want(b[3]), Mood(b[6])
	bits := o.Uint32(b[8:])
	for i, f := range m.flags() {
		*f = bits>>i&1 != 0
	}
	m.PID, m.Last = int32(o.Uint32(b[12:])), WaitStatus(o.Uint32(b[16:]))
	m.Deaths, m.Life, m.Watchdog = o.Uint32(b[20:]), o.Uint32(b[24:]), o.Uint32(b[28:])
	at := func(i int) int64 { return int64(o.Uint64(b[32+8*i:])) }
	m.Since, m.ReadySince = at(0), at(1)
	m.Started, m.Ready, m.Due = time.Duration(at(2)), time.Duration(at(3)), time.Duration(at(4))
	m.KillDue, m.LimitDue, m.DrainDue = time.Duration(at(5)), time.Duration(at(6)), time.Duration(at(7))
	m.Facts.Content = uint64(at(8))
	m.Strikes, m.Struck = b[7], uint32(m.Started/strikeUnit) // as if the first of them had been then
	m.Restored = true
	if !m.consistent() {
		return Machine{}, ErrState
	}
	return m, nil
}

// Unsaved is the machine of a service whose process is known, but of which no state
// was saved: it was cut off during its first start.
func Unsaved(f Facts) Machine {
	return Machine{Booted: true, Restored: true, First: true, Want: f.wish()}
}

// consistent tells whether a machine is in a state that Step could have left.
func (m *Machine) consistent() bool {
	if !m.Booted || m.Phase >= PhaseGone || m.Script >= Scripts || m.Mood >= Moods || m.PID < 0 ||
		m.Want != status.WantUp && m.Want != status.WantDown && m.Want != status.WantOnce {
		return false
	}
	switch m.Phase {
	case PhaseDown, PhaseHeld:
		return m.PID == 0 && !m.Asked
	case PhaseStarting:
		return m.PID == 0 && (m.Asked || m.Consulting != 0)
	case PhaseFinishing:
		return m.Script == ScriptFinish || m.Script == ScriptStop
	}
	return m.PID != 0 && !m.Asked && (m.Script == ScriptRun || m.Script == ScriptStart)
}
