package svscan

import (
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/internal/fault"
	"upkeep/supervise"
	"upkeep/supervise/servicedir"
	"upkeep/supervise/status"
	"upkeep/svscan/internal/anchor"
	"upkeep/svscan/internal/handoff"
	"upkeep/svscan/internal/keeper"
	"upkeep/svscan/internal/lane"
	"upkeep/svscan/internal/pump"
	"upkeep/svscan/internal/reap"
	"upkeep/svscan/internal/spawn"
	"upkeep/svscan/internal/watch"
)

// Config is what a personality wants of the scanner.
type Config struct {
	// Dir is the scan directory, or the service directory for Supervise.
	Dir string
	// StateDir, if set, is where all state is kept; nothing is written to the
	// definitions then. Otherwise it is below each of them.
	StateDir string
	// Dialect decides where the systems conflict.
	Dialect supervise.Dialect
	// Report gets what the operator should know, one at a time.
	Report func(Report)
	// Changed, if set, is told of every change of a service's state, after the
	// status file has it. It must not block.
	Changed func(service string, c supervise.Change)
	// Main, if not empty, names the service whose run is what the scanner is for:
	// when it ends, all the rest is stopped.
	Main string
	// Deadline is how long the stop of everything may take. 0 is ContainerDeadline
	// for PID 1, and NoDeadline for others.
	Deadline time.Duration
	// LogService, if it is there, is the service that reads what svscan and all others write.
	LogService string
	// StateName is what the state directories are called instead of supervise:
	// servicedir.SetStateDir.
	StateName string
	// Signals makes the process obey TERM, INT and HUP.
	Signals bool
	// Orders, if set, are the signals that it obeys instead, each in its way.
	Orders map[os.Signal]Order
	// Rescanned, if set, is called after each scan that OrderRescan asked for.
	Rescanned func()
	// Control, if set, is the directory below Dir with s6-svscan's FIFO and lock.
	Control string
	// Commanded has the scanner look for new directories, and for those that are gone, only
	// when it is told to, or every ScanEvery, if that is set.
	Commanded bool
	ScanEvery time.Duration
	// CatchAll is the name of the service that everybody writes to by a FIFO of its own: it
	// ends last, and when it wants. Console, if set, is what is written to by then.
	CatchAll string
	Console  int
	// One says that Dir is a single service directory: it is supervised with its log
	// service, both or neither, until it is told to exit.
	One bool
	// Heir says that this is who everything was left to (OrderBequeath): it begins nothing,
	// and returns when nothing of it is left.
	Heir bool
	// HeirStops has it stop everything at once.
	HeirStops bool
	// Heritage are the name and the arguments by which the heir is run.
	Heritage []string
	// Patient has nothing be killed, or told to end, for being slow, unless there is a
	// deadline.
	Patient bool
	// Sessions gives each process a session and a process group of its own, without
	// it leading them.
	Sessions bool
	// CopyTable has every child get a copy of the descriptor table, as where the
	// kernel offers no other way.
	CopyTable bool
	// Cgroups sees to it that nothing outlives any service, as a file cgroup does
	// for one.
	Cgroups bool
	// NoWatch polls instead of watching, as where inotify is refused.
	NoWatch bool

	strip func([]string) []string // of the environment, what services must not get
	jobs  bool                    // there are no service directories
}

// diskLimit is how long a write may take before the other services stop waiting
// for it.
const diskLimit = 2 * time.Second

// diskPatience is how long one may keep the reaper.
const diskPatience = 100 * time.Millisecond

// disks is how many units may be written for at the same time. A full boot is
// bound by the creation of files, which file systems do in parallel.
const disks = 2

// quick is how long a write may take if the reaper is not to leave the next one to
// others.
const quick = time.Millisecond

// few writes are done one after the other by the reaper.
const few = 3

// quiet is what text files wait for: nothing needs them at once, and at boot
// everything else should be done first.
const quiet = 50 * time.Millisecond

// fdReserve is how many descriptors are kept for the scanner itself and for the
// files that it opens and closes.
const fdReserve = 40 + spawn.Slots

// kernel is what all units share: the way to the outside.
type kernel struct {
	config Config
	policy supervise.Policy
	// logPolicy is that of log services.
	logPolicy supervise.Policy
	layout    status.Layout
	texts     textFiles
	began     time.Time
	offset    time.Duration // CLOCK_MONOTONIC at began
	world     servicedir.World
	fdLimit   int
	store     *servicedir.Store // nil: the state is in the definitions
	// deadline of the stop of everything, or 0
	deadline time.Duration
	anchor   *anchor.Client // nil: there is none
	stopping bool           // a former scanner was at it

	table   reap.Table
	spawner *spawn.Spawner
	pump    *pump.Pump
	dirs    *watch.Dirs  // nil: nothing is watched
	files   *watch.Files // that services depend on; nil: none; under mu
	disk    [disks]lane.Lane[*diskJob, *struct{}]
	reports *reporter
	run     *spawn.Program
	start   *spawn.Program
	stop    *spawn.Program

	logScript *spawn.Program
	jobs      *Jobs         // nil: services have directories
	alone     chan error    // for a service without a scanner: opened, then closed
	will      *handoff.Will // of the program that we were, if any
	manager   atomic.Pointer[manager]
	flushed   chan struct{} // answers of the disk lanes

	base lazyBase

	keeper   atomic.Pointer[keeper.Client]
	sockets  atomic.Pointer[sockets] // of a service that is supervised alone
	hub      hub
	logs     stillness
	logDisks map[uint64]*disk // by number; under mu
	scripts  scripts

	main atomic.Pointer[unit] // of Config.Main, once there is one

	mu        sync.Mutex
	units     []*unit // by token
	free      []uint32
	made      int           // units, so as to spread them over the disk lanes
	watched   map[int]*unit // by watch
	unwatched bool          // and said so
	polls     bool          // what services depend on, and said so
	uncaged   error         // why there was no cgroup, as it was reported
}

// textFiles says when runit's pid and stat are written.
type textFiles uint8

const (
	noTexts    textFiles = iota
	textsLater           // when there is nothing else to write
	textsFirst           // before status, as runsv
)

// unwatched is what the operator should know of where inotify is refused.
const unwatched = "service directories, changes are seen at the next scan"

// dirsToken is the pump's token for the watch on service directories.
const dirsToken = 1 << 32

// newKernel brings the fixed actors up. There is no way back: the reaper and the
// threads are there for the rest of the process's life.
func newKernel(c Config) (*kernel, error) {
	if c.StateName != "" {
		servicedir.SetStateDir(c.StateName)
	}
	k := &kernel{
		config:  c,
		policy:  supervise.PolicyFor(c.Dialect),
		began:   time.Now(),
		reports: newReporter(c.Report),
		watched: make(map[int]*unit),
		alone:   make(chan error, 2),
		flushed: make(chan struct{}, disks),
	}
	// Instants are those of CLOCK_MONOTONIC, so that they mean the same to who
	// takes over.
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return nil, fault.At("unable to get time", err)
	}
	if fd, stop, ok := anchor.FromEnv(); ok {
		k.anchor, k.stopping = anchor.Connect(fd), stop
	}
	if c.Patient {
		k.policy.ShutdownAfter, k.policy.DrainFor = 0, 0
	}
	if k.deadline = deadlineOf(c, k.first()); k.deadline > 0 {
		k.policy.Within(k.deadline)
	}
	k.logPolicy = k.policy.ForLogs()
	k.offset = time.Duration(now.Nano())
	// Before anything has a descriptor.
	k.will = inheritance(func(err error) {
		k.report(Warning, "", "read", "what was left by the program before the upgrade, finding it out", err)
	})
	if k.will != nil {
		k.table.Begin()
	}
	var err error
	if k.world, err = handoff.World(); err != nil {
		k.report(Warning, "", "read", handoff.BootID+", after a crash the clock has to do", err)
	}
	switch c.Dialect {
	case supervise.Common:
		k.layout, k.texts = status.Runit, textsLater
	case supervise.Runit:
		k.layout, k.texts = status.Runit, textsFirst
	case supervise.Encore:
		k.layout = status.EncoreLayout
	case supervise.S6:
		k.layout = status.S6
	}
	// More threads would only take memory: nothing here computes.
	runtime.GOMAXPROCS(min(runtime.GOMAXPROCS(0), 2))
	// A closed standard error must not kill us; an ignored SIGPIPE would be
	// inherited by every service, a handled one is not.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	closeOnExec()

	limit, err := spawn.OriginalLimit()
	if err != nil {
		return nil, fault.At("unable to get limit of open files", err)
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return nil, fault.At("unable to get limit of open files", err)
	}
	k.fdLimit = int(min(files.Cur, 1<<30))
	environ := anchor.Environ()
	if c.strip != nil {
		environ = c.strip(environ)
	}
	if k.spawner, err = spawn.New(&k.table, spawn.Options{
		Env: environ, Limit: limit, Copy: c.CopyTable, Before: k.holdDisk, After: k.releaseDisk,
	}); err != nil {
		return nil, err
	}
	if k.pump, err = pump.New(); err != nil {
		return nil, err
	}
	if !c.NoWatch && !c.jobs {
		if k.dirs, err = watch.NewDirs(); err == nil {
			err = k.pump.Add(k.dirs.FD, dirsToken)
		}
		if err != nil {
			k.report(Warning, "", "watch", unwatched, err)
			k.dirs = nil
		}
	}
	for _, p := range []struct {
		to   **spawn.Program
		name string
	}{{&k.run, "run"}, {&k.start, "start"}, {&k.stop, "stop"}, {&k.logScript, "log"}} {
		if *p.to, err = k.program(p.name); err != nil {
			return nil, err
		}
	}
	for i := range k.disk {
		l := &k.disk[i]
		l.Work = func(_ *struct{}, j *diskJob) {
			if j.unit == nil {
				k.flushed <- struct{}{}
				return
			}
			j.unit.write(j.level())
		}
		l.Begin = func() *struct{} { return nil }
		l.Limit, l.Quiet, l.Quick, l.Patience = diskLimit, quiet, quick, diskPatience
		l.Stuck = k.table.Relieve
		l.Start()
	}
	k.table.Before, k.table.After = k.hold, k.release
	go k.table.Run()         // until the process ends
	go k.pump.Run(k.deliver) // likewise
	if k.anchor != nil {
		if err := k.pump.Add(k.anchor.FD(), anchorToken); err != nil {
			return nil, err
		}
	}
	reserveThreads(keepThreads)
	return k, nil
}

// hold and release are around the deaths that the reaper tells of. If they are few,
// it does itself what follows from them, the start of the successors and the
// writing of their status: no other thread has to wake up.
//
// While it starts one it may be stuck, so nothing is held then.
func (k *kernel) hold() {
	k.spawner.Hold()
	k.holdDisk()
}

func (k *kernel) release() {
	k.releaseDisk()
	k.spawner.Release()
}

func (k *kernel) holdDisk() {
	for i := range k.disk {
		k.disk[i].Hold()
	}
}

func (k *kernel) releaseDisk() { lane.Release(k.disk[:], few, nil) }

// flush waits until what was to be written for the services by now has been, but no
// longer than a write may take. It may be called once.
func (k *kernel) flush() error {
	late := time.After(diskLimit)
	for i := range k.disk {
		j := new(diskJob)
		j.Job = j
		k.disk[i].Post(lane.Urgent, &j.Node)
	}
	for range k.disk {
		select {
		case <-k.flushed:
		case <-late:
			return errSlow
		}
	}
	return nil
}

// program is a script of a service directory with the arguments of the dialect.
func (k *kernel) program(name string, args ...string) (*spawn.Program, error) {
	path := "./" + name
	return spawn.NewProgram(path, append([]string{path}, args...)...)
}

// closeOnExec keeps descriptors that we were started with from the services.
func closeOnExec() {
	f, err := os.Open("/proc/self/fd")
	if err != nil {
		if unix.CloseRange(3, 1<<32-1, unix.CLOSE_RANGE_CLOEXEC) != nil {
			for fd := 3; fd < 1<<16; fd++ {
				unix.CloseOnExec(fd)
			}
		}
		return
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	for _, name := range names {
		if fd, err := strconv.Atoi(name); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

func (k *kernel) now() supervise.Instant { return k.instant(time.Now()) }

func (k *kernel) instant(t time.Time) supervise.Instant {
	return supervise.Instant{Mono: k.offset + t.Sub(k.began), Wall: t.UnixNano()}
}

// report is called in so many places that it would fill them.
//
//go:noinline
func (k *kernel) report(c Class, service, verb, object string, err error) {
	k.reports.post(Report{c, service, verb, object, err})
}

// deliver is the pump's: something can be read.
func (k *kernel) deliver(token uint64) {
	switch token {
	case dirsToken:
		k.dirs.Read(k.dirChanged)
		return
	case filesToken:
		k.watchFiles(false).Read(k.fileChanged)
		return
	case anchorToken:
		k.hearAnchor()
		return
	case pulseToken:
		if m := k.manager.Load(); m != nil {
			m.rung()
		}
		return
	}
	k.mu.Lock()
	var u *unit
	if i := token & (1<<32 - 1); i < uint64(len(k.units)) {
		u = k.units[i]
	}
	k.mu.Unlock()
	switch {
	case u == nil:
	case token&strangerToken != 0:
		u.strangerChanged()
	case token&leafToken != 0:
		u.leafChanged()
	case token&logToken != 0:
		if l := u.hasLogger(); l != nil {
			l.rouse()
		}
	case token&readyToken != 0:
		u.readReadiness()
	case token&notifyToken != 0:
		u.hear(false)
	default:
		u.PostControl()
	}
}

// dirChanged is the watch on service directories: something about name.
func (k *kernel) dirChanged(wd int, name []byte) {
	if wd < 0 {
		k.mu.Lock()
		all := append([]*unit(nil), k.units...)
		k.mu.Unlock()
		for _, u := range all {
			if u != nil {
				u.entryChanged("run")
				u.entryChanged("log")
				u.entryChanged("bounce")
				u.entryChanged("depends")
			}
		}
		return
	}
	k.mu.Lock()
	u := k.watched[wd]
	k.mu.Unlock()
	if u != nil {
		u.entryChanged(string(name))
	}
}

// attach gives a unit its token and its watches.
func (k *kernel) attach(u *unit) error {
	k.mu.Lock()
	if n := len(k.free); n > 0 {
		u.token = k.free[n-1]
		k.free = k.free[:n-1]
		k.units[u.token] = u
	} else {
		u.token = uint32(len(k.units))
		k.units = append(k.units, u)
	}
	k.mu.Unlock()
	if err := k.pump.Add(u.dir.Control, uint64(u.token)); err != nil {
		k.detach(u)
		return err
	}
	u.wd = -1
	if k.dirs != nil {
		k.mu.Lock()
		// Under the lock: the first event may come before the map has it.
		if wd, err := k.dirs.Add(u.dir.FD); err == nil {
			u.wd = int32(wd)
			k.watched[wd] = u
		} else if !k.unwatched {
			k.unwatched = true
			k.report(Warning, "", "watch", unwatched, err)
		}
		k.mu.Unlock()
	}
	return nil
}

func (k *kernel) detach(u *unit) {
	if files := k.watchFiles(false); files != nil {
		_ = files.Set(u.token, nil)
	}
	k.mu.Lock()
	k.units[u.token] = nil
	k.free = append(k.free, u.token)
	if u.wd >= 0 && k.dirs != nil {
		delete(k.watched, int(u.wd))
		k.dirs.Remove(int(u.wd))
	}
	k.mu.Unlock()
}
