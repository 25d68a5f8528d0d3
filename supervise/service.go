package supervise

import (
	"sync"
	"syscall"
	"time"

	"upkeep/supervise/status"
)

// Port is a service's way to the outside. None of its methods may block; what
// comes of Spawn and Consult is posted back as an event.
type Port interface {
	// Now is the time of both clocks.
	Now() Instant
	// ReadControl reads one byte of the control FIFO; ok is false when there is
	// none.
	ReadControl() (b byte, ok bool)
	// Spawn starts a script; last is how run ended, which finish is told.
	Spawn(s Script, last WaitStatus)
	Signal(pid int32, sig syscall.Signal, group bool)
	Arm(t Timer, after time.Duration)
	Disarm(t Timer)
	// Announce publishes the record; exiting says that the wish is to leave.
	Announce(r status.Record, exiting bool)
	Emit(c Change)
	Consult(letter byte)
	MarkDown(on bool)
	// Closed is the last call: the service is over.
	Closed()
	// Panicked reports a panic in the service's code, after which it goes on
	// with the state it had before the event.
	Panicked(reason any)
}

// Service is a machine, its mailbox, and the goroutine that owns both. Everybody
// else only posts, and never waits for it.
type Service struct {
	port   Port
	policy *Policy

	mu      sync.Mutex
	box     []Event
	control bool // the control FIFO has something
	awake   bool
	wake    chan struct{}

	// The goroutine's own.
	machine Machine
	unread  bool // control bytes wait in the FIFO
}

// Init sets the service up before Run. The policy is shared and not written to.
func (s *Service) Init(port Port, policy *Policy) {
	s.port, s.policy = port, policy
	s.wake = make(chan struct{}, 1)
}

// Post appends an event to the mailbox. It never blocks.
func (s *Service) Post(ev Event) {
	s.mu.Lock()
	s.box = append(s.box, ev)
	s.rouse()
}

// PostControl says that the control FIFO has something to read.
func (s *Service) PostControl() {
	s.mu.Lock()
	s.control = true
	s.rouse()
}

// rouse wakes the goroutine and releases the lock.
func (s *Service) rouse() {
	wake := !s.awake
	s.awake = true
	s.mu.Unlock()
	if wake {
		select {
		case s.wake <- struct{}{}:
		default: // awake by its own doing, with a token left over
		}
	}
}

// next takes the oldest event. With none left, more is false and the goroutine
// counts as asleep.
func (s *Service) next(ev *Event) (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.control {
		s.control, s.unread = false, true
	}
	if len(s.box) == 0 {
		if cap(s.box) > 8 {
			s.box = nil
		}
		s.awake = false
		return false
	}
	*ev = s.box[0]
	s.box = s.box[:copy(s.box, s.box[1:])]
	return true
}

// Run is the service's goroutine. It ends when the machine is gone.
func (s *Service) Run() {
	for s.machine.Phase != PhaseGone {
		<-s.wake
		for s.turn() {
		}
	}
	s.port.Closed()
}

// turn handles one event, or what waits in the control FIFO. It is false when
// there is nothing left to do.
func (s *Service) turn() (more bool) {
	defer func() {
		if r := recover(); r != nil {
			s.port.Panicked(r)
			more = true
		}
	}()
	x := scratches.Get().(*scratch)
	more = s.next(&x.event)
	if !more {
		scratches.Put(x)
	} else {
		if x.event.Kind == EvDied {
			// What was written before a death counts before it: a run script
			// that does "svc -d ." and exits must not be started again.
			s.readControl(true)
		}
		s.take(x)
	}
	if s.unread {
		more = s.readControl(false) || more
	}
	return more && s.machine.Phase != PhaseGone
}

// readControl obeys the bytes of the control FIFO one by one until there are no
// more, or those that follow have to wait. It is true when the mailbox should be
// looked at in between.
func (s *Service) readControl(dying bool) (again bool) {
	group := false
	for n := 0; ; n++ {
		if s.machine.Phase == PhaseGone {
			return false
		}
		now := s.port.Now()
		wait, forever := s.machine.HoldsControl(s.policy, now.Mono)
		if forever {
			return false
		}
		if wait > 0 && !dying {
			s.port.Arm(TimerControl, wait)
			return false
		}
		if n == 256 {
			return true
		}
		b, ok := s.port.ReadControl()
		if !ok {
			s.unread = false
			return false
		}
		if s.policy.Letters&LettersEncore != 0 && (b == '+' || b == '=') {
			group = b == '+'
			continue
		}
		x := scratches.Get().(*scratch)
		x.event = Event{Kind: EvControl, Byte: b, Group: group, At: now}
		s.take(x)
	}
}

// scratch is what a step works on. It is shared by all services in turn, so that
// the stack of none of them has to hold it: at 2 KiB a stack, that is half the
// memory of a service.
type scratch struct {
	machine Machine
	event   Event
	actions Actions
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// take runs one event through the machine and carries out what follows.
func (s *Service) take(x *scratch) {
	x.machine, x.actions.n = s.machine, 0
	x.machine.step(s.policy, &x.event, &x.actions)
	s.machine = x.machine
	for i := range x.actions.All() {
		s.do(&x.actions.list[i])
	}
	scratches.Put(x)
}

func (s *Service) do(x *Action) {
	switch x.Kind {
	case Spawn:
		s.port.Spawn(x.Script, s.machine.Last)
	case Signal:
		s.port.Signal(x.PID, x.Signal, x.Group)
	case Arm:
		s.port.Arm(x.Timer, x.After)
	case Disarm:
		s.port.Disarm(x.Timer)
	case Announce:
		s.port.Announce(s.machine.Record(s.policy), s.machine.Exiting)
	case Emit:
		s.port.Emit(Change(x.Byte))
	case Consult:
		s.port.Consult(x.Byte)
	case MarkDown, UnmarkDown:
		s.port.MarkDown(x.Kind == MarkDown)
	}
}
