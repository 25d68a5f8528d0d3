package supervise

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"upkeep/supervise/status"
)

// The walk visits every state that any order of events can lead to, and in each
// of them tries every event, possible or not. Time is reduced to what the
// machine can tell apart: a pause that is over or not.

const walkNow = 1000 * time.Second

// world is the outside as far as the machine can affect it.
type world struct {
	asked   bool // a Spawn is unanswered
	live    bool // the process lives
	consult bool
	armed   [Timers]bool
	closed  bool
}

type node struct {
	m Machine
	w world
}

// canonical drops what the machine only carries along, and moves its instants to
// the nearest ones that mean the same at walkNow.
func canonical(p *Policy, m Machine) Machine {
	m.Since, m.ReadySince = 0, 0
	m.Removed, m.GotTerm = false, false // only said, never asked for
	m.Facts.Down = false
	m.Facts.NoRun = m.Facts.NoRun && p.RunOptional
	m.Facts.Content = min(m.Facts.Content, 1) // it only matters whether that changes
	if !extended(p) {
		m.Facts.Once, m.Facts.Lacking = false, false
	}
	if !p.StartStopScripts {
		m.Facts.Start, m.Facts.Stop, m.First = Absent, Absent, false
	}
	if !p.FinishScript {
		m.Facts.Finish = Absent
	}
	if !p.ControlScripts {
		m.Facts.Controls = Absent
	}
	if signalOf(p, m.Consulting) != 0 && m.Consulting != 't' {
		m.Consulting = 'h' // all of these only send a signal
	}
	m.Life = 0
	m.KillDue, m.DrainDue = 0, 0 // only for who resumes
	m.Missed = false             // only said
	if !m.alive() {
		m.Mood, m.Watchdog = MoodNone, 0
	}
	m.Watchdog = min(m.Watchdog, 1)
	switch {
	case !m.Watched:
		m.LimitDue = 0
	case m.LimitDue > walkNow:
		m.LimitDue = walkNow + time.Second
	default:
		m.LimitDue = walkNow
	}
	m.Deaths = min(m.Deaths, 1)
	m.Failures = min(m.Failures, 1)
	m.Last = 0
	if m.PID != 0 {
		m.PID = 7
	}
	long := walkNow - 100*time.Second
	if walkNow-m.Started >= max(p.Pause, p.DeafFor) {
		m.Started = long
	} else {
		m.Started = walkNow
	}
	switch {
	case p.Rule != AfterReady && p.ReadyFor == 0:
		m.Ready = 0 // only shown
	case m.Ready != 0:
		m.Ready = m.Started
	}
	switch {
	case !m.Waiting && (p.MinUptime == 0 || m.Due <= walkNow):
		m.Due = 0
	case m.Due > walkNow:
		m.Due = walkNow + time.Second
	default:
		m.Due = walkNow
	}
	return m
}

// later is the same state after a long time in which nothing happened.
func later(m Machine) Machine {
	m.Started -= 50 * time.Second
	m.Due, m.LimitDue = min(m.Due, walkNow), min(m.LimitDue, walkNow)
	return m
}

// possible tells whether the world can produce an event now. The impossible ones
// are tried as well, and have to change nothing.
func (w *world) possible(m *Machine, ev *Event) bool {
	switch ev.Kind {
	case EvStarted, EvStartFailed, EvSlow:
		return w.asked
	case EvDied:
		return w.live && ev.PID == 7
	case EvConsulted:
		return w.consult
	}
	return true
}

// act checks the actions of a step against the world, and applies them.
func (w *world) act(before, m *Machine, a *Actions) error {
	for _, x := range a.All() {
		switch x.Kind {
		case Spawn:
			if before.Hurried {
				return fmt.Errorf("a start after the deadline")
			}
			if w.asked || w.live {
				return fmt.Errorf("a second process is asked for")
			}
			if x.Script == ScriptNone {
				return fmt.Errorf("no script to spawn")
			}
			w.asked = true
		case Signal:
			if !w.live || x.PID != 7 {
				return fmt.Errorf("signal %v to pid %d, which does not live", x.Signal, x.PID)
			}
			if (before.Script == ScriptFinish || before.Script == ScriptStop) && x.Signal != syscall.SIGKILL && x.Signal != syscall.SIGCONT {
				return fmt.Errorf("signal %v to a %s script", x.Signal, before.Script.Name())
			}
		case Arm:
			w.armed[x.Timer] = true
			if x.After < 0 {
				return fmt.Errorf("timer in the past")
			}
		case Disarm:
			w.armed[x.Timer] = false
		case Consult:
			if m.Hurried {
				return fmt.Errorf("a control script after the deadline")
			}
			if w.consult {
				return fmt.Errorf("a second control script is asked for")
			}
			w.consult = true
		case Close:
			if w.closed || w.asked || w.live || w.consult {
				return fmt.Errorf("closed with something pending: %+v", *w)
			}
			w.closed = true
		}
	}
	if err := hears(m, a); err != nil {
		return err
	}
	return w.agree(m)
}

// hears checks what listeners are told in one step: of the end of a process before that
// nothing is left of it, of nothing after the end of all, and of no process that is not there.
func hears(m *Machine, a *Actions) error {
	var b [maxActions]byte
	told := b[:0]
	for _, x := range a.All() {
		if x.Kind == Emit {
			told = append(told, x.Byte)
		}
	}
	switch string(told) {
	case "", "d", "D", "dD", "OD", "x", "dx", "Dx", "dDx", "ODx", "O":
		return nil
	case "u", "U":
		if m.alive() {
			return nil
		}
	}
	return fmt.Errorf("listeners are told %q in phase %v", string(told), m.Phase)
}

// agree checks the invariants of a state.
func (w *world) agree(m *Machine) error {
	switch {
	case m.PID != 0 != w.live:
		return fmt.Errorf("pid %d, live %v", m.PID, w.live)
	case m.Asked != w.asked:
		return fmt.Errorf("asked %v, really %v", m.Asked, w.asked)
	case m.Consulting != 0 != w.consult:
		return fmt.Errorf("consulting %q, really %v", m.Consulting, w.consult)
	case m.Waiting && !w.armed[TimerRestart]:
		return fmt.Errorf("waiting for a timer that is not armed")
	case m.Stopped && !w.armed[TimerKill]:
		return fmt.Errorf("stopped without a timer to kill")
	case m.Timed && !w.armed[TimerBounce]:
		return fmt.Errorf("timed without a timer to bounce")
	case m.Timed && (m.PID == 0 || m.Script != ScriptRun):
		return fmt.Errorf("timed without run")
	case m.Watched && !w.armed[TimerWatchdog]:
		return fmt.Errorf("watched without a timer")
	case m.Watched && !m.guarded():
		return fmt.Errorf("watched, and no sign of life is due")
	case m.Ready != 0 && m.guarded() && !m.Watched && !m.Restored:
		return fmt.Errorf("nobody watches for signs of life")
	case m.Mood == MoodReloading && m.Ready != 0 && m.alive():
		return fmt.Errorf("ready while it reloads")
	case m.Phase == PhaseReady && (!m.alive() || m.Script != ScriptRun):
		return fmt.Errorf("ready, and run is not there")
	case m.Phase == PhaseGone != w.closed:
		return fmt.Errorf("gone and closed differ: %v", w.closed)
	}
	switch m.Phase {
	case PhaseDown, PhaseHeld, PhaseGone:
		if m.PID != 0 || m.Asked {
			return fmt.Errorf("%v with pid %d, asked %v", m.Phase, m.PID, m.Asked)
		}
	case PhaseStarting:
		if m.PID != 0 || !m.Asked && m.Consulting == 0 {
			return fmt.Errorf("starting what? pid %d", m.PID)
		}
	case PhaseUp, PhaseReady, PhaseStopping:
		if m.PID == 0 || m.Asked {
			return fmt.Errorf("%v without a process", m.Phase)
		}
	case PhaseFinishing:
		if m.PID == 0 && !m.Asked && !m.Waiting {
			return fmt.Errorf("finishing what?")
		}
	}
	if m.Booted && m.Want == status.WantUp && m.Phase == PhaseDown && !m.Waiting && !m.Unsettled && m.Consulting == 0 {
		return fmt.Errorf("wanted up, and nothing is pending")
	}
	if m.Again && m.Want == status.WantOnce && !m.Failed && m.Phase == PhaseDown && !m.Waiting && !m.Unsettled && m.Consulting == 0 {
		return fmt.Errorf("to be run once more, and nothing is pending")
	}
	if m.alive() && m.Script == ScriptRun && (m.Renew || m.Facts.Lacking) && m.Phase != PhaseStopping && m.Consulting == 0 && !m.Exiting {
		return fmt.Errorf("to be replaced, and nobody has told the process")
	}
	if m.Phase == PhaseHeld && !m.Needy && !m.Loaded && !m.Facts.Lacking {
		return fmt.Errorf("held by nothing")
	}
	if m.Exiting && m.Phase == PhaseDown && !m.Waiting && !m.Unsettled && m.Consulting == 0 {
		return fmt.Errorf("wants to exit, and nothing holds it")
	}
	return nil
}

// answered applies to the world what a possible event says of it.
func (w *world) answered(ev *Event) {
	switch ev.Kind {
	case EvStarted:
		w.asked, w.live = false, true
	case EvStartFailed:
		w.asked = false
	case EvDied:
		w.live = false
	case EvConsulted:
		w.consult = false
	case EvTimer:
		w.armed[ev.Timer] = false
	case EvResumed:
	}
}

// walkEvents is every event there is, with every field that matters.
func walkEvents(p *Policy) (list []Event) {
	at := Instant{walkNow, 1}
	add := func(ev Event) {
		ev.At = at
		list = append(list, ev)
	}
	facts := []Facts{{}, {Finish: Present, Controls: Present, Start: Present, Stop: Present}}
	for _, f := range facts {
		for _, down := range []bool{false, true} {
			for _, norun := range []bool{false, true} {
				f.Down, f.NoRun = down, norun
				add(Event{Kind: EvBoot, Facts: f})
			}
		}
		add(Event{Kind: EvFacts, Facts: f})
		add(Event{Kind: EvFacts, Facts: f, Flag: true})
		if extended(p) {
			add(Event{Kind: EvBoot, Facts: f, Veto: true})
			f.Down, f.NoRun = false, false
			for _, f.Once = range []bool{false, true} {
				if f.Once && p.MinUptime == 0 {
					continue
				}
				for f.Content = range uint64(3) {
					add(Event{Kind: EvBoot, Facts: f})
					add(Event{Kind: EvFacts, Facts: f, Flag: f.Content == 1})
				}
				f.Lacking = true
				add(Event{Kind: EvBoot, Facts: f})
				add(Event{Kind: EvFacts, Facts: f})
				f.Lacking = false
			}
		}
	}
	for _, f := range []Facts{{}, {Once: true}, {Down: true}} {
		f.Once = f.Once && extended(p)
		add(Event{Kind: EvRedefined, Facts: f})
	}
	for b := range 256 {
		if (b == 'p' || b == 'c') && lean(p) {
			continue
		}
		if knows(p, byte(b)) {
			add(Event{Kind: EvControl, Byte: byte(b)})
			if p.Letters&LettersEncore != 0 && b != 'u' {
				add(Event{Kind: EvControl, Byte: byte(b), Group: true})
			}
		}
	}
	add(Event{Kind: EvControl, Byte: '?'})
	add(Event{Kind: EvStarted, PID: 7})
	add(Event{Kind: EvStartFailed})
	add(Event{Kind: EvStartFailed, Exec: true})
	add(Event{Kind: EvStartFailed, Exec: true, Final: true})
	for _, st := range []WaitStatus{0, Exited(1), Exited(100), Exited(125), 9} {
		add(Event{Kind: EvDied, PID: 7, Status: st})
	}
	add(Event{Kind: EvDied, PID: 7, Status: Exited(1), Final: true})
	add(Event{Kind: EvDied, PID: 8})
	add(Event{Kind: EvDied, PID: 8, Final: true})
	for _, on := range []bool{false, true} {
		add(Event{Kind: EvConsulted, Veto: on})
		add(Event{Kind: EvNeeds, Flag: on})
		if !lean(p) {
			add(Event{Kind: EvLoad, Flag: on})
		}
	}
	for t := Timer(0); t < Timers; t++ {
		add(Event{Kind: EvTimer, Timer: t})
	}
	for _, k := range []EventKind{EvReady, EvRemoved, EvReturned, EvShutdown, EvDrain, EvSlow, EvDeadline} {
		if k == EvReady && lean(p) || (k == EvSlow || k == EvDrain) && (lean(p) || p.WatchdogFor > 0) {
			continue
		}
		add(Event{Kind: k})
	}
	if p.WatchdogFor > 0 {
		add(Event{Kind: EvBeat})
		add(Event{Kind: EvBeat, Flag: true})
		add(Event{Kind: EvPeriod})
		add(Event{Kind: EvPeriod, After: time.Second})
		add(Event{Kind: EvExtend, After: time.Minute})
		for mood := MoodReloading; mood < Moods; mood++ {
			add(Event{Kind: EvMood, Byte: byte(mood)})
		}
	}
	return list
}

// extended tells whether the walk has the facts and timers in it that come of the files
// once, bounce and depends.
func extended(p *Policy) bool { return p.Bounce > 0 }

// lean tells whether the walk leaves out what such facts and timers have nothing to do
// with: with it there are millions of states, which take minutes.
func lean(p *Policy) bool { return extended(p) && os.Getenv("UPKEEP_LONG_WALK") == "" }

// visit calls see for every step between reachable states, and fails the test at
// the first that breaks an invariant.
func visit(t *testing.T, p *Policy, see func(from node, ev Event, to node, a *Actions)) []node {
	t.Helper()
	events := walkEvents(p)
	type edge struct {
		from int
		ev   Event
	}
	seen := map[node]int{}
	var queue []node
	var came []edge
	push := func(n node, from int, ev Event) {
		n.m = canonical(p, n.m)
		if _, ok := seen[n]; !ok {
			seen[n] = len(queue)
			queue = append(queue, n)
			came = append(came, edge{from, ev})
		}
	}
	fail := func(at int, ev Event, err error) {
		t.Helper()
		path := fmt.Sprintf("%+v", ev)
		for i := at; i > 0; i = came[i].from {
			path = fmt.Sprintf("%s\n%s", describe(came[i].ev), path)
		}
		t.Fatalf("%v: %v\nafter:\n%s\nin %+v %+v", p.Dialect, err, path, queue[at].m, queue[at].w)
	}
	push(node{}, -1, Event{})
	var a Actions // one for all: see makes it escape
	for i := 0; i < len(queue); i++ {
		for _, from := range []node{queue[i], {later(queue[i].m), queue[i].w}} {
			for _, ev := range events {
				if ev.Kind == EvBoot && from.m.Booted && ev.Facts != (Facts{}) {
					continue // one second boot is as good as another
				}
				var m Machine
				m, a = from.m.Step(p, ev)
				w := from.w
				if !w.possible(&from.m, &ev) {
					if m != from.m || a.n > 0 {
						fail(i, ev, fmt.Errorf("what cannot happen changed something"))
					}
					continue
				}
				w.answered(&ev)
				if ev.Kind == EvTimer && !from.w.armed[ev.Timer] {
					w.armed[ev.Timer] = false // a firing that could not be stopped
				}
				// TimerRestart may be early; it is armed anew in that case.
				if ev.Kind == EvTimer && ev.Timer == TimerRestart && from.m.Waiting && from.m.Due > walkNow {
					w.armed[TimerRestart] = true
				}
				if ev.Kind == EvTimer && ev.Timer == TimerBounce && from.m.Timed && from.m.Started+p.Bounce > walkNow {
					w.armed[TimerBounce] = true
				}
				if ev.Kind == EvTimer && ev.Timer == TimerWatchdog && from.m.Watched && from.m.LimitDue > walkNow {
					w.armed[TimerWatchdog] = true
				}
				if err := w.act(&from.m, &m, &a); err != nil {
					fail(i, ev, err)
				}
				to := node{m, w}
				if see != nil {
					see(from, ev, to, &a)
				}
				if m.Phase != PhaseGone {
					push(to, i, ev)
				}
			}
		}
	}
	return queue
}

// walkPolicies are the dialects, and what single directories may add to them.
func walkPolicies() []*Policy {
	var list []*Policy
	for d := Common; d < Dialects; d++ {
		p := PolicyFor(d)
		list = append(list, &p)
	}
	p := PolicyFor(S6)
	p.KillAfter, p.ReadyFor = time.Second, time.Second
	list = append(list, &p)
	guarded := PolicyFor(Daemontools)
	guarded.WatchdogFor, guarded.ReadyFor = time.Minute, time.Second
	guarded.ControlScripts = os.Getenv("UPKEEP_LONG_WALK") != "" // another minute
	list = append(list, &guarded)
	for _, scripts := range []string{"", "control", "finish", "start"} {
		p := PolicyFor(Daemontools)
		p.ControlScripts, p.FinishScript, p.StartStopScripts = scripts == "control", scripts == "finish", scripts == "start"
		p.StopSignal, p.Bounce = syscall.SIGINT, 20*time.Second
		if scripts == "" || scripts == "finish" || !lean(&p) {
			p.MinUptime, p.RestartDelay, p.PermanentRun = 10*time.Second, 10*time.Second, 100
		}
		if scripts == "" || !lean(&p) {
			p.KillAfter = time.Second
		}
		if scripts == "" {
			p.Strikes = 1
		}
		list = append(list, &p)
	}
	return list
}

// walks are walkPolicies and the states that they lead to, each walked once.
var walks = sync.OnceValue(func() (list []*walk) {
	for _, p := range walkPolicies() {
		list = append(list, &walk{Policy: p})
	}
	return list
})

type walk struct {
	*Policy
	once  sync.Once
	found []node
}

func (w *walk) nodes(t *testing.T) []node {
	t.Helper()
	w.once.Do(func() { w.found = visit(t, w.Policy, nil) })
	return w.found
}

// TestEveryEventInEveryState walks, and then follows a shutdown from every state:
// whatever is under way, the answers that the world owes, and KILL, lead to the
// end.
func TestEveryEventInEveryState(t *testing.T) {
	t.Parallel()
	for _, w := range walks() {
		p := w.Policy
		t.Run(p.Dialect.String(), func(t *testing.T) {
			t.Parallel()
			nodes := w.nodes(t)
			if len(nodes) < 100 {
				t.Errorf("only %d states: the walk does not walk", len(nodes))
			}
			t.Logf("%d states", len(nodes))
			for _, n := range nodes {
				if n.m.Booted {
					shutDown(t, p, n)
					deadline(t, p, n)
				}
			}
		})
	}
}

func shutDown(t *testing.T, p *Policy, from node) {
	n := from
	step := func(ev Event) {
		ev.At = Instant{walkNow, 1}
		n.w.answered(&ev)
		before := n.m
		m, a := n.m.Step(p, ev)
		n.m = m
		if err := n.w.act(&before, &n.m, &a); err != nil {
			t.Fatalf("%v: %v", describe(ev), err)
		}
	}
	step(Event{Kind: EvShutdown})
	for i := 0; n.m.Phase != PhaseGone; i++ {
		switch {
		case i == 20:
			t.Fatalf("no end: %+v, shut down in %+v", n.m, from.m)
		case n.w.consult:
			step(Event{Kind: EvConsulted, Veto: true})
		case n.w.asked:
			step(Event{Kind: EvStarted, PID: 7})
		case n.w.live && n.w.armed[TimerKill]:
			step(Event{Kind: EvTimer, Timer: TimerKill})
			step(Event{Kind: EvDied, PID: 7, Status: 9})
		default:
			t.Fatalf("stuck in %+v %+v, shut down in %+v", n.m, n.w, from.m)
		}
	}
}

// deadline follows what EvDeadline leads to: KILL is sent at once to whatever lives,
// or comes to live, and its death is the end.
func deadline(t *testing.T, p *Policy, from node) {
	n := from
	killed := n.m.Hurried
	step := func(ev Event) {
		ev.At = Instant{walkNow, 1}
		n.w.answered(&ev)
		before := n.m
		m, a := n.m.Step(p, ev)
		n.m = m
		if err := n.w.act(&before, &n.m, &a); err != nil {
			t.Fatalf("%v: %v", describe(ev), err)
		}
		for _, x := range a.All() {
			killed = killed || x.Kind == Signal && x.Signal == syscall.SIGKILL
		}
	}
	step(Event{Kind: EvDeadline})
	for i := 0; n.m.Phase != PhaseGone; i++ {
		switch {
		case i == 4:
			t.Fatalf("no end: %+v, deadline in %+v", n.m, from.m)
		case n.w.consult:
			step(Event{Kind: EvConsulted})
		case n.w.asked:
			killed = false
			step(Event{Kind: EvStarted, PID: 7})
		case n.w.live && killed:
			step(Event{Kind: EvDied, PID: 7, Status: 9})
		default:
			t.Fatalf("stuck in %+v %+v, deadline in %+v", n.m, n.w, from.m)
		}
	}
}

func describe(ev Event) string {
	switch ev.Kind {
	case EvControl:
		return "control " + string(rune(ev.Byte))
	case EvTimer:
		return fmt.Sprintf("timer %d", ev.Timer)
	case EvDied:
		return fmt.Sprintf("died %#x", uint32(ev.Status))
	case EvBoot, EvFacts:
		return fmt.Sprintf("event %d %+v", ev.Kind, ev.Facts)
	}
	return fmt.Sprintf("event %d flag %v exec %v veto %v", ev.Kind, ev.Flag, ev.Exec, ev.Veto)
}

// TestPolicyChanges: a service directory may get such files, and lose them, in every
// state.
func TestPolicyChanges(t *testing.T) {
	t.Parallel()
	for _, w := range walks() {
		if w.Dialect != Daemontools || w.ControlScripts || w.FinishScript || w.StartStopScripts {
			continue
		}
		t.Run("", func(t *testing.T) {
			t.Parallel()
			to := PolicyFor(Daemontools)
			if w.Bounce == 0 {
				to.Bounce, to.KillAfter = 20*time.Second, time.Second
				to.MinUptime, to.RestartDelay, to.PermanentRun = 10*time.Second, 10*time.Second, 100
			}
			for _, n := range w.nodes(t) {
				if !n.m.Booted {
					continue
				}
				before := n.m
				m, a := n.m.Step(&to, Event{Kind: EvFacts, Facts: n.m.Facts, At: Instant{walkNow, 1}})
				n.m = m
				if err := n.w.act(&before, &n.m, &a); err != nil {
					t.Fatalf("%v in %+v", err, before)
				}
				if n.m.Timed != (to.Bounce > 0 && n.m.alive() && n.m.Phase != PhaseStopping && n.m.Phase != PhaseGone) {
					t.Fatalf("timed is %v: %+v", n.m.Timed, before)
				}
				if n.m.Phase != PhaseGone {
					shutDown(t, &to, n)
				}
			}
		})
	}
}
