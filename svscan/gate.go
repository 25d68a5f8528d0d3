package svscan

import (
	"sync"
	"time"

	"upkeep/supervise"
)

// gate holds a service's first start back until its log service has a process. Else
// a service that ends while neither that nor a scanner lives would take the log pipe
// along, with all that it wrote.
//
// Only the first start needs it: later on the scanner has the pipe, and after it the
// process that reads from it. A log service that is down, that cannot be started or
// that takes long opens the gate as well: nobody waits for it longer.
type gate struct {
	mu      sync.Mutex
	shut    bool
	leaving int32 // the log service's process that saw the end of its pipe, or 0
	held    *unit // waits to be started
}

// leaveFor is how long a log service that has seen the end of its pipe is given to
// leave.
const leaveFor = 2 * time.Second

func (g *gate) close() {
	g.mu.Lock()
	g.shut = true
	g.mu.Unlock()
}

// hold tells whether u has to wait. It is started when the gate opens.
func (g *gate) hold(u *unit) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		g.held = u
	}
	return g.shut
}

// open lets the service start. The caller must hold nothing.
func (g *gate) open() {
	g.mu.Lock()
	u := g.held
	g.shut, g.leaving, g.held = false, 0, nil
	g.mu.Unlock()
	if u != nil {
		u.start()
	}
}

// abandon tells whether u was held; it is not any more.
func (g *gate) abandon(u *unit) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held != u {
		return false
	}
	g.held = nil
	return true
}

// leaves is that the log service's process pid has seen the end of its pipe and is
// not to be waited with, but for its successor.
func (g *gate) leaves(pid int32) {
	g.mu.Lock()
	wait := g.shut
	if wait {
		g.leaving = pid
	}
	g.mu.Unlock()
	if wait {
		time.AfterFunc(leaveFor, g.open) // it does not care
	}
}

// see opens the gate if that is what the state of the log service means.
func (g *gate) see(m *supervise.Machine) {
	g.mu.Lock()
	opens := g.shut
	switch {
	case m.PID != 0:
		opens = opens && m.PID != g.leaving
	case m.Asked && !m.Slow, m.Waiting:
		opens = false
	}
	g.mu.Unlock()
	if opens {
		g.open()
	}
}
