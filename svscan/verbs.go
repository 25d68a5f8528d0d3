package svscan

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
	"upkeep/supervise/servicedir"
	"upkeep/supervise/status"
)

// Verbs are requests that are answered when they are done, or cannot be: a line with an
// exit code (openrc.md, section 11.3) and, unless it is 0, the reason, or what was asked for.
const (
	DoneOK        = 0
	DoneFailed    = 1 // the service has ended, or could not be executed, before the goal
	DoneLate      = 2 // the time is over
	DoneUnknown   = 3 // nobody supervises it
	DoneUnfit     = 4 // the directory cannot be used, or is not the one that is meant
	DoneUsage     = 100
	DoneTemporary = 111
)

// Goals of a start.
const (
	GoalNone  = "none"
	GoalUp    = "up"    // it runs, for as long as Settle says
	GoalReady = "ready" // it has said so
	GoalCheck = "check" // its script check has
	GoalEnd   = "end"   // it has ended with 0
	GoalAuto  = "auto"  // ready, if it says when it is, or else up
)

// order is what a verb is to do.
type order struct {
	verb    string
	name    string
	dir     string // of the definition, for add
	goal    string
	timeout time.Duration // 0: none
	settle  time.Duration
	kill    time.Duration // from the stop to KILL; 0: never
	signal  int           // of the stop, or 0 for the usual one
	down    bool          // add without a start
	undo    bool          // a start that fails leaves nothing behind

	late     <-chan time.Time
	settling bool          // it is up, and has to last
	lasts    time.Duration // for so long
}

// outcome is the answer.
type outcome struct {
	code int
	text string
}

// parseOrder reads words, each with a zero at its end: the verb, options as NAME=VALUE, and
// after an empty word the operands.
func parseOrder(text string) (o *order, ok bool) {
	words := strings.Split(strings.TrimSuffix(text, "\x00"), "\x00")
	o = &order{verb: words[0], goal: GoalAuto}
	words = words[1:]
	for ; len(words) > 0 && words[0] != ""; words = words[1:] {
		name, value, _ := strings.Cut(words[0], "=")
		n, err := strconv.Atoi(value)
		ms := time.Duration(n) * time.Millisecond
		switch name {
		case "wait":
			o.goal, err = value, nil
		case "timeout":
			o.timeout = ms
		case "settle":
			o.settle = ms
		case "kill-after":
			o.kill = ms
		case "signal":
			o.signal = n
		case "down":
			o.down, err = true, nil
		case "undo":
			o.undo, err = true, nil
		default:
			return nil, false
		}
		if err != nil || n < 0 {
			return nil, false
		}
	}
	if len(words) < 2 || len(words) > 3 || o.signal > 64 {
		return nil, false
	}
	o.name = words[1]
	if len(words) == 3 {
		o.dir = words[2]
	}
	switch o.goal {
	case GoalNone, GoalUp, GoalReady, GoalCheck, GoalEnd, GoalAuto:
	default:
		return nil, false
	}
	return o, true
}

// attendOrder reads an order of so many bytes, of which some are there already, obeys it and answers.
// It is the goroutine of the client.
func (s *Scanner) attendOrder(c *client, size string, have string) {
	n, err := strconv.Atoi(size)
	if err != nil || n < 1 || n > requestSize {
		c.answer(strconv.Itoa(DoneUsage) + " request not known")
		return
	}
	b := []byte(have)
	for len(b) < n {
		more := make([]byte, n-len(b))
		k, err := c.file.Read(more)
		if err != nil {
			c.file.Close()
			return
		}
		b = append(b, more[:k]...)
	}
	got := outcome{DoneUsage, "request not known"}
	if o, ok := parseOrder(string(b[:n])); ok {
		if o.timeout > 0 {
			t := time.NewTimer(o.timeout)
			defer t.Stop()
			o.late = t.C
		}
		got = s.carryOut(o)
	}
	c.answer(strings.TrimSuffix(strconv.Itoa(got.code)+" "+strings.ReplaceAll(got.text, "\n", "?"), " "))
}

func (s *Scanner) carryOut(o *order) outcome {
	switch o.verb {
	case "add":
		return s.add(o)
	case "remove":
		return s.removeService(o)
	case "meet":
		return s.meetOnly(o)
	}
	u, fault := s.unitOf(o.name, o.late)
	if o.verb == "why" {
		return s.why(o.name, u, fault)
	}
	if u == nil {
		if fault == "" {
			fault = "nobody supervises it"
		}
		return outcome{DoneUnknown, fault}
	}
	switch o.verb {
	case "state":
		return outcome{DoneOK, u.describe()}
	case "start", "restart", "once":
		return u.bringUp(o)
	case "stop":
		return u.bringDown(o)
	case "signal":
		return u.bringDown(o)
	case "reload":
		return u.reload()
	}
	return outcome{DoneUsage, "request not known"}
}

// call has the scanner's goroutine do something.
func (s *Scanner) call(f func()) { s.post(message{kind: msgCall, call: f}) }

// ask has the scanner's goroutine do something and waits for that.
func (s *Scanner) ask(f func()) {
	done := make(chan struct{})
	s.call(func() {
		defer close(done)
		f()
	})
	<-done
}

// unitOf finds the unit of a name, "web" or "web/log". Without one fault says why there is
// none, if that is known. A scanner that has just begun is waited for.
func (s *Scanner) unitOf(name string, late <-chan time.Time) (u *unit, fault string) {
	for {
		var soon chan struct{}
		s.ask(func() { u, fault, soon = s.lookUp(name) })
		if soon == nil {
			return u, fault
		}
		select {
		case <-soon:
		case <-late:
			return nil, "it was not looked at yet"
		}
	}
}

// lookUp is unitOf for now. soon is closed when it is worth to ask again.
func (s *Scanner) lookUp(name string) (u *unit, fault string, soon chan struct{}) {
	service, log := strings.CutSuffix(name, "/log")
	opening := s.scanned.IsZero() || s.adopting || s.inheriting
	for _, e := range s.entries {
		if e.name != service || !e.present && !s.inheriting {
			continue
		}
		x := &e.main
		if log {
			x = &e.log
		}
		if x.up {
			return x.unit, "", nil
		}
		opening = opening || x.unit != nil
		if err := x.fault(); err != nil {
			fault = faultText(err)
		}
	}
	if opening {
		soon = make(chan struct{})
		s.waiters = append(s.waiters, soon)
	}
	return nil, fault, soon
}

// wakeWaiters has those look again who wait for a unit.
func (s *Scanner) wakeWaiters() {
	for _, w := range s.waiters {
		close(w)
	}
	s.waiters = nil
}

// faultText is why a directory is not supervised, in words.
func faultText(err error) string {
	if step, ok := errors.AsType[*servicedir.StepError](err); ok {
		return "unable to " + step.Verb + " " + step.File + ": " + step.Err.Error()
	}
	return err.Error()
}

// ear collects what is told of one entry, or of a name as long as that has none.
type ear struct {
	name  string
	entry *entry
	box   *mailbox[*note]
}

// hear implements watcher.
func (x *ear) hear(n *note) {
	if x.entry == nil && n.name == x.name || x.entry != nil && n.entry == x.entry {
		x.box.post(n)
	}
}

func (s *Scanner) listenTo(name string, e *entry) *ear {
	x := &ear{name, e, newMailbox[*note]()}
	s.k.hub.add(x)
	return x
}

// follow has judge look at the state of the unit as it is, and then at each that comes of
// it, until that is done. In between it does what is to be done first.
func (u *unit) follow(o *order, first func(m *supervise.Machine), judge func(n *note) (outcome, bool)) outcome {
	x := u.entry.scanner.listenTo("", u.entry)
	defer u.k.hub.remove(x)
	now := u.is()
	first(&now.state)
	if got, done := judge(now); done {
		return got
	}
	var kill <-chan time.Time
	if o.kill > 0 {
		t := time.NewTimer(o.kill)
		defer t.Stop()
		kill = t.C
	}
	var settled <-chan time.Time
	lasted, late := false, false
	for {
		for _, n := range x.box.take() {
			if n.unit != u || int32(n.ordinal-now.ordinal) <= 0 {
				continue
			}
			got, done := judge(n)
			if done {
				return got
			}
		}
		switch { // what came at the same moment counts
		case lasted:
			return outcome{}
		case late:
			return outcome{DoneLate, u.describe()}
		}
		if o.settling && settled == nil {
			t := time.NewTimer(o.lasts)
			defer t.Stop()
			settled = t.C
		}
		select {
		case <-x.box.wake:
		case <-settled:
			lasted = true
		case <-kill:
			u.command('k')
		case <-o.late:
			late = true
		}
	}
}

func (u *unit) command(letter byte) {
	u.Post(supervise.Event{Kind: supervise.EvControl, Byte: letter, At: u.Now()})
}

func runs(m *supervise.Machine) bool {
	return m.PID != 0 && (m.Script == supervise.ScriptRun || m.Script == supervise.ScriptStart)
}

// bringUp obeys start, restart and once.
func (u *unit) bringUp(o *order) outcome {
	goal := o.goal
	checks := (goal == GoalAuto && o.verb != "once" || goal == GoalCheck) && u.hasCheck()
	switch {
	case checks || goal == GoalAuto && u.saysReady():
		goal = GoalReady
	case goal == GoalAuto || goal == GoalCheck:
		goal = GoalUp
	}
	s := u.entry.scanner
	if checks {
		s.call(func() { s.awaitReadiness(u, 1) })
		defer s.call(func() { s.awaitReadiness(u, -1) })
	}
	var base supervise.Machine
	same := false // what runs now is what is asked for
	begin := func(m *supervise.Machine) {
		base = *m
		same = runs(m) && m.Phase != supervise.PhaseStopping && o.verb != "restart"
		if m.Paused {
			u.command('c')
		}
		switch {
		case o.verb == "once":
			u.command('o')
		case o.verb == "restart" && runs(m):
			u.command('t')
			u.command('u')
		case !same || m.Want != status.WantUp:
			u.command('u')
		}
	}
	got := u.follow(o, begin, func(n *note) (outcome, bool) {
		m := &n.state
		deaths := m.Deaths - base.Deaths
		if runs(&base) && !same && deaths > 0 {
			deaths-- // that of the one before
		}
		began := runs(m) && (same || m.Life != base.Life || m.Script == supervise.ScriptRun && base.Script == supervise.ScriptStart)
		switch {
		case goal == GoalNone:
			return outcome{}, true
		case m.Phase == supervise.PhaseGone:
			return outcome{DoneUnknown, "it is not supervised any more"}, true
		case n.what == noteUnfit:
			return outcome{DoneFailed, u.unfitText()}, true
		case deaths > 0 && m.Last == 0 && o.verb == "once" && goal != GoalReady:
			return outcome{}, true
		case deaths > 0:
			return outcome{DoneFailed, endText(m.Last)}, true
		case goal == GoalReady && began && m.Ready != 0:
			return outcome{}, true
		case checks && began:
			s.call(func() { s.seekReadiness(u) })
		case goal == GoalUp && began && m.Script == supervise.ScriptRun:
			o.lasts = o.settle
			if same { // it has lasted for some time already
				o.lasts -= min(max(u.Now().Mono-m.Started, 0), o.settle)
			}
			o.settling = true
			return outcome{}, o.lasts == 0
		}
		return outcome{}, false
	})
	if checks && got.code == DoneLate {
		got.text += ", and check is not content"
	}
	return got
}

// bringDown obeys stop.
func (u *unit) bringDown(o *order) outcome {
	begin := func(m *supervise.Machine) {
		if letter := letterOf(o.signal); o.verb == "signal" && runs(m) && m.Phase == supervise.PhaseStopping {
			if letter != 0 {
				u.command(letter)
			}
			return
		}
		if o.signal > 0 {
			p := *u.Policy()
			p.StopSignal = syscall.Signal(o.signal)
			u.SetPolicy(&p)
		}
		u.command('d')
	}
	got := u.follow(o, begin, func(n *note) (outcome, bool) {
		m := &n.state
		done := o.goal == GoalNone || m.Phase == supervise.PhaseGone ||
			m.Phase == supervise.PhaseDown && m.PID == 0 && !m.Asked && !m.Waiting && m.Consulting == 0 && m.Want != status.WantUp
		return outcome{}, done
	})
	if o.signal > 0 {
		u.mu.Lock()
		u.order(jobPolicy) // what the directory says counts again
		u.mu.Unlock()
	}
	return got
}

// letterOf is the command that sends a signal, or 0 if there is none.
func letterOf(sig int) byte {
	switch syscall.Signal(sig) {
	case unix.SIGTERM:
		return 't'
	case unix.SIGKILL:
		return 'k'
	case unix.SIGINT:
		return 'i'
	case unix.SIGQUIT:
		return 'q'
	case unix.SIGHUP:
		return 'h'
	case unix.SIGALRM:
		return 'a'
	case unix.SIGUSR1:
		return '1'
	case unix.SIGUSR2:
		return '2'
	}
	return 0
}

func (u *unit) reload() outcome {
	n := u.is()
	if !runs(&n.state) {
		return outcome{DoneFailed, u.describe()}
	}
	if u.Policy().ReloadSignal != 0 {
		u.command('l')
	} else {
		u.command('h')
	}
	return outcome{}
}

// add has a directory supervised under a name, as a link in the scan directory, and
// started.
func (s *Scanner) add(o *order) outcome {
	if o.name == "" || o.name[0] == '.' || strings.Contains(o.name, "/") {
		return outcome{DoneUnfit, strconv.Quote(o.name) + " cannot be the name of a service"}
	}
	if o.down { // before anybody can find the link
		s.ask(func() { s.bornDown[o.name] = true })
		defer s.call(func() { delete(s.bornDown, o.name) })
	}
	made, fault := s.linkTo(o.name, o.dir)
	if fault != nil {
		return *fault
	}
	x := s.listenTo(o.name, nil)
	u, why := s.met(o, x)
	s.k.hub.remove(x)
	if u == nil {
		if made && o.undo {
			_ = os.Remove(s.k.config.Dir + "/" + o.name)
		}
		return why
	}
	if o.down {
		return outcome{}
	}
	got := u.bringUp(o)
	if got.code != DoneOK && made && o.undo {
		back := &order{name: o.name, kill: undoKill}
		s.removeService(back)
	}
	return got
}

// undoKill is what a service gets to end whose start has failed.
const undoKill = 5 * time.Second

// linkTo makes the link, unless it is there.
func (s *Scanner) linkTo(name, dir string) (made bool, fault *outcome) {
	path := s.k.config.Dir + "/" + name
	want, err := os.Stat(dir)
	if err == nil && !want.IsDir() {
		err = unix.ENOTDIR
	}
	if err != nil || dir[0] != '/' {
		return false, &outcome{DoneUnfit, dir + ": " + cause(err)}
	}
	if have, err := os.Stat(path); err == nil {
		if !os.SameFile(have, want) {
			return false, &outcome{DoneUnfit, name + " is another directory"}
		}
		return false, nil
	}
	if err := os.Symlink(dir, path); err != nil {
		return false, &outcome{DoneTemporary, path + ": " + cause(err)}
	}
	return true, nil
}

// cause is what is wrong without the path.
func cause(err error) string {
	if err == nil {
		return "not an absolute path"
	}
	return rootCause(err).Error()
}

// met waits until a directory that is there is supervised.
func (s *Scanner) met(o *order, x *ear) (*unit, outcome) {
	stopping := false
	s.ask(func() {
		if stopping = s.stop; !stopping {
			s.meet(o.name)
		}
	})
	if stopping {
		return nil, outcome{DoneTemporary, "svscan is stopping"}
	}
	for {
		u, fault := s.unitOf(o.name, o.late)
		if u != nil {
			return u, outcome{}
		}
		if fault != "" {
			return nil, outcome{DoneUnfit, fault}
		}
		select {
		case <-x.box.wake:
			x.box.take()
		case <-o.late:
			return nil, outcome{DoneLate, "it is not supervised yet"}
		}
	}
}

// meet looks at one name of the scan directory, now.
func (s *Scanner) meet(name string) {
	fd, err := unix.Open(s.k.config.Dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return // the scan says so
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstatat(fd, name, &st, 0) == nil {
		if e := s.entries[servicedir.IdentityOf(&st)]; e != nil && e.main.unit == nil {
			e.main.putOff(time.Time{})
			e.main.trouble.fault = nil
			e.seen = s.serial - 1
		}
	}
	s.look(fd, name, false, false, make(map[string]string))
}

// meetOnly has a name be looked at that no scan has come across yet, or not since it was
// gone, and waits until it is supervised. What is known is left to the scanner.
func (s *Scanner) meetOnly(o *order) outcome {
	x := s.listenTo(o.name, nil)
	defer s.k.hub.remove(x)
	for {
		ended, old := false, false
		s.ask(func() {
			for _, e := range s.entries {
				ended = ended || e.name == o.name && e.present && e.main.unit == nil && !e.main.back
			}
			if ended || s.stop {
				return
			}
			s.meet(o.name)
			for _, e := range s.entries {
				old = old || e.name == o.name && e.main.back
			}
		})
		switch {
		case ended:
			return outcome{code: DoneUnknown}
		case !old:
			_, why := s.met(o, x)
			return why
		}
		select {
		case <-x.box.wake:
			x.box.take()
		case <-o.late:
			return outcome{code: DoneLate}
		}
	}
}

// AwaitService has the scanner of a directory, if there is one, supervise at once what has
// just been put there under a name, and waits for that, but not for long.
func AwaitService(dir, name string) (done bool) {
	fd, err := Dial(dir, HomeSocket)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	limit := unix.NsecToTimeval(int64(2 * time.Second))
	text := "meet\x00timeout=1000\x00\x00" + name + "\x00"
	text = "do " + strconv.Itoa(len(text)) + "\n" + text
	if unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit) != nil {
		return false
	}
	var answer [2]byte
	_, err = unix.Write(fd, []byte(text))
	if err == nil {
		_, err = unix.Read(fd, answer[:])
	}
	return err == nil && string(answer[:]) == "0\n"
}

// removeService ends the supervision of what is linked into the scan directory, and removes the link.
func (s *Scanner) removeService(o *order) outcome {
	path := s.k.config.Dir + "/" + o.name
	st, err := os.Lstat(path)
	if err == nil && st.Mode()&os.ModeSymlink == 0 {
		return outcome{DoneUnfit, o.name + " is a directory and not a link: it would not stay away"}
	}
	if err == nil {
		if err := os.Remove(path); err != nil {
			return outcome{DoneTemporary, path + ": " + cause(err)}
		}
	}
	var e *entry
	var x *ear
	s.ask(func() {
		for _, other := range s.entries {
			if other.name == o.name {
				e = other
			}
		}
		if e == nil {
			return
		}
		x = s.listenTo("", e)
		if e.present {
			e.present = false
			e.tell(supervise.EvRemoved)
		}
		e.stop()
		s.drop(e)
	})
	if e == nil {
		return outcome{}
	}
	defer s.k.hub.remove(x)
	var kill <-chan time.Time
	if o.kill > 0 {
		t := time.NewTimer(o.kill)
		defer t.Stop()
		kill = t.C
	}
	for {
		for _, n := range x.box.take() {
			if n.what == noteRemoved {
				return outcome{}
			}
		}
		select {
		case <-x.box.wake:
		case <-kill:
			s.call(func() {
				if e.main.up {
					e.main.unit.command('k')
				}
			})
		case <-o.late:
			return outcome{DoneLate, "it has not ended yet"}
		}
	}
}

// told publishes what is about an entry and not about a state.
func (e *entry) told(what, fault string) {
	if h := &e.scanner.k.hub; h.active() {
		h.publish(&note{entry: e, name: e.name, what: what, fault: fault})
	}
}
