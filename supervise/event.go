package supervise

import "time"

// EventKind says what happened to a service.
type EventKind uint8

// The events of a Machine.
const (
	// EvBoot: the service directory is open and locked; Facts is filled in. Veto tells
	// that EvNeeds has to come before the first start.
	EvBoot EventKind = iota
	// EvControl: Byte was read from the control FIFO; Group asks for the
	// process group (encore's "+").
	EvControl
	// EvStarted: the script asked for last runs as PID.
	EvStarted
	// EvStartFailed: it could not be started. Exec tells that the fault is the
	// script's; otherwise the kernel refused a process. Final is as for EvDied.
	EvStartFailed
	// EvDied: the process PID ended with wait status Status. Final tells that its
	// end is the service's: it leaves once finish has run.
	EvDied
	// EvConsulted: the control script asked for with Consult is over; Veto says
	// that it wants the default action left out.
	EvConsulted
	// EvTimer: the timer Timer fired.
	EvTimer
	// EvReady: the service reported readiness; it is start Life, if that is not 0.
	EvReady
	// EvBeat: the service, start Life, gave a sign of life, or (Flag) wants to be taken for
	// one that does not.
	EvBeat
	// EvPeriod: from now on it does so at least every After; 0 is never.
	EvPeriod
	// EvExtend: what it is at takes longer, and After from now are granted.
	EvExtend
	// EvMood: it is as the Mood in Byte says.
	EvMood
	// EvResumed: the machine was restored from what a former supervisor left
	// behind. Facts are as they are now. The last process that was started is
	// Life, PID, running Script since Since; Flag tells that it still runs, else
	// Status is how it ended, and Final as for EvDied. All is zero if none was. Exec
	// tells that the supervisor only became another program, and did not end. Veto is as
	// for EvBoot.
	EvResumed
	// EvNeeds: what the service needs is up (Flag) or not.
	EvNeeds
	// EvLoad: the load is above the limit (Flag) or below it again.
	EvLoad
	// EvFacts: the service directory changed; Facts is filled in.
	EvFacts
	// EvRemoved: the service directory is no longer in the scan directory.
	EvRemoved
	// EvReturned: it is in the scan directory again.
	EvReturned
	// EvShutdown: stop the service, by force if need be, and leave.
	EvShutdown
	// EvDrain: leave when the process ends, which it does at the end of its
	// input: for log services whose writer is gone.
	EvDrain
	// EvSlow: the answer to the last Spawn is overdue.
	EvSlow
	// EvDeadline: there is no more time. What runs is killed, and nothing is
	// started any more.
	EvDeadline
	// EvRedefined: the service is another one now, of which Facts are filled in. What runs
	// is ended and takes its time; what does not run has no history.
	EvRedefined
)

// Timer names one of a service's timers. Each is armed at most once at a time.
type Timer uint8

// The timers of a service.
const (
	TimerRestart  Timer = iota // the pause before a start is over
	TimerKill                  // the process had its time to stop
	TimerFinish                // the finish script had its time
	TimerReady                 // readiness was due
	TimerDrain                 // a log service had its time to drain
	TimerControl               // the control FIFO may be read again
	TimerBounce                // run is old enough to be started anew
	TimerWatchdog              // a sign of life was due
	Timers
)

// Presence is what is known about an optional file of a service directory.
type Presence uint8

// Values of Presence. Unknown means that nobody watches the directory, so that
// it has to be looked at each time.
const (
	Absent Presence = iota
	Present
	Unknown
)

// Facts are the parts of a definition that steer the machine.
type Facts struct {
	Down     bool     // a file down: not to be started at boot
	Once     bool     // a file once: to be started at boot, and not again
	Lacking  bool     // a file that it depends on cannot be read; Content is the last one then
	NoRun    bool     // there is no run
	Finish   Presence // finish
	Start    Presence // encore's start
	Stop     Presence // encore's stop
	Controls Presence // runit's control/
	Content  uint64   // stands for the contents of the files that it depends on; 0: none
}

// Instant is a moment on both clocks: Mono, since an arbitrary start, for
// pauses; Wall, nanoseconds since the epoch, for status files.
type Instant struct {
	Mono time.Duration
	Wall int64
}

// Event is one thing that happened. Which fields count depends on Kind.
type Event struct {
	Kind   EventKind
	Byte   byte
	Timer  Timer
	Flag   bool
	Exec   bool
	Veto   bool
	Group  bool
	Final  bool
	Script Script
	Facts  Facts
	PID    int32
	Life   uint32
	Status WaitStatus
	After  time.Duration
	At     Instant
	Since  Instant
}

// WaitStatus is a raw wait status of the kernel.
type WaitStatus uint32

// UnknownEnd is the status of a process whose end nobody saw. It is no success:
// what depends on the exit code goes on as after a crash.
const UnknownEnd WaitStatus = 1<<32 - 1

// Exited makes the wait status of an exit with that code.
func Exited(code int) WaitStatus { return WaitStatus(code&255) << 8 }

// Code is the exit code, or -1 after a signal or an unknown end.
func (w WaitStatus) Code() int {
	if w.Signalled() || w == UnknownEnd {
		return -1
	}
	return int(w >> 8 & 255)
}

// Signalled tells whether a signal ended the process.
func (w WaitStatus) Signalled() bool { return w&127 != 0 && w != UnknownEnd }

// Signal is the number of the signal that ended the process, or 0.
func (w WaitStatus) Signal() int {
	if w == UnknownEnd {
		return 0
	}
	return int(w & 127)
}
