package svscan

import (
	"errors"
	"strconv"

	"golang.org/x/sys/unix"

	"upkeep/internal/fault"
	"upkeep/supervise/servicedir"
	"upkeep/svscan/internal/handoff"
)

// mirror is what an entry has in the state directory.
type mirror struct {
	key     string
	name    string // that leads to it, or ""
	refused string // a name that somebody else's file has, and said so
}

// openStore opens the state directory, if there is to be one.
func openStore(c Config) (*servicedir.Store, error) {
	if c.StateDir == "" {
		return nil, nil
	}
	store, err := servicedir.OpenStore(c.StateDir)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	id, err := store.Identity()
	if err == nil && unix.Stat(c.Dir, &st) == nil && servicedir.IdentityOf(&st) == id {
		err = errors.New("it is the scan directory")
	}
	if err != nil {
		store.Close()
		return nil, fault.At("unable to keep state in "+c.StateDir, err)
	}
	return store, nil
}

// home is the directory for what is the scanner's own and not a definition.
func (k *kernel) home() string {
	if k.config.StateDir != "" {
		return k.config.StateDir
	}
	return k.config.Dir
}

// key is where the store has an entry, or "" without a store.
func (e *entry) key() string {
	if e.mirror == nil {
		return ""
	}
	return e.mirror.key
}

// key is where the store has the unit.
func (u *unit) key() string {
	switch {
	case u.entry == nil || u.entry.mirror == nil:
		return ""
	case u.log:
		return servicedir.LogKey(u.entry.key())
	}
	return u.entry.key()
}

// place finds an entry's place in the store.
func (s *Scanner) place(e *entry, fd int) error {
	if s.k.store == nil || e.mirror != nil {
		return nil
	}
	key, err := servicedir.Key(fd)
	if err == nil {
		e.mirror = &mirror{key: key}
	}
	return err
}

// mirrorAll follows renamed directories. After the first scan that took up all, it
// clears away what is left of services that are no more.
func (s *Scanner) mirrorAll(first bool) {
	if s.k.store == nil {
		return
	}
	for _, e := range s.entries {
		if e.present {
			s.mirrorName(e)
		}
	}
	if first {
		s.tidy()
	}
}

// mirrorName has the name of an entry lead to it. One that it had before goes, unless
// it is somebody else's by now.
func (s *Scanner) mirrorName(e *entry) {
	m := e.mirror
	if m == nil || m.name == e.name || !e.present || !e.main.up && !e.log.up {
		return
	}
	if err := s.k.store.Link(e.name, m.key); err != nil {
		if m.refused != e.name {
			m.refused = e.name
			s.k.report(Warning, "", "link", s.k.home()+"/"+e.name, err)
		}
		return
	}
	old := m.name
	if other := s.linked[e.name]; other != nil && other != e {
		other.mirror.name = ""
	}
	s.linked[e.name], m.name, m.refused = e, e.name, ""
	if old == "" {
		return
	}
	if s.linked[old] == e {
		delete(s.linked, old)
		s.k.store.Unlink(old, m.key)
	}
	// The definition has another path now.
	for _, x := range []*slot{&e.main, &e.log} {
		if x.up {
			x.unit.check()
		}
	}
}

// unmirror clears away what an entry that is over had in the store. If its directory is
// still there, it stays, as it would in that.
func (s *Scanner) unmirror(e *entry) {
	m := e.mirror
	if m == nil {
		return
	}
	if s.linked[m.name] == e {
		delete(s.linked, m.name)
	}
	if !e.present {
		s.k.store.Unlink(m.name, m.key)
		s.k.store.Unlink(e.name, m.key) // of a former scanner
		s.k.store.Remove(m.key)
	}
}

// mirrorWithoutLog has the state of a log service that is over cleared away, if that is
// none any more.
func (s *Scanner) mirrorWithoutLog(u *unit) {
	if main := &u.entry.main; s.k.store != nil && u.log && main.up {
		main.unit.check()
	}
}

// tidy clears away what a former scanner left of services that are no more. Where a
// process is left as well, so is its state, by which it is found again if its directory
// comes back.
func (s *Scanner) tidy() {
	stays := make(map[string]*entry)
	for key, id := range s.k.store.Keys() {
		e := s.entries[id]
		if e != nil && e.mirror != nil && e.mirror.key != key {
			e = nil // of another directory, which had the same inode
		}
		if e != nil || s.runs(key) {
			stays[key] = e
		} else {
			s.k.store.Remove(key)
		}
	}
	for name, key := range s.k.store.Names() {
		if e, ok := stays[key]; !ok || e != nil && e.name != name {
			s.k.store.Unlink(name, key)
		}
	}
}

// runs tells whether a process of the service or of its log service may be left.
func (s *Scanner) runs(key string) bool {
	for _, mark := range s.k.store.Left(key, s.k.world) {
		if alive(&mark) {
			return true
		}
	}
	return false
}

// alive tells whether the process of a mark may still run.
func alive(mark *servicedir.Mark) bool {
	p, hidden := handoff.Find(mark)
	if p == nil {
		return hidden
	}
	defer p.Close()
	return p.Alive()
}

// mirror has the store show what the definition holds.
func (u *unit) mirror() {
	if u.k.store == nil {
		return
	}
	err := u.k.store.Mirror(u.dir.FD, u.key())
	if err == nil {
		u.failing &^= jobCheck
	} else if u.failing&jobCheck == 0 {
		u.failing |= jobCheck
		u.k.report(Warning, u.name(), "mirror", u.name()+" in "+u.k.config.StateDir, err)
	}
}

// leftElsewhere fails if the service runs already, by the journal in its definition:
// of a scanner that had its state there.
func (u *unit) leftElsewhere() error {
	if u.dir.Theirs < 0 {
		return nil
	}
	j := servicedir.Peek(u.dir.FD, u.k.world)
	if j == nil || j.Mark == (servicedir.Mark{}) || !alive(&j.Mark) {
		return nil
	}
	return errors.New("process " + strconv.Itoa(int(j.Mark.PID())) + " of a scanner with its state in the definition still runs")
}
