package servicedir

import (
	"golang.org/x/sys/unix"
)

// LogScriptName is the file of a log service directory that makes the supervisor write
// the log itself. It holds a script of multilog.
const LogScriptName = "multilog"

const logScriptSize = 64 << 10

// HasLogScript tells whether the service directory fd has a regular file of that name.
func HasLogScript(fd int) bool {
	var st unix.Stat_t
	return unix.Fstatat(fd, LogScriptName, &st, 0) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG
}

// LogScript reads it.
func LogScript(fd int) ([]byte, error) {
	text, _, err := readFile(fd, LogScriptName, logScriptSize)
	return text, err
}

// readFile reads a file of a service directory that may have so many bytes. ok is false
// where there is none.
func readFile(dir int, name string, most int) (text []byte, ok bool, err error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err != unix.ENOENT, err
	}
	defer unix.Close(fd)
	text, err = ReadAll(fd, most)
	return text, true, err
}

// ReadAll reads an open file that may have so many bytes.
func ReadAll(fd, most int) ([]byte, error) {
	text := make([]byte, 0, 128)
	for {
		if len(text) == cap(text) {
			text = append(text, 0)[:len(text)]
		}
		n, err := unix.Read(fd, text[len(text):cap(text)])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, err
		case n == 0:
			return text, nil
		case len(text)+n > most:
			return nil, unix.EFBIG
		default:
			text = text[:len(text)+n]
		}
	}
}

// Device is the number of the file system of a directory, or 0.
func Device(fd int) uint64 {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0
	}
	return st.Dev
}
