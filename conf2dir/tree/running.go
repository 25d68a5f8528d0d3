package tree

import (
	"os"
	"path/filepath"
	"time"

	"upkeep/conf2dir"
	"upkeep/supervise/status"
	"upkeep/svc"
)

// grace is how long a process may take to end (pmtr.md, section 3.8), and after how
// long a supervisor that was told to go is not waited for any more.
const (
	grace = 10 * time.Second
	hurry = 5 * time.Second
)

// running is a service that is supervised.
type running struct {
	*svc.Dir
	layout status.Layout
}

// open is nil if nobody supervises the directory.
func (s *syncer) open(path string) *running {
	d, err := svc.Open(path, svc.StateDir)
	if err != nil {
		return nil
	}
	r := &running{d, status.Daemontools}
	if s.Form == conf2dir.S6 {
		r.layout = status.S6
	}
	if !r.alive() {
		d.Close()
		return nil
	}
	return r
}

// alive tells whether a supervisor listens. That of s6 has no FIFO ok.
func (r *running) alive() bool { return r.Control("") == nil }

// await waits until done holds.
func (r *running) await(deadline time.Time, done func(record status.Record, alive bool) bool) error {
	if r.layout != status.S6 {
		_, err := r.Wait(r.layout, deadline, done)
		return err
	}
	const often = 50 * time.Millisecond
	for {
		record, _ := r.Status(r.layout)
		switch {
		case done(record, r.alive()):
			return nil
		case time.Now().After(deadline):
			return svc.ErrTimeout
		}
		time.Sleep(often) // nothing tells of the end of an s6-supervise
	}
}

// stale tells whether a service that is wanted is of an older definition than its
// directory: its process was started before that, or if it is to run once, is gone and was.
func (r *running) stale(p *plan) bool {
	record, err := r.Status(r.layout)
	st, err2 := os.Stat(filepath.Join(p.path, "run"))
	if err != nil || err2 != nil {
		return true
	}
	since := time.Unix(record.Since.Sec, int64(record.Since.Nsec))
	switch {
	case record.PID != 0:
	case !p.once():
		return record.Want != status.WantDown
	case p.next.process != 0: // that was of the older one, and nothing has started it again
		return true
	default:
		since = since.Add(-ending)
	}
	return since.Before(st.ModTime())
}

// ending is how long a service without a process may be at ending.
const ending = time.Second

func (p *plan) once() bool { return p.service.Job != nil && p.service.Job.Once }

// advise says what the operator has to do without Apply.
func (s *syncer) advise(p *plan) {
	path := p.path
	switch {
	case p.up:
		s.say("  svc -u ", path)
	case p.down:
		s.say("  svc -d ", path)
	case p.next.pending:
		s.say("  svc -t ", path)
	}
}

// apply tells the services what has changed: first all, and then it is waited for the
// slow ones.
func (s *syncer) apply() {
	type restarted struct {
		*running
		p    *plan
		pid  uint32
		once bool // it has to be told to run again
	}
	var waiting []restarted
	created := false
	for _, p := range s.plans {
		created = created || p.old == nil
		if p.old == nil || !p.up && !p.down && !p.next.pending {
			continue
		}
		r := s.open(p.path)
		if r == nil {
			s.confirm(p)
			continue
		}
		record, err := r.Status(r.layout)
		command := "t"
		switch {
		case p.up:
			command = "u"
		case p.down:
			command = "d"
		case !r.stale(p):
			command = ""
		case err == nil && record.PID == 0 && p.once():
			command = "o"
		case p.once() && s.Form != conf2dir.Native:
			command = "ut" // run wishes for no more than once by itself
		}
		if command != "" {
			_ = os.Remove(filepath.Join(p.path, ".started")) // a new definition has no history
			if err := r.Control(command); err != nil {
				s.fail("failed ", p.service.Dir, ": ", err.Error())
				r.Close()
				continue
			}
			s.say("  svc -", command, " ", p.path)
		}
		if command != "" && command != "u" && record.PID != 0 {
			waiting = append(waiting, restarted{r, p, record.PID, command == "t" && p.once()})
			continue
		}
		r.Close()
		s.confirm(p)
	}
	deadline := time.Now().Add(grace)
	for _, w := range waiting {
		ended := func(r status.Record, alive bool) bool { return !alive || r.PID != w.pid }
		if err := w.await(deadline, ended); err != nil {
			s.say("  svc -k ", w.p.path)
			_ = w.Control("k")
			if err := w.await(time.Now().Add(hurry), ended); err != nil {
				s.fail("failed ", w.p.service.Dir, ": its process does not end")
			}
		}
		if w.once {
			s.say("  svc -o ", w.p.path)
			_ = w.Control("o")
		}
		w.Close()
		s.confirm(w.p)
	}
	if created {
		s.rescan("a")
	}
}

// confirm notes that nothing runs any more that is of an older definition.
func (s *syncer) confirm(p *plan) {
	if !p.next.pending {
		return
	}
	p.next.pending, p.next.process = false, 0
	if err := put(filepath.Join(p.path, manifestName), p.next.text(), manifestMode); err != nil {
		s.fail("failed ", p.service.Dir, ": ", err.Error())
	}
}
