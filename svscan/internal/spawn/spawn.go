// Package spawn starts the processes of services: without a copy of the file
// descriptor table, of which a scanner has a large one; with exactly the
// descriptors meant for the child, default signal dispositions, an empty signal
// mask and the original limit of open files; and through a lane, so that an exec
// that hangs stops nobody else.
package spawn

import (
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/internal/fault"
	"upkeep/supervise/servicedir"
	"upkeep/svscan/internal/cgroup"
	"upkeep/svscan/internal/handoff"
	"upkeep/svscan/internal/lane"
	"upkeep/svscan/internal/reap"
)

// failedExit is the exit code of a child that could not execute its program.
const failedExit = 111

// hang is how long a start may take before another thread takes over.
const hang = 2 * time.Second

// patience is how long one may keep who helps, and who has other things to do.
const patience = 100 * time.Millisecond

// few starts are done one after the other by who releases them. More are left to
// the lanes, which do them at the same time.
const few = 3

// Program is an executable with its arguments, prepared for exec.
type Program struct {
	path *byte
	argv []*byte
	env  []*byte // nil: that of the spawner
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
	return &Program{path: p, argv: a}, nil
}

// With has a program be started with NAME=VALUE variables of its own, besides those of
// the spawner that have other names.
func (s *Spawner) With(p *Program, own []string) error {
	if len(own) == 0 {
		return nil
	}
	v, err := NewVars("", own...)
	if err == nil {
		p.env = v.over(s.env)
	}
	return err
}

// Owner is who a process is started for.
type Owner interface {
	reap.Owner
	// Started is told of the process before anybody can hear of its end. It must
	// neither block nor ask for anything; for that there is Proceed, right after.
	Started(pid int32, at time.Time)
	Proceed()
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
	Stderr  int // 0 inherits ours
	Notify  int // becomes NotifyAt in the child; -1 for none
	At      int
	Lock    *Passed // another, unless it is nil
	Sockets *Sockets
	Vars    *Vars // nil: none of its own
	Session bool  // setsid
	// Follow has the process be in a session and a group of its own, but lead neither, so
	// that it can still make one: who led them has ended.
	Follow bool
	Group  bool // setpgid
	// KillGroup has the process's group, which it must lead, killed when it ends.
	KillGroup bool
	// Leaf, unless it is nil, is the cgroup in which the process comes to life.
	Leaf *cgroup.Leaf
	// Journal, unless it is -1, is where the process writes Mark before it
	// executes the program. MarkLife and the pipes are the caller's.
	Journal int
	Mark    servicedir.Mark
	// Failed is, with StartFailed, the process that could not execute the program.
	Failed int32
	// Steps, unless it is nil, is for where Prepares is true.
	Steps *Steps

	node lane.Node[*Request]
}

// Passed is a descriptor that becomes At in the child.
type Passed struct{ FD, At int }

// extras is how many descriptors a process may get beside the standard ones.
const extras = 2

// lanes is how many starts are under way at a time. While one waits for its exec,
// the other's runs.
const lanes = 2

// Spawner starts processes.
//
// A child shares our table until it has what it needs of it, and then takes the
// few descriptors below top with it into one of its own. What becomes its standard
// descriptors has to be there, in slots that are reserved for that.
type Spawner struct {
	table   *reap.Table
	lanes   [lanes]lane.Lane[*Request, *child]
	next    atomic.Uint32
	env     []*byte
	limit   *unix.Rlimit
	ignored uint64
	handles bool // the inode of a pidfd has to be noted
	none    int  // what is in an empty slot
	top     int
	copying atomic.Bool           // every child gets a copy of the table
	spare   atomic.Pointer[child] // for who helps, while nobody does
	before  func()
	after   func()

	mu    sync.Mutex
	slots []slots
}

// slots are reserved descriptors, occupied by nothing while nobody uses them.
type slots [perStart]int

const (
	perStart = 2 + extras // of standard input, standard output, Notify and Lock
	// sets is more than there are lanes: a start that hangs keeps its own.
	sets = 2 * lanes
	// Slots is how many descriptors a Spawner occupies.
	Slots = perStart*sets + 1
)

// Options for New.
type Options struct {
	Env   []string
	Limit *unix.Rlimit // of open files, for children; nil leaves it
	// Copy gives every child a copy of the descriptor table, as where the kernel
	// offers no other way.
	Copy bool
	// Before and After, if set, are called around Proceed after a start that
	// Release did.
	Before, After func()
}

// New makes a spawner. It is to be called before the process opens any number of
// descriptors: children get a table that is as large as it is now.
func New(t *reap.Table, o Options) (*Spawner, error) {
	env, err := syscall.SlicePtrFromStrings(o.Env)
	if err != nil {
		return nil, fault.At("unable to pass on the environment", err)
	}
	s := &Spawner{
		table: t, env: env, limit: o.Limit, ignored: ignoredSignals(),
		handles: handoff.Handles() && !handoff.TellsStart(), slots: make([]slots, sets),
		before: o.Before, after: o.After,
	}
	s.copying.Store(o.Copy)
	if s.none, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		return nil, fault.At("unable to create eventfd", err)
	}
	for i := range s.slots {
		for j := range s.slots[i] {
			fd, err := unix.FcntlInt(uintptr(s.none), unix.F_DUPFD_CLOEXEC, 3)
			if err != nil {
				return nil, fault.At("unable to reserve descriptors", err)
			}
			s.slots[i][j] = fd
			s.top = max(s.top, fd+1)
		}
	}
	for i := range s.lanes {
		l := &s.lanes[i]
		l.Work = s.start
		l.Begin = func() *child { return new(child) }
		l.Limit, l.Patience = hang, patience
		l.Late = func(r *Request) { r.Owner.Slow() }
		l.Stuck = t.Relieve
		l.Start()
	}
	return s, nil
}

// Spawn starts a process some time soon and tells the owner. It never blocks.
func (s *Spawner) Spawn(r *Request) {
	r.node.Job = r
	s.lanes[s.next.Add(1)%lanes].Post(lane.Urgent, &r.node)
}

// Hold keeps starts waiting until Release, which does them by itself if they are
// few: who has seen a service die starts its successor in person.
func (s *Spawner) Hold() {
	for i := range s.lanes {
		s.lanes[i].Hold()
	}
}

// Release is described with Hold.
func (s *Spawner) Release() {
	// Who was relieved may come back and help once more beside who does now.
	c := s.spare.Swap(nil)
	if c == nil {
		c = &child{helps: true}
	}
	lane.Release(s.lanes[:], few, c)
	s.spare.Store(c)
}

// Pause waits until the starts under way are over, at most for d, and has no other
// begun until Resume.
func (s *Spawner) Pause(d time.Duration) {
	for i := range s.lanes {
		s.lanes[i].Pause(d)
	}
}

// Resume ends a Pause.
func (s *Spawner) Resume() {
	for i := range s.lanes {
		s.lanes[i].Resume()
	}
}

func (s *Spawner) reserve() (set slots, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.slots)
	if n == 0 {
		return set, false
	}
	set = s.slots[n-1]
	s.slots = s.slots[:n-1]
	return set, true
}

func (s *Spawner) giveBack(set slots) {
	s.mu.Lock()
	s.slots = append(s.slots, set)
	s.mu.Unlock()
}

// start does one request.
func (s *Spawner) start(c *child, r *Request) {
	at := time.Now()
	leaf := entrance{-1, -1}
	if r.Leaf != nil {
		if err := leaf.open(r.Leaf); err != nil {
			r.Owner.StartFailed(err, false, at)
			return
		}
		defer leaf.close()
	}
	set, ok := s.reserve()
	if ok {
		defer s.giveBack(set)
	}
	for {
		copying := !ok || s.copying.Load() || r.Sockets != nil || r.Stderr >= s.top
		*c = child{
			dir: r.Dir, fds: [3]int{r.Stdin, r.Stdout, r.Stderr}, extra: [extras]Passed{{r.Notify, r.At}, {-1, 0}},
			path: r.Program.path, argv: &r.Program.argv[0],
			limit: s.limit, ignored: s.ignored, session: r.Session, follow: r.Follow, group: r.Group,
			journal: r.Journal, mark: r.Mark, handles: s.handles, leaf: leaf,
			steps: r.Steps, helps: c.helps,
		}
		if r.Stderr == 0 {
			c.fds[2] = -1
		}
		if r.Lock != nil {
			c.extra[1] = *r.Lock
		}
		env := s.environ(r.Program)
		if r.Sockets != nil {
			c.sockets, c.pids[0], env = r.Sockets.fds, r.Sockets.vars.pid, r.Sockets.vars.over(env)
		}
		if r.Vars != nil {
			c.pids[1], env = r.Vars.pid, r.Vars.over(env)
		}
		c.env = &env[0]
		if c.journal >= 0 {
			c.mark[servicedir.MarkBefore] = handoff.Boottime()
		}
		if !copying {
			c.unshare = s.top
			if err := c.occupy(&set); err != nil {
				c.vacate(&set, s.none)
				r.Owner.StartFailed(err, false, at)
				return
			}
		}
		s.table.Begin()
		pid, errno := c.fork()
		if !copying {
			c.vacate(&set, s.none)
		}
		switch {
		case errno != 0:
			s.table.Abort()
			r.Owner.StartFailed(errno, false, at)
		case c.refused:
			// The kernel, or a seccomp filter, does not let a child have a
			// table of its own this way.
			s.table.Abort()
			s.copying.Store(true)
			continue
		case c.errno != 0:
			s.table.Abort()
			r.Failed = int32(pid)
			var err error = c.errno
			if c.step != StepExec {
				err = &StepError{c.step, c.errno}
			}
			r.Owner.StartFailed(err, !c.barred, at)
		default:
			// The request may be used again as soon as the owner knows.
			owner := r.Owner
			s.table.Register(int32(pid), owner, r.KillGroup, func() { owner.Started(int32(pid), at) })
			if c.helps && s.before != nil {
				s.before()
			}
			owner.Proceed()
			if c.helps && s.after != nil {
				s.after()
			}
		}
		return
	}
}

func (s *Spawner) environ(p *Program) []*byte {
	if p.env != nil {
		return p.env
	}
	return s.env
}

// entrance is what leads into a cgroup: descriptors, or -1.
type entrance struct {
	dir   int // for CLONE_INTO_CGROUP
	procs int // for a child that has to go in by itself
}

func (e *entrance) open(l *cgroup.Leaf) (err error) {
	if e.dir, err = l.Dir(); err != nil {
		return err
	}
	if e.procs, err = l.Procs(); err != nil {
		unix.Close(e.dir)
	}
	return err
}

func (e *entrance) close() {
	unix.Close(e.dir)
	unix.Close(e.procs)
}

// occupy puts what the child will need into slots.
func (c *child) occupy(set *slots) error {
	for i, fd := range [...]*int{&c.fds[0], &c.fds[1], &c.extra[0].FD, &c.extra[1].FD} {
		if *fd >= 0 {
			if err := unix.Dup3(*fd, set[i], unix.O_CLOEXEC); err != nil {
				return err
			}
			*fd = set[i]
			c.occupied[i] = true
		}
	}
	return nil
}

// vacate has the slots hold nothing again: a pipe in one would never end.
func (c *child) vacate(set *slots, none int) {
	for i, occupied := range c.occupied {
		if occupied {
			_ = unix.Dup3(none, set[i], unix.O_CLOEXEC)
			c.occupied[i] = false
		}
	}
}
