package svc

import (
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/servicedir"
	"upkeep/supervise/status"
)

// Listener hears of the changes of services by the FIFOs that it has in their
// directories of events, as s6's clients do. Nothing wakes it up while nothing changes.
type Listener struct {
	pipes []listenerPipe
}

type listenerPipe struct {
	dir        int // the directory of events
	name       string
	read, hold int // hold keeps the end of the FIFO from being seen
}

// Add begins to listen to a service; what is heard of it has the index of the call.
// Errors have StepWait.
func (l *Listener) Add(d *Dir) error {
	err := servicedir.MakeEvents(d.fd)
	p := listenerPipe{-1, "", -1, -1}
	if err == nil || err == unix.EACCES || err == unix.EROFS || err == unix.EPERM {
		p.dir, err = openat(d.fd, servicedir.EventDir, unix.O_RDONLY|unix.O_DIRECTORY)
	}
	if err == nil {
		err = p.open()
	}
	if err != nil {
		p.close()
		return &Error{StepWait, servicedir.EventDir, err}
	}
	l.pipes = append(l.pipes, p)
	return nil
}

func (p *listenerPipe) open() error {
	for {
		name := servicedir.ListenerName(string(status.Now().AppendS6(nil)), unique())
		hidden := "." + name
		err := unix.Mkfifoat(p.dir, hidden, 0o600)
		if err == unix.EEXIST {
			continue
		}
		if err != nil {
			return err
		}
		p.name = hidden
		// The supervisor may be of another user than the listener.
		if err = unix.Fchmodat(p.dir, hidden, 0o622, 0); err == nil {
			p.read, err = openat(p.dir, hidden, unix.O_RDONLY|unix.O_NONBLOCK)
		}
		if err == nil {
			p.hold, err = openat(p.dir, hidden, unix.O_WRONLY|unix.O_NONBLOCK)
		}
		if err == nil {
			err = unix.Renameat(p.dir, hidden, p.dir, name)
		}
		if err == nil {
			p.name = name
		}
		return err
	}
}

// unique is six letters that hardly anybody else has at the same time.
func unique() string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
	var b [6]byte
	n := uint64(time.Now().UnixNano())*0x9e3779b97f4a7c15 + uint64(unix.Getpid())*0xbf58476d1ce4e5b9
	for i := range b {
		b[i] = letters[n>>(64-6*(i+1))&63]
	}
	return string(b[:])
}

func (p *listenerPipe) close() {
	if p.name != "" {
		_ = unix.Unlinkat(p.dir, p.name, 0)
	}
	for _, fd := range []int{p.read, p.hold, p.dir} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// Close ends the listening.
func (l *Listener) Close() {
	for i := range l.pipes {
		l.pipes[i].close()
	}
	l.pipes = nil
}

// Next waits for events, no longer than until the deadline, a zero one being never, and
// calls heard for each. It is ErrTimeout after that, with StepWait.
func (l *Listener) Next(deadline time.Time, heard func(i int, event byte)) error {
	polls := make([]unix.PollFd, len(l.pipes))
	for i := range l.pipes {
		polls[i] = unix.PollFd{Fd: int32(l.pipes[i].read), Events: unix.POLLIN}
	}
	for {
		left := -1
		if !deadline.IsZero() {
			left = millis(max(time.Until(deadline), 0))
		}
		n, err := unix.Poll(polls, left)
		switch {
		case err == unix.EINTR:
			continue
		case err == nil && n == 0:
			err = ErrTimeout
		}
		if err != nil {
			return &Error{StepWait, servicedir.EventDir, err}
		}
		for i := range polls {
			if polls[i].Revents == 0 {
				continue
			}
			var b [64]byte
			n, _ := unix.Read(l.pipes[i].read, b[:])
			for _, event := range b[:max(n, 0)] {
				heard(i, event)
			}
		}
		return nil
	}
}
