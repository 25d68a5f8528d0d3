package svscan

import (
	"golang.org/x/sys/unix"

	"upkeep/supervise/servicedir"
	"upkeep/svscan/internal/handoff"
)

// makePipe makes the log pipe, or gets hold of the one that a former scanner made and
// that the service or its log service still has.
func (e *entry) makePipe(dir, logDir int) error {
	w := e.scanner.k.world
	for _, end := range []struct {
		dir, fd, word int
		key           string
	}{
		{dir, 1, servicedir.MarkStdout, e.key()}, {logDir, 0, servicedir.MarkStdin, servicedir.LogKey(e.key())},
	} {
		j := e.scanner.k.store.Peek(end.dir, end.key, w)
		if j == nil || j.Mark[end.word] == 0 {
			continue
		}
		p, _ := handoff.Find(&j.Mark)
		if p == nil {
			continue
		}
		r, w, ok := p.Pipe(end.fd, j.Mark[end.word])
		p.Close()
		if ok {
			e.pipe, e.inode = [2]int{r, w}, j.Mark[end.word]
			return nil
		}
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	if w, err := handoff.Writer(p[0]); err == nil {
		unix.Close(p[1])
		p[1] = w
	}
	e.pipe, e.inode = p, handoff.Inode(p[0])
	return nil
}

// writesTo has the service's next process write to the log pipe.
func (u *unit) writesTo(e *entry) {
	u.stdout.Store(int32(e.pipe[1]))
	u.pipe.Store(e.inode)
}

// closePipe gives the pipe up.
func (e *entry) closePipe() {
	if e.pipe[0] >= 0 {
		e.scanner.promised -= 2
	}
	for i, fd := range e.pipe {
		if fd >= 0 {
			unix.Close(fd)
			e.pipe[i] = -1
		}
	}
}
