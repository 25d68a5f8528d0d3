package svscan

import (
	"upkeep/supervise"
	"upkeep/supervise/servicedir"
)

// The files rank and wait make an order of the first starts. Every service with a rank
// begins held; the scanner lets them go one rank after the other, those of a rank as soon
// as all before it are started, or have failed to, and those with wait have run once.

// place is an entry's in that order.
type place struct {
	servicedir.Rank
	waits    bool // in the scanner's line
	released bool // and its turn has come
}

// rankOf reads the rank of a new entry, which is NAME below dir.
func (s *Scanner) rankOf(e *entry, dir int, name string) {
	r, err := servicedir.ReadRank(dir, name)
	if err != nil {
		s.k.report(Warning, e.name, "use", e.name+"/rank", err)
	}
	if r != nil {
		e.place = &place{Rank: *r}
		s.queue(e)
	}
}

// queue puts an entry into the line.
func (s *Scanner) queue(e *entry) {
	if e.place == nil || e.place.waits {
		return
	}
	e.place.waits = true
	s.line = append(s.line, e)
	for i := len(s.line) - 1; i > 0 && e.place.Compare(&s.line[i-1].place.Rank) < 0; i-- {
		s.line[i-1], s.line[i] = e, s.line[i-1]
	}
}

// heldBack tells whether the machine of a unit is to wait for its turn.
func (u *unit) heldBack(m *supervise.Machine) bool {
	return u.entry != nil && !u.log && (u.entry.place != nil && m.Life == 0 || u.needed() != nil)
}

// takeTurn is for a unit that has just been opened.
func (s *Scanner) takeTurn(u *unit) {
	if e := u.entry; !u.log && e.place != nil {
		e.place.released = false
		u.inLine.Store(true)
		s.queue(e)
	}
}

// moveUp lets those start whose turn it is.
func (s *Scanner) moveUp() {
	if s.stop || s.adopting || s.inheriting {
		return
	}
	for len(s.line) > 0 {
		first, n, kept := s.line[0], 0, 0
		for ; n < len(s.line) && s.line[n].place.Compare(&first.place.Rank) == 0; n++ {
			e := s.line[n]
			if e.main.up && !e.place.released {
				e.place.released = true
				s.weigh(e)
			}
			if !e.passed() {
				s.line[kept] = e
				kept++
				continue
			}
			e.place.waits = false
			if e.main.unit != nil {
				e.main.unit.inLine.Store(false)
			}
		}
		s.line = append(s.line[:kept], s.line[n:]...)
		if kept > 0 {
			return
		}
	}
}

// passed tells that nobody has to wait for the entry any more.
func (e *entry) passed() bool {
	u := e.main.unit
	if u == nil || !e.present {
		return true
	}
	if !e.main.up {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	m := &u.state
	switch {
	case !m.Booted:
		return false
	case m.Deaths > 0:
		return true
	}
	switch m.Phase {
	case supervise.PhaseHeld:
		lacks := u.ext != nil && u.ext.needs != nil && len(u.ext.needs.unmet) > 0
		return e.place.released && (m.Facts.Lacking || m.Loaded || lacks)
	case supervise.PhaseStarting:
		return m.Slow && !e.place.Waits
	case supervise.PhaseDown:
		return !m.Waiting || !e.place.Waits
	}
	return !e.place.Waits || m.Phase == supervise.PhaseGone
}
