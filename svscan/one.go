package svscan

import (
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
	"upkeep/supervise/servicedir"
)

// SuperviseOne supervises the service directory c.Dir and its log service, until the
// service is told to exit and both have ended. The error says why it could not begin;
// it may be a *servicedir.StepError, whose file is below log for the log service.
//
// stopped, if not nil, is watched for the wish to have the service exit.
func SuperviseOne(c Config, stopped <-chan struct{}) error {
	c.One = true
	s, err := New(c)
	if err != nil {
		return err
	}
	if stopped != nil {
		go func() { // for the rest of the process's life
			<-stopped
			s.post(message{kind: msgControl, letter: 'x'})
		}()
	}
	s.Run()
	return s.fault
}

// scanOne makes the one entry, and later tries again what could not be opened.
func (s *Scanner) scanOne() {
	s.adopting = false
	complain := func(verb, object string, err error) { s.k.report(Warning, "", verb, object, err) }
	for _, e := range s.entries {
		s.fill(unix.AT_FDCWD, e, true, complain)
		return
	}
	dir := s.k.config.Dir
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		s.fault, s.stop = err, true
		return
	}
	e := s.enter(servicedir.IdentityOf(&st))
	e.name, e.present, e.seen = dir, true, s.serial
	s.fill(unix.AT_FDCWD, e, true, complain)
	if e.main.unit == nil { // no descriptors, or the directory cannot be opened
		s.fault, s.stop = e.main.fault(), true
		s.advance(e)
		s.drop(e)
	}
}

// failOne gives the one entry up, of which a unit could not be opened.
func (s *Scanner) failOne(e *entry, u *unit, err error) {
	s.promised -= s.fdsEach()
	if s.fault == nil {
		s.fault = err
		if step, ok := err.(*servicedir.StepError); ok && u.log {
			s.fault = &servicedir.StepError{Verb: step.Verb, File: "log/" + step.File, Err: step.Err}
		}
	}
	s.stop = true
	if e.main.up {
		e.main.unit.Post(supervise.Event{Kind: supervise.EvShutdown, At: e.main.unit.Now()})
	}
	s.advance(e)
	s.drop(e)
}

// controlOne is a control byte for the one service. While that is being opened it is tried
// again.
func (s *Scanner) controlOne(letter byte) {
	for _, e := range s.entries {
		if e.main.up {
			e.main.unit.Post(supervise.Event{Kind: supervise.EvControl, Byte: letter, At: e.main.unit.Now()})
		} else if e.main.unit != nil {
			time.AfterFunc(scanGap, func() { s.post(message{kind: msgControl, letter: letter}) })
		}
	}
}
