package svc

import (
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

// Look asks all that svstat asks of a service, in its order: whether it has a
// down file, whether it is supervised, and what the first bytes of its status
// file are. It fills raw and returns how many bytes there were, as ReadStatus
// does.
//
// It stops at the first error; they are those of Open, Down, OK and ReadStatus.
func Look(path, state string, raw []byte) (n int, down bool, err error) {
	if n, down, ok := glance(path, state, raw); ok {
		return n, down, nil
	}
	d, err := Open(path, state)
	if err != nil {
		return 0, false, err
	}
	defer d.Close()
	if down, err = d.Down(); err != nil {
		return 0, false, err
	}
	if err := d.OK(); err != nil {
		return 0, down, err
	}
	n, err = d.ReadStatus(raw)
	return n, down, err
}

// glance asks the same with as few and as cheap system calls as it can, which
// counts where svstat is asked for a thousand services: there is no descriptor
// of the service directory, and the names are put together in one buffer. If
// anything is wrong, ok is false: only Look can tell what it is.
func glance(path, state string, raw []byte) (n int, down, ok bool) {
	var name [1024]byte
	const longest = "/status\x00"
	if len(raw) < status.DaemontoolsSize || path == "" || state == "" || state[0] == '/' || len(path)+1+len(state)+len(longest) > len(name) ||
		strings.IndexByte(path, 0) >= 0 {
		return 0, false, false
	}
	end := copy(name[:], path)
	copy(name[end:], "/down\x00")
	_, _, errno := unix.RawSyscall(unix.SYS_FACCESSAT, cwd, uintptr(unsafe.Pointer(&name)), unix.F_OK)
	if down = errno == 0; !down && errno != unix.ENOENT {
		return 0, false, false
	}
	name[end] = '/'
	end += 1 + copy(name[end+1:], state)
	copy(name[end:], "/ok\x00")
	fd, errno := openRaw(&name[0], unix.O_WRONLY)
	if errno != 0 {
		return 0, false, false
	}
	closeRaw(fd)
	copy(name[end:], longest)
	if fd, errno = openRaw(&name[0], unix.O_RDONLY); errno != 0 {
		return 0, false, false
	}
	got, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&raw[0])), uintptr(len(raw)))
	closeRaw(fd)
	return int(got), down, errno == 0 && got >= status.DaemontoolsSize
}

// cwd is AT_FDCWD as an argument of a system call.
const cwd = ^uintptr(-unix.AT_FDCWD - 1)

// openRaw opens without telling the Go scheduler, which has nothing else to run
// in a client. name ends with a zero byte.
func openRaw(name *byte, flags uintptr) (fd uintptr, errno syscall.Errno) {
	fd, _, errno = unix.RawSyscall6(unix.SYS_OPENAT, cwd, uintptr(unsafe.Pointer(name)),
		flags|unix.O_NONBLOCK|unix.O_CLOEXEC, 0, 0, 0)
	return fd, errno
}

func closeRaw(fd uintptr) { _, _, _ = unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0) }
