package svscan

import (
	"errors"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/logwriter"
	"upkeep/supervise"
	"upkeep/supervise/servicedir"
	"upkeep/svscan/internal/handoff"
	"upkeep/svscan/internal/keeper"
	"upkeep/svscan/internal/notify"
	"upkeep/svscan/internal/watch"
)

const (
	// pollEvery is the peers' interval: for file systems that cannot be watched,
	// and for whatever has to be tried again.
	pollEvery = 5 * time.Second
	// scanGap keeps a burst of changes from becoming a burst of scans. The first
	// change is looked at at once.
	scanGap = 10 * time.Millisecond
	// settleAfter is how long after the last new service a start counts as over.
	settleAfter = 2 * time.Second
)

// Scanner is the set of services of one scan directory. One goroutine, Run, owns
// it; everybody else posts messages.
type Scanner struct {
	k    *kernel
	box  *mailbox[message]
	tree *watch.Tree // nil: polled

	entries      map[servicedir.Identity]*entry
	names        map[string]string // what was said of names that are no services
	scanDir      servicedir.Identity
	serial       uint32
	scanned      time.Time
	stop         bool
	adopting     bool     // so far, only what a former scanner left behind is taken up
	inheriting   bool     // so far, only what the program that we were left is taken up
	upgrading    *upgrade // whose program is being checked
	program      string   // that we were started as
	home         *home
	control      *scanControl // nil: there is none
	caught       chan os.Signal
	fenced       atomic.Pointer[chan struct{}] // closed by fenceSignal
	opening      int                           // units that were started and did not answer yet
	full         bool                          // out of descriptors, and said so
	frail        bool                          // log pipes cannot be opened both ways, and said so
	promised     int                           // descriptors that units and pipes have or will have
	unread       string                        // what was said of the scan directory
	linked       map[string]*entry             // whom the names in the state directory lead to
	manager      *manager
	left         bool     // without stopping anything
	bequeathed   bool     // everything
	patience     int      // with what is being opened, before that
	rest         []string // what an heir is still to open
	fault        error    // why One could not begin
	keeping      keeping
	logService   *logService
	bornDown     map[string]bool // names under which what is met is not to be started
	needsWatcher *needsWatcher
	checks       checks
	waiters      []chan struct{} // for units to be opened, each closed once
	ending       ending
	line         []*entry // in the order of their ranks, as long as others wait for them

	settled *time.Timer // trims when no service was added for a while
	again   *time.Timer // the next scan that is due, if any
	at      time.Time   // and when
}

// entry is one directory of the scan directory, known by device and inode. Its
// name is the one met in the last scan.
type entry struct {
	scanner  *Scanner
	id       servicedir.Identity
	name     string
	seen     uint32
	present  bool
	stopping bool // with everything, and it was told so
	hungUp   bool // a HUP came while it was not present: it is to end
	ended    bool // nobody had the log pipe for writing when it was found
	main     slot
	log      slot
	pipe     [2]int // the log pipe, to read and to write to, or -1
	inode    uint64 // of the pipe

	// scriptAt is the service directory where the log service is encore's script, else 0.
	scriptAt int
	draining *draining // nil until somebody is waited for

	gate    gate
	feed    atomic.Pointer[logwriter.Feed] // of a log that the scanner writes itself
	rest    [2]int                         // the feed's second pipe, or -1; under the kernel's mu
	lingers *servicedir.Dir                // of the service, which has ended, until its log service has, too
	extra   int                            // descriptors that it takes
	place   *place                         // in the order of first starts; nil: none
	mirror  *mirror
	sockets atomic.Pointer[sockets]
}

// slot is one of the two units of an entry.
type slot struct {
	unit    *unit // opening or running
	up      bool  // running: it takes events
	closed  bool  // it left; after the time of retry it may come again
	back    bool  // of main: the directory is there again, and nothing may be left of what was before
	trouble *trouble
}

// trouble is what most slots never have.
type trouble struct {
	fault error // why the unit could not be opened, last time
	retry time.Time
	broke time.Time // when it last panicked
}

func (x *slot) ensureTrouble() *trouble {
	if x.trouble == nil {
		x.trouble = new(trouble)
	}
	return x.trouble
}

// retry is when the unit may be opened, if it is not yet time; else it is zero.
func (x *slot) retry() time.Time {
	if x.trouble == nil {
		return time.Time{}
	}
	return x.trouble.retry
}

func (x *slot) putOff(to time.Time) { x.ensureTrouble().retry = to }

func (x *slot) fault() error {
	if x.trouble == nil {
		return nil
	}
	return x.trouble.fault
}

// fails notes why the unit could not be opened, and whether that is new.
func (x *slot) fails(err error) (anew bool) {
	old := x.fault()
	x.ensureTrouble().fault = err
	return old == nil || old.Error() != err.Error()
}

// well is after the unit was opened.
func (x *slot) well() {
	if x.trouble != nil {
		x.trouble = &trouble{broke: x.trouble.broke}
	}
}

// message is what the scanner is told.
type message struct {
	kind    messageKind
	unit    *unit
	err     error
	upgrade *upgrade
	keeper  *keeper.Client
	code    int
	stop    bool
	letter  byte
	call    func()
}

type messageKind uint8

const (
	msgScan      messageKind = iota // something changed
	msgCall                         // do call
	msgOpened                       // unit is open, or err says why not
	msgClosed                       // unit is over
	msgHangup                       // scan, and drop what is gone
	msgStop                         // stop everything and return
	msgBroken                       // unit panicked and is to be made anew
	msgUpgrade                      // become a new program
	msgChecked                      // the new program was tried
	msgLeave                        // return, and leave everything running
	msgPulse                        // answer
	msgOverdue                      // a service takes long to open
	msgKeeper                       // the keeper of log pipes is gone
	msgKeepAgain                    // another one is to be made
	msgKeep                         // a log is written by the scanner itself from now on
	msgMain                         // main has ended with code: stop everything as well
	msgDeadline                     // that takes long
	msgDrain                        // see whether a script log has read everything
	msgControl                      // obey a letter for the one service
	msgCommand                      // obey a letter for the scanner
	msgInterrupt                    // interrupt the one service and return
	msgBequeath                     // leave everything to a process of its own
	msgTurn                         // a service has come further whose first start others wait for
)

// matters tells whether a message is about more than what can be found out again.
func (m message) matters() bool {
	switch m.kind {
	case msgHangup, msgStop, msgLeave, msgMain, msgDeadline, msgControl, msgBequeath, msgCommand, msgInterrupt:
		return true
	}
	return false
}

// New prepares a scanner. Only one may be made in a process: it becomes the
// process's reaper.
func New(c Config) (*Scanner, error) {
	// First, since a program that others become must not die of what they would
	// have obeyed.
	caught := catch(&c)
	for _, sig := range inheritHold() {
		caught <- sig // as many as there are kinds, for which there is room twice
	}
	store, err := openStore(c)
	if err != nil {
		return nil, err
	}
	var environ []string
	if !c.One { // which is no service manager's
		environ, c.strip = os.Environ(), notify.Strip
	}
	k, err := newKernel(c)
	if err != nil {
		return nil, err
	}
	k.store = store
	manager := newManager(k, environ)
	k.manager.Store(manager)
	s := &Scanner{
		manager: manager,
		k:       k, box: newMailbox[message](),
		entries:  make(map[servicedir.Identity]*entry),
		bornDown: make(map[string]bool),
		names:    make(map[string]string),
		ending:   ending{deadline: k.deadline},
		program:  programPath(),
		caught:   caught,
		linked:   make(map[string]*entry),
	}
	return s, s.openScanControl()
}

// Stop begins the orderly shutdown; Run returns when it is over. Rescan looks at
// the directory now and stops the services whose directories are gone.
func (s *Scanner) Stop()   { s.post(message{kind: msgStop}) }
func (s *Scanner) Rescan() { s.post(message{kind: msgHangup}) }

func (s *Scanner) post(m message) { s.box.post(m) }

// Run supervises until it is told to stop, or Config.Main has ended, and everything
// is down. It returns what to exit with: main's exit code, 128+n if signal n ended
// it, 111 if it could not be executed, was not there or nobody saw its end; without
// Main, or if that never ran, 0.
func (s *Scanner) Run() (code int) {
	// The heap is small and grows once: no collection in the middle of it.
	debug.SetGCPercent(400)
	s.watch()
	if s.k.config.caughtAny() {
		stop := s.signals()
		defer stop()
	}
	defer s.manager.begin(s)()
	s.k.anchor.Up()
	s.openLogService()
	s.serveControl()
	if s.k.will != nil {
		s.inherit(s.k.will)
		s.k.will = nil
	}
	if s.k.config.HeirStops {
		s.shutdown()
	}
	s.scan()
	s.tell()
	if s.k.stopping && (s.opening == 0 || !s.adopting) {
		s.shutdown()
	}
	s.settled = time.AfterFunc(settleAfter, func() {
		s.k.anchor.Settle()
		debug.SetGCPercent(50)
		trim()
	})
	defer s.settled.Stop()
	for !s.left && (!s.stop && !s.k.config.Heir || len(s.entries) > 0) {
		<-s.box.wake
		scan := false
		for _, m := range s.box.take() {
			scan = s.handle(m) || scan
		}
		if scan && !s.stop {
			s.scanSoon()
		}
		s.tell()
	}
	if s.bequeathed {
		return s.ending.code // and touch nothing that is another's
	}
	if s.left {
		s.leave()
		s.tellLeaving()
	}
	s.endChecks()
	s.leaveKeeper()
	s.k.hub.close()
	if s.home != nil {
		s.home.close()
	}
	if s.tree != nil {
		s.tree.Close()
	}
	for _, t := range []*time.Timer{s.again, s.ending.timer} {
		if t != nil {
			t.Stop()
		}
	}
	if s.control != nil {
		s.control.file.Close()
		unix.Close(s.control.lock)
	}
	s.k.reports.flush()
	s.k.anchor.Leaving(s.ending.code)
	return s.ending.code
}

func (s *Scanner) watch() {
	dir := s.k.config.Dir
	if s.k.config.NoWatch || s.k.config.Commanded || s.k.config.One || s.k.config.Heir || watch.Remote(dir) {
		return
	}
	tree, err := watch.NewTree(dir, func() { s.post(message{kind: msgScan}) })
	if err != nil {
		s.k.report(Warning, "", "watch", dir+", scanning every 5 seconds", errors.Unwrap(err))
		return
	}
	s.tree = tree
}

func (s *Scanner) handle(m message) (scan bool) {
	switch m.kind {
	case msgScan:
		return true
	case msgCall:
		m.call()
	case msgHangup:
		s.hangup()
		if f := s.k.config.Rescanned; f != nil {
			f()
		}
	case msgOpened:
		s.opened(m.unit, m.err)
	case msgClosed:
		s.closed(m.unit)
	case msgBroken:
		s.remake(m.unit)
	case msgStop:
		s.ending.code = max(s.ending.code, m.code)
		s.shutdown()
	case msgMain:
		s.mainEnded(m.code)
	case msgDeadline:
		s.hurry()
	case msgUpgrade:
		s.beginUpgrade(m.upgrade)
	case msgChecked:
		s.finishUpgrade(m.upgrade)
	case msgLeave:
		s.left = true
	case msgDrain:
		s.drained(m.unit)
	case msgControl:
		s.controlOne(m.letter)
	case msgCommand:
		s.command(m.letter)
	case msgInterrupt:
		s.interrupt()
		s.left = true
	case msgBequeath:
		s.bequeath(m.stop)
	case msgTurn:
		s.moveUp()
	case msgKeeper:
		s.keeperGone(m.keeper)
	case msgKeep:
		s.keepPipe(m.unit.entry)
		s.keepSockets(m.unit.entry)
	case msgKeepAgain:
		s.keepAgain()
	case msgPulse:
		s.manager.answer()
	case msgOverdue:
		s.manager.late = true
	}
	return false
}

// scanSoon scans now, or when the last scan is scanGap ago.
func (s *Scanner) scanSoon() {
	if d := scanGap - time.Since(s.scanned); d > 0 {
		s.scanAt(time.Now().Add(d))
		return
	}
	s.scan()
}

// scanAt sees to it that there is a scan no later than t.
func (s *Scanner) scanAt(t time.Time) {
	if s.at.Before(t) && s.at.After(time.Now()) {
		return
	} // else the timer has fired, if there was one
	s.at = t
	if s.again == nil {
		s.again = time.AfterFunc(time.Until(t), func() { s.post(message{kind: msgScan}) })
		return
	}
	s.again.Reset(time.Until(t))
}

// scan is one pass over the scan directory.
//
// The first has two halves: what still runs is taken over before anything is
// started.
func (s *Scanner) scan() {
	first := s.scanned.IsZero() || s.adopting
	s.adopting = s.scanned.IsZero()
	s.at = time.Time{}
	s.serial++
	defer func() {
		s.scanned = time.Now()
		s.wakeWaiters()
	}()
	switch {
	case s.k.config.One:
		s.scanOne()
		return
	case s.k.config.Heir:
		s.adopting = false
		return
	}
	partial := s.partial(first)
	if s.tree == nil && !s.k.config.Commanded {
		s.scanAt(time.Now().Add(pollEvery))
	}
	dir, names, err := s.read()
	if err != nil {
		if text := err.Error(); text != s.unread {
			s.unread = text
			s.k.report(Warning, "", "read", "directory "+s.k.config.Dir, rootCause(err))
		}
		s.scanAt(time.Now().Add(pollEvery))
		return // what runs stays: the directory may come back
	}
	s.unread = ""
	defer dir.Close()
	if s.home == nil {
		s.home = openHome(s.k.home())
	}
	if s.home != nil && s.home.file == nil {
		s.home.serve(s)
	}
	s.seekKeeper()
	fd := int(dir.Fd())
	said := make(map[string]string)
	if s.logService != nil {
		s.look(fd, s.k.config.LogService, first, partial, said)
	}
	for _, name := range names {
		if name[0] != '.' {
			s.look(fd, name, first, partial, said)
		}
	}
	s.names = said
	for _, e := range s.entries {
		if e.seen != s.serial && e.present && !partial {
			e.present = false
			e.tell(supervise.EvRemoved)
		}
		s.drop(e)
	}
	s.mirrorAll(first && !s.adopting)
	switch {
	case !s.adopting:
		s.seekMain()
		s.moveUp()
		s.weighAll()
	case s.opening == 0:
		s.scanned = time.Now()
		s.adopted()
	}
}

// adopted is when what a former scanner left behind has been taken over: the rest is
// started, unless that scanner was about to stop everything.
func (s *Scanner) adopted() {
	if s.k.stopping {
		s.shutdown()
		return
	}
	s.scan()
}

// leftBehind tells whether a process of a former scanner runs for a service or its
// log service.
func (s *Scanner) leftBehind(scanDir int, name string) bool {
	key := ""
	for _, sub := range [...]string{"", "/log", "/" + servicedir.LogHome} {
		if sub == "/"+servicedir.LogHome && s.k.config.Dialect != supervise.Encore {
			continue
		}
		fd, err := s.openLeft(scanDir, name, sub)
		if err != nil {
			continue
		}
		if s.k.store != nil && key == "" {
			key, _ = servicedir.Key(fd)
		} else {
			key = servicedir.LogKey(key)
		}
		j := s.k.store.Peek(fd, key, s.k.world)
		unix.Close(fd)
		if j == nil || j.Mark == (servicedir.Mark{}) {
			continue
		}
		p, hidden := handoff.Find(&j.Mark)
		if p != nil {
			p.Close()
		}
		if p != nil || hidden {
			return true
		}
	}
	return false
}

// openLeft opens a service directory, or what is below it, if there may be something in it
// that was left behind.
func (s *Scanner) openLeft(scanDir int, name, sub string) (int, error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	if sub == "/"+servicedir.LogHome {
		fd, err := unix.Openat(scanDir, name, flags, 0)
		if err != nil {
			return -1, err
		}
		defer unix.Close(fd)
		return unix.Openat(fd, servicedir.StateDirIn(fd)+sub, flags, 0)
	}
	var st unix.Stat_t
	if s.k.store == nil && s.k.config.StateName == "" {
		if err := unix.Fstatat(scanDir, name+sub+"/"+servicedir.StateDir+"/lock", &st, 0); err != nil || st.Size == 0 {
			return -1, unix.ENOENT
		}
	}
	return unix.Openat(scanDir, name+sub, flags, 0)
}

// read lists the scan directory, and watches the one that is there now.
func (s *Scanner) read() (*os.File, []string, error) {
	dir, err := os.Open(s.k.config.Dir)
	if err != nil {
		s.scanDir = servicedir.Identity{}
		return nil, nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		dir.Close()
		return nil, nil, err
	}
	if id := servicedir.IdentityOf(&st); id != s.scanDir {
		if s.home != nil && s.scanDir != (servicedir.Identity{}) && s.k.store == nil {
			s.home.close() // it is in the old one
			s.home = nil
		}
		s.scanDir = id
		if s.tree != nil {
			if err := s.tree.Again(); err != nil {
				s.k.report(Warning, "", "watch", s.k.config.Dir+", scanning every 5 seconds", rootCause(err))
				s.tree.Close()
				s.tree = nil
				s.scanAt(time.Now().Add(pollEvery))
			}
		}
	}
	names, err := dir.Readdirnames(-1)
	if err != nil {
		dir.Close()
		return nil, nil, err
	}
	return dir, names, nil
}

// look is one name of the scan directory.
func (s *Scanner) look(scanDir int, name string, first, partial bool, said map[string]string) {
	complain := func(verb, object string, err error) {
		text := verb + object + err.Error()
		said[name] = text
		if s.names[name] != text {
			s.k.report(Warning, "", verb, object, err)
		}
	}
	var st unix.Stat_t
	if err := unix.Fstatat(scanDir, name, &st, 0); err != nil {
		if unix.Fstatat(scanDir, name, &st, unix.AT_SYMLINK_NOFOLLOW) != unix.ENOENT {
			complain("stat", name, err)
			if !s.k.config.Commanded { // nothing tells when what a link leads to is there
				s.scanAt(time.Now().Add(pollEvery))
			}
		} // else it was removed since the directory was read
		return
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return
	}
	id := servicedir.IdentityOf(&st)
	e := s.entries[id]
	if partial && (e == nil || !e.present) {
		return
	}
	if e == nil {
		e = s.enter(id)
		e.name = name
		s.rankOf(e, scanDir, name)
	} else if e.seen == s.serial {
		return // another name of a directory already met
	}
	e.seen, e.name = s.serial, name
	if !e.present {
		e.present, e.hungUp = true, false
		e.tell(supervise.EvReturned)
		if e.main.back = e.main.unit == nil || e.drains() || s.k.policy.RemovedStops; e.main.back {
			e.main.putOff(time.Time{})
			e.log.putOff(time.Time{})
		}
	}
	e.rename()
	if s.adopting && !s.leftBehind(scanDir, name) {
		return
	}
	s.fill(scanDir, e, first, complain)
}

func (s *Scanner) enter(id servicedir.Identity) *entry {
	e := &entry{scanner: s, id: id, pipe: [2]int{-1, -1}, rest: [2]int{-1, -1}}
	s.entries[id] = e
	return e
}

// fill starts what an entry lacks: its service, and the one of its log.
func (s *Scanner) fill(scanDir int, e *entry, first bool, complain func(verb, object string, err error)) {
	defer func() {
		if e.log.unit == nil {
			e.gate.open()
		}
	}()
	now := time.Now()
	for _, x := range []*slot{&e.main, &e.log} {
		if retry := x.retry(); x.unit == nil && retry.After(now) {
			s.scanAt(retry)
		}
	}
	if e.drains() {
		return // a log service reads to the end before there is a new pair
	}
	main := e.main.due(now)
	log := e.log.due(now)
	if log {
		var err error
		if log, err = s.logged(scanDir, e.name); err != nil {
			complain("stat", e.name+"/log", err)
			s.scanAt(now.Add(pollEvery))
			return // whether to make a pipe is not known
		}
	}
	if !main && !log {
		return
	}
	fd, err := s.openDir(scanDir, e.name)
	if err != nil {
		s.openFailed(e, err)
		return
	}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || servicedir.IdentityOf(&st) != e.id {
		// Replaced since it was looked at. Another event is on its way, but
		// nothing is lost by looking again.
		unix.Close(fd)
		s.scanAt(now.Add(scanGap))
		return
	}
	if err := s.place(e, fd); err != nil {
		unix.Close(fd)
		s.openFailed(e, err)
		return
	}
	s.keptSockets(e)
	if log {
		s.fillLog(fd, e, first, complain)
	}
	if main {
		s.start(e, &e.main, fd, e.name, first, nil)
	} else {
		unix.Close(fd)
	}
}

func (x *slot) due(now time.Time) bool {
	return x.unit == nil && !x.retry().After(now)
}

// logged tells whether an entry has a log service. A file of that name is one in encore,
// elsewhere a stray.
func (s *Scanner) logged(scanDir int, name string) (bool, error) {
	var st unix.Stat_t
	err := unix.Fstatat(scanDir, name+"/log", &st, 0)
	if err == unix.ENOENT {
		return false, nil
	}
	d := s.k.config.Dialect
	script := d == supervise.Encore && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o100 != 0
	// A directory is the business of encore's svscan and of s6's, not of their supervise.
	dir := st.Mode&unix.S_IFMT == unix.S_IFDIR && !(s.k.config.One && (d == supervise.Encore || d == supervise.S6))
	return err == nil && (script || dir), err
}

// draining tells that the writing end of the pipe is closed and somebody still
// reads.
func (e *entry) drains() bool {
	return e.draining != nil || e.pipe[0] >= 0 && e.pipe[1] < 0 && e.log.unit != nil
}

func (s *Scanner) fillLog(fd int, e *entry, first bool, complain func(verb, object string, err error)) {
	if e.pipe[0] >= 0 && e.pipe[1] < 0 {
		e.closePipe()
	}
	logFD, err := s.openLog(e, fd)
	if err != nil {
		s.openFailed(e, err)
		return
	}
	if e.pipe[0] < 0 {
		if err := e.makePipe(fd, logFD); err != nil {
			unix.Close(logFD)
			complain("create pipe for", e.name, err)
			s.scanAt(time.Now().Add(pollEvery))
			return
		}
		s.promised += 2
		if e.main.unit != nil {
			e.main.unit.writesTo(e)
		}
	}
	if servicedir.HasLogScript(logFD) {
		e.ensureFeed()
		s.keepPipe(e)
	}
	if e.main.unit == nil {
		e.gate.close()
	}
	s.start(e, &e.log, logFD, e.name+"/log", first, nil)
}

// openLog opens the directory of a log service to be.
func (s *Scanner) openLog(e *entry, fd int) (int, error) {
	e.forgetScript()
	logFD, err := s.openDir(fd, "log")
	if err == unix.ENOTDIR && s.k.config.Dialect == supervise.Encore {
		return e.openScript(fd)
	}
	return logFD, err
}

// What one unit takes: its directory, lock, control and ok; and where the state is
// apart, the state's directory and the lock in the definition, if there is one.
const (
	fdsInPlace = 4
	fdsApart   = 6
)

func (s *Scanner) fdsEach() int {
	if s.k.store != nil {
		return fdsApart
	}
	return fdsInPlace
}

// openDir opens the directory of a unit to be, if there are descriptors left for
// all that it will open.
func (s *Scanner) openDir(at int, name string) (int, error) {
	if s.promised+s.fdsEach() > s.k.fdLimit-fdReserve {
		return -1, unix.EMFILE
	}
	return unix.Openat(at, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// openFailed puts an entry off. That descriptors ran out is said once, not for
// each service.
func (s *Scanner) openFailed(e *entry, err error) {
	retry := time.Now().Add(pollEvery)
	for _, x := range []*slot{&e.main, &e.log} {
		if x.unit == nil {
			x.putOff(retry)
		}
	}
	s.scanAt(retry)
	if err == unix.EMFILE || err == unix.ENFILE {
		if !s.full {
			s.full = true
			s.k.report(Warning, "", "start", e.name+" and what comes after it", err)
		}
		return
	}
	if e.main.fails(err) {
		s.k.report(Warning, "", "open", e.name, err)
	}
	e.told(noteFault, err.Error())
}

// start makes a unit. Its directory is opened where that may block, unless it was
// left open.
func (s *Scanner) start(e *entry, x *slot, fd int, name string, first bool, left *handoff.Unit) {
	u := newUnit(s.k, e, fd, name)
	u.left = left
	u.log, u.fresh, u.bornDown = x == &e.log, !first, s.bornDown[e.name] && x == &e.main
	if u.log {
		u.stdin = int32(e.pipe[0])
		u.pipe.Store(e.inode)
	} else if e.pipe[1] >= 0 {
		u.writesTo(e)
	} else if s.isLogService(e) {
		u.readsAll(s.logService)
	}
	if s.k.config.Dialect == supervise.Encore {
		at := 0
		if u.log {
			at = e.scriptAt
		}
		u.makeEncore(at)
	}
	x.unit, x.up, x.closed = u, false, false
	e.pair()
	e.appoint()
	s.promised += s.fdsEach()
	s.opening++
	u.begin()
}

func (e *entry) slotOf(u *unit) *slot {
	if u.log {
		return &e.log
	}
	return &e.main
}

// opened is the answer to start.
func (s *Scanner) opened(u *unit, err error) {
	defer s.wakeWaiters()
	s.opening--
	if s.opening == 0 && s.inheriting {
		s.inheriting = false
		s.k.table.Abort()
		defer s.weighAll()
		defer s.meetRest()
	}
	if s.opening == 0 && s.adopting && !s.stop {
		defer s.adopted()
	}
	e := u.entry
	x := e.slotOf(u)
	if err != nil && s.k.config.One {
		x.unit = nil
		s.failOne(e, u, err)
		return
	}
	if err != nil {
		x.unit = nil
		e.pair()
		if u.log {
			e.gate.open()
		}
		s.promised -= s.fdsEach()
		x.putOff(time.Now().Add(pollEvery))
		if errors.Is(err, unix.EMFILE) {
			s.openFailed(e, unix.EMFILE)
		} else if x.fails(err) {
			var step *servicedir.StepError
			if errors.As(err, &step) {
				s.k.report(Fatal, u.name(), step.Verb, u.name()+"/"+step.File, step.Err)
			} else {
				s.k.report(Fatal, u.name(), "supervise", u.name(), err)
			}
		}
		e.told(noteFault, faultText(err))
		s.scanAt(x.retry())
		e.present = e.present && !s.k.config.Heir
		s.advance(e)
		s.drop(e)
		s.moveUp()
		return
	}
	x.up = true
	x.well()
	e.main.back = e.main.back && u.log
	u.toldBegun()
	s.takeTurn(u)
	defer s.moveUp()
	s.settled.Reset(settleAfter)
	s.mirrorName(e)
	if !e.present {
		u.Post(supervise.Event{Kind: supervise.EvRemoved, At: u.Now()})
	}
	if (s.stop && !s.isLogService(e) && !s.isCatchAll(e) || e.hungUp) && !u.log { // it was being opened when that came
		u.Post(supervise.Event{Kind: supervise.EvShutdown, At: u.Now()})
	}
	s.advance(e)
	s.drainLogService()
}

// closed is the end of a unit. If its directory is still there it is supervised
// anew after a while, as the peers do it: svc -x alone removes nothing.
func (s *Scanner) closed(u *unit) {
	e := u.entry
	x := e.slotOf(u)
	x.unit, x.up, x.closed = nil, false, true
	e.pair()
	s.stop = s.stop || s.k.config.One && !u.log
	e.present = e.present && (!s.k.config.Heir || u.log)
	if u.log {
		e.gate.open()
	}
	s.promised -= s.fdsEach()
	if u.lingers() {
		e.lingers = u.dir
	}
	if e.lingers != nil && e.log.unit == nil {
		e.lingers.Close()
		e.lingers = nil
	}
	again := pollEvery
	if s.k.config.Commanded {
		again = time.Second // as s6-svscan
	}
	if e.main.back {
		again = 0 // it has ended because its directory was gone
	}
	x.putOff(time.Now().Add(again))
	s.full = false
	if !s.stop && e.present {
		s.scanAt(x.retry())
	}
	s.mirrorWithoutLog(u)
	s.advance(e)
	s.drop(e)
	if s.stop && !u.log {
		s.stopInOrder()
	}
	s.moveUp()
}

// remake makes a unit anew after a panic, and again each second if it goes on like
// that.
func (s *Scanner) remake(u *unit) {
	x := u.entry.slotOf(u)
	x.up = false
	if x.trouble != nil && time.Since(x.trouble.broke) < time.Second {
		time.AfterFunc(time.Second, func() { s.post(message{kind: msgBroken, unit: u}) })
		return
	}
	x.ensureTrouble().broke = time.Now()
	s.promised -= s.fdsEach()
	s.start(u.entry, x, u.dir.FD, u.name(), true, nil)
}

// rename gives the units the name the directory has now.
func (e *entry) rename() {
	e.appoint()
	for _, u := range []*unit{e.main.unit, e.log.unit} {
		if u == nil {
			continue
		}
		name := e.name
		if u.log {
			name += "/log"
		}
		u.setName(name)
	}
}

// appoint makes a service main if it has the name. It stays so under another name,
// until some other gets this one.
func (e *entry) appoint() {
	if k := e.scanner.k; k.config.Main != "" && e.name == k.config.Main && e.main.unit != nil {
		k.main.Store(e.main.unit)
	}
}

func (e *entry) tell(kind supervise.EventKind) {
	for _, x := range []*slot{&e.main, &e.log} {
		if x.up {
			x.unit.Post(supervise.Event{Kind: kind, At: x.unit.Now()})
		}
	}
}

// hangup scans and stops the services whose directories are gone.
func (s *Scanner) hangup() {
	if s.stop {
		return
	}
	s.manager.reloads()
	if s.control != nil {
		s.control.asked = true
	}
	s.scan()
	s.prune(false)
	for _, e := range s.entries {
		if !e.present {
			continue
		}
		for _, x := range []*slot{&e.main, &e.log} {
			if x.up {
				x.unit.check()
			}
		}
	}
}

// shutdown stops all services; each log service follows its own.
func (s *Scanner) shutdown() {
	if s.stop {
		return
	}
	s.stop = true
	s.manager.stops("stopping all services")
	s.limit()
	s.tellStopping()
	s.stopInOrder()
	s.drainLogService()
}

func (e *entry) stop() {
	if e.main.trouble != nil {
		e.main.trouble.retry = time.Time{}
	}
	if e.main.up {
		e.main.unit.Post(supervise.Event{Kind: supervise.EvShutdown, At: e.main.unit.Now()})
	}
	e.scanner.advance(e)
}

// advance goes on with the shutdown of an entry: once the service is over, the
// log service gets to read what is left in the pipe, sees its end, and leaves.
func (s *Scanner) advance(e *entry) {
	if !s.stop && e.present && e.scriptAt == 0 {
		return
	}
	stopping := s.stop || e.main.unit == nil && e.main.closed
	if !stopping {
		return
	}
	if e.main.unit != nil {
		return
	}
	if e.scriptAt > 0 && e.log.unit != nil {
		s.drainScript(e)
		return
	}
	// First, or the death that the end of the pipe brings would be news to it.
	if e.log.up {
		e.log.unit.Post(supervise.Event{Kind: supervise.EvDrain, At: e.log.unit.Now()})
		e.log.unit.stopWaiting()
	}
	if e.pipe[1] >= 0 {
		unix.Close(e.pipe[1])
		e.pipe[1] = -1
	}
}

// drop forgets an entry of which nothing is left.
func (s *Scanner) drop(e *entry) {
	if e.main.unit != nil || e.log.unit != nil || e.present && !s.stop {
		return
	}
	e.closePipe()
	e.closeSockets()
	e.forgetScript()
	delete(s.entries, e.id)
	e.told(noteRemoved, "")
	s.drainLogService()
	s.unmirror(e)
}

// rootCause is the innermost error.
func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}
