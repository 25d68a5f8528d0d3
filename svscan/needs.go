package svscan

import (
	"errors"
	"strings"
	"sync/atomic"

	"upkeep/supervise"
	"upkeep/supervise/servicedir"
)

// The file needs names services of the scan directory without which one is of no use: it is
// held until all are up, and ready if they say when they are; when everything is stopped, it
// ends before them. What runs is left alone when one of them ends, and held before it would
// start again.

// needs is what a unit has of that; under its mu, but for said.
type needs struct {
	names []string
	unmet []string
	round bool   // it needs itself
	said  string // the last complaint; the scanner's
}

// errRound is the fault of a service that needs itself.
var errRound = errors.New("it needs itself")

// lookForNeeded reads the file needs.
func (u *unit) lookForNeeded() {
	if u.log || u.entry == nil {
		return
	}
	names, err := servicedir.Needs(u.dir.FD)
	var faults []fileFault
	if err != nil {
		faults = []fileFault{{servicedir.NeedsName, err}}
	}
	if u.ext == nil && names == nil && faults == nil {
		return
	}
	x := u.extend()
	u.tellFaults(&x.said[2], faults)
	u.mu.Lock()
	had := x.needs != nil
	switch {
	case names == nil:
		x.needs = nil
	case x.needs == nil:
		x.needs = &needs{names: names, unmet: names}
	default:
		x.needs.names = names
	}
	u.mu.Unlock()
	if s := u.entry.scanner; names != nil || had {
		s.call(func() {
			if names != nil {
				s.watchNeeds()
			}
			s.weigh(u.entry)
		})
	}
}

// needed are the names of what the unit needs.
func (u *unit) needed() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ext == nil || u.ext.needs == nil {
		return nil
	}
	return u.ext.needs.names
}

// missingNeeds says what is lacking.
func (u *unit) missingNeeds() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ext == nil || u.ext.needs == nil {
		return "its turn has not come" // file rank
	}
	n := u.ext.needs
	if n.round {
		return "it needs " + strings.Join(n.unmet, " ") + ", and with that itself"
	}
	return "it needs " + strings.Join(n.unmet, " ")
}

// needsWatcher has needs weighed again when something has changed.
type needsWatcher struct {
	s       *Scanner
	pending atomic.Bool
}

// hear implements watcher.
func (w *needsWatcher) hear(n *note) {
	if n.unit != nil && n.unit.log || !w.pending.CompareAndSwap(false, true) {
		return
	}
	w.s.call(func() {
		w.pending.Store(false)
		w.s.weighAll()
	})
}

func (s *Scanner) watchNeeds() {
	if s.needsWatcher == nil {
		s.needsWatcher = &needsWatcher{s: s}
		s.k.hub.add(s.needsWatcher)
	}
}

func (s *Scanner) weighAll() {
	if s.needsWatcher == nil {
		return // there are none
	}
	s.sweepChecks()
	for _, e := range s.entries {
		if e.main.up && e.main.unit.needed() != nil {
			s.weigh(e)
		}
	}
}

// serviceOf is the entry of that name, or nil.
func (s *Scanner) serviceOf(name string) *entry {
	for _, e := range s.entries {
		if e.name == name && e.present {
			return e
		}
	}
	return nil
}

// weigh lets a service start, or holds it.
func (s *Scanner) weigh(e *entry) {
	if !e.main.up || s.adopting || s.inheriting {
		return
	}
	u := e.main.unit
	names := u.needed()
	var unmet, unknown []string
	for _, name := range names {
		switch other := s.serviceOf(name); {
		case other == nil:
			unmet, unknown = append(unmet, name), append(unknown, name)
		case !other.serves():
			unmet = append(unmet, name)
			if other.main.up {
				s.seekReadiness(other.main.unit)
			}
		}
	}
	round := len(unmet) > 0 && s.needs(e, e, make(map[*entry]bool))
	u.mu.Lock()
	said := ""
	if u.ext != nil && u.ext.needs != nil {
		n := u.ext.needs
		n.unmet, n.round = unmet, round
		said = n.said
		n.said = ""
		if round || len(unknown) > 0 {
			n.said = strings.Join(unknown, " ")
			if round {
				n.said = "round"
			}
		}
		if n.said == said {
			round, unknown = false, nil // it was said
		}
	}
	u.mu.Unlock()
	if round {
		s.k.report(Warning, e.name, "start", e.name, errRound)
	} else if len(unknown) > 0 {
		s.k.report(Warning, e.name, "start", e.name+", which needs "+strings.Join(unknown, " "), errUnknown)
	}
	let := len(unmet) == 0 && (e.place == nil || e.place.released)
	u.Post(supervise.Event{Kind: supervise.EvNeeds, Flag: let, At: u.Now()})
}

var errUnknown = errors.New("no such service")

// serves tells whether those who need the service may start.
func (e *entry) serves() bool {
	if !e.main.up {
		return false
	}
	u := e.main.unit
	says := u.saysReady() || u.hasCheck()
	u.mu.Lock()
	defer u.mu.Unlock()
	m := &u.state
	return runs(m) && m.Script == supervise.ScriptRun && m.Phase != supervise.PhaseStopping && (!says || m.Ready != 0) ||
		m.Phase == supervise.PhaseDown && m.Facts.Once && m.Deaths > 0 && m.Last == 0
}

// needs tells whether a service needs another one, be it through others.
func (s *Scanner) needs(e, other *entry, seen map[*entry]bool) bool {
	if seen[e] || e.main.unit == nil {
		return false
	}
	seen[e] = true
	for _, name := range e.main.unit.needed() {
		next := s.serviceOf(name)
		if next != nil && (next == other || s.needs(next, other, seen)) {
			return true
		}
	}
	return false
}

// stopInOrder tells those to stop whom nobody needs any more. It is called again when
// somebody has ended.
func (s *Scanner) stopInOrder() {
	needed := make(map[string]bool)
	ending := false
	for _, e := range s.entries {
		if e.main.unit == nil {
			continue
		}
		ending = ending || e.stopping
		for _, name := range e.main.unit.needed() {
			needed[name] = needed[name] || name != e.name
		}
	}
	var left []*entry
	for _, e := range s.entries {
		switch {
		case e.stopping || s.isLogService(e) && e.main.unit != nil || s.isCatchAll(e):
		case e.main.unit != nil && needed[e.name]:
			left = append(left, e)
		default:
			ending = true
			s.stopOne(e)
		}
	}
	if !ending {
		for _, e := range left { // they need each other
			s.stopOne(e)
		}
	}
}

func (s *Scanner) stopOne(e *entry) {
	e.stopping = true
	e.stop()
	s.drop(e)
}
