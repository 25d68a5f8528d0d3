// Package spawn starts the processes of services: from a thread with a file
// descriptor table of its own, because a fork copies the parent's table and a
// scanner has thousands of descriptors; with exactly the descriptors meant for
// the child, default signal dispositions, an empty signal mask and the original
// limit of open files; and through a lane, so that an exec that hangs stops
// nobody else.
package spawn

import (
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/svscan/internal/lane"
	"upkeep/svscan/internal/reap"
)

// failedExit is the exit code of a child that could not execute its program.
const failedExit = 111

// hang is how long a start may take before another thread takes over.
const hang = 2 * time.Second

// Program is an executable with its arguments, prepared for exec.
type Program struct {
	path *byte
	argv []*byte
}

// NewProgram prepares a program. A path without a slash is not searched for.
func NewProgram(path string, argv ...string) (*Program, error) {
	p, err := syscall.BytePtrFromString(path)
	if err != nil {
		return nil, err
	}
	a, err := syscall.SlicePtrFromStrings(argv)
	if err != nil {
		return nil, err
	}
	return &Program{p, a}, nil
}

// Owner is who a process is started for.
type Owner interface {
	reap.Owner
	// Started is told of the process before anybody can hear of its end. It
	// must not block.
	Started(pid int32, at time.Time)
	// StartFailed is told that there is none: exec says that the program could
	// not be executed, else the kernel refused a process.
	StartFailed(err error, exec bool, at time.Time)
	// Slow is told that the start is taking long; its answer is still to come.
	Slow()
}

// Request is one process to start. Descriptors are those of the process; none of
// them may be closed, and the request not changed, before the answer.
type Request struct {
	Owner   Owner
	Program *Program
	Dir     int // working directory
	Stdin   int // -1 inherits ours, likewise Stdout
	Stdout  int
	Notify  int // becomes NotifyAt in the child; -1 for none
	At      int
	Session bool // setsid
	Group   bool // setpgid

	node lane.Node[*Request]
}

// lanes is how many starts are under way at a time. While one waits for its exec,
// the other's runs.
const lanes = 2

// Spawner starts processes.
type Spawner struct {
	table   *reap.Table
	lanes   [lanes]lane.Lane[*Request, *thread]
	next    atomic.Uint32
	env     []*byte
	limit   *unix.Rlimit
	ignored uint64
	top     uint // descriptors below belong to the runtime or were inherited
	private bool
}

// thread is what the worker of the lane has to itself.
type thread struct {
	self  int // pidfd of our process, or -1 when the table is shared
	child child
}

// Options for New.
type Options struct {
	Env   []string
	Limit *unix.Rlimit // of open files, for children; nil leaves it
	// Shared leaves the descriptor table shared, as where the kernel offers no
	// other way.
	Shared bool
}

// New makes a spawner. It is to be called before the process opens any number
// of descriptors, since each thread keeps a copy of what is open now.
func New(t *reap.Table, o Options) (*Spawner, error) {
	env, err := syscall.SlicePtrFromStrings(o.Env)
	if err != nil {
		return nil, fmt.Errorf("unable to pass on the environment: %w", err)
	}
	s := &Spawner{table: t, env: env, limit: o.Limit, ignored: ignoredSignals()}
	s.top, err = openPoller()
	if err != nil {
		return nil, err
	}
	s.private = !o.Shared && canFetch()
	for i := range s.lanes {
		l := &s.lanes[i]
		l.Work, l.Begin, l.Locked = s.start, s.begin, true
		l.Limit = hang
		l.Late = func(r *Request) { r.Owner.Slow() }
		l.Start()
	}
	return s, nil
}

// Spawn starts a process some time soon and tells the owner. It never blocks.
func (s *Spawner) Spawn(r *Request) {
	r.node.Job = r
	s.lanes[s.next.Add(1)%lanes].Post(lane.Urgent, &r.node)
}

// openPoller makes the runtime open its own epoll now: it may use that from any
// thread, so it has to be in the private tables as well. top is above it.
func openPoller() (top uint, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("unable to create pipe: %w", err)
	}
	defer r.Close()
	defer w.Close()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return 0, fmt.Errorf("unable to create eventfd: %w", err)
	}
	unix.Close(fd)
	return uint(fd), nil
}

// canFetch tells whether a thread can get at descriptors of the common table
// (pidfd_getfd, Linux 5.6; often refused in containers).
func canFetch() bool {
	self, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return false
	}
	defer unix.Close(self)
	fd, err := unix.PidfdGetfd(self, self, 0)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

// closeRangeUnshare is CLOSE_RANGE_UNSHARE (Linux 5.9).
const closeRangeUnshare = 2

// begin gives a new thread its private table.
func (s *Spawner) begin() *thread {
	t := &thread{self: -1}
	if !s.private {
		return t
	}
	if unix.CloseRange(s.top, math.MaxUint32, closeRangeUnshare) != nil {
		return t
	}
	if self, err := unix.PidfdOpen(os.Getpid(), 0); err == nil {
		t.self = self
	}
	return t
}

// fetch makes a descriptor of the common table usable on this thread; drop ends
// that.
func (t *thread) fetch(fd int) (int, error) {
	if fd < 0 || t.self < 0 {
		return fd, nil
	}
	return unix.PidfdGetfd(t.self, fd, 0)
}

func (t *thread) drop(fd int) {
	if fd >= 0 && t.self >= 0 {
		unix.Close(fd)
	}
}

func (s *Spawner) start(t *thread, r *Request) {
	c := &t.child
	*c = child{
		dir: -1, fds: [3]int{-1, -1, -1}, extra: -1, extraAt: r.At,
		path: r.Program.path, argv: &r.Program.argv[0], env: &s.env[0],
		limit: s.limit, ignored: s.ignored, session: r.Session, group: r.Group,
	}
	defer func() {
		t.drop(c.dir)
		t.drop(c.fds[0])
		t.drop(c.fds[1])
		t.drop(c.extra)
	}()
	at := time.Now()
	for _, f := range [...]struct {
		from int
		to   *int
	}{{r.Dir, &c.dir}, {r.Stdin, &c.fds[0]}, {r.Stdout, &c.fds[1]}, {r.Notify, &c.extra}} {
		fd, err := t.fetch(f.from)
		if err != nil {
			r.Owner.StartFailed(err, false, at)
			return
		}
		*f.to = fd
	}
	s.table.Begin()
	pid, errno := c.fork()
	switch {
	case errno != 0:
		s.table.Abort()
		r.Owner.StartFailed(errno, false, at)
	case c.errno != 0:
		s.table.Abort()
		r.Owner.StartFailed(c.errno, true, at)
	default:
		s.table.Register(int32(pid), r.Owner, func() { r.Owner.Started(int32(pid), at) })
	}
}
