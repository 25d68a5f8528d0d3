package svscan

import (
	"errors"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/svscan/internal/notify"
)

// manager is the service manager that started the scanner and wants to hear of it.
type manager struct {
	socket *notify.Socket
	every  time.Duration // between two signs of life, or 0

	told    bool // that we are ready
	late    bool // some services take so long to open that it does not count any more
	last    [2]int
	overdue *time.Timer // makes late

	pulse chan struct{} // the scanner's answer
	pump  chan struct{} // the pump's
	bell  int           // eventfd in the pump
}

// readyWithin is how long a directory that does not open, as on a dead file system, can
// keep the scanner from being called ready.
const readyWithin = 10 * time.Second

// pulseToken is the pump's token for the manager's bell.
const pulseToken = 8 << 32

// newManager finds the manager in an environment. It is nil if there is none.
func newManager(k *kernel, environ []string) *manager {
	socket, err := notify.Open(environ, func(name string, err error) {
		k.report(Warning, "", "notify", name, err)
	})
	if err != nil {
		k.report(Warning, "", "notify", "service manager", err)
	}
	if socket == nil {
		return nil
	}
	m := &manager{socket: socket, last: [2]int{-1, -1}, bell: -1}
	if m.every, err = notify.Interval(environ, os.Getpid()); err != nil {
		k.report(Warning, "", "read", "watchdog interval", err)
	}
	if m.every /= 2; m.every == 0 {
		return m
	}
	m.pulse, m.pump = make(chan struct{}, 1), make(chan struct{}, 1)
	if m.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err == nil {
		err = k.pump.Add(m.bell, pulseToken)
	}
	if err != nil {
		k.report(Warning, "", "set up", "watchdog", err)
		m.every = 0
	}
	return m
}

// begin has the signs of life sent until the function it returns is called, which tells
// the manager all that is still to be told.
func (m *manager) begin(s *Scanner) (end func()) {
	if m == nil {
		return func() {}
	}
	m.overdue = time.AfterFunc(readyWithin, func() { s.post(message{kind: msgOverdue}) })
	done := make(chan struct{})
	if m.every > 0 {
		go m.watch(s, done)
	}
	return func() {
		m.overdue.Stop()
		close(done)
		m.socket.Close()
	}
}

// watch tells the manager that we live, as long as everybody answers without whom
// services would be left alone: the scanner, the pump, and the reaper, whose answer is
// that no child stays unreaped from one time to the next.
func (m *manager) watch(s *Scanner, done <-chan struct{}) {
	ticker := time.NewTicker(m.every)
	defer ticker.Stop()
	unreaped := int32(0)
	for {
		select {
		case <-ticker.C:
		case <-done:
			return
		}
		s.post(message{kind: msgPulse})
		one := [8]byte{0: 1}
		_, _ = unix.Write(m.bell, one[:]) // if it is full, it rings
		for _, answer := range [...]chan struct{}{m.pulse, m.pump} {
			select {
			case <-answer:
			case <-done:
				return
			}
		}
		before := unreaped
		if unreaped = s.k.table.Unreaped(); unreaped == 0 || unreaped != before {
			m.socket.Send(notify.Watchdog)
		}
	}
}

// alive is a sign of life before its time: who takes over does not know when the last
// one was.
func (m *manager) alive() {
	if m != nil && m.every > 0 {
		m.socket.Send(notify.Watchdog)
	}
}

// answer is the scanner's.
func (m *manager) answer() {
	select {
	case m.pulse <- struct{}{}:
	default:
	}
}

// rung is the pump's: somebody wrote to the bell.
func (m *manager) rung() {
	var b [8]byte
	_, _ = unix.Read(m.bell, b[:])
	select {
	case m.pump <- struct{}{}:
	default:
	}
}

// reloads is a HUP that is obeyed now.
func (m *manager) reloads() {
	if m != nil && m.told {
		m.told, m.late = false, false
		m.overdue.Reset(readyWithin)
		m.socket.Send(notify.Reloading())
	}
}

// stops is the beginning of the end. More of it is not told.
func (m *manager) stops(text string) {
	if m != nil {
		m.told, m.late = true, false
		m.socket.Send(notify.Stopping, notify.Status(text))
	}
}

// tell tells the manager how many services there are, and that we are ready: once all
// that a scan has found is supervised or was reported not to be, or the scan directory
// was reported to be unreadable.
func (s *Scanner) tell() {
	m := s.manager
	if m == nil || s.stop {
		return
	}
	settled := s.unread != "" || !s.adopting && s.opening == 0 || m.late
	if !settled {
		return
	}
	now := [2]int{}
	for _, e := range s.entries {
		if e.main.up {
			now[0]++
		} else if e.present && e.main.fault() != nil {
			now[1]++
		}
	}
	text := strconv.Itoa(now[0]) + " service"
	if now[0] != 1 {
		text += "s"
	}
	if now[1] > 0 {
		text += ", " + strconv.Itoa(now[1]) + " cannot be supervised"
	}
	switch {
	case !m.told:
		m.told = true
		m.overdue.Stop()
		m.socket.Send(notify.Ready, notify.Status(text))
	case now != m.last:
		m.socket.SetStatus(text)
	}
	m.last = now
}

// Leave ends the scanner and leaves all services running, for the next one to take
// over.
func (s *Scanner) Leave() { s.post(message{kind: msgLeave}) }

// leave is what it owes its successor: the states of the services as they are.
func (s *Scanner) leave() {
	s.manager.stops("leaving all services running")
	if err := s.k.flush(); err != nil {
		s.k.report(Warning, "", "wait for", "the state of some services to be written", err)
	}
}

var errSlow = errors.New("it takes too long")
