package svscan

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
	"upkeep/supervise/servicedir"
	"upkeep/svscan/internal/handoff"
)

// logService is encore's LOGSERVICE: it reads what svscan and all other services write to
// their standard output and error (daemontools.md, section 6.4).
type logService struct {
	read   int // the pipe
	inode  uint64
	stdout int // what svscan had
}

// openLogService sees to the pipe, which may be a former scanner's, or ours from before an
// upgrade. Without the directory there is none.
func (s *Scanner) openLogService() {
	name := s.k.config.LogService
	if name == "" {
		return
	}
	fd, err := unix.Open(s.k.config.Dir+"/"+name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	l := &logService{stdout: -1}
	var reader *handoff.Process
	if key, err := servicedir.Key(fd); err == nil {
		if j := s.k.store.Peek(fd, key, s.k.world); j != nil {
			l.inode = j.Mark[servicedir.MarkStdin]
			reader, _ = handoff.Find(&j.Mark)
		}
	}
	if reader != nil {
		defer reader.Close()
	}
	if l.inode != 0 && handoff.Inode(1) == l.inode {
		if l.read, err = unix.Open("/proc/self/fd/1", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err == nil {
			_ = unix.SetNonblock(l.read, false)
			l.stdout = stdoutOf(reader)
			s.logService = l
			return
		}
	}
	w := -1
	l.read = -1
	if reader != nil {
		l.read, w, _ = reader.Pipe(0, l.inode)
	}
	if l.read < 0 {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			s.k.report(Warning, "", "create pipe for", name, err)
			return
		}
		l.read, w, l.inode = p[0], p[1], handoff.Inode(p[0])
	}
	if l.stdout, err = unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3); err != nil {
		l.stdout = -1
	}
	s.k.reports.flush() // to where it was meant to go
	for _, fd := range [...]int{1, 2} {
		if err := unix.Dup3(w, fd, 0); err != nil {
			s.k.report(Warning, "", "have output read by", name, err)
		}
	}
	unix.Close(w)
	s.logService = l
	s.k.report(Info, "", "starting", "", nil)
}

// stdoutOf is the standard output of a log service that runs, for its successors: ours
// leads to itself.
func stdoutOf(p *handoff.Process) int {
	if p != nil {
		fd, err := unix.Open("/proc/"+strconv.Itoa(int(p.PID))+"/fd/1", unix.O_WRONLY|unix.O_APPEND|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			_ = unix.SetNonblock(fd, false)
			return fd
		}
	}
	fd, err := unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
}

// isLogService tells whether an entry is the log service of all others.
func (s *Scanner) isLogService(e *entry) bool {
	return s.logService != nil && e.name == s.k.config.LogService
}

// readsAll has the unit be the log service of all others.
func (u *unit) readsAll(l *logService) {
	u.stdin = int32(l.read)
	u.stdout.Store(int32(l.stdout))
	u.pipe.Store(l.inode)
	u.reads = true
}

// drainLogService has it end when all others have, and it has read what they wrote.
func (s *Scanner) drainLogService() {
	s.dismissCatchAll()
	if !s.stop || s.logService == nil || len(s.entries) != 1 {
		return
	}
	for _, e := range s.entries {
		if !s.isLogService(e) || !e.main.up {
			return
		}
		s.drain(e, e.main.unit, s.logService.read)
	}
}

// drain has u told to end when it has read the pipe to its end, which has to stay so for a
// while, or does not get that far.
func (s *Scanner) drain(e *entry, u *unit, pipe int) {
	now := time.Now()
	if e.draining == nil {
		e.draining = &draining{since: now, quiet: now}
	}
	d := e.draining
	if d.dismissed {
		return
	}
	if n, err := unix.IoctlGetInt(pipe, unix.TIOCINQ); err == nil && n > 0 {
		d.quiet = now
	}
	limit := s.k.policy.DrainFor
	if now.Sub(d.quiet) < drainQuiet && (limit <= 0 || now.Sub(d.since) < limit) {
		time.AfterFunc(drainEvery, func() { s.post(message{kind: msgDrain, unit: u}) })
		return
	}
	d.dismissed = true
	u.Post(supervise.Event{Kind: supervise.EvShutdown, At: u.Now()})
}

// draining is the wait for somebody who reads from a pipe that does not end: since when,
// since when it has been empty, and that he was told to end.
type draining struct {
	since, quiet time.Time
	dismissed    bool
}
