package supervise

import (
	"strings"
	"testing"
	"time"

	"upkeep/supervise/status"
)

// TestResumeFromEveryState cuts the supervisor off in every reachable state, with
// every fate that the process may have met meanwhile, and resumes: nothing runs
// twice, nothing is forgotten, and a shutdown still leads to the end.
func TestResumeFromEveryState(t *testing.T) {
	t.Parallel()
	for _, w := range walks() {
		p := w.Policy
		t.Run(p.Dialect.String(), func(t *testing.T) {
			t.Parallel()
			resumed := 0
			for _, n := range w.nodes(t) {
				if !n.m.Booted || n.m.Phase == PhaseGone {
					continue
				}
				for _, ev := range fates(p, &n) {
					resume(t, p, n.m, ev)
					ev.Exec = true
					resume(t, p, n.m, ev)
					if extended(p) {
						ev.Veto, ev.Facts.Content = true, 2
						resume(t, p, n.m, ev)
						ev.Veto, ev.Facts.Lacking = false, true
						resume(t, p, n.m, ev)
					}
					resumed++
				}
			}
			if resumed < 1000 {
				t.Errorf("only %d cases", resumed)
			}
		})
	}
}

// fates are what a new supervisor may find out about the last process.
func fates(p *Policy, n *node) (list []Event) {
	at := Instant{walkNow, 1}
	add := func(ev Event) {
		ev.Kind, ev.At, ev.Since, ev.Facts = EvResumed, at, at, n.m.Facts
		list = append(list, ev)
	}
	process := func(life uint32, script Script) {
		add(Event{PID: 7, Life: life, Script: script, Flag: true})
		for _, st := range []WaitStatus{0, Exited(100), 9, UnknownEnd} {
			add(Event{PID: 7, Life: life, Script: script, Status: st})
			add(Event{PID: 7, Life: life, Script: script, Status: st, Final: script == ScriptRun})
		}
	}
	add(Event{}) // nothing is known
	if n.m.Script != ScriptNone && (n.w.live || n.w.asked) {
		process(n.m.Life, n.m.Script)
	}
	add(Event{PID: 7, Life: n.m.Life - 1, Script: ScriptRun, Status: UnknownEnd})
	if n.w.asked {
		return list // and nothing can have been started after it
	}
	// One that was started after the state was saved.
	process(n.m.Life+1, ScriptRun)
	if p.FinishScript {
		process(n.m.Life+1, ScriptFinish)
	}
	if p.StartStopScripts {
		process(n.m.Life+1, ScriptStart)
		process(n.m.Life+1, ScriptStop)
	}
	return list
}

func resume(t *testing.T, p *Policy, saved Machine, ev Event) {
	var b [StateSize]byte // this runs millions of times
	m, err := DecodeState(saved.AppendState(b[:0]))
	if err != nil {
		t.Fatalf("%+v: %v", saved, err)
	}
	w := world{live: ev.Flag}
	before := m
	if ev.Flag {
		before.Script = ev.Script
	}
	m, a := m.Step(p, ev)
	if err := w.act(&before, &m, &a); err != nil {
		t.Fatalf("%v: %v\nsaved %+v\nresumed with %+v\nis %+v", p.Dialect, err, saved, ev, m)
	}
	if m.Phase == PhaseGone {
		return
	}
	if m.Want != saved.Want && !(saved.Shutdown && !ev.Exec) && !m.Failed && !m.Idle && !ev.Final {
		t.Fatalf("the wish %q became %q: %+v", saved.Want, m.Want, saved)
	}
	if m.Shutdown != (saved.Shutdown && ev.Exec || ev.Final && saved.Awaits(ev.Life)) {
		t.Fatalf("shutdown is %v: %+v", m.Shutdown, saved)
	}
	shutDown(t, p, node{m, w})
}

// TestResumeTimes: timers run on for what is left of their time.
func TestResumeTimes(t *testing.T) {
	t.Parallel()
	p := PolicyFor(Daemontools)
	now := func(d time.Duration) Instant {
		return Instant{Mono: 100*time.Second + d, Wall: int64(100*time.Second + d)}
	}
	var m Machine
	step := func(ev Event) Actions {
		var a Actions
		m, a = m.Step(&p, ev)
		return a
	}
	step(Event{Kind: EvBoot, At: now(0)})
	step(Event{Kind: EvStarted, PID: 7, At: now(0)})
	step(Event{Kind: EvDied, PID: 7, At: now(200 * time.Millisecond)})
	m, err := DecodeState(m.AppendState(nil))
	if err != nil {
		t.Fatal(err)
	}
	a := step(Event{Kind: EvResumed, PID: 7, Life: 1, Script: ScriptRun, Status: UnknownEnd, At: now(700 * time.Millisecond)})
	found := false
	for _, x := range a.All() {
		found = found || x.Kind == Arm && x.Timer == TimerRestart && x.After == 300*time.Millisecond
	}
	if !found || !m.Waiting {
		t.Errorf("%+v after %+v", m, a.All())
	}
}

// TestResumeWatchdog: who takes over grants a whole period, and what was granted of other
// limits goes on. A start of which the state knows nothing has the period of the directory.
func TestResumeWatchdog(t *testing.T) {
	t.Parallel()
	p := PolicyFor(Daemontools)
	guardedPolicy(&p)
	for name, c := range map[string]struct {
		said   []Event
		missed bool
		want   Action
	}{
		"ready":     {[]Event{{Kind: EvReady}, {Kind: EvBeat}}, false, Action{Kind: Arm, Timer: TimerWatchdog, After: 3 * time.Second}},
		"its own":   {[]Event{{Kind: EvPeriod, After: 8 * time.Second}, {Kind: EvReady}}, false, Action{Kind: Arm, Timer: TimerWatchdog, After: 8 * time.Second}},
		"none":      {[]Event{{Kind: EvPeriod}, {Kind: EvReady}}, false, Action{}},
		"reloading": {[]Event{{Kind: EvReady}, {Kind: EvMood, Byte: byte(MoodReloading)}}, false, Action{Kind: Arm, Timer: TimerWatchdog, After: 3 * time.Second}},
		"leaving":   {[]Event{{Kind: EvReady}, {Kind: EvMood, Byte: byte(MoodLeaving)}}, false, Action{}},
		"extended":  {[]Event{{Kind: EvExtend, After: time.Minute}}, false, Action{Kind: Arm, Timer: TimerReady, After: 58 * time.Second}},
		"missed":    {nil, true, Action{Kind: Arm, Timer: TimerReady, After: 2 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var m Machine
			var a Actions
			start := Instant{100 * time.Second, int64(100 * time.Second)}
			late := Instant{102 * time.Second, int64(102 * time.Second)}
			for _, ev := range append([]Event{{Kind: EvBoot}, {Kind: EvStarted, PID: 7}}, c.said...) {
				ev.At = start
				m, _ = m.Step(&p, ev)
			}
			life := m.Life
			if c.missed {
				m, _ = Machine{}.Step(&p, Event{Kind: EvBoot, At: start})
				m.Life--
			}
			m, err := DecodeState(m.AppendState(nil))
			if err != nil {
				t.Fatal(err)
			}
			m, a = m.Step(&p, Event{Kind: EvResumed, PID: 7, Life: life, Script: ScriptRun, Flag: true, Since: start, At: late})
			var got Action
			for _, x := range a.All() {
				if x.Kind == Arm {
					got = x
				}
			}
			if got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			if c.missed {
				if _, a = m.Step(&p, Event{Kind: EvReady, At: late}); !strings.Contains(actionText(&a), "arm-watchdog-3s") {
					t.Errorf("%s", actionText(&a))
				}
			}
		})
	}
}

func TestStateRoundTrip(t *testing.T) {
	t.Parallel()
	m := Machine{
		Phase: PhaseStopping, Script: ScriptRun, Want: status.WantDown, Consulting: 't', Failures: 3, Strikes: 7,
		Booted: true, Stopped: true, Exiting: true, Paused: true, GotTerm: true, First: true, Loaded: true,
		Life: 1 << 31, PID: 4194304, Last: UnknownEnd, Deaths: 5, Since: -1, ReadySince: 2, Started: 3,
		Ready: 4, Due: 5, KillDue: 6, LimitDue: 7, DrainDue: 8,
		Renew: true, Prompt: true, Again: true, Mood: MoodLeaving, Watched: true, Missed: true, Watchdog: 9, Facts: Facts{Content: 1 << 63},
	}
	b := m.AppendState(nil)
	if len(b) != StateSize {
		t.Errorf("%d bytes, want %d", len(b), StateSize)
	}
	got, err := DecodeState(b)
	m.Restored = true
	if err != nil || got != m {
		t.Errorf("%v\n%+v\nwant\n%+v", err, got, m)
	}
}

func FuzzDecodeState(f *testing.F) {
	m := Machine{Booted: true, Want: status.WantUp}
	f.Add(m.AppendState(nil), int32(7), uint32(1), true)
	m.Phase, m.Script, m.PID, m.Life = PhaseUp, ScriptRun, 7, 1
	f.Add(m.AppendState(nil), int32(7), uint32(1), false)
	f.Add([]byte{1}, int32(0), uint32(0), false)
	f.Fuzz(func(t *testing.T, b []byte, pid int32, life uint32, alive bool) {
		m, err := DecodeState(b)
		if err != nil {
			return
		}
		p := PolicyFor(Common)
		ev := Event{Kind: EvResumed, PID: pid & (1<<31 - 1), Life: life, Script: ScriptRun, Flag: alive && pid > 0, At: Instant{walkNow, 1}}
		m, a := m.Step(&p, ev)
		spawns := 0
		for _, x := range a.All() {
			if x.Kind == Spawn {
				spawns++
			}
			if x.Kind == Arm && x.After < 0 {
				t.Errorf("timer in the past: %+v", x)
			}
		}
		if spawns > 1 || spawns == 1 && m.PID != 0 {
			t.Errorf("%d starts, pid %d", spawns, m.PID)
		}
	})
}
