package svscan

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
	"upkeep/supervise/servicedir"
	"upkeep/svscan/internal/reap"
	"upkeep/svscan/internal/spawn"
)

// Runit's script check says whether a service works (runit.md, section 3.7). It is run
// while somebody waits for that: who needs the service, or who starts it. When it exits with
// 0 the service is ready, for everybody. One that says so itself is not asked.

// checks are the checks that are under way, and how many verbs wait for each; the scanner's.
type checks struct {
	units   map[*unit]*checker
	waiting map[*unit]int
}

// checker runs check until the service is ready, or has ended, or nobody waits.
type checker struct {
	unit    *unit
	life    uint32
	pause   time.Duration
	timer   *time.Timer
	running bool
	null    int
	scanner *Scanner
	request spawn.Request
}

// A check that was not content is run again after a pause, which doubles.
const checkPause, checkPauseMax = 20 * time.Millisecond, time.Second

// hasCheck tells whether check says when the service is ready. One that cannot be executed
// says nothing.
func (u *unit) hasCheck() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.broken && !u.closing && (u.ext == nil || u.ext.ready == nil && u.ext.speaker == nil) && servicedir.Executable(u.dir.FD, "check")
}

// canBecomeReady tells whether run is there and has not been found ready.
func canBecomeReady(m *supervise.Machine) bool {
	return m.PID != 0 && m.Script == supervise.ScriptRun && m.Phase != supervise.PhaseStopping && m.Ready == 0
}

// seekReadiness has check run for somebody who waits, if there is one.
func (s *Scanner) seekReadiness(u *unit) {
	m := u.is().state
	c := s.checks.units[u]
	if c != nil && c.life != m.Life {
		s.endCheck(c)
		c = nil
	}
	if c != nil || !canBecomeReady(&m) || !u.hasCheck() {
		return
	}
	c = &checker{unit: u, life: m.Life, pause: checkPause, scanner: s}
	if s.checks.units == nil {
		s.checks.units = make(map[*unit]*checker)
	}
	s.checks.units[u] = c
	s.runCheck(c)
}

// awaitReadiness is that n more verbs wait, or fewer.
func (s *Scanner) awaitReadiness(u *unit, n int) {
	if s.checks.waiting == nil {
		s.checks.waiting = make(map[*unit]int)
	}
	if s.checks.waiting[u] += n; s.checks.waiting[u] > 0 {
		s.seekReadiness(u)
		return
	}
	delete(s.checks.waiting, u)
	s.sweepChecks()
}

// sweepChecks ends the checks for which nobody waits any more.
func (s *Scanner) sweepChecks() {
	for u, c := range s.checks.units {
		if m := u.is().state; c.life != m.Life || !canBecomeReady(&m) || s.checks.waiting[u] == 0 && !s.isNeeded(u) {
			s.endCheck(c)
		}
	}
}

// isNeeded tells whether a service waits for the unit's.
func (s *Scanner) isNeeded(u *unit) bool {
	for _, e := range s.entries {
		if e.main.up && u == u.entry.main.unit && slices.Contains(e.main.unit.needed(), u.entry.name) {
			return true
		}
	}
	return false
}

func (s *Scanner) endCheck(c *checker) {
	delete(s.checks.units, c.unit)
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.running {
		s.k.table.Kill(func(o reap.Owner) bool { return o == reap.Owner(c) })
	}
}

func (s *Scanner) endChecks() {
	for _, c := range s.checks.units {
		s.endCheck(c)
	}
}

// runCheck starts check, whose output nobody sees.
func (s *Scanner) runCheck(c *checker) {
	u := c.unit
	p, err := s.k.program("check")
	if err == nil {
		c.null, err = unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		s.checkLater(c)
		return
	}
	u.mu.Lock()
	ending := u.broken || u.closing
	if !ending {
		u.starts++
	}
	u.mu.Unlock()
	if ending {
		unix.Close(c.null)
		s.endCheck(c)
		return
	}
	c.running = true
	c.request = spawn.Request{
		Owner: c, Program: p, Dir: u.place(), Stdin: c.null, Stdout: c.null, Notify: -1, Journal: -1,
	}
	s.k.spawner.Spawn(&c.request)
}

func (s *Scanner) checkLater(c *checker) {
	c.timer = time.AfterFunc(c.pause, func() {
		s.call(func() {
			s.sweepChecks()
			if s.checks.units[c.unit] == c {
				s.runCheck(c)
			}
		})
	})
	c.pause = min(2*c.pause, checkPauseMax)
}

// ended is what check says. As with sv, one that was killed is content.
func (c *checker) ended(content bool) {
	s := c.scanner
	s.call(func() {
		c.running = false
		switch {
		case s.checks.units[c.unit] != c: // nobody waits any more
		case content:
			delete(s.checks.units, c.unit)
			c.unit.Post(supervise.Event{Kind: supervise.EvReady, Life: c.life, At: c.unit.Now()})
		default:
			s.checkLater(c)
		}
	})
}

// Started implements spawn.Owner.
func (c *checker) Started(int32, time.Time) { c.answered() }

// Proceed implements spawn.Owner.
func (c *checker) Proceed() {}

// StartFailed implements spawn.Owner.
func (c *checker) StartFailed(err error, exec bool, _ time.Time) {
	c.answered()
	if exec {
		u := c.unit
		u.k.report(Warning, u.name(), "run", u.name()+"/check", err)
	}
	c.ended(exec)
}

func (c *checker) answered() {
	unix.Close(c.null)
	c.unit.answered()
}

// Slow implements spawn.Owner.
func (c *checker) Slow() {}

// Died implements reap.Owner.
func (c *checker) Died(_ int32, status uint32) {
	st := supervise.WaitStatus(status)
	c.ended(st == 0 || st.Signalled())
}
