package conf2dir

import (
	"strconv"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
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
		return "", &FileError{"can't open " + path + ": " + cli.Strerror(err), err}
	}
	defer unix.Close(fd)
	failed := func(err error) error { return &FileError{"read " + path + " failed: " + cli.Strerror(err), err} }
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
