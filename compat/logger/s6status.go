package logger

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// s6Status is a file that shows the last line, and is there as a whole at any
// time. Lines that another one follows at once are not shown.
type s6Status struct {
	name  string
	size  int // 0 is that of the line
	line  []byte
	fresh bool
}

func (s *s6Status) put(stamp, line []byte) {
	s.line = append(append(append(s.line[:0], stamp...), line...), '\n')
	s.fresh = true
}

// write writes the file in the directory that dir is open on.
func (s *s6Status) write(dir int) error {
	if !s.fresh {
		return nil
	}
	s.fresh = false
	b := s.line
	if s.size > 0 {
		for len(b) < s.size {
			b = append(b, '\n')
		}
		b = b[:s.size]
	}
	s.line = nil
	draft := s.name + ":s6-log:" + strconv.Itoa(unix.Getpid())
	fd, err := unix.Openat(dir, draft, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC, 0o666)
	if err != nil {
		return err
	}
	for len(b) > 0 && err == nil {
		var n int
		if n, err = unix.Write(fd, b); err == unix.EINTR {
			n, err = 0, nil
		}
		b = b[max(n, 0):]
	}
	unix.Close(fd)
	if err == nil {
		err = unix.Renameat(dir, draft, dir, s.name)
	}
	if err != nil {
		_ = unix.Unlinkat(dir, draft, 0)
	}
	return err
}
