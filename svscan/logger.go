package svscan

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/logwriter"
	"upkeep/supervise"
	"upkeep/supervise/servicedir"
	"upkeep/svscan/internal/spawn"
)

// logger is the log service of a directory log with a file multilog: instead of a
// process, the scanner itself writes the log, as multilog would with the script in that
// file. To the machine it is a process like any other, with the scanner's pid, that
// starts, obeys signals and ends.
//
// Nothing of it runs, and it has no buffers, unless there is something to be written.
type logger struct {
	u     *unit
	pid   int32
	turn  bool // it has its turn; who runs sets that
	feed  *logwriter.Feed
	again *time.Timer // looks at a line that comes too slowly; made when it is needed
	disk  *disk       // that it waits for its turn at

	mu      sync.Mutex
	kill    chan struct{}  // closed by a signal that ends it at once; made by who waits
	signal  syscall.Signal // that ends it at once, or 0
	begun   bool           // from here on it may be roused
	running bool           // its goroutine is at work
	roused  bool           // and there is more to be done
	paused  bool
	rotate  bool
	ends    bool
	gone    bool

	// The rest belongs to who runs.

	inside bool // it has its turn, and those at others, and the scanner is not to become another program
	writer *logwriter.Writer
	others []*disk // to write to as well, in the order in which turns are taken
	said   string  // the last warning
	last   time.Time
}

const (
	// logRetry is the time between two attempts at what failed, as in multilog.
	logRetry = 5 * time.Second
	// logBusy is how soon input has to follow on other input to be left to gather for
	// the time of logNap.
	logBusy = 2 * time.Millisecond
	logNap  = time.Millisecond
	// logLook is for a line that comes in more pieces than can be kept apart: the pipe
	// may be full, of which there is no notice.
	logLook = 500 * time.Millisecond
	// logLocks is how often a lock is tried that a child of ours may have until it
	// executes something, with lockPoll in between.
	logLocks = 25
)

// logToken is the pump's token for the log pipe of the unit in the low half.
const logToken = 32 << 32

// errKilled is what unwinds a writer that is stuck.
var errKilled = errors.New("killed")

// startLogger starts the writing instead of a process. It is called where the
// directory stays open.
func (u *unit) startLogger() {
	u.mu.Lock()
	u.starts++
	u.mu.Unlock()
	l := u.makeLogger()
	u.Append(supervise.Event{Kind: supervise.EvStarted, PID: l.pid, At: u.Now()})
	u.Proceed()
	l.run(false)
}

// resume goes on with the writing that a former scanner has left, or, with exec, the
// program that we were. m is what was saved of it.
func (l *logger) resume(m *supervise.Machine, exec bool) {
	l.mu.Lock()
	l.paused, l.ends = m.Paused, m.Stopped
	l.mu.Unlock()
	l.u.mu.Lock()
	l.u.starts++
	l.u.mu.Unlock()
	l.run(exec)
}

// run opens what there is to be opened, and then has it write. Somebody has counted
// it as a start: the directory stays open so long.
func (l *logger) run(resume bool) {
	l.disk = l.u.k.diskOf(servicedir.Device(l.u.dir.FD))
	l.disk.enter(func() {
		l.contain(func() {
			l.turn = true
			if !l.opened(resume) {
				l.release()
				l.end(supervise.Exited(exitFatal))
				return
			}
			l.release()
			l.settle()
			l.mu.Lock()
			l.begun, l.running = true, true
			l.mu.Unlock()
			l.disk.enter(l.work)
		})
	})
}

func (l *logger) opened(resume bool) bool {
	defer l.u.answered()
	return l.open(resume) == nil
}

// settle finds out where it has to wait for its turn.
func (l *logger) settle() {
	for i, dev := range l.writer.Devices() {
		if d := l.u.k.diskOf(dev); i == 0 {
			l.disk = d
		} else {
			l.others = append(l.others, d)
		}
	}
}

func (u *unit) makeLogger() *logger {
	l := &logger{u: u, pid: int32(os.Getpid()), feed: u.entry.ensureFeed()}
	u.mu.Lock()
	u.logger = l
	u.mu.Unlock()
	u.entry.scanner.post(message{kind: msgKeep, unit: u}) // if it is not kept already
	return l
}

func (u *unit) dropLogger(l *logger) {
	u.mu.Lock()
	if u.logger == l {
		u.logger = nil
	}
	u.mu.Unlock()
}

func (u *unit) hasLogger() *logger {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.logger
}

// contain keeps a panic from the others, and ends a writer that was killed.
func (l *logger) contain(f func()) {
	defer func() {
		switch r := recover(); r {
		case nil:
		case errKilled:
			l.release()
			l.fall()
		default:
			l.release()
			l.u.Panicked(r)
			if l.retire() && l.writer != nil {
				l.writer.Drop()
			}
			l.u.Break()
		}
	}()
	f()
}

// open reads the script and opens what it names. What is wrong is said once.
func (l *logger) open(resume bool) error {
	text, err := servicedir.LogScript(l.u.dir.FD)
	if err == unix.ENOENT {
		return err // it has just gone, which is no fault: the next start is one of run
	}
	var script logwriter.Multilog
	if err == nil {
		script, err = l.u.k.scripts.parse(text, l.u.k.config.Dialect == supervise.Encore)
	}
	if err != nil {
		l.complain("read", l.u.name()+"/"+servicedir.LogScriptName, err)
		return err
	}
	script.Resume = resume
	host := &logwriter.Host{Trouble: l.trouble, Process: l.process, Alert: func(b []byte) { _, _ = os.Stderr.Write(b) }}
	for try := 0; ; try++ {
		if l.writer, err = script.Open(l.u.dir.FD, host); err == nil {
			break
		}
		t, _ := errors.AsType[*logwriter.Trouble](err)
		if t.Step == logwriter.StepLock && t.Err == unix.EAGAIN && try < logLocks {
			time.Sleep(lockPoll)
			continue
		}
		l.complain(logwriter.MultilogFatal(t), "", t.Err)
		return err
	}
	l.u.logFault = ""
	return nil
}

func (l *logger) complain(verb, object string, err error) {
	if text := verb + object + err.Error(); l.u.logFault != text {
		l.u.logFault = text
		if object == "" {
			verb = l.u.name() + ": " + verb
		}
		l.u.k.report(Fatal, l.u.name(), verb, object, err)
	}
}

// rouse has it look for something to do.
func (l *logger) rouse() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rouseLocked()
}

func (l *logger) rouseLocked() {
	l.roused = true
	if l.begun && !l.running && !l.gone {
		l.running = true
		l.disk.enter(l.work)
	}
}

// take is a signal to it. As with multilog, TERM and ALRM mean something; HUP, which
// would end that, has the script read again as well. A line that has come in part is
// left for whoever reads next.
func (l *logger) take(sig syscall.Signal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch sig {
	case unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
		l.paused = true
		return
	case unix.SIGCONT:
		l.paused = false
	case unix.SIGALRM:
		l.rotate = true
	case unix.SIGTERM, unix.SIGHUP:
		l.ends = true
	case unix.SIGCHLD, unix.SIGURG, unix.SIGWINCH, 0:
		return
	default:
		if l.signal == 0 {
			l.signal = sig
			if l.kill != nil {
				close(l.kill)
			}
		}
	}
	l.rouseLocked()
}

// work writes until there is nothing to be written, or somebody else waits. It has its
// turn at the disk.
func (l *logger) work() {
	l.contain(func() {
		l.turn = true
		if l.write() {
			l.release()
			l.disk.enter(l.work)
		}
	})
}

// write tells whether it wants another turn. If not, it may be running again already.
func (l *logger) write() (again bool) {
	if time.Since(l.last) < logBusy {
		time.Sleep(logNap)
	}
	for {
		l.mu.Lock()
		l.roused = false
		paused, rotate, ends, signal := l.paused, l.rotate, l.ends, l.signal
		if signal != 0 {
			l.mu.Unlock()
			l.release()
			l.fall()
			return false
		}
		if paused {
			l.mu.Unlock()
			return l.rest(func() {})
		}
		l.rotate = false
		l.mu.Unlock()

		l.enter()
		if inject != nil {
			inject(l.u.name(), "log")
		}
		if rotate {
			l.writer.Rotate()
		}
		if ends && !l.writer.Inside() {
			l.writer.Close()
			l.release()
			l.end(0)
			return false
		}
		n, eof, err := l.feed.Step(l.writer, ends)
		if eof {
			l.writer.Close()
		}
		l.leave()
		l.said = "" // whatever it was is over
		switch {
		case err != nil:
			l.complain("read", "log pipe of "+l.u.entry.name, err)
			l.writer.Drop()
			l.release()
			l.end(supervise.Exited(exitFatal))
			return false
		case eof:
			l.release()
			l.end(0)
			return false
		case n > 0 && l.disk.wanted():
			return true
		case n > 0:
			continue
		}
		l.last = time.Now()
		return l.rest(func() {
			if l.feed.Left() {
				l.lookLater()
			} else if err := l.u.k.pump.Once(l.feed.Pipe, logToken|uint64(l.u.token)); err != nil {
				l.lookLater()
			}
		})
	}
}

// rest gives the turn back until there is something to do, of which arm sees to it
// that it is told. If there is already, it returns true.
func (l *logger) rest(arm func()) (again bool) {
	l.release()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.roused {
		return true
	}
	l.running = false
	arm()
	return false
}

// lookLater is for where nobody tells. l.mu is held.
func (l *logger) lookLater() {
	if l.again == nil {
		l.again = time.AfterFunc(logLook, l.rouse)
		return
	}
	l.again.Reset(logLook)
}

// fall is the end by a signal: all is left as it is.
func (l *logger) fall() {
	l.mu.Lock()
	sig := l.signal
	l.mu.Unlock()
	if l.writer != nil {
		l.writer.Drop()
	}
	l.end(supervise.WaitStatus(sig))
}

// retire has nothing come after, and tells whether this is the first time.
func (l *logger) retire() bool {
	l.mu.Lock()
	first := !l.gone
	l.gone, l.running = true, false
	if l.again != nil {
		l.again.Stop()
	}
	l.mu.Unlock()
	l.u.dropLogger(l)
	return first
}

// end tells the machine.
func (l *logger) end(st supervise.WaitStatus) {
	if l.retire() {
		l.u.Died(l.pid, uint32(st))
	}
}

// trouble says what is wrong, unless it has just said so, and waits. Meanwhile others
// may write to the same disk.
func (l *logger) trouble(t logwriter.Trouble) {
	text := logwriter.MultilogWarning(t)
	full := text
	if t.Err != nil {
		full += t.Err.Error()
	}
	if full != l.said {
		l.said = full
		l.u.k.report(Warning, l.u.name(), l.u.name()+": "+text+", pausing", "", t.Err)
	}
	back := l.stepAside()
	timer := time.NewTimer(logRetry)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.killed():
		panic(errKilled)
	}
	back()
}

// killed is closed by a signal that ends it at once.
func (l *logger) killed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kill == nil {
		l.kill = make(chan struct{})
		if l.signal != 0 {
			close(l.kill)
		}
	}
	return l.kill
}

// stepAside lets others write meanwhile, and back ends that.
func (l *logger) stepAside() (back func()) {
	inside := l.inside
	l.release()
	return func() {
		l.disk.wait()
		l.turn = true
		if inside {
			l.enter()
		}
	}
}

// process runs a processor.
func (l *logger) process(p logwriter.Processor) (status syscall.WaitStatus, step logwriter.Step, err error) {
	program, err := spawn.NewProgram("/bin/sh", "sh", "-c", p.Command)
	if err != nil {
		return 0, logwriter.StepFork, err
	}
	o := &processor{started: make(chan error, 1), died: make(chan uint32, 1)}
	o.request = spawn.Request{
		Owner: o, Program: program, Dir: p.Dir, Stdin: p.Stdin, Stdout: p.Stdout, Journal: -1,
		Notify: p.State, At: 4, Lock: &spawn.Passed{FD: p.NewState, At: 5},
	}
	back := l.stepAside()
	l.u.k.spawner.Spawn(&o.request)
	if err := <-o.started; err != nil {
		back()
		return 0, logwriter.StepFork, err
	}
	select {
	case st := <-o.died:
		back()
		return syscall.WaitStatus(st), 0, nil
	case <-l.killed():
		_ = l.u.k.table.Signal(o.pid, unix.SIGKILL, false)
		<-o.died
		panic(errKilled)
	}
}

// processor is who a processor is started for.
type processor struct {
	request spawn.Request
	pid     int32
	started chan error
	died    chan uint32
}

// Started implements spawn.Owner.
func (o *processor) Started(pid int32, _ time.Time) { o.pid = pid }

// Proceed implements spawn.Owner.
func (o *processor) Proceed() { o.started <- nil }

// StartFailed implements spawn.Owner.
func (o *processor) StartFailed(err error, _ bool, _ time.Time) { o.started <- err }

// Slow implements spawn.Owner.
func (o *processor) Slow() {}

// Died implements reap.Owner.
func (o *processor) Died(_ int32, status uint32) { o.died <- status }

// enter takes what it needs to write, beside its turn, and leave gives that back.
// release gives back the turn as well. What is not taken need not be given back.
func (l *logger) enter() {
	for _, d := range l.others {
		d.wait()
	}
	l.u.k.logs.enter()
	l.inside = true
}

func (l *logger) leave() {
	if !l.inside {
		return
	}
	l.inside = false
	l.u.k.logs.leave()
	for _, d := range l.others {
		d.leave()
	}
}

func (l *logger) release() {
	l.leave()
	if l.turn {
		l.turn = false
		l.disk.leave()
	}
}

// disk is a file system that logs are written to. A few writers at a time are all that
// it can do with; so if it hangs, it has no more of our threads and buffers than those,
// and the logs on other ones go on.
type disk struct {
	mu    sync.Mutex
	busy  int
	queue []func()
	moved time.Time   // when a turn was over, or given
	late  *time.Timer // made when it is needed
}

const (
	diskTurns = 4
	// turnPatience is for what waits behind others that are stuck: a log that was not
	// known to be on another disk.
	turnPatience = time.Second
)

// enter has f run on a goroutine of its own when it is its turn, which ends with leave.
func (d *disk) enter(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy < diskTurns {
		d.give(f)
		return
	}
	d.queue = append(d.queue, f)
	if len(d.queue) > 1 {
		return
	}
	if d.late == nil {
		d.late = time.AfterFunc(turnPatience, d.hurry)
	} else {
		d.late.Reset(turnPatience)
	}
}

// give begins a turn. d.mu is held.
func (d *disk) give(f func()) {
	d.busy++
	d.moved = time.Now()
	go f()
}

func (d *disk) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy--
	d.next(1)
}

// next gives turns to the first who wait. d.mu is held.
func (d *disk) next(n int) {
	for ; n > 0 && len(d.queue) > 0; n-- {
		f := d.queue[0]
		d.queue[0] = nil
		if d.queue = d.queue[1:]; len(d.queue) == 0 {
			d.queue = nil
		}
		d.give(f)
	}
}

func (d *disk) hurry() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue) == 0 {
		return
	}
	if time.Since(d.moved) >= turnPatience {
		d.next(diskTurns)
	}
	d.late.Reset(turnPatience)
}

// wait returns when it is the caller's turn.
func (d *disk) wait() {
	c := make(chan struct{})
	d.enter(func() { close(c) })
	<-c
}

// wanted tells whether somebody waits for a turn.
func (d *disk) wanted() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.queue) > 0
}

// diskOf is the one with the given number.
func (k *kernel) diskOf(dev uint64) *disk {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.logDisks[dev]
	if d == nil {
		if k.logDisks == nil {
			k.logDisks = make(map[uint64]*disk)
		}
		d = new(disk)
		k.logDisks[dev] = d
	}
	return d
}

// scripts keeps the last script: in many directories there is the same.
type scripts struct {
	mu    sync.Mutex
	text  string
	last  logwriter.Multilog
	known bool
}

func (s *scripts) parse(text []byte, encore bool) (logwriter.Multilog, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known && s.text == string(text) {
		return s.last, nil
	}
	words, err := logwriter.SplitScript(text)
	if err == nil {
		s.known, s.text, s.last = true, string(text), logwriter.ParseMultilog(words, encore)
	}
	return s.last, err
}

// stillness is for all writers at once: in between two blocks, or so that they stay
// there.
type stillness struct {
	mu      sync.Mutex
	writing int
	still   bool
	changed chan struct{} // closed at a change that somebody waits for, or nil
}

func (s *stillness) enter() {
	s.mu.Lock()
	for s.still {
		s.wait(nil)
	}
	s.writing++
	s.mu.Unlock()
}

func (s *stillness) leave() {
	s.mu.Lock()
	s.writing--
	s.tell()
	s.mu.Unlock()
}

// Pause returns when nobody writes, and nobody will until Resume; or when one takes
// too long: what that is at may be written again.
func (s *stillness) Pause(patience time.Duration) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.still = true
	for s.writing > 0 {
		if !s.wait(timer.C) {
			return
		}
	}
}

func (s *stillness) Resume() {
	s.mu.Lock()
	s.still = false
	s.tell()
	s.mu.Unlock()
}

// wait waits for a change. It is false if late comes first. s.mu is held.
func (s *stillness) wait(late <-chan time.Time) bool {
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	c := s.changed
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-c:
		return true
	case <-late:
		return false
	}
}

// tell is a change. s.mu is held.
func (s *stillness) tell() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}
