package anchor

import (
	"errors"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"upkeep/internal/fault"
	"upkeep/svscan/internal/block"
	"upkeep/svscan/internal/handoff"
)

const (
	// pace is the shortest distance between two starts of the scanner.
	pace = time.Second
	// attempts is how often a scanner is started that never obeyed a signal.
	attempts = 3
	// settleAfter is how long after a start nothing more is to be done.
	settleAfter = 2 * time.Second
	// socketFD is the scanner's end in the scanner.
	socketFD = 3
	// What a scanner exits with that could not begin, and has said why.
	exitUsage, exitFatal = 100, 111
)

// ErrNeverUp: no scanner has come as far as to obey signals.
var ErrNeverUp = errors.New("it crashes")

// Config is what Run needs.
type Config struct {
	// Program is the path of what to execute. Where that does not work, it is what
	// we are.
	Program string
	// Args are the scanner's arguments, with its name.
	Args []string
	// Warn is told of crashes. It may block.
	Warn func(text string, err error)
	// Settled is called some time after each start.
	Settled func()
}

// anchor is the state of Run.
type anchor struct {
	config Config
	file   *os.File      // our end
	ours   int           // its descriptor
	theirs int           // the scanner's end
	child  chan struct{} // there is a child again; of size 1
	exit   chan result
	says   chan result   // what Warn is to be told; of some size
	work   chan struct{} // something is in the queue; of size 1

	mu       sync.Mutex
	scanner  int // its pid, or 0
	started  time.Time
	ends     int  // of scanners
	failed   int  // starts of scanners that were not ready, one after the other
	ready    bool // this one obeys signals
	everUp   bool
	stop     bool // everything is to be stopped, or is being stopped
	told     bool // and this scanner knows
	code     int  // what to exit with because main has ended, or -1
	left     bool // this one has said that it exits with leftCode
	leftCode int
	queue    []message // what the socket had no room for
}

type result struct {
	code int
	what string
	err  error
}

// Run starts the scanner, and again whenever it crashes, until it exits by its own
// will. The result is its exit code. With an error it could not be started, and of
// that nothing has been said.
func Run(c Config) (code int, err error) {
	a := &anchor{
		config: c, code: -1,
		child: make(chan struct{}, 1), work: make(chan struct{}, 1), exit: make(chan result, 1), says: make(chan result, 16),
	}
	// Orphans come to the nearest such ancestor; to PID 1 in any case.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil && os.Getpid() != 1 {
		return exitFatal, fault.At("unable to become subreaper", err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return exitFatal, fault.At("unable to create socket", err)
	}
	a.ours, a.theirs = pair[0], pair[1]
	a.file = os.NewFile(uintptr(a.ours), "scanner")
	conn, err := a.file.SyscallConn()
	if err != nil {
		return exitFatal, err
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	if os.Getpid() == 1 {
		// The runtime would end us.
		signal.Notify(make(chan os.Signal, 1), unix.SIGABRT, unix.SIGTRAP, unix.SIGSYS, unix.SIGSTKFLT)
	}
	a.mu.Lock()
	a.start()
	a.mu.Unlock()
	go func() { // until the process ends, as all of these
		for s := range a.says {
			c.Warn(s.what, s.err)
		}
	}()
	go a.reap()
	go a.listen(conn)
	go a.flush(conn)
	for {
		select {
		case s := <-signals:
			a.signalled(s.(syscall.Signal))
		case r := <-a.exit:
			return r.code, r.err
		}
	}
}

// start makes a scanner. a.mu is held.
func (a *anchor) start() {
	a.started = time.Now()
	a.ready, a.left, a.told = false, false, a.stop
	env := append(Environ(), format(socketFD, a.stop))
	attr := &syscall.ProcAttr{Env: env, Files: []uintptr{0, 1, 2, uintptr(a.theirs)}}
	pid, err := 0, error(unix.ENOEXEC)
	if a.failed == 0 || a.failed%2 == 1 { // every other time, if it does not become ready
		pid, err = syscall.ForkExec(a.config.Program, a.config.Args, attr)
	}
	if err != nil {
		pid, err = syscall.ForkExec("/proc/self/exe", a.config.Args, attr)
	}
	if err != nil {
		a.again("unable to start the scanner", err)
		return
	}
	a.scanner = pid
	time.AfterFunc(settleAfter, a.config.Settled)
	select {
	case a.child <- struct{}{}:
	default:
	}
}

// again starts another scanner in its time, unless there is no sense in it. a.mu is
// held.
func (a *anchor) again(what string, err error) {
	if a.failed++; !a.everUp && a.failed == attempts {
		if err == nil {
			err = ErrNeverUp
		}
		a.leave(exitFatal, fault.At(what, err))
		return
	}
	select {
	case a.says <- result{what: what + ", starting another", err: err}:
	default: // nobody reads what is said
	}
	time.AfterFunc(max(pace-time.Since(a.started), 0), func() {
		a.mu.Lock()
		a.start()
		a.mu.Unlock()
	})
}

func (a *anchor) leave(code int, err error) {
	select {
	case a.exit <- result{code: code, err: err}:
	default:
	}
}

// signalled passes a signal on. That everything is to be stopped is kept for a scanner
// to come.
func (a *anchor) signalled(s syscall.Signal) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s == unix.SIGTERM || s == unix.SIGINT {
		a.stop = true
	}
	if a.scanner == 0 || !a.ready {
		return
	}
	a.told = a.told || a.stop
	_ = unix.Kill(a.scanner, s) // it has not been reaped
}

// reap waits for children for ever. It does not reap while it waits, so that the lock
// is free and nothing is reaped without a report.
func (a *anchor) reap() {
	var info siginfo
	for {
		switch waitAny(&info, 0) {
		case unix.EINTR:
		case unix.ECHILD:
			<-a.child // only a scanner brings us others
		default:
			a.mu.Lock()
			a.bury()
			a.mu.Unlock()
		}
	}
}

// bury reaps all who are dead by now, and reports them. a.mu is held.
func (a *anchor) bury() {
	for {
		var info siginfo
		if waitAny(&info, unix.WNOHANG) != 0 || info.pid() == 0 {
			return
		}
		pid := info.pid()
		m := message{kind: died, pid: pid}
		tell := int(pid) != a.scanner && a.haveStrangers()
		if tell {
			m.start, m.handle = handoff.Identify(pid)
		}
		var status unix.WaitStatus
		if _, err := unix.Wait4(int(pid), &status, unix.WNOHANG, nil); err != nil {
			return
		}
		if int(pid) == a.scanner {
			a.ended(status)
		} else if tell {
			m.status = uint32(status)
			a.post(m)
		}
	}
}

// haveStrangers tells whether services may be our children. While the first scanner
// lives they are its own, and what comes to us are orphans of theirs, of no interest to
// anybody. a.mu is held.
func (a *anchor) haveStrangers() bool {
	if a.scanner == 0 || a.ends > 0 {
		return true
	}
	var info siginfo
	return wait(unix.P_PID, a.scanner, &info, unix.WNOHANG) == 0 && info.pid() != 0
}

// ended is the end of the scanner. a.mu is held.
func (a *anchor) ended(status unix.WaitStatus) {
	pid := a.scanner
	a.ends++
	a.scanner = 0 // nobody may signal it any more
	a.hear()      // its last words
	a.ready = false
	switch {
	case a.left && a.code >= 0:
		a.leave(a.code, nil)
	case a.left:
		a.leave(a.leftCode, nil)
	case !a.everUp && status.Exited() && (status.ExitStatus() == exitUsage || status.ExitStatus() == exitFatal):
		a.leave(status.ExitStatus(), nil)
	case status.Signaled():
		a.again("svscan "+strconv.Itoa(pid)+" was killed by signal "+strconv.Itoa(int(status.Signal())), nil)
	default:
		a.again("svscan "+strconv.Itoa(pid)+" crashed with exit code "+strconv.Itoa(status.ExitStatus()), nil)
	}
}

// listen hears the scanner.
func (a *anchor) listen(conn syscall.RawConn) {
	_ = conn.Read(func(uintptr) bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.hear()
		return false // for ever
	})
}

// hear takes in what the scanner has said. a.mu is held.
func (a *anchor) hear() {
	for {
		m, err := receive(a.ours)
		if err != nil {
			return
		}
		switch m.kind {
		case up:
			a.ready, a.everUp, a.failed = true, true, 0
			if a.stop && !a.told && a.scanner != 0 {
				a.told = true
				_ = unix.Kill(a.scanner, unix.SIGTERM)
			}
		case stopping:
			a.stop, a.told = true, true
			if m.status != noCode && a.code < 0 {
				a.code = int(m.status)
			}
		case leaving:
			a.left, a.leftCode = true, int(m.status)
		case ask:
			a.bury()
			a.post(message{kind: answer, serial: m.serial})
		}
	}
}

// post sends a message to the scanner, now or when there is room. a.mu is held.
func (a *anchor) post(m message) {
	if len(a.queue) == 0 && send(a.ours, &m) == nil {
		return
	}
	a.queue = append(a.queue, m)
	select {
	case a.work <- struct{}{}:
	default:
	}
}

// flush sends what is in the queue, whenever there is something.
func (a *anchor) flush(conn syscall.RawConn) {
	for range a.work {
		_ = conn.Write(func(uintptr) bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			for len(a.queue) > 0 {
				if send(a.ours, &a.queue[0]) != nil {
					return false
				}
				a.queue = a.queue[1:]
			}
			a.queue = nil
			return true
		})
	}
}

// siginfo is the kernel's siginfo_t.
type siginfo [128 / 8]uint64

// pid is si_pid, or 0 if there was nobody.
func (s *siginfo) pid() int32 {
	at := 3 // integers, and then padding where pointers have 64 bits
	if unsafe.Sizeof(uintptr(0)) == 8 {
		at = 4
	}
	return (*[32]int32)(unsafe.Pointer(s))[at]
}

// waitAny waits for any child to end and leaves it a zombie.
func waitAny(info *siginfo, options uintptr) syscall.Errno {
	return wait(unix.P_ALL, 0, info, options)
}

func wait(which uintptr, id int, info *siginfo, options uintptr) syscall.Errno {
	_, errno := block.Syscall(unix.SYS_WAITID, which, uintptr(id),
		uintptr(unsafe.Pointer(info)), unix.WEXITED|unix.WNOWAIT|options, 0, 0)
	return errno
}
