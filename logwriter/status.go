package logwriter

import "golang.org/x/sys/unix"

// Status is a file that shows the last line: Size bytes, the line cut to
// Size-1 and filled up with newlines.
type Status struct {
	Name string
	Size int

	fd    int
	line  []byte // the last one that has not been written yet
	fresh bool
}

// OpenStatus makes the file if it is missing, and leaves what it has. The error is
// a *Trouble.
func OpenStatus(name string, size int) (*Status, error) {
	return openStatus(unix.AT_FDCWD, name, size)
}

func openStatus(at int, name string, size int) (*Status, error) {
	fd, err := openAt(at, name, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT, 0o600)
	if err != nil {
		return nil, &Trouble{Step: StepMissingStatus, File: name, Err: err}
	}
	unix.Close(fd)
	if fd, err = openAt(at, name, unix.O_WRONLY, 0); err != nil {
		return nil, &Trouble{Step: StepOpenStatus, File: name, Err: err}
	}
	return &Status{Name: name, Size: size, fd: fd}, nil
}

func (s *Status) set(line []byte) {
	s.line = append(s.line[:0], line[:min(len(line), s.Size-1)]...)
	s.fresh = true
}

// write writes the last line of a block. Those before it were there for too
// short a time for anybody to see them.
func (s *Status) write(h *Host) {
	if !s.fresh {
		return
	}
	s.fresh = false
	for len(s.line) < s.Size {
		s.line = append(s.line, '\n')
	}
	for b, at := s.line, int64(0); len(b) > 0; {
		n, err := unix.Pwrite(s.fd, b, at)
		switch {
		case err == unix.EINTR:
		case err != nil:
			h.Trouble(Trouble{Step: StepStatus, File: s.Name, Err: err})
		default:
			b, at = b[n:], at+int64(n)
		}
	}
	s.line = nil
}
