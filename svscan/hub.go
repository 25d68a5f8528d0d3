package svscan

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"upkeep/internal/jsontext"
	"upkeep/supervise"
	"upkeep/supervise/status"
)

// hub tells who wants to know of every change of state of every service. Nothing is
// noted while nobody does.
type hub struct {
	n    atomic.Int32 // watchers
	mu   sync.Mutex
	all  []watcher
	last atomic.Uint64 // the number of the last note
}

// watcher hears of changes, after the status file has them. It must not wait.
type watcher interface{ hear(n *note) }

// note is a change of a unit, or of an entry that has none.
type note struct {
	seq     uint64
	at      time.Time
	unit    *unit // nil for what follows
	entry   *entry
	name    string
	what    string
	pid     int32 // of the process that it is about
	state   supervise.Machine
	ordinal uint32 // of the announcement
	fault   string
	says    string // what the service says of itself
	main    int32  // and what it calls its main process
	line    []byte // as JSON, for the first who asks
}

// What a note can be about.
const (
	noteIs        = "is"   // the state at the beginning
	noteLive      = "live" // all states were told
	noteLost      = "lost" // the reader was too slow; all states follow
	noteBegun     = "supervised"
	noteFault     = "fault" // it cannot be supervised
	noteRemoved   = "removed"
	noteUp        = "up"
	noteReady     = "ready"
	noteDown      = "down"
	noteFinish    = "finish"
	noteFinished  = "finished"
	noteUnfit     = "unfit" // run could not be executed
	noteFailed    = "failed"
	noteHeld      = "held"
	notePaused    = "paused"
	noteContinued = "continued"
	noteWant      = "want"
	noteStopping  = "stopping"
	noteReloading = "reloading"
	noteWatchdog  = "watchdog" // it gave no sign of life
	noteStatus    = "status"   // it says something else of itself
	noteGone      = "gone"
)

func (h *hub) active() bool { return h.n.Load() > 0 }

func (h *hub) add(w watcher) {
	h.mu.Lock()
	h.all = append(h.all, w)
	h.n.Add(1)
	h.mu.Unlock()
}

func (h *hub) remove(w watcher) {
	h.mu.Lock()
	if i := slices.Index(h.all, w); i >= 0 {
		h.all = slices.Delete(h.all, i, i+1)
		h.n.Add(-1)
	}
	h.mu.Unlock()
}

// publish numbers a note and tells everybody.
func (h *hub) publish(n *note) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n.seq, n.at = h.last.Add(1), time.Now()
	for _, w := range h.all {
		w.hear(n)
	}
}

// announcement is a change of the machine that is to be told when the status is written.
type announcement struct {
	was, is supervise.Machine
	ordinal uint32
}

// note keeps an announcement for tellHub. u.mu is held.
func (u *unit) note(was, is *supervise.Machine) {
	u.ordinal++
	if !u.k.hub.active() {
		return
	}
	if u.ext == nil {
		u.ext = new(extension)
	}
	u.ext.notes = append(u.ext.notes, announcement{*was, *is, u.ordinal})
}

// noteUnfit keeps why run could not be executed.
func (u *unit) noteUnfit(err error) {
	if !u.k.hub.active() && u.ext == nil {
		return
	}
	x := u.extend()
	u.mu.Lock()
	x.unfit = err
	u.mu.Unlock()
}

// toldBegun tells that the unit is supervised.
func (u *unit) toldBegun() {
	if h := &u.k.hub; h.active() {
		n := u.is()
		n.what = noteBegun
		h.publish(n)
	}
}

// tellHub tells of what was announced.
func (u *unit) tellHub() {
	u.mu.Lock()
	var notes []announcement
	if u.ext != nil {
		notes, u.ext.notes = u.ext.notes, nil
	}
	u.mu.Unlock()
	for i := range notes {
		a := &notes[i]
		changes(&a.was, &a.is, func(what string, pid int32) {
			u.k.hub.publish(&note{unit: u, entry: u.entry, name: u.name(), what: what, pid: pid, state: a.is, ordinal: a.ordinal})
		})
	}
}

// changes tells what makes two states differ.
func changes(was, is *supervise.Machine, tell func(what string, pid int32)) {
	script := func(m *supervise.Machine) bool {
		return m.Script == supervise.ScriptFinish || m.Script == supervise.ScriptStop
	}
	if was.PID != is.PID && was.PID != 0 {
		what := noteDown
		if script(was) {
			what = noteFinished
		}
		tell(what, was.PID)
	}
	if was.Deaths != is.Deaths && is.Unfit || !was.Unfit && is.Unfit {
		tell(noteUnfit, 0)
	}
	if was.PID != is.PID && is.PID != 0 {
		what := noteUp
		if script(is) {
			what = noteFinish
		}
		tell(what, is.PID)
	}
	for _, x := range []struct {
		what string
		is   bool
	}{
		{noteReady, is.Ready != 0 && was.Ready != is.Ready},
		{noteStopping, is.Phase == supervise.PhaseStopping && was.Phase != is.Phase ||
			is.Mood == supervise.MoodLeaving && was.Mood != is.Mood},
		{noteReloading, is.Mood == supervise.MoodReloading && was.Mood != is.Mood},
		{noteWatchdog, is.Missed && !was.Missed && is.Life == was.Life},
		{noteHeld, is.Phase == supervise.PhaseHeld && was.Phase != is.Phase},
		{notePaused, is.Paused && !was.Paused},
		{noteContinued, was.Paused && !is.Paused && was.PID == is.PID},
		{noteFailed, is.Failed && !was.Failed},
		{noteWant, was.Want != is.Want},
		{noteGone, is.Phase == supervise.PhaseGone && was.Phase != is.Phase},
	} {
		if x.is {
			tell(x.what, is.PID)
		}
	}
}

// The words for a state (openrc.md, section 11.3).
const (
	stateUp       = "up"
	stateReady    = "ready"
	stateStarting = "starting"
	stateStopping = "stopping"
	stateBackoff  = "backoff"
	stateFailed   = "failed"
	stateHeld     = "held"
	stateDown     = "down"
	stateNone     = "none"
)

// stateWord is what m is for a service that says when it is ready, or does not.
func stateWord(m *supervise.Machine, says bool) string {
	runs := m.PID != 0 && (m.Script == supervise.ScriptRun || m.Script == supervise.ScriptStart)
	switch {
	case m.Phase == supervise.PhaseGone:
		return stateNone
	case runs && (m.Phase == supervise.PhaseStopping || m.Mood == supervise.MoodLeaving):
		return stateStopping
	case runs && m.Ready != 0:
		return stateReady
	case runs && m.Mood == supervise.MoodReloading:
		return stateUp
	case runs && !says && m.Script == supervise.ScriptRun:
		return stateUp
	case runs, m.Phase == supervise.PhaseStarting:
		return stateStarting
	case m.Phase == supervise.PhaseFinishing && m.Want == status.WantDown:
		return stateStopping
	case m.Phase == supervise.PhaseHeld:
		return stateHeld
	case m.Failed:
		return stateFailed
	case m.Want == status.WantUp || m.Waiting || m.Phase == supervise.PhaseFinishing:
		return stateBackoff
	}
	return stateDown
}

func wantWord(w status.Want) string {
	switch w {
	case status.WantUp:
		return "up"
	case status.WantOnce:
		return "once"
	}
	return "down"
}

// json is the note as one line.
func (n *note) json() []byte {
	if n.line != nil {
		return n.line
	}
	b := jsontext.Number(make([]byte, 0, 256), "seq", int64(n.seq))
	b = jsontext.Time(b, "time", n.at)
	b = jsontext.String(b, "event", n.what)
	if n.name != "" {
		b = jsontext.String(b, "service", n.name)
	}
	if n.unit != nil {
		b = n.appendState(b)
	}
	if n.fault != "" {
		b = jsontext.String(b, "reason", n.fault)
	}
	n.line = jsontext.End(b)
	return n.line
}

func (n *note) appendState(b []byte) []byte {
	m := &n.state
	if n.pid != 0 {
		b = jsontext.Number(b, "pid", int64(n.pid))
	}
	if n.what == noteDown || n.what == noteIs && m.Deaths > 0 {
		b = appendEnd(b, m.Last)
	}
	b = jsontext.String(b, "state", stateWord(m, n.unit.saysReady()))
	b = jsontext.String(b, "want", wantWord(m.Want))
	if m.Paused {
		b = jsontext.Bool(b, "paused", true)
	}
	if n.says != "" || n.what == noteStatus {
		b = jsontext.String(b, "status", n.says)
	}
	if n.main != 0 {
		b = jsontext.Number(b, "mainpid", int64(n.main))
	}
	if n.what == noteIs {
		b = jsontext.Time(b, "since", time.Unix(0, m.Since))
	}
	return jsontext.Number(b, "deaths", int64(m.Deaths))
}

// appendEnd appends how a process has ended, if that is known.
func appendEnd(b []byte, st supervise.WaitStatus) []byte {
	switch {
	case st == supervise.UnknownEnd:
		return b
	case st.Signalled():
		return jsontext.Number(b, "signal", int64(st.Signal()))
	}
	return jsontext.Number(b, "exit", int64(st.Code()))
}

// saysReady tells whether the service says when it is ready.
func (u *unit) saysReady() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.ext != nil && (u.ext.ready != nil || u.ext.speaker != nil)
}

// is notes the state as it is.
func (u *unit) is() *note {
	u.mu.Lock()
	n := &note{unit: u, entry: u.entry, name: u.name(), what: noteIs, state: u.state, pid: u.state.PID, ordinal: u.ordinal}
	n.says, n.main = u.says()
	u.mu.Unlock()
	return n
}
