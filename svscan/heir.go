package svscan

import (
	"os"
	"strings"
	"syscall"
	"time"

	"upkeep/svscan/internal/handoff"
)

// The heir is who everything is left to when this process is to end at once, and the
// services are to stay supervised, as they do where each has a supervisor of its own
// (OrderBequeath). It has the locks and FIFOs from the moment on in which it is there, so
// that clients notice nothing. It finds itself in the environment.
const heirName = "UPKEEP_HEIR"

// What the variable may say beside 1.
const (
	heirStops    = "stop"
	heirSessions = "sessions"
)

// IsHeir tells whether this process is an heir, and then what it is to be.
func IsHeir() (c Config, ok bool) {
	value, ok := os.LookupEnv(heirName)
	if !ok {
		return c, false
	}
	os.Unsetenv(heirName)
	c.Heir, c.Patient = true, true
	c.HeirStops = strings.Contains(value, heirStops)
	c.Sessions = strings.Contains(value, heirSessions)
	return c, true
}

// bequeath leaves everything to an heir, who may have to stop it. If that cannot be
// done, what comes nearest to it is: everything is left running, or stopped by
// ourselves.
func (s *Scanner) bequeath(stop bool) {
	if s.stop {
		return
	}
	if s.opening > 0 && s.patience < bequeathTries {
		s.patience++
		time.AfterFunc(scanGap, func() { s.post(message{kind: msgBequeath, stop: stop}) })
		return
	}
	value := "1"
	if stop {
		value += " " + heirStops
		s.ending.code = exitFatal
	}
	if s.k.config.Sessions {
		value += " " + heirSessions
	}
	err := error(nil)
	if len(s.entries) > 0 {
		err = s.handOver(s.giveAway, func(environ []string) error {
			_, err := syscall.ForkExec("/proc/self/exe", s.k.config.Heritage, &syscall.ProcAttr{
				Env: append(environ, heirName+"="+value), Files: []uintptr{0, 1, 2},
				Sys: &syscall.SysProcAttr{Setsid: s.k.config.Sessions},
			})
			return err
		})
	}
	switch {
	case err == nil:
		s.left, s.bequeathed = true, true
		return
	case stop:
		s.shutdown()
	default:
		s.left = true
	}
	s.k.report(Warning, "", "start", "a process that supervises the services from now on", err)
}

// bequeathTries is how often it is put off for services that are just being opened.
const bequeathTries = 100

// giveAway makes our children those of others.
func (s *Scanner) giveAway(w *handoff.Will) {
	// The socket is for who supervises the directory next.
	w.Home, w.Socket, w.ScanLock, w.ScanFIFO = -1, -1, 0, 0
	for _, e := range s.entries {
		if e.main.unit != nil && !e.main.up || e.log.unit != nil && !e.log.up {
			w.Opening = append(w.Opening, e.name)
		}
	}
	for i := range w.Entries {
		for _, u := range []*handoff.Unit{w.Entries[i].Main, w.Entries[i].Log} {
			if u != nil && u.State.PID != 0 && !u.Ended && u.Stranger == nil {
				u.Stranger = handoff.Child(u.State.PID)
			}
		}
	}
}

// meetRest has the heir open what its predecessor was just opening: a disk that is slow for
// one service must not cost it its supervisor.
func (s *Scanner) meetRest() {
	rest := s.rest
	s.rest = nil
	for _, name := range rest {
		s.meet(name)
	}
}
