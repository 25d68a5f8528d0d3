package conf2dir

import (
	"errors"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxFile is how large a configuration may be, and a file that a job depends on.
const maxFile = 10 << 20

// FileError is why a file could not be read, in pmtr's words.
type FileError struct {
	Text string
	Err  error // nil if the file is too large
}

func (e *FileError) Error() string { return e.Text }

// Unwrap is the error of the system call.
func (e *FileError) Unwrap() error { return e.Err }

// ReadFile reads a configuration. A file of no size is empty, whatever could be read
// from it. The error is a *FileError.
func ReadFile(path string) (text string, err error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &FileError{"can't open " + path + ": " + Strerror(err), err}
	}
	defer unix.Close(fd)
	failed := func(err error) error { return &FileError{"read " + path + " failed: " + Strerror(err), err} }
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", failed(err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return "", failed(unix.EISDIR)
	}
	if st.Size > maxFile {
		return "", &FileError{path + ": file too large (" + strconv.FormatInt(st.Size, 10) + " bytes)", nil}
	}
	b, n := make([]byte, st.Size), 0
	for n < len(b) {
		m, err := unix.Read(fd, b[n:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return "", failed(err)
		case m == 0:
			return string(b[:n]), nil
		default:
			n += m
		}
	}
	return string(b), nil
}

// Strerror is the C library's text for an error, in which it differs from Go's in the
// first letter.
func Strerror(err error) string {
	text := err.Error()
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		text = errno.Error()
	}
	if text != "" && 'a' <= text[0] && text[0] <= 'z' {
		return string(text[0]-'a'+'A') + text[1:]
	}
	return text
}
