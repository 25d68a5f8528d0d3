package servicedir

import (
	"errors"

	"golang.org/x/sys/unix"
)

// ErrNumber is the error for a file that should have a number, and has not.
var ErrNumber = errors.New("not a number")

// ErrSameFD is the error where the service should get two things as one descriptor.
var ErrSameFD = errors.New("lock-fd and notification-fd are the same")

// LockFD reads the file lock-fd: which descriptor the service gets its lock as. ok
// is false where there is none (s6.md, section 2).
func LockFD(dir int) (at int, ok bool, err error) {
	at, ok, err = number(dir, "lock-fd")
	if ok && err == nil {
		if other, also, err := number(dir, "notification-fd"); also && err == nil && other == at {
			return at, true, ErrSameFD
		}
	}
	return at, ok, err
}

// NotificationFD reads the file notification-fd: which descriptor the service gets to say
// that it is ready. ok is false where there is none.
func NotificationFD(dir int) (at int, ok bool, err error) { return number(dir, "notification-fd") }

// HasNotificationFD tells whether there may be a file notification-fd.
func HasNotificationFD(dir int) bool { return exists(dir, "notification-fd") }

func number(dir int, name string) (n int, ok bool, err error) {
	text, ok, err := line(dir, name)
	if !ok || err != nil {
		return 0, ok, err
	}
	if n, ok = parseNumber([]byte(text)); !ok {
		err = ErrNumber
	}
	return n, true, err
}

// HasLockFD tells whether there may be a file lock-fd.
func HasLockFD(dir int) bool { return exists(dir, "lock-fd") }

// parseNumber reads up to ten digits that end with the first line, or with the file.
func parseNumber(b []byte) (n int, ok bool) {
	for i, c := range b {
		switch {
		case c == '\n':
			return n, i > 0
		case c < '0' || c > '9' || i == 10:
			return 0, false
		}
		if n = n*10 + int(c-'0'); n > 1<<31-1 {
			return 0, false
		}
	}
	return n, len(b) > 0
}

// OpenServiceLock opens, below the directory of the state, the file that a service holds a lock on (s6.md, section 8).
// emptied says that there was something in it: an owner of the file who has other
// uses for it should know.
func OpenServiceLock(dir int) (fd int, emptied bool, err error) {
	fd, err = unix.Openat(dir, StateDirIn(dir)+"/service-lock",
		unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return -1, false, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = unix.EINVAL
	}
	if err == nil && st.Size > 0 {
		emptied, err = true, unix.Ftruncate(fd, 0)
	}
	if err != nil {
		unix.Close(fd)
		return -1, false, err
	}
	return fd, emptied, nil
}

// TryLock takes a record lock on the whole file, as s6 does, except that it belongs
// to the open file: whoever inherits that has it. EAGAIN means that somebody else
// has one.
func TryLock(fd int) error {
	err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	if err == unix.EACCES {
		return unix.EAGAIN
	}
	return err
}
