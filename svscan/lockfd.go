package svscan

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
	"upkeep/supervise/servicedir"
	"upkeep/svscan/internal/block"
	"upkeep/svscan/internal/spawn"
)

// serviceLock is the lock that a service with a file lock-fd holds, so that nobody
// starts a second copy as long as any process has it (s6.md, section 8). Ours
// belongs to the open file, which the service inherits; it conflicts with those of
// s6, which belong to a process.
//
// Unless said otherwise it belongs to who does the unit's disk jobs.
type serviceLock struct {
	passed spawn.Passed // locked for the start under way, or FD is -1
	fault  string       // what was said
	late   bool         // that it is not free was said

	// The rest is under the unit's mu.

	answered bool  // the start is not under way any more
	waiting  bool  // it waits for the lock
	blocked  bool  // somebody is in the system call for that
	got      int   // what he has locked, or -1
	err      error // or why not
}

func (u *unit) needLock() {
	u.mu.Lock()
	if u.lock == nil {
		u.lock = &serviceLock{passed: spawn.Passed{FD: -1}, got: -1}
	}
	u.mu.Unlock()
}

func (u *unit) hasLock() *serviceLock {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.lock
}

// takeLock takes the lock for the start of run that is under way. If it is false,
// that start waits for somebody who has it, or has failed.
func (u *unit) takeLock() bool {
	l := u.hasLock()
	if l == nil {
		return true
	}
	at, ok, err := servicedir.LockFD(u.dir.FD)
	if !ok {
		u.dropLock()
		return true
	}
	if err == servicedir.ErrSameFD {
		u.complain(l, "start", "run", err)
		u.notStarted(nil, false, time.Now())
		return false
	}
	if err == nil && at >= u.k.fdLimit {
		err = unix.EBADF
	}
	if err != nil { // as if there was none
		u.complain(l, "use", "lock-fd", err)
		return true
	}
	l.passed.At = at
	u.mu.Lock()
	l.answered = false
	fd, blocked := l.got, l.blocked
	l.got = -1
	err, l.err = l.err, nil
	l.waiting = blocked
	u.mu.Unlock()
	switch {
	case blocked:
		u.waits(l)
		return false
	case err == nil && l.passed.FD >= 0: // of a start that failed
		fd = l.passed.FD
	case err == nil && fd < 0:
		fd, err = u.openLock(l)
		if err == unix.EAGAIN {
			u.mu.Lock()
			l.waiting, l.blocked = true, true
			u.mu.Unlock()
			go u.waitForLock(l, fd) // ends when the lock is free
			u.waits(l)
			return false
		}
	}
	if err != nil {
		u.complain(l, "lock", servicedir.StateDir+"/service-lock", err)
		u.notStarted(nil, false, time.Now())
		return false
	}
	l.fault, l.late = "", false
	l.passed.FD = fd
	u.request.Lock = &l.passed
	return true
}

// openLock opens the file and tries to lock it. After EAGAIN fd is to be waited for.
func (u *unit) openLock(l *serviceLock) (fd int, err error) {
	fd, emptied, err := servicedir.OpenServiceLock(u.dir.Home)
	if err != nil {
		return -1, err
	}
	if emptied {
		u.k.report(Warning, u.name(), "emptied "+u.name()+"/"+servicedir.StateDir+"/service-lock, which is only for locking", "", nil)
	}
	if err = servicedir.TryLock(fd); err != nil && err != unix.EAGAIN {
		unix.Close(fd)
	}
	return fd, err
}

// complain says what is wrong once, until it is something else.
func (u *unit) complain(l *serviceLock, verb, file string, err error) {
	if text := verb + err.Error(); l.fault != text {
		l.fault = text
		u.k.report(Warning, u.name(), verb, u.name()+"/"+file, err)
	}
}

// waits has the machine obey commands although its start is unanswered.
func (u *unit) waits(l *serviceLock) {
	if !l.late {
		l.late = true
		u.k.report(Warning, u.name(), "another instance of "+u.name()+" is running, waiting for its end", "", nil)
	}
	u.Post(supervise.Event{Kind: supervise.EvSlow, At: u.Now()})
}

// waitForLock waits in the system call, which cannot be given up: if nobody wants
// the lock when it is free, that is its end.
func (u *unit) waitForLock(l *serviceLock, fd int) {
	whole := unix.Flock_t{Type: unix.F_WRLCK}
	errno := unix.EINTR
	for errno == unix.EINTR {
		_, errno = block.Syscall(unix.SYS_FCNTL, uintptr(fd), unix.F_OFD_SETLKW, uintptr(unsafe.Pointer(&whole)), 0, 0, 0)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	l.blocked = false
	if !l.waiting || errno != 0 {
		unix.Close(fd)
		fd = -1
	}
	if l.waiting {
		l.waiting, l.got = false, fd
		if errno != 0 {
			l.err = syscall.Errno(errno)
		}
		u.order(jobStart)
	}
}

// abandonLock tells whether a start waited for the lock, and does not any more: it
// has to be answered. u.mu is held.
func (u *unit) abandonLock() bool {
	if u.lock == nil || !u.lock.waiting {
		return false
	}
	u.lock.waiting = false
	return true
}

// stopWaiting answers a start that waits for the lock.
func (u *unit) stopWaiting() {
	u.mu.Lock()
	waited := u.abandonLock()
	u.mu.Unlock()
	if waited {
		u.notStarted(nil, false, time.Now())
	}
}

// lockAnswered says that the process has the lock, or that there is none.
func (u *unit) lockAnswered() {
	u.mu.Lock()
	if u.lock != nil {
		u.lock.answered = true
	}
	if u.ext != nil && u.ext.ready != nil {
		u.ext.ready.answered = true
	}
	if n := u.speaker(); n != nil {
		n.answered = true
	}
	u.mu.Unlock()
}

// giveLock leaves the lock to the process that was started with it.
func (u *unit) giveLock() {
	u.mu.Lock()
	l := u.lock
	give := l != nil && l.answered && l.passed.FD >= 0
	u.mu.Unlock()
	if give {
		unix.Close(l.passed.FD)
		l.passed.FD = -1
	}
}

// dropLock ends what there is of the lock on our side.
func (u *unit) dropLock() {
	u.mu.Lock()
	l := u.lock
	if l == nil {
		u.mu.Unlock()
		return
	}
	l.waiting = false
	fds := [2]int{l.passed.FD, l.got}
	u.lock = nil
	u.mu.Unlock()
	for _, fd := range fds {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
