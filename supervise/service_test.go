package supervise

import (
	"sync"
	"syscall"
	"testing"
	"time"
)

// fakePort is an outside in which nothing happens by itself.
type fakePort struct {
	mu      sync.Mutex
	control []byte
	spawns  chan Script
	forLog  chan Event
	closed  chan struct{}
}

func newFakePort() *fakePort {
	return &fakePort{spawns: make(chan Script, 9), forLog: make(chan Event, 9), closed: make(chan struct{})}
}

func (f *fakePort) Now() Instant { return Instant{walkNow, 1} }
func (f *fakePort) ReadControl() (byte, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.control) == 0 {
		return 0, false
	}
	b := f.control[0]
	f.control = f.control[1:]
	return b, true
}
func (f *fakePort) LogControl(ev Event)                    { f.forLog <- ev }
func (f *fakePort) Spawn(s Script, _ uint32, _ WaitStatus) { f.spawns <- s }
func (f *fakePort) Signal(int32, syscall.Signal, bool)     {}
func (f *fakePort) Arm(Timer, time.Duration)               {}
func (f *fakePort) Disarm(Timer)                           {}
func (f *fakePort) Announce(*Machine)                      {}
func (f *fakePort) Emit(Change, *Machine)                  {}
func (f *fakePort) Consult(byte)                           {}
func (f *fakePort) MarkDown(bool)                          {}
func (f *fakePort) Closed()                                { close(f.closed) }
func (f *fakePort) Panicked(reason any)                    { panic(reason) }

// eitherWay runs a test of a service with a goroutine, and of one that has it only while
// there is something to do.
func eitherWay(t *testing.T, test func(t *testing.T, run func(*Service))) {
	t.Parallel()
	for name, run := range map[string]func(*Service){
		"always": func(s *Service) { go s.Run() },
		"lazily": (*Service).RunLazily,
		"late": func(s *Service) { // what is posted before is not lost
			s.PostControl()
			s.RunLazily()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, run)
		})
	}
}

// TestFreeze: a frozen service has handled all that came before, and handles what
// comes meanwhile after it was thawed.
func TestFreeze(t *testing.T) { eitherWay(t, testFreeze) }

func testFreeze(t *testing.T, run func(*Service)) {
	p := PolicyFor(Daemontools)
	port := newFakePort()
	var s Service
	s.Init(port, &p)
	run(&s)
	at := port.Now()
	s.Post(Event{Kind: EvBoot, At: at})
	if m := s.Freeze(); m.Phase != PhaseStarting || <-port.spawns != ScriptRun {
		t.Fatalf("%+v", m)
	}
	s.Post(Event{Kind: EvStarted, PID: 7, At: at})
	s.Append(Event{Kind: EvFacts, At: at})
	s.Proceed()
	port.control = []byte("dx")
	s.PostControl()
	if s.machine.PID != 0 {
		t.Errorf("%+v", s.machine)
	}
	s.Thaw()
	if m := s.Freeze(); m.Phase != PhaseStopping || m.PID != 7 || !m.Exiting {
		t.Errorf("%+v", m)
	}
	s.Thaw()
	s.Post(Event{Kind: EvDied, PID: 7, At: at})
	<-port.closed
	if m := s.Freeze(); m.Phase != PhaseGone { // which does not wait for what is over
		t.Errorf("%+v", m)
	}
	s.Thaw()
}

// TestLogControl: encore's L has what follows go to the log service, but for x, until l,
// or until the next that is written.
func TestLogControl(t *testing.T) { eitherWay(t, testLogControl) }

func testLogControl(t *testing.T, run func(*Service)) {
	p := PolicyFor(Encore)
	port := newFakePort()
	var s Service
	s.Init(port, &p)
	run(&s)
	s.Post(Event{Kind: EvBoot, Facts: Facts{Down: true}, At: port.Now()})
	port.control = []byte("L+ol=u")
	s.PostControl()
	if got := <-port.forLog; got.Byte != 'o' || !got.Group || got.Kind != EvControl {
		t.Errorf("%+v", got)
	}
	if script := <-port.spawns; script != ScriptRun {
		t.Errorf("%v", script)
	}
	s.Post(Event{Kind: EvStartFailed, At: port.Now()})
	s.Freeze()
	port.control = []byte("d")
	s.Thaw()
	s.PostControl()
	s.Freeze()
	port.control = []byte("Lx")
	s.Thaw()
	s.PostControl()
	<-port.closed
	if len(port.forLog) > 0 {
		t.Errorf("%+v", <-port.forLog)
	}
}

// TestFreezeAgain freezes a service at any time, while others are at it.
func TestFreezeAgain(t *testing.T) { eitherWay(t, testFreezeAgain) }

func testFreezeAgain(t *testing.T, run func(*Service)) {
	p := PolicyFor(Daemontools)
	port := newFakePort()
	var s Service
	s.Init(port, &p)
	run(&s)
	s.Post(Event{Kind: EvBoot, Facts: Facts{Down: true}, At: port.Now()})
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			for range 2000 {
				s.Append(Event{Kind: EvFacts, Facts: Facts{Down: true}, At: port.Now()})
				s.Proceed()
			}
		})
	}
	for range 500 {
		before := s.Freeze()
		if after := s.machine; after != before {
			t.Errorf("%+v became %+v", before, after)
		}
		s.Thaw()
	}
	group.Wait()
	s.Post(Event{Kind: EvShutdown, At: port.Now()})
	<-port.closed
}
