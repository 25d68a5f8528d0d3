package svscan

import (
	"time"

	"upkeep/supervise"
	"upkeep/supervise/servicedir"
	"upkeep/svscan/internal/spawn"
)

// Consult implements supervise.Port.
func (u *unit) Consult(letter byte) {
	u.mu.Lock()
	u.letter = letter
	u.order(jobConsult)
	u.mu.Unlock()
}

// startControl runs control/LETTER if it is there (runit.md, section 1.8).
func (u *unit) startControl() {
	u.mu.Lock()
	c := &controlScript{u, "control/" + string(rune(u.letter))}
	letter := u.letter
	u.mu.Unlock()
	there, err := servicedir.ControlScript(u.dir.FD, letter)
	if err != nil {
		u.k.report(Warning, u.name(), "stat", u.name()+"/"+c.path, err)
	}
	if !there {
		c.over(false)
		return
	}
	p, err := spawn.NewProgram(c.path, c.path)
	if err != nil {
		c.refused(err)
		return
	}
	u.spawn(new(spawn.Request), p, c)
}

// controlScript is a control script under way.
type controlScript struct {
	unit *unit
	path string
}

func (c *controlScript) over(veto bool) {
	c.unit.Post(supervise.Event{Kind: supervise.EvConsulted, Veto: veto, At: c.unit.Now()})
}

// Started implements spawn.Owner.
func (c *controlScript) Started(int32, time.Time) { c.unit.answered() }

// Proceed implements spawn.Owner.
func (c *controlScript) Proceed() {}

// StartFailed implements spawn.Owner.
func (c *controlScript) StartFailed(err error, exec bool, _ time.Time) {
	c.unit.answered()
	c.refused(err)
}

func (c *controlScript) refused(err error) {
	c.unit.k.report(Warning, c.unit.name(), "run", c.unit.name()+"/"+c.path, err)
	c.over(false)
}

// Slow implements spawn.Owner.
func (c *controlScript) Slow() {}

// Died implements reap.Owner. Exit 0 and death by a signal both leave the default
// action out (runit.md, section 0.7).
func (c *controlScript) Died(_ int32, st uint32) {
	w := supervise.WaitStatus(st)
	c.over(w.Signalled() || w.Code() == 0)
}
