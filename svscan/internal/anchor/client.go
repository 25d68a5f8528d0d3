package anchor

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Death is how a process ended that was a child of the anchor, or came to it.
type Death struct {
	PID    int32
	Status uint32 // raw wait status
	// Start and Handle make it known, as in handoff.Process. Either may be 0.
	Start, Handle uint64
}

// Client is the scanner's side. A nil Client is for a scanner without an anchor: its
// methods do nothing.
type Client struct {
	// PID is the anchor.
	PID int

	mu     sync.Mutex
	fd     int
	deaths map[int32][]Death
	wanted map[int32]bool
	picky  bool // nobody else's death is kept
	syncs  map[uint64]chan struct{}
	serial uint64
	deaf   bool // the anchor did not answer, and has not been heard since
}

// Connect makes a client of the socket that FromEnv gave.
func Connect(fd int) *Client {
	unix.CloseOnExec(fd)
	return &Client{
		PID: os.Getppid(), fd: fd, deaths: map[int32][]Death{}, wanted: map[int32]bool{}, syncs: map[uint64]chan struct{}{},
		serial: uint64(time.Now().UnixNano()), // what a former scanner asked may still be answered
	}
}

// FD is the socket, which is readable when Read is to be called; -1 if there is no
// anchor, or none any more. Who executes another scanner in our place keeps it open.
func (c *Client) FD() int {
	if c == nil {
		return -1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fd
}

// Read takes in what the anchor has sent. gone says, once, that there is no anchor any
// more.
func (c *Client) Read() (gone bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read()
}

func (c *Client) read() (gone bool) {
	for c.fd >= 0 {
		m, err := receive(c.fd)
		c.deaf = c.deaf && err != nil
		switch {
		case err == unix.EAGAIN:
			return false
		case err != nil:
			unix.Close(c.fd)
			c.fd = -1
			for _, done := range c.syncs {
				close(done)
			}
			clear(c.syncs)
			return true
		case m.kind == died && (!c.picky || c.wanted[m.pid]):
			c.deaths[m.pid] = append(c.deaths[m.pid], Death{m.pid, m.status, m.start, m.handle})
		case m.kind == answer && c.syncs[m.serial] != nil:
			close(c.syncs[m.serial])
			delete(c.syncs, m.serial)
		}
	}
	return false
}

// Want has the death of a process kept until Take.
func (c *Client) Want(pid int32) {
	if c == nil {
		return
	}
	c.mu.Lock()
	c.wanted[pid] = true
	c.mu.Unlock()
}

// Settle has only those deaths kept from now on for which there was a Want: nobody
// will ask for others.
func (c *Client) Settle() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.picky = true
	for pid := range c.deaths {
		if !c.wanted[pid] {
			delete(c.deaths, pid)
		}
	}
}

// Take finds out how a process ended that is dead for certain: the one of that pid for
// which is holds. It waits for the anchor, which takes no longer than limit. Somebody
// else must be calling Read.
func (c *Client) Take(pid int32, limit time.Duration, is func(Death) bool) (Death, bool) {
	if c == nil {
		return Death{}, false
	}
	if d, ok := c.find(pid, is); ok {
		return d, true
	}
	c.wait(limit)
	return c.find(pid, is)
}

func (c *Client) find(pid int32, is func(Death) bool) (Death, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.deaths[pid] {
		if is(d) {
			delete(c.deaths, pid)
			delete(c.wanted, pid)
			return d, true
		}
	}
	return Death{}, false
}

// wait returns when everything is known that the anchor knows now.
func (c *Client) wait(limit time.Duration) {
	c.mu.Lock()
	done := make(chan struct{})
	c.serial++
	serial := c.serial
	if c.fd < 0 || send(c.fd, &message{kind: ask, serial: serial}) != nil || c.deaf {
		c.mu.Unlock()
		return
	}
	c.syncs[serial] = done
	c.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		c.mu.Lock()
		delete(c.syncs, serial)
		c.deaf = true
		c.mu.Unlock()
	}
}

// Up tells the anchor that signals are obeyed from now on.
func (c *Client) Up() { c.say(message{kind: up}) }

// Stopping tells it that everything is being stopped: another scanner, if it comes to
// that, has to go on with it. The exit code will be code, unless that is negative and
// not known yet.
func (c *Client) Stopping(code int) { c.say(message{kind: stopping, status: uint32(int32(code))}) }

// Leaving tells it that we exit with code, and that this is no crash.
func (c *Client) Leaving(code int) { c.say(message{kind: leaving, status: uint32(int32(code))}) }

func (c *Client) say(m message) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd >= 0 {
		_ = send(c.fd, &m) // an anchor that does not listen is none; Read tells of one that is gone
	}
}
