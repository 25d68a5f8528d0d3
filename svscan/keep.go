package svscan

import (
	"errors"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/servicedir"
	"upkeep/svscan/internal/handoff"
	"upkeep/svscan/internal/keeper"
)

// The keeper holds the pipes of the logs that the scanner itself writes: package
// keeper.

// KeeperArgs are the arguments, after the program's name, that make it a keeper with
// the socket as its standard input. The scan directory follows, for who looks at a list
// of processes.
var KeeperArgs = []string{"keep-pipes"}

// Keep is described with KeeperArgs.
func Keep() { keeper.Run(0) }

// keeperSocket is the keeper's socket, beside HomeSocket.
const keeperSocket = ".svscan-pipes"

// keeping is what the scanner knows of its keeper.
type keeping struct {
	sought bool // the one of a former scanner
	any    bool // there was something to keep
	kept   map[servicedir.Identity]keeper.Kept
	made   time.Time
	fault  string // what was said
}

// seekKeeper gets what a former scanner's keeper holds.
func (s *Scanner) seekKeeper() {
	if s.keeping.sought || s.home == nil {
		return
	}
	s.keeping.sought = true
	c, err := keeper.Connect(s.home.path(keeperSocket))
	if err != nil {
		return // there is none
	}
	kept, err := c.All()
	if err == unix.ECONNRESET {
		c.Close()
		return // it was about to leave, with nothing to keep
	}
	if err != nil {
		c.Close()
		s.k.report(Warning, "", "ask", "the keeper of log pipes", err)
		return
	}
	s.keeping.kept = kept
	s.follow(c)
}

// follow has c be the keeper until it is gone.
func (s *Scanner) follow(c *keeper.Client) {
	s.k.keeper.Store(c)
	go func() { // until then
		c.Wait()
		s.post(message{kind: msgKeeper, keeper: c})
	}()
}

// needKeeper makes a keeper, unless there is one.
func (s *Scanner) needKeeper() {
	if s.k.keeper.Load() != nil {
		return
	}
	err := errors.New("there is no place for its socket")
	if s.home != nil {
		err = s.makeKeeper()
	}
	if err != nil && s.keeping.fault != err.Error() {
		s.keeping.fault = err.Error()
		s.k.report(Warning, "", "start", "a keeper of log pipes: a service that ends while svscan is not there takes what is not logged along", err)
	}
}

func (s *Scanner) makeKeeper() error {
	s.keeping.made = time.Now()
	listener, err := openListener(s.home.dir, s.home.at, keeperSocket, unix.SOCK_SEQPACKET)
	if err != nil {
		return err
	}
	// It is in the queue until the keeper looks.
	c, err := keeper.Connect(s.home.path(keeperSocket))
	if err != nil {
		unix.Close(listener)
		return err
	}
	s.help(s.self(), append(KeeperArgs[:len(KeeperArgs):len(KeeperArgs)], s.k.config.Dir), listener, -1, func(_ *helper, err error) {
		if err != nil {
			s.k.report(Warning, "", "start", "a keeper of log pipes", err)
		}
	})
	s.follow(c)
	return nil
}

// keeperGone has another keeper hold what this one held.
func (s *Scanner) keeperGone(c *keeper.Client) {
	if !s.k.keeper.CompareAndSwap(c, nil) {
		return
	}
	c.Close()
	if s.left || s.stop && len(s.entries) == 0 {
		return
	}
	s.k.report(Warning, "", "the keeper of log pipes is gone, starting another", "", nil)
	const pace = time.Second
	if d := pace - time.Since(s.keeping.made); d > 0 {
		time.AfterFunc(d, func() { s.post(message{kind: msgKeepAgain}) })
		return
	}
	s.keepAgain()
}

func (s *Scanner) keepAgain() {
	if s.k.keeper.Load() != nil {
		return
	}
	for _, e := range s.entries {
		if e.feed.Load() != nil && e.pipe[0] >= 0 {
			s.needKeeper()
			s.hand(e)
		}
		s.keepSockets(e)
	}
}

// leaveKeeper ends the keeper if nothing is left for it to keep.
func (s *Scanner) leaveKeeper() {
	c := s.k.keeper.Swap(nil)
	if c == nil {
		return
	}
	if len(s.entries) == 0 && c.Quit() == nil {
		_ = unix.Unlinkat(s.home.dir, keeperSocket, 0)
	}
	c.Close()
}

// keptPipe takes the pipe of an entry from what the keeper has.
func (s *Scanner) keptPipe(e *entry) bool {
	p, ok := s.keeping.kept[e.id]
	if !ok {
		return false
	}
	delete(s.keeping.kept, e.id)
	if p.Rest[0] >= 0 {
		e.rest = p.Rest
	}
	if e.pipe[0] >= 0 { // it was left to us in another way
		unix.Close(p.Read)
		return true
	}
	if p.Read < 0 {
		return false
	}
	w, err := handoff.Writer(p.Read)
	if err != nil {
		unix.Close(p.Read)
		return false
	}
	e.pipe, e.inode = [2]int{p.Read, w}, handoff.Inode(p.Read)
	return true
}

// path is that of a socket in the home, which is short enough for an address.
func (h *home) path(name string) string {
	byFD := "/proc/self/fd/" + strconv.Itoa(h.dir)
	if unix.Access(byFD, unix.F_OK) == nil {
		return byFD + "/" + name
	}
	return h.at + "/" + name
}
