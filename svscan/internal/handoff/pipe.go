package handoff

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Pipe gets at the pipe that a process has as descriptor fd, if that is the one
// with the inode number given. r is a read end, w reads and writes. Both are new
// openings: nobody else's flags change. Where there is no /proc, only the end is
// had that the process has, and the other is -1. ended tells that nobody had the pipe
// for writing: who reads from it sees its end.
func (p *Process) Pipe(fd int, inode uint64) (r, w int, ended bool) {
	if inode == 0 {
		return -1, -1, false
	}
	path := "/proc/" + strconv.Itoa(int(p.PID)) + "/fd/" + strconv.Itoa(fd)
	r, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		// Of a pipe made by root the link cannot be followed by others, but the
		// descriptor can be had.
		return p.fetch(fd, inode)
	}
	if Inode(r) != inode || unix.SetNonblock(r, false) != nil {
		unix.Close(r)
		return -1, -1, false
	}
	ended = unwritten(r)
	w, err = Writer(r)
	if err != nil {
		unix.Close(r)
		return -1, -1, false
	}
	return r, w, ended
}

// Readiness opens, to read from it without waiting, the pipe that the process has as
// descriptor fd, if it has that both ways as a service gets it from a scanner; else it is -1.
func (p *Process) Readiness(fd int) int {
	proc := "/proc/" + strconv.Itoa(int(p.PID))
	info, err := os.ReadFile(proc + "/fdinfo/" + strconv.Itoa(fd))
	if err != nil {
		return -1
	}
	_, flags, _ := strings.Cut(string(info), "flags:\t")
	flags, _, _ = strings.Cut(flags, "\n")
	n, err := strconv.ParseUint(flags, 8, 32)
	if err != nil || n&unix.O_ACCMODE != unix.O_RDWR {
		return -1
	}
	path := proc + "/fd/" + strconv.Itoa(fd)
	if name, err := os.Readlink(path); err != nil || !strings.HasPrefix(name, "pipe:") {
		return -1
	}
	r, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return r
}

func unwritten(pipe int) bool {
	p := []unix.PollFd{{Fd: int32(pipe), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1 && p[0].Revents&unix.POLLHUP != 0
}

// fetch is the same by way of pidfd_getfd (Linux 5.6), which may be refused as
// well. It gives one end; the other is opened through it.
func (p *Process) fetch(fd int, inode uint64) (r, w int, ended bool) {
	if p.FD < 0 {
		return -1, -1, false
	}
	got, err := unix.PidfdGetfd(p.FD, fd, 0)
	if err != nil {
		return -1, -1, false
	}
	if Inode(got) != inode {
		unix.Close(got)
		return -1, -1, false
	}
	if r, err = reopen(got, unix.O_RDONLY); err == nil {
		unix.Close(got)
		ended = unwritten(r)
		if w, err = Writer(r); err != nil {
			unix.Close(r)
			return -1, -1, false
		}
		return r, w, ended
	}
	// A descriptor from there is close-on-exec, and has no flag that we would change.
	if mode, err := unix.FcntlInt(uintptr(got), unix.F_GETFL, 0); err == nil && mode&unix.O_ACCMODE == unix.O_RDONLY {
		return got, -1, unwritten(got)
	}
	return -1, got, false
}

// Writer opens the writing side of a pipe, for reading as well: who has it as
// standard output keeps what is in the pipe from being lost, and itself from a
// SIGPIPE, while neither a scanner nor a log service is there.
func Writer(pipe int) (int, error) { return reopen(pipe, unix.O_RDWR) }

// reopen makes a new opening of the pipe, which blocks as pipes do.
func reopen(pipe, mode int) (int, error) {
	fd, err := unix.Open("/proc/self/fd/"+strconv.Itoa(pipe), mode|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, false)
	}
	return fd, err
}

// Inode is the inode number of a pipe, or 0 if fd is none.
func Inode(fd int) uint64 {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return 0
	}
	return st.Ino
}
