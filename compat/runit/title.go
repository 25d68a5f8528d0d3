package runit

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/compat/filters"
	"upkeep/supervise/status"
)

// Of the text that runsvdir's last argument begins with, that much stays (runit.md,
// section 2.4).
const (
	titleKeeps = 5
	titleLeast = 7
)

// titleTick is how often a dot is added, so that one sees how old the rest is.
const titleTick = 900 * time.Second

// serveTitle has the argument show what this process, and all that it starts, write
// to standard error from now on.
//
// Everybody has the pipe for reading as well, so that nobody gets SIGPIPE when
// this process becomes another program or is killed; and it does not block, so
// that nobody hangs if it is not read. Such a pipe is taken over by the program
// that this one becomes.
func serveTitle(arg string) error {
	pipe, err := titlePipe()
	if err != nil {
		return err
	}
	// The runtime's strings of the arguments are where the kernel has put them,
	// and where it looks when /proc/PID/cmdline is read.
	display := unsafe.Slice(unsafe.StringData(arg), len(arg))[titleKeeps:]
	filters.Scroll(display, []byte{'.'})
	go func() { // for the rest of the process's life
		ticker := time.Now().Add(titleTick)
		b := make([]byte, 1024)
		for {
			left := int(max(time.Until(ticker), 0) / time.Millisecond)
			p := []unix.PollFd{{Fd: int32(pipe), Events: unix.POLLIN}}
			if _, err := unix.Poll(p, left+1); err != nil && err != unix.EINTR {
				return
			}
			if n, _ := unix.Read(pipe, b); n > 0 {
				filters.Scroll(display, b[:n])
			}
			if !time.Now().Before(ticker) {
				filters.Scroll(display, []byte{'.'})
				ticker = time.Now().Add(titleTick)
			}
		}
	}()
	return nil
}

// titlePipe makes standard error a pipe, unless it is the one of the program before
// an upgrade, and returns its other end.
func titlePipe() (read int, err error) {
	const self = "/proc/self/fd/"
	var st unix.Stat_t
	mode, err := unix.FcntlInt(2, unix.F_GETFL, 0)
	if err == nil && mode&(unix.O_ACCMODE|unix.O_NONBLOCK) == unix.O_RDWR|unix.O_NONBLOCK &&
		unix.Fstat(2, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO {
		return open(self+"2", unix.O_RDONLY|unix.O_NONBLOCK, 0)
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return -1, err
	}
	both, err := open(self+string(status.AppendUint(nil, uint64(p[1]))), unix.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		both = p[1] // without /proc
	}
	err = unix.Dup3(both, 2, 0)
	unix.Close(p[1])
	if both != p[1] {
		unix.Close(both)
	}
	if err != nil {
		unix.Close(p[0])
		return -1, err
	}
	return p[0], nil
}

// titleOf tells whether an argument can be a title, and warns if it cannot.
func titleOf(env *cli.Env, prog, arg string) bool {
	if len(arg) >= titleLeast {
		return true
	}
	env.Warn(prog, "log must have at least seven characters.", nil)
	env.Warn(prog, "log service disabled.", nil)
	return false
}
