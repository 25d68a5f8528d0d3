package supervise

import (
	"syscall"
	"time"
)

// Script is an executable of a service directory.
type Script uint8

// The scripts whose process a service can have. ScriptNone is no process.
const (
	ScriptNone Script = iota
	ScriptRun
	ScriptFinish
	ScriptStart // encore
	ScriptStop  // encore
	// Scripts is how many there are.
	Scripts
)

// Name is the file's name.
func (s Script) Name() string {
	switch s {
	case ScriptRun:
		return "run"
	case ScriptFinish:
		return "finish"
	case ScriptStart:
		return "start"
	case ScriptStop:
		return "stop"
	}
	return ""
}

// ActionKind says what is to be done for a service.
type ActionKind uint8

// The actions a Machine asks for. Results come back as events.
const (
	// Spawn starts Script as process Life; EvStarted or EvStartFailed answers.
	Spawn ActionKind = iota
	// Signal sends Signal to PID, or to its process group.
	Signal
	// Arm sets Timer to fire After from now, instead of when it would have.
	Arm
	// Disarm stops Timer. A firing already under way may still arrive.
	Disarm
	// Announce publishes the state: the status file.
	Announce
	// Emit reports Change to listeners; never before the Announce that goes
	// with it.
	Emit
	// Consult runs the control script for letter Byte; EvConsulted answers.
	Consult
	// MarkDown and UnmarkDown make and remove the file down (s6's D and U).
	MarkDown
	UnmarkDown
	// Close ends the service: nothing lives, nothing is pending.
	Close
)

// Change is a change of state that listeners may wait for. The letters are
// s6's fifodir events (s6.md, section 7).
type Change byte

// The changes.
const (
	ChangeUp        Change = 'u'
	ChangeReady     Change = 'U'
	ChangeDown      Change = 'd'
	ChangeDownReady Change = 'D'
	ChangeFailed    Change = 'O'
	ChangeGone      Change = 'x'
	ChangeBegun     Change = 's' // it is supervised; not the machine's
)

// Action is one thing to do. Which fields count depends on Kind.
type Action struct {
	Kind   ActionKind
	Script Script
	Timer  Timer
	Byte   byte
	Group  bool
	Signal syscall.Signal
	PID    int32
	Life   uint32
	After  time.Duration
}

// Actions is the list a step returns, in the order in which they are to be
// carried out. It has room for the longest any step makes, so that a step
// allocates nothing.
type Actions struct {
	n    int
	list [maxActions]Action
}

const maxActions = 10

// All returns the actions.
func (a *Actions) All() []Action { return a.list[:a.n] }

func (a *Actions) add(x Action) {
	a.list[a.n] = x
	a.n++
}
