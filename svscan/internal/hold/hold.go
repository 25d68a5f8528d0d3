// Package hold keeps signals away from a process while it becomes another program, and
// hands them to that.
//
// A mask does not do it: the Go runtime unblocks TERM, INT, HUP and QUIT when it
// starts, long before a program can ask for them, and dies of one that waits. So a
// child traces its parent over the exec, takes such signals out of its way and tells of
// them when the new program is ready. Where ptrace is refused, there is no hold, and
// nothing else changes.
package hold

import (
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What the two sides say, by a SOCK_STREAM socket: the holder says ready, is told to
// begin, says begun, or refused and ends. When the other end is shut for writing, it
// sends what it holds, a byte a signal, and ends.
const (
	ready   = 'r'
	begin   = 'b'
	begun   = 'h'
	refused = 'x'
)

// limit is how long signals are held at most. A program that does not know of the
// hold gets them then.
var limit = 10 * time.Second

// Hold traces the parent for who has the other end of the socket at descriptor fd and
// returns when that is over.
func Hold(fd int, signals ...syscall.Signal) {
	// It is the thread that traces.
	runtime.LockOSThread()
	conn := os.NewFile(uintptr(fd), "hold")
	defer conn.Close()
	h := holder{pid: os.Getppid(), held: signals}
	var b [1]byte
	if _, err := conn.Write([]byte{ready}); err != nil {
		return
	}
	if n, err := conn.Read(b[:]); n == 0 || err != nil {
		return
	}
	stops := make(chan os.Signal, 1)
	signal.Notify(stops, unix.SIGCHLD)
	if !h.seize() {
		_, _ = conn.Write([]byte{refused})
		return
	}
	if _, err := conn.Write([]byte{begun}); err != nil {
		return
	}
	released := make(chan struct{})
	go func() { // ends with the other end
		defer close(released)
		for {
			if n, err := conn.Read(b[:]); n == 0 || err != nil {
				return
			}
		}
	}()
	late := time.After(limit)
	for {
		h.look()
		select {
		case <-stops:
		case <-released:
			h.look()
			_, _ = conn.Write(h.taken)
			return // which ends the tracing
		case <-late:
			h.giveBack(stops)
			return
		}
	}
}

// holder traces one process.
type holder struct {
	pid   int
	held  []syscall.Signal
	taken []byte // in the order in which they came, each once
	pass  bool   // nothing is held any more
	given int    // signals that were delivered since
}

// seize begins to trace all threads; those that they make are traced from their
// beginning.
func (h *holder) seize() bool {
	tasks := "/proc/" + strconv.Itoa(h.pid) + "/task"
	ours := make(map[int]bool)
	for again := true; again; {
		again = false
		entries, err := os.ReadDir(tasks)
		if err != nil {
			return false
		}
		for _, e := range entries {
			tid, err := strconv.Atoi(e.Name())
			if err != nil || ours[tid] {
				continue
			}
			ours[tid], again = true, true
			_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(tid), 0,
				unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_TRACEEXEC, 0, 0)
			if errno != 0 && errno != unix.ESRCH && !traced(tasks+"/"+e.Name()) {
				return false
			}
		}
	}
	return len(ours) > 0
}

// traced tells whether the thread is traced by us already.
func traced(task string) bool {
	b, err := os.ReadFile(task + "/status")
	if err != nil {
		return true // it is gone
	}
	_, after, _ := strings.Cut(string(b), "\nTracerPid:\t")
	tracer, _, _ := strings.Cut(after, "\n")
	return tracer == strconv.Itoa(os.Getpid())
}

// look lets every thread go on that has stopped for us.
func (h *holder) look() {
	for {
		var status unix.WaitStatus
		tid, err := unix.Wait4(-1, &status, unix.WALL|unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if tid <= 0 || err != nil {
			return
		}
		if !status.Stopped() {
			continue
		}
		sig, request := status.StopSignal(), uintptr(unix.PTRACE_CONT)
		switch event := int(status) >> 16; {
		case event == unix.PTRACE_EVENT_STOP && sig != unix.SIGTRAP:
			request, sig = unix.PTRACE_LISTEN, 0 // it was told to stop, by another
		case event != 0:
			sig = 0
		case h.holds(sig):
			if h.pass {
				h.given++
				break
			}
			if strings.IndexByte(string(h.taken), byte(sig)) < 0 {
				h.taken = append(h.taken, byte(sig))
			}
			sig = 0
		}
		_, _, _ = unix.RawSyscall6(unix.SYS_PTRACE, request, uintptr(tid), 0, uintptr(sig), 0, 0)
	}
}

func (h *holder) holds(sig syscall.Signal) bool {
	for _, s := range h.held {
		if s == sig {
			return true
		}
	}
	return false
}

// giveBack delivers what is held to a process that has not asked for it.
func (h *holder) giveBack(stops <-chan os.Signal) {
	h.pass = true
	late := time.After(time.Second)
	for _, sig := range h.taken {
		_ = unix.Kill(h.pid, syscall.Signal(sig))
	}
	for h.given < len(h.taken) {
		h.look()
		select {
		case <-stops:
		case <-late:
			return
		}
	}
}

// Socket makes the two ends: one for the holder, one for who is held.
func Socket() (theirs, ours int, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	return p[0], p[1], err
}

// Ready waits until the holder has been started. It tells whether there is one.
func Ready(fd int, patience time.Duration) bool { return says(fd, patience, ready) }

// Begin has the signals held from its return on, if it returns true.
func Begin(fd int, patience time.Duration) bool {
	if _, err := unix.Write(fd, []byte{begin}); err != nil {
		return false
	}
	return says(fd, patience, begun)
}

func says(fd int, patience time.Duration, what byte) bool {
	var b [1]byte
	n, err := read(fd, time.Now().Add(patience), b[:])
	return n == 1 && err == nil && b[0] == what
}

// Release ends it and returns what was held. The descriptor is to be closed.
func Release(fd int, patience time.Duration) (signals []syscall.Signal) {
	if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
		return nil
	}
	until := time.Now().Add(patience)
	var b [64]byte
	for {
		n, err := read(fd, until, b[:])
		for _, sig := range b[:max(n, 0)] {
			signals = append(signals, syscall.Signal(sig))
		}
		if n <= 0 || err != nil {
			return signals
		}
	}
}

// read waits at most until then. The descriptor may be of a program that is about to
// end, or have just become another: so it is no os.File.
func read(fd int, until time.Time, b []byte) (int, error) {
	for {
		left := time.Until(until)
		if left <= 0 {
			return 0, unix.ETIMEDOUT
		}
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(ready, int(left.Milliseconds())+1)
		if err == unix.EINTR || err == nil && n == 0 {
			continue
		}
		if err != nil {
			return 0, err
		}
		n, err = unix.Read(fd, b)
		if err == unix.EINTR {
			continue
		}
		return n, err
	}
}
