package svscan

import (
	"runtime/debug"

	"golang.org/x/sys/unix"

	"upkeep/logwriter"
	"upkeep/supervise/servicedir"
	"upkeep/svscan/internal/handoff"
)

// makePipe makes the log pipe, or gets hold of the one that a former scanner made and
// that the service or its log service still has.
func (e *entry) makePipe(dir, logDir int) error {
	if e.scanner.keptPipe(e) || e.findPipe(dir, logDir) {
		return nil
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	e.pipe, e.inode = p, handoff.Inode(p[0])
	e.openBothWays()
	return nil
}

// openBothWays sees to it that who writes to the pipe has it for reading as well.
// That it cannot be done is said once.
func (e *entry) openBothWays() {
	mode, err := unix.FcntlInt(uintptr(e.pipe[1]), unix.F_GETFL, 0)
	if err == nil && mode&unix.O_ACCMODE == unix.O_RDWR {
		return
	}
	w, err := handoff.Writer(e.pipe[0])
	if err == nil {
		unix.Close(e.pipe[1])
		e.pipe[1] = w
		return
	}
	if s := e.scanner; !s.frail {
		s.frail = true
		s.k.report(Warning, "", "open", "log pipes both ways, services may get SIGPIPE while neither svscan nor their log service runs", err)
	}
}

// findPipe looks for the pipe of a former scanner. Its ends may come from different
// processes.
func (e *entry) findPipe(dir, logDir int) bool {
	found, inode, writes := [2]int{-1, -1}, uint64(0), false
	e.ended = false
	k := e.scanner.k
	for _, end := range []struct {
		dir, fd, word int
		key           string
	}{
		{dir, 1, servicedir.MarkStdout, e.key()}, {logDir, 0, servicedir.MarkStdin, servicedir.LogKey(e.key())},
	} {
		j := k.store.Peek(end.dir, end.key, k.world)
		if j == nil || j.Mark[end.word] == 0 || found != [2]int{-1, -1} && j.Mark[end.word] != inode {
			continue
		}
		p, _ := handoff.Find(&j.Mark)
		if p == nil {
			continue
		}
		inode = j.Mark[end.word]
		r, w, ended := p.Pipe(end.fd, inode)
		e.ended = e.ended || ended
		writes = writes || end.dir == dir && !p.Leaving()
		p.Close()
		for i, fd := range [...]int{r, w} {
			if fd >= 0 && found[i] >= 0 {
				unix.Close(fd)
			} else if fd >= 0 {
				found[i] = fd
			}
		}
		if found[0] >= 0 && found[1] >= 0 {
			e.pipe, e.inode = found, inode
			e.openBothWays()
			return true
		}
	}
	for _, fd := range found {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	if writes {
		e.scanner.k.report(Warning, e.name, "log pipe of "+e.name+" is out of reach: restart "+e.name+" to have what it writes logged", "", nil)
	}
	return false
}

// writesTo has the service's next process write to the log pipe.
func (u *unit) writesTo(e *entry) {
	u.stdout.Store(int32(e.pipe[1]))
	u.pipe.Store(e.inode)
}

// ensureFeed makes the feed of a log that the scanner writes itself.
func (e *entry) ensureFeed() *logwriter.Feed {
	k := e.scanner.k
	k.mu.Lock()
	defer k.mu.Unlock()
	if f := e.feed.Load(); f != nil {
		return f
	}
	f := &logwriter.Feed{Pipe: e.pipe[0], Rest: e.rest, Keep: func(rest [2]int) {
		k.mu.Lock()
		e.rest = rest
		k.mu.Unlock()
		_ = k.keeper.Load().Rest(e.id, rest) // if it is gone, the next one gets it
	}}
	if f.Rest[0] >= 0 && f.Hold() != nil {
		f.Close()
	}
	e.feed.Store(f)
	return f
}

func (e *entry) restPipe() [2]int {
	e.scanner.k.mu.Lock()
	defer e.scanner.k.mu.Unlock()
	return e.rest
}

// keepPipe has the keeper hold the pipe of a log that the scanner writes itself.
func (s *Scanner) keepPipe(e *entry) {
	if e.feed.Load() == nil || e.pipe[0] < 0 || e.extra > 0 {
		return
	}
	if e.extra = fdsLogger; !s.keeping.any {
		s.keeping.any = true
		debug.SetGCPercent(50) // opening logs leaves much behind, in between what stays
	}
	s.promised += e.extra
	s.needKeeper()
	s.hand(e)
}

// hand gives the keeper what an entry has.
func (s *Scanner) hand(e *entry) {
	c := s.k.keeper.Load()
	err := c.Pipe(e.id, e.pipe[0])
	if rest := e.restPipe(); err == nil && rest[0] >= 0 {
		err = c.Rest(e.id, rest)
	}
	if err != nil {
		c.Close() // and there will be another
	}
}

// fdsLogger is what a log takes that the scanner writes itself, beside the pipe: the
// second pipe, and a directory with its lock and current.
const fdsLogger = 5

// closePipe gives the pipe up.
func (e *entry) closePipe() {
	if e.pipe[0] >= 0 {
		e.scanner.promised -= 2
	}
	if f := e.feed.Swap(nil); f != nil {
		f.Close()
		e.rest = [2]int{-1, -1}
		_ = e.scanner.k.keeper.Load().Forget(e.id)
	}
	e.scanner.promised -= e.extra
	e.extra = 0
	for i, fd := range e.pipe {
		if fd >= 0 {
			unix.Close(fd)
			e.pipe[i] = -1
		}
	}
}
