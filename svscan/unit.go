package svscan

import (
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
	"upkeep/supervise/servicedir"
	"upkeep/supervise/status"
	"upkeep/svscan/internal/handoff"
	"upkeep/svscan/internal/lane"
	"upkeep/svscan/internal/spawn"
)

// unit is one supervised service directory: a supervise.Service and its edge.
// "web" and "web/log" are two.
type unit struct {
	supervise.Service
	k         *kernel
	entry     *entry // nil for a service that is supervised alone
	log       bool
	fresh     bool // appeared while we were looking; its files may still be coming
	reads     bool // what everybody writes: LogService
	builtin   bool // its logger is to write the log; under mu
	writes    bool // the start under way is its; likewise
	begun     bool // the first start was asked for; likewise
	bornDown  bool // it begins as with a file down
	endTries  int8
	lockTries int8
	letter    byte                   // whose control script is asked for
	label     atomic.Pointer[string] // as messages name it; follows a rename
	dir       *servicedir.Dir
	disk      *lane.Lane[*diskJob, *struct{}]
	token     uint32
	wd        int32
	stdin     int32
	// stdout changes when a log service appears later.
	stdout atomic.Int32
	// A process that a former scanner left behind, until it ends.
	stranger *handoff.Process
	left     *handoff.Unit // by the program that we were, until it is open
	pipe     atomic.Uint64 // inode of the log pipe, or 0
	cage     *cage         // where nothing may outlive the service; under mu
	lock     *serviceLock  // where it has lock-fd; likewise
	sockets  *sockets      // where it listens; likewise
	logger   *logger       // that writes the log instead of a process; likewise
	logFault string        // why it could not be opened, as it was reported
	// partner is the log service of a service, and the other way round.
	partner atomic.Pointer[unit]
	encore  *encoreUnit
	ext     *extension // where the directory has more to say; set under mu

	request *spawn.Request            // for run, finish and the like: one at a time; until it is answered
	timers  *timers                   // made when the first is armed
	faults  [supervise.Scripts]uint16 // error numbers why each could not be started last time, as it was reported
	inLine  atomic.Bool               // the scanner wants to know of the first start
	inGroup atomic.Bool               // no session of its own, whatever the policy says

	mu       sync.Mutex
	pending  jobs
	script   supervise.Script // being started, or running
	posted   [lane.Idle + 1]bool
	nodes    [lane.Idle + 1]diskJob
	writing  bool
	shown    bool // clients can see it
	busy     bool // run was being written at the last attempt
	again    jobs // what a timer has tried again
	failing  jobs // what could not be written, of which something was said
	state    supervise.Machine
	changes  []supervise.Change // to be told once state is written
	last     [status.MaxSize]byte
	lastLen  uint8
	stat     uint16 // what stat says, packed
	pid      uint32 // what pid says
	ordinal  uint32 // of the last announcement
	texted   bool
	starts   uint8                // requests that are not answered
	broken   bool                 // something panicked: to be taken over anew
	closing  bool                 // as soon as they are
	finishOf supervise.WaitStatus // what finish is told
}

func newUnit(k *kernel, e *entry, fd int, name string) *unit {
	u := &unit{k: k, entry: e, stdin: -1, wd: -1, dir: servicedir.New(fd)}
	u.stdout.Store(-1)
	u.setName(name)
	k.mu.Lock()
	u.disk = &k.disk[k.made%disks]
	k.made++
	k.mu.Unlock()
	return u
}

func (u *unit) name() string { return *u.label.Load() }

func (u *unit) setName(name string) {
	if old := u.label.Load(); old == nil || *old != name {
		u.label.Store(&name)
	}
}

// begin has the unit opened.
func (u *unit) begin() {
	u.mu.Lock()
	u.order(jobOpen)
	u.mu.Unlock()
}

// jobs is what is to be done for a unit where it may block.
type jobs uint16

const (
	jobOpen     jobs = 1 << iota
	jobStatus        // write the status file
	jobFacts         // look at the definition
	jobRunFacts      // and run changed
	jobFinish        // start finish, if it is there
	jobConsult       // run a control script, if it is there
	jobCheck         // see whether the FIFOs are still ours
	jobClose         // give everything up
	jobTexts         // write runit's text files
	jobEnd           // see how a process that is not our child has ended
	jobStart         // start a script that needs what is in the directory
	jobNeeds         // see whether they do
	jobLeaf          // see whether it is empty
	jobPolicy        // look at what makes the policy another
	jobDepends       // look at what the service depends on
	jobState         // only a name for what could not be written

	jobTally = jobEnd // likewise
	jobSaid  = jobNeeds

	urgentJobs = ^(jobOpen | jobTexts)
)

// diskJob has the worker do what is pending for a unit at one level. All lanes are of
// pointers, since the program has their code for each kind of job that is something else.
type diskJob struct {
	lane.Node[*diskJob]
	unit *unit // nil tells that all before it is done
}

func (j *diskJob) level() int {
	for level := range j.unit.nodes {
		if j == &j.unit.nodes[level] {
			return level
		}
	}
	panic("a job of nobody")
}

func (j jobs) level() int {
	switch j {
	case jobOpen:
		return lane.Bulk
	case jobTexts:
		return lane.Idle
	}
	return lane.Urgent
}

func (j jobs) at(level int) jobs {
	switch level {
	case lane.Bulk:
		return j & jobOpen
	case lane.Idle:
		return j & jobTexts
	}
	return j & urgentJobs
}

// order asks for a job. u.mu is held.
func (u *unit) order(j jobs) {
	u.pending |= j
	u.repost(j.level())
}

// repost puts the unit into the queue of a level, once. u.mu is held.
func (u *unit) repost(level int) {
	if !u.posted[level] && !u.writing {
		u.posted[level] = true
		j := &u.nodes[level]
		j.unit, j.Job = u, j
		u.disk.Post(level, &j.Node)
	}
}

// write does the pending jobs of a level. A unit is in one worker's hands at a
// time: what comes in meanwhile is queued again.
func (u *unit) write(level int) {
	u.mu.Lock()
	u.posted[level] = false
	if u.writing {
		u.mu.Unlock()
		return
	}
	todo := u.pending.at(level)
	if todo&jobTexts != 0 {
		todo |= u.pending & jobStatus // which nobody is to be told of sooner
	}
	u.pending &^= todo
	if u.broken {
		todo &= jobStatus | jobClose
	}
	if todo&jobClose != 0 && u.starts > 0 {
		todo &^= jobClose // what is used to start a process must not be closed
		u.closing = true
	}
	u.writing = true
	u.mu.Unlock()
	defer u.contain(todo)
	if inject != nil {
		inject(u.name(), "write")
	}

	if todo&jobOpen != 0 {
		u.open()
	}
	if todo&jobStatus != 0 {
		u.writeStatus()
	}
	if todo&jobPolicy != 0 {
		u.lookForPolicy()
		u.lookForNeeded()
	}
	if todo&jobDepends != 0 {
		u.lookAtDepends()
	}
	if todo&(jobFacts|jobRunFacts|jobPolicy|jobDepends) != 0 {
		u.Post(supervise.Event{Kind: supervise.EvFacts, Facts: u.facts(), Flag: todo&jobRunFacts != 0, At: u.Now()})
		u.mirror()
	}
	if todo&jobNeeds != 0 {
		u.lookForNeeds()
		u.lookForEvents()
	}
	if todo&jobConsult != 0 {
		u.startControl()
	}
	if todo&jobEnd != 0 {
		u.strangerEnded()
	}
	if todo&jobLeaf != 0 {
		u.clearLeaf()
	}
	if todo&jobStart != 0 {
		u.startPrepared()
	}
	if todo&jobFinish != 0 {
		u.startFinish()
	}
	if todo&jobCheck != 0 {
		u.mendFIFOs()
		u.mirror()
	}
	if todo&jobTexts != 0 {
		u.writeTexts()
	}
	if todo&jobClose != 0 {
		u.close()
		return // writing stays set: nothing may follow
	}
	u.mu.Lock()
	u.writing = false
	for level := lane.Urgent; level <= lane.Idle; level++ {
		if u.pending.at(level) != 0 {
			u.repost(level)
		}
	}
	u.mu.Unlock()
}

// open makes the state directory and sets the service going.
func (u *unit) open() {
	left := u.left
	u.left = nil
	if left != nil {
		u.dir = left.Keep()
		u.shown = left.OK >= 0
	} else {
		d, remade, err := u.k.store.Open(u.dir.FD, u.key())
		if err != nil && u.startsUp(err) {
			return
		}
		if err != nil {
			unix.Close(u.dir.FD)
			u.opened(err)
			return
		}
		u.dir = d
		u.reportRemade(remade)
		if err := u.leftElsewhere(); err != nil {
			d.Close()
			u.opened(err)
			return
		}
	}
	d := u.dir
	u.Init(u, u.policy()) // control bytes may be there at once
	if err := u.k.attach(u); err != nil {
		d.Close()
		u.opened(err)
		return
	}
	u.lookForNeeds()
	u.lookForPolicy()
	u.lookAtDepends()
	u.lookForNeeded()
	u.lookForEvents()
	if err := u.takeOver(left); err != nil {
		u.k.detach(u)
		d.Close()
		u.opened(err)
		return
	}
	u.opened(nil)
	if u.entry != nil && !u.log && u.stdout.Load() < 0 && servicedir.Logged(u.dir.FD) {
		u.entryChanged("log") // it came between the scan and the watch
	}
	if u.log && u.builtin { // which has a goroutine of its own while it writes
		u.RunLazily()
	} else {
		go u.Run() // ends with the machine: Closed
	}
	u.mirror() // before the status: a unit is in one worker's hands at a time
}

func (u *unit) reportRemade(r servicedir.Remade) {
	if r.Control {
		u.k.report(Warning, u.name(), "replaced "+u.name()+"/supervise/control, which was not our fifo", "", nil)
	}
	if r.OK {
		u.k.report(Warning, u.name(), "replaced "+u.name()+"/supervise/ok, which was not our fifo", "", nil)
	}
}

// check has the FIFOs looked at: clients of a replaced one talk to nobody.
func (u *unit) check() {
	u.mu.Lock()
	u.order(jobCheck | jobNeeds)
	if u.wd < 0 {
		u.order(jobPolicy | jobDepends)
	}
	u.mu.Unlock()
}

func (u *unit) mendFIFOs() {
	remade, err := u.dir.MendFIFOs()
	if err == nil && remade.Control {
		err = u.k.pump.Add(u.dir.Control, uint64(u.token))
	}
	if err != nil {
		u.k.report(Warning, u.name(), "replace", "fifos of "+u.name(), err)
	}
	u.reportRemade(remade)
}

// opened tells the scanner.
func (u *unit) opened(err error) {
	if u.entry != nil {
		u.entry.scanner.post(message{kind: msgOpened, unit: u, err: err})
		return
	}
	u.k.alone <- err
}

func (u *unit) facts() supervise.Facts {
	if u.isScriptLog() {
		return supervise.Facts{Down: servicedir.Facts(u.place()).Down}
	}
	f := servicedir.Facts(u.dir.FD)
	if u.policy().StartStopScripts {
		f = servicedir.EncoreFacts(u.dir.FD)
	}
	if u.wd < 0 && u.dir.Lock >= 0 {
		f.Finish, f.Controls = supervise.Unknown, supervise.Unknown
	}
	if x := u.ext; x != nil {
		f.Content, f.Lacking = x.content, x.lacking
	}
	f.Down = f.Down || u.bornDown
	return f
}

// entryChanged is the watch's: something about an entry of the directory.
func (u *unit) entryChanged(name string) {
	var j jobs
	switch name {
	case "run", "start":
		j = jobRunFacts
	case "finish", "stop", "control", "down", "once":
		j = jobFacts
	case "depends":
		j = jobDepends
	case servicedir.NeedsName:
		j = jobPolicy
	case "cgroup", "lock-fd", servicedir.ListenName, servicedir.LogScriptName, "notify", "no-setsid", servicedir.EventDir:
		j = jobNeeds
	case "notification-fd", servicedir.NotifyName:
		j = jobNeeds | jobPolicy
	case "log":
		if u.entry != nil && !u.log {
			u.entry.scanner.post(message{kind: msgScan})
		}
		return
	default:
		if !servicedir.SetsPolicy(name) {
			return
		}
		j = jobPolicy
	}
	u.mu.Lock()
	u.order(j)
	u.mu.Unlock()
}

// policy is that of the service, or of log services.
func (u *unit) policy() *supervise.Policy {
	if u.log {
		return &u.k.logPolicy
	}
	return &u.k.policy
}

// Now implements supervise.Port.
func (u *unit) Now() supervise.Instant { return u.k.now() }

// ReadControl implements supervise.Port.
func (u *unit) ReadControl() (byte, bool) {
	if inject != nil {
		inject(u.name(), "control")
	}
	var b [1]byte
	for {
		n, err := unix.Read(u.dir.Control, b[:])
		if err == unix.EINTR {
			continue
		}
		return b[0], n == 1
	}
}

// Spawn implements supervise.Port.
func (u *unit) Spawn(s supervise.Script, life uint32, last supervise.WaitStatus) {
	u.mu.Lock()
	u.script = s
	if u.writes = u.builtin && s == supervise.ScriptRun; u.writes {
		u.order(jobStart)
		u.mu.Unlock()
		return
	}
	if u.request == nil {
		u.request = new(spawn.Request)
	}
	u.request.Vars = nil
	u.request.Mark[servicedir.MarkLife] = uint64(s)<<32 | uint64(life)
	if s == supervise.ScriptFinish {
		u.finishOf = last
		u.order(jobFinish)
		u.mu.Unlock()
		return
	}
	u.mu.Unlock()
	first := u.entry != nil && !u.log && s != supervise.ScriptStop
	if !first || !u.entry.gate.hold(u) {
		u.start()
	}
}

// start starts a script other than finish.
func (u *unit) start() {
	u.mu.Lock()
	s := u.script
	u.request.Lock = nil
	if u.cage != nil || u.lock != nil || u.sockets != nil || u.ext != nil && (u.ext.ready != nil || u.ext.speaker != nil) {
		u.order(jobStart)
		u.mu.Unlock()
		return
	}
	if !u.begun && u.policy().ShowFirst {
		// What is started may look at once (daemontools.md, section 2.1).
		u.begun = true
		u.order(jobStatus | jobStart)
		u.mu.Unlock()
		return
	}
	u.mu.Unlock()
	u.spawn(u.request, u.programOf(s), u)
}

func (u *unit) programOf(s supervise.Script) *spawn.Program {
	if u.isScriptLog() {
		return u.k.logScript
	}
	if u.k.config.Dialect == supervise.S6 {
		if p, err := u.k.program("run", u.name()); err == nil {
			return p
		}
	}
	switch s {
	case supervise.ScriptStart:
		return u.k.start
	case supervise.ScriptStop:
		return u.k.stop
	}
	return u.k.run
}

func (u *unit) spawn(r *spawn.Request, p *spawn.Program, owner spawn.Owner) {
	u.mu.Lock()
	if u.broken && owner == spawn.Owner(u) {
		u.mu.Unlock()
		return // whoever takes over starts it
	}
	u.starts++
	u.mu.Unlock()
	r.Owner, r.Program, r.Dir = owner, p, u.place()
	r.Stdin, r.Stdout, r.Notify = int(u.stdin), int(u.stdout.Load()), -1
	r.Stderr = 0
	if owner == spawn.Owner(u) {
		r.Notify, r.At = u.notification()
	}
	if c := &u.k.config; c.Console > 0 && !u.log && u.name() == c.CatchAll {
		r.Stderr = c.Console
	}
	r.Journal = -1
	if owner == spawn.Owner(u) && u.dir.Journals() {
		r.Journal = u.dir.Lock
		r.Mark[servicedir.MarkStdin], r.Mark[servicedir.MarkStdout] = 0, 0
		if u.log || u.reads {
			r.Mark[servicedir.MarkStdin] = u.pipe.Load()
		} else {
			r.Mark[servicedir.MarkStdout] = u.pipe.Load()
		}
	}
	r.Session = u.policy().Session && !u.inGroup.Load()
	r.Follow = u.k.config.Sessions
	u.k.spawner.Spawn(r)
}

// startFinish starts finish with the arguments of runit or s6 (runit.md, section
// 1.6; s6.md, section 5.4).
func (u *unit) startFinish() {
	if !servicedir.Readable(u.dir.FD, "finish") {
		u.notStarted(nil, true, time.Now())
		return
	}
	u.mu.Lock()
	last := u.finishOf
	u.mu.Unlock()
	code, sig := last.Code(), int(last&0xff)
	if u.k.config.Dialect == supervise.S6 {
		sig = last.Signal()
		if last.Signalled() {
			code = 256
		}
	} else if !last.Signalled() {
		sig = 0
	}
	args := []string{strconv.Itoa(code), strconv.Itoa(sig)}
	if u.k.config.Dialect == supervise.S6 {
		args = append(args, u.name())
	}
	p, err := u.k.program("finish", args...)
	if err != nil {
		u.notStarted(err, true, time.Now())
		return
	}
	u.prepare()
	u.spawn(u.request, p, u)
}

// answered is the end of a start, one way or the other.
func (u *unit) answered() {
	u.mu.Lock()
	if u.starts--; u.starts == 0 && u.closing {
		u.order(jobClose)
	}
	u.mu.Unlock()
}

// dropRequest forgets the request that has been answered: most services run for days.
func (u *unit) dropRequest() {
	u.mu.Lock()
	u.request = nil
	u.mu.Unlock()
}

// Started implements spawn.Owner. Its Proceed is the service's.
func (u *unit) Started(pid int32, at time.Time) {
	u.dropRequest()
	u.answered()
	u.lockAnswered()
	u.Append(supervise.Event{Kind: supervise.EvStarted, PID: pid, At: u.k.instant(at)})
}

// StartFailed implements spawn.Owner.
func (u *unit) StartFailed(err error, exec bool, at time.Time) {
	if exec {
		u.notExecuted()
	}
	u.dropRequest()
	u.answered()
	u.notStarted(err, exec, at)
}

// notStarted has a script count as one that could not be started. A nil err is a
// finish that is not there.
func (u *unit) notStarted(err error, exec bool, at time.Time) {
	u.mu.Lock()
	s, coming := u.script, u.fresh || errors.Is(err, unix.ETXTBSY)
	u.mu.Unlock()
	if err != nil {
		u.reportStart(err, exec)
		u.noteUnfit(err)
	}
	u.lockAnswered()
	ev := supervise.Event{Kind: supervise.EvStartFailed, Exec: exec, At: u.k.instant(at)}
	if exec && !coming {
		ev.Status, ev.Final = supervise.Exited(exitFatal), u.final(s)
	}
	if u.log {
		u.entry.gate.open()
	}
	u.Post(ev)
	u.tellFinal(&ev)
}

// reportStart says why a start failed: once, until something else is wrong or it
// succeeded in between. In a directory that has just appeared, run may still be
// on its way: what the next attempt says counts.
func (u *unit) reportStart(err error, exec bool) {
	var errno syscall.Errno
	errors.As(err, &errno)
	number := uint16(errno)
	u.mu.Lock()
	defer u.mu.Unlock()
	fault := &u.faults[u.script]
	switch {
	case *fault == number:
		return
	case exec && u.fresh:
		u.fresh = false
		return
	case errno == unix.ETXTBSY && !u.busy:
		u.busy = true // it is just being written
		return
	}
	*fault = number
	if exec {
		u.k.report(Fatal, u.name(), "start", u.scriptPath(), err)
	} else {
		u.k.report(Warning, u.name(), "fork for", u.name(), err)
	}
}

// scriptPath names what is being started. u.mu is held.
func (u *unit) scriptPath() string {
	if u.isScriptLog() {
		return u.name()
	}
	return u.name() + "/" + u.script.Name()
}

// Slow implements spawn.Owner.
func (u *unit) Slow() {
	u.mu.Lock()
	path := u.scriptPath()
	u.mu.Unlock()
	u.k.report(Warning, u.name(), "starting "+path+" takes long", "", nil)
	u.Post(supervise.Event{Kind: supervise.EvSlow, At: u.Now()})
}

// Died implements reap.Owner.
func (u *unit) Died(pid int32, st uint32) {
	u.noteEnd(pid, supervise.WaitStatus(st))
	ev := u.died(pid, supervise.WaitStatus(st))
	if !u.hold(ev) {
		u.Append(ev)
		u.tellFinal(&ev)
		u.Proceed()
	}
}

// Signal implements supervise.Port.
func (u *unit) Signal(pid int32, sig syscall.Signal, group bool) {
	if l := u.hasLogger(); l != nil && pid == l.pid {
		l.take(sig)
		return
	}
	if sig == unix.SIGKILL && u.k.config.Dialect == supervise.S6 {
		u.tellFinishKilled()
	}
	if err := u.k.table.Signal(pid, sig, group); err != nil && err != unix.ESRCH {
		u.k.report(Warning, u.name(), "signal", u.name(), err)
	}
}

// Arm implements supervise.Port.
func (u *unit) Arm(t supervise.Timer, after time.Duration) {
	if t == supervise.TimerWatchdog {
		u.armWatchdog(after)
		return
	}
	arm(&u.timers, &u.Service, u.k, t, after)
}

// Disarm implements supervise.Port.
func (u *unit) Disarm(t supervise.Timer) { u.timers.disarm(t) }

// Announce implements supervise.Port.
func (u *unit) Announce(m *supervise.Machine) {
	u.mu.Lock()
	was := u.state
	u.state = *m
	u.note(&was, m)
	abandon := (m.Exiting || m.Want == status.WantDown) && u.abandonStart()
	if m.PID != 0 {
		u.faults[u.script], u.fresh, u.busy = 0, false, false
	}
	u.order(jobStatus)
	if u.k.texts == textsLater {
		u.order(jobTexts)
	}
	u.mu.Unlock()
	if m.Missed && !was.Missed && m.Life == was.Life {
		u.k.report(Warning, u.name(), u.name()+" gives no sign of life, aborting it", "", nil)
	}
	if abandon {
		u.notStarted(nil, false, time.Now())
	}
	u.announced(&was, m)
	if u.log {
		u.entry.gate.see(m)
	}
	if u.inLine.Load() {
		u.entry.scanner.post(message{kind: msgTurn})
	}
}

// abandonStart tells whether a start was waiting, and does not any more: it has to be
// answered. u.mu is held.
func (u *unit) abandonStart() bool {
	if u.entry != nil && u.entry.gate.abandon(u) {
		return true
	}
	return u.abandonLock()
}

// MarkDown implements supervise.Port.
func (u *unit) MarkDown(on bool) {
	if err := servicedir.SetDown(u.dir.FD, on); err != nil {
		u.k.report(Warning, u.name(), "change", u.name()+"/down", err)
	}
}

// inject, if a test sets it, may panic.
var inject func(service, where string)

// contain keeps a panic in the jobs of a unit from the others.
func (u *unit) contain(todo jobs) {
	r := recover()
	if r == nil {
		return
	}
	u.Panicked(r)
	if todo&jobOpen != 0 {
		u.dir.Close()
		u.opened(errPanic)
		return
	}
	u.mu.Lock()
	u.writing = false
	u.mu.Unlock()
	u.Break()
	if todo&jobClose != 0 { // nobody asks for that twice
		time.AfterFunc(closeRetry, func() {
			u.mu.Lock()
			u.order(jobClose)
			u.mu.Unlock()
		})
	}
}

const closeRetry = 100 * time.Millisecond

// errPanic is why a unit could not be opened, after more was said.
var errPanic = errors.New("internal error")

// Panicked implements supervise.Port.
func (u *unit) Panicked(reason any) {
	u.mu.Lock()
	u.broken = true
	u.mu.Unlock()
	u.k.report(Warning, u.name(), panicText(reason)+" (in "+u.name()+")", "", nil)
	if u.log {
		u.entry.gate.open()
	}
}

func panicText(reason any) string {
	const text = "internal error"
	switch r := reason.(type) {
	case error:
		return text + ": " + r.Error()
	case string:
		return text + ": " + r
	}
	return text
}

// Closed implements supervise.Port.
func (u *unit) Closed() {
	u.timers.disarmAll()
	u.mu.Lock()
	u.order(jobClose)
	u.mu.Unlock()
}

func (u *unit) close() {
	if u.broken {
		u.abandon()
		return
	}
	if u.k.texts == textsLater {
		u.writeTexts()
	}
	u.dropCage()
	u.dropLock()
	u.dropReadiness()
	u.dropSpeaker()
	u.k.detach(u)
	if x := u.k.sockets.Load(); u.entry == nil && x != nil {
		x.close()
	}
	_ = u.dir.Forget() // a process in it would be found dead
	if !u.lingers() {
		u.dir.Close()
	}
	u.over()
}

// lingers tells that it is the scanner who closes the directory: clients of runit see a
// service until its log service has ended, too.
func (u *unit) lingers() bool {
	return u.entry != nil && !u.log && u.k.config.Dialect == supervise.Runit
}

// over tells the scanner that nothing is left of the unit.
func (u *unit) over() {
	if u.entry != nil {
		u.entry.scanner.post(message{kind: msgClosed, unit: u})
		return
	}
	u.k.alone <- nil
}

// abandon gives a unit up so that another can take its process over, as after the
// end of a scanner. The directory itself stays open for that.
func (u *unit) abandon() {
	if u.entry != nil {
		u.entry.gate.abandon(u)
	}
	u.leaveCage()
	u.dropLock()
	u.dropReadiness()
	u.dropSpeaker()
	u.k.detach(u)
	u.k.table.Disown(u)
	if p := u.stranger; p != nil {
		u.k.table.Dismiss(p.PID)
		p.Close()
	}
	// By a descriptor that holds no lock.
	fd, err := unix.Openat(u.dir.FD, ".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	u.dir.Close()
	u.dir = servicedir.New(fd)
	if err != nil {
		u.k.report(Warning, u.name(), "open", u.name(), err)
		u.over()
		return
	}
	if l := u.hasLogger(); l != nil {
		l.take(unix.SIGKILL)
		go func() { // ends with what the logger is at
			for u.hasLogger() != nil {
				time.Sleep(lockPoll)
			}
			u.entry.scanner.post(message{kind: msgBroken, unit: u})
		}()
		return
	}
	if u.entry != nil {
		u.entry.scanner.post(message{kind: msgBroken, unit: u})
		return
	}
	u.k.alone <- errPanic
}

func (u *unit) writeStatus() {
	u.giveLock()
	u.listenReadiness()
	u.heed()
	u.mu.Lock()
	m, changes := u.state, u.changes
	u.changes = nil
	u.mu.Unlock()
	r, exiting := m.Record(u.policy()), m.Exiting
	u.wrote(jobState, "lock", u.dir.SaveState(&m, handoff.MarkOf))
	if u.k.texts == textsFirst {
		u.writeText(&r, exiting)
	}
	var buf [status.MaxSize]byte
	b := u.appendLog(r.Append(buf[:0], u.k.layout))
	if string(b) != string(u.last[:u.lastLen]) {
		err := u.dir.WriteStatus(b)
		if !u.shown {
			u.show()
		}
		u.lastLen = uint8(copy(u.last[:], b))
		if err != nil {
			u.lastLen = 0
		}
		u.wrote(jobStatus, "status", err)
	}
	if changes != nil || u.ext != nil {
		u.tell(changes)
		u.tellHub()
		u.tellSaid()
	}
}

// show lets clients see the service, whether or not its status could be written.
func (u *unit) show() {
	u.shown = true
	remade, err := u.dir.Show()
	if step, ok := errors.AsType[*servicedir.StepError](err); ok {
		u.k.report(Warning, u.name(), step.Verb, u.name()+"/"+step.File, step.Err)
	}
	u.reportRemade(remade)
}

func (u *unit) writeTexts() {
	u.mu.Lock()
	r, exiting := u.state.Record(u.policy()), u.state.Exiting
	u.mu.Unlock()
	u.writeText(&r, exiting)
}

// wrote says once what cannot be written, and has it tried again after a while:
// a full disk may be emptied. A directory that is gone stays so.
func (u *unit) wrote(j jobs, name string, err error) {
	if err == nil {
		u.failing &^= j
		return
	}
	if u.failing == 0 {
		u.k.report(Warning, u.name(), "write", u.name()+"/supervise/"+name, err)
	}
	u.failing |= j
	if errors.Is(err, unix.ENOENT) {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.again == 0 {
		time.AfterFunc(writeRetry, u.writeAgain)
	}
	u.again |= j
}

const writeRetry = time.Second

func (u *unit) writeAgain() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.again&(jobStatus|jobState|jobSaid) != 0 {
		u.order(jobStatus)
	}
	if u.again&jobTexts != 0 {
		u.order(jobTexts)
	}
	u.again = 0
}

// writeText brings pid and stat up to date, each only if it would change.
func (u *unit) writeText(r *status.Record, exiting bool) {
	var buf [64]byte
	name, err := "pid", error(nil)
	if !u.texted || u.pid != r.PID {
		err = u.dir.WritePID(r.AppendPID(buf[:0]))
		u.pid = r.PID
	}
	stat := uint16(r.Process) | uint16(r.Want)<<2
	for i, flag := range [...]bool{r.Paused, r.GotTerm, exiting} {
		if flag {
			stat |= 1 << (10 + i)
		}
	}
	if err == nil && (!u.texted || u.stat != stat) {
		name, err = "stat", u.dir.WriteStat(r.AppendStat(buf[:0], exiting))
		u.stat = stat
	}
	u.texted = err == nil
	u.wrote(jobTexts, name, err)
}
