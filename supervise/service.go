package supervise

import (
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Port is a service's way to the outside. None of its methods may block; what
// comes of Spawn and Consult is posted back as an event.
type Port interface {
	// Now is the time of both clocks.
	Now() Instant
	// ReadControl reads one byte of the control FIFO; ok is false when there is
	// none.
	ReadControl() (b byte, ok bool)
	// LogControl is a control byte for the log service that has no control FIFO of its
	// own (encore's L).
	LogControl(ev Event)
	// Spawn starts a script as process life; last is how run ended, which finish
	// is told.
	Spawn(s Script, life uint32, last WaitStatus)
	Signal(pid int32, sig syscall.Signal, group bool)
	Arm(t Timer, after time.Duration)
	Disarm(t Timer)
	// Announce publishes what the machine says, and saves it. It is the service's
	// own and not to be kept.
	Announce(m *Machine)
	// Emit tells of a change, after which the machine is m.
	Emit(c Change, m *Machine)
	Consult(letter byte)
	MarkDown(on bool)
	// Closed is the last call: the service is over.
	Closed()
	// Panicked reports a panic in the service's code, after which only Closed
	// follows: what has become of the service has to be found out.
	Panicked(reason any)
}

// Service is a machine, its mailbox, and a goroutine. The machine belongs to who
// set awake, which is the goroutine unless others Proceed in its place. Everybody
// else only posts, and never waits.
type Service struct {
	port   Port
	policy atomic.Pointer[Policy]

	mu      sync.Mutex
	box     []Event
	control bool          // the control FIFO has something
	awake   bool          // the machine is in somebody's hands
	over    bool          // the goroutine has ended
	broken  bool          // the machine is not to be trusted
	awaits  bool          // the first event is not there yet
	lazy    bool          // there is a goroutine only while there is something to do
	wake    chan struct{} // hands it to the goroutine
	frozen  chan struct{} // closed when the machine stands still; nil if it need not

	machine Machine
	unread  bool // control bytes wait in the FIFO
}

// Init sets the service up before Run. The policy is shared and not written to.
func (s *Service) Init(port Port, policy *Policy) {
	s.port = port
	s.policy.Store(policy)
	s.wake = make(chan struct{}, 1)
}

// SetPolicy has the service follow another policy from the next event on, which should
// be an EvFacts.
func (s *Service) SetPolicy(p *Policy) { s.policy.Store(p) }

// Policy is what the service follows.
func (s *Service) Policy() *Policy { return s.policy.Load() }

// Restore sets a machine up that was saved, before Run. EvResumed has to be the
// first event.
func (s *Service) Restore(m Machine) { s.machine = m }

// Post appends an event to the mailbox and has it handled. It never blocks.
func (s *Service) Post(ev Event) {
	s.mu.Lock()
	s.box = append(s.box, ev)
	s.rouse()
}

// Await has the service do nothing before PostFirst, whatever is posted. It is to be
// called before Run and Post.
func (s *Service) Await() {
	s.mu.Lock()
	s.awaits = true
	s.mu.Unlock()
}

// PostFirst is the Post of the event that the machine begins with.
func (s *Service) PostFirst(ev Event) {
	s.mu.Lock()
	s.awaits = false
	s.box = append([]Event{ev}, s.box...)
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
	wake, lazy := !s.awake, s.lazy
	s.awake = true
	s.mu.Unlock()
	if wake {
		s.hand(lazy)
	}
}

// hand gives the machine to the goroutine.
func (s *Service) hand(lazy bool) {
	if lazy {
		go s.work() // ends when there is nothing to do
		return
	}
	s.wake <- struct{}{} // which has room: it takes one each time it is woken
}

// Append is a Post that nobody is told of until Proceed.
func (s *Service) Append(ev Event) {
	s.mu.Lock()
	s.box = append(s.box, ev)
	s.mu.Unlock()
}

// Proceed handles what was appended here and now, on the caller's goroutine, unless
// the service is at it already. To wake its goroutine would cost more than what is
// mostly to be done. The caller must hold no lock.
func (s *Service) Proceed() {
	s.mu.Lock()
	if s.awake || len(s.box) == 0 {
		s.mu.Unlock()
		return
	}
	s.awake = true
	lazy := s.lazy
	s.mu.Unlock()
	after := busy
	for n := 0; after == busy && n < turnsHere; n++ {
		after = s.turn()
	}
	if after != asleep {
		s.hand(lazy) // the rest, or the end, is for its goroutine
	}
}

// turnsHere is how long others work for a service that has more and more to do.
const turnsHere = 4

// next takes the oldest event.
func (s *Service) next(ev *Event) (ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.control {
		s.control, s.unread = false, true
	}
	if s.awaits {
		return false
	}
	if len(s.box) == 0 {
		s.box = nil // most services have nothing to do for days
		return false
	}
	*ev = s.box[0]
	s.box = s.box[:copy(s.box, s.box[1:])]
	return true
}

// Break ends the service, as after a panic in code of its own.
func (s *Service) Break() {
	s.mu.Lock()
	s.broken = true
	s.rouse()
}

// sleep gives the machine up: from then on it belongs to who comes next. It is
// false when there is something to do.
func (s *Service) sleep() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if (len(s.box) > 0 || s.control) && !s.awaits {
		return false
	}
	if s.frozen != nil {
		close(s.frozen) // and it stays awake, so that nobody takes it
		return true
	}
	s.awake = false
	return true
}

// Freeze has the service handle all that it was told and then do nothing until
// Thaw. It returns the machine as it is left.
func (s *Service) Freeze() Machine {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return s.machine
	}
	still := make(chan struct{})
	s.frozen = still
	s.rouse()
	<-still
	return s.machine
}

// Thaw ends a Freeze. What was posted meanwhile is handled now.
func (s *Service) Thaw() {
	s.mu.Lock()
	s.frozen = nil
	over, lazy := s.over, s.lazy
	s.mu.Unlock()
	if !over {
		s.hand(lazy)
	}
}

// Run is the service's goroutine. It ends when the machine is gone.
func (s *Service) Run() {
	for <-s.wake; s.turns() != over; {
		<-s.wake
	}
	s.end()
}

// RunLazily is Run for a service that is seldom heard of: it returns, and there is a
// goroutine whenever there is something to do.
func (s *Service) RunLazily() {
	s.mu.Lock()
	s.lazy = true
	awake := s.awake
	s.mu.Unlock()
	if awake { // whoever has woken it did not know
		go func() {
			<-s.wake
			s.work()
		}()
	}
}

func (s *Service) work() {
	if s.turns() == over {
		s.end()
	}
}

func (s *Service) turns() (after progress) {
	for after == busy {
		after = s.turn()
	}
	return after
}

func (s *Service) end() {
	s.mu.Lock()
	s.over = true
	if s.frozen != nil {
		close(s.frozen)
	}
	s.mu.Unlock()
	s.port.Closed()
}

// progress is how things stand after a turn.
type progress uint8

const (
	busy   progress = iota // there is more to do
	asleep                 // there is not, and the machine was given up
	over                   // it is gone
)

// turn handles one event, or what waits in the control FIFO.
func (s *Service) turn() (after progress) {
	defer func() {
		if r := recover(); r != nil {
			s.mu.Lock()
			s.broken = true
			s.mu.Unlock()
			s.port.Panicked(r)
			after = over
		}
	}()
	s.mu.Lock()
	broken := s.broken
	s.mu.Unlock()
	if broken {
		return over
	}
	x := scratches.Get().(*scratch)
	more := s.next(&x.event)
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
	switch {
	case s.machine.Phase == PhaseGone:
		return over
	case !more && s.sleep():
		return asleep
	}
	return busy
}

// readControl obeys the bytes of the control FIFO one by one until there are no
// more, or those that follow have to wait. It is true when the mailbox should be
// looked at in between.
func (s *Service) readControl(dying bool) (again bool) {
	group, log := false, false
	for n := 0; ; n++ {
		if s.machine.Phase == PhaseGone {
			return false
		}
		now := s.port.Now()
		wait, forever := s.machine.HoldsControl(s.Policy(), now.Mono)
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
		if s.Policy().Letters&LettersEncore != 0 && (b == '+' || b == '=') {
			group = b == '+'
			continue
		}
		if s.Policy().Letters&LettersLog != 0 && (b == 'L' || b == 'l') {
			log = b == 'L'
			continue
		}
		ev := Event{Kind: EvControl, Byte: b, Group: group, At: now}
		if log && b != 'x' {
			s.port.LogControl(ev)
			continue
		}
		x := scratches.Get().(*scratch)
		x.event = ev
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
	x.machine.step(s.Policy(), &x.event, &x.actions)
	s.machine = x.machine
	// Changes last: nobody hears of one before the state that goes with it can be published.
	emits := false
	for i := range x.actions.All() {
		emits = emits || x.actions.list[i].Kind == Emit
		s.do(&x.actions.list[i])
	}
	for i := 0; emits && i < x.actions.n; i++ {
		if e := &x.actions.list[i]; e.Kind == Emit {
			s.port.Emit(Change(e.Byte), &s.machine)
		}
	}
	scratches.Put(x)
}

func (s *Service) do(x *Action) {
	switch x.Kind {
	case Spawn:
		s.port.Spawn(x.Script, x.Life, s.machine.Last)
	case Signal:
		s.port.Signal(x.PID, x.Signal, x.Group)
	case Arm:
		s.port.Arm(x.Timer, x.After)
	case Disarm:
		s.port.Disarm(x.Timer)
	case Announce:
		s.port.Announce(&s.machine)
	case Consult:
		s.port.Consult(x.Byte)
	case MarkDown, UnmarkDown:
		s.port.MarkDown(x.Kind == MarkDown)
	}
}
