package runit

import (
	"errors"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
	"upkeep/supervise/status"
	"upkeep/svc"
)

// beat is the interval at which sv has always looked: services are given up, and
// check scripts are run again, in its steps. A change of state is seen at once.
const beat = 420 * time.Millisecond

// wait waits until the command has had its effect on all services, or for as long
// as was asked for.
func (s *sv) wait(c command, services []*service) {
	changes := svc.NewChanges()
	defer changes.Close()
	for _, x := range services {
		if !x.done {
			changes.Add(x.dir)
		}
	}
	began := time.Now()
	next := began.Add(beat)
	limit := time.Duration(min(s.limit, 1<<32)) * time.Second
	elapsed := time.Duration(0) // until the last beat
	var changed []*svc.Dir      // since we looked; none means that any may have
	for {
		waiting, gaveUp := false, false
		for _, x := range services {
			switch {
			case x.done:
			case len(changed) > 0 && !slices.Contains(changed, x.dir):
				waiting = true
			case s.settled(c, x):
				x.done = true
			case elapsed > limit:
				s.giveUp(c, x)
				x.done, gaveUp = true, true
			default:
				waiting = true
			}
		}
		s.flush()
		if !waiting {
			if gaveUp {
				time.Sleep(time.Until(next)) // a KILL has its effect by then
			}
			return
		}
		changed = changes.Next(next)
		if now := time.Now(); !now.Before(next) {
			elapsed, next, changed = now.Sub(began), now.Add(beat), nil
		}
		s.now = status.Now()
	}
}

// settled tells whether there is nothing more to wait for, after saying why.
func (s *sv) settled(c command, x *service) bool {
	r, ok := s.look(x, c.tests == "x")
	if !ok {
		return true
	}
	check := probe{s: s, x: x}
	for i := range len(c.tests) {
		if !x.holds(c.tests[i], r, s.start, &check) {
			return false
		}
	}
	s.say("ok: ")
	s.line(x.dir, x.name, x.name, r)
	s.say("\n")
	return true
}

// holds tests a letter of the table in runit.md, section 3.6. Where a record could
// as well be from before the command, as the original takes it, it is not enough.
func (x *service) holds(letter byte, r status.Record, start status.Stamp, check *probe) bool {
	alive := r.PID != 0
	same := r.PID == x.before.PID && r.Since == x.before.Since
	switch letter {
	case 'x':
		return false // its supervisor is there
	case 'u':
		return alive && r.Process == status.ProcessRun && r.Want == status.WantUp && check.succeeds()
	case 'd':
		return !alive && r.Process == status.ProcessNone && r.Want == status.WantDown
	case 't', 'k':
		if !alive {
			return r.Want == status.WantDown
		}
		return !same && r.Since.Sec >= start.Sec && !r.GotTerm && check.succeeds()
	case 'o':
		if alive {
			return r.Want == status.WantDown
		}
		return !same && r.Since.Sec >= start.Sec
	case 'p':
		return !alive || r.Paused
	case 'c':
		return !alive || !r.Paused
	case 'C':
		// A service that is about to be started is not taken for a good one, as it
		// is in 2.1.2.
		if !alive {
			return r.Want != status.WantUp
		}
		return check.succeeds()
	}
	return true
}

// giveUp says how a service is when time is up.
func (s *sv) giveUp(c command, x *service) {
	class := "timeout: "
	if c.force {
		class = "kill: "
	}
	s.troubles++
	s.say(class)
	r, alive, err := s.read(x.dir, x.name)
	if err != nil {
		return
	}
	if !alive {
		s.say("fail: ", x.name, ": ", notRunning, "\n")
		return
	}
	s.line(x.dir, x.name, x.name, r)
	s.say("\n")
	if c.force {
		if err := x.dir.Control("k"); err != nil {
			s.trouble("warning: ", x.name, fault(err), shown(err))
		}
	}
}

// probe runs a service's check script, once.
type probe struct {
	s    *sv
	x    *service
	done bool
	good bool
}

func (p *probe) succeeds() bool {
	if !p.done {
		p.done, p.good = true, p.s.check(p.x)
	}
	return p.good
}

// check runs the check script (runit.md, section 3.7). One that is not there or cannot
// be run has nothing against the service; neither has one that a signal ended.
func (s *sv) check(x *service) bool {
	file := x.name + "/check"
	var st unix.Stat_t
	if err := unix.Stat(x.path+"/check", &st); err != nil {
		if err == unix.ENOENT {
			return true
		}
		s.warn("unable to stat "+file, err)
		return false
	}
	s.flush()
	closed := ^uintptr(0)
	pid, err := syscall.ForkExec("check", []string{"./check"}, &syscall.ProcAttr{
		Dir: x.path, Env: syscall.Environ(), Files: []uintptr{0, closed, 2},
	})
	if err != nil {
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOMEM) {
			s.warn("unable to fork for "+file, err)
			return false
		}
		s.warn("unable to run "+file, err)
		return true
	}
	end, err := reap(pid)
	if err != nil {
		s.warn("unable to wait for child "+file, err)
		return false
	}
	return end.Signalled() || end.Code() == 0
}

// reap waits for a child.
func reap(pid int) (supervise.WaitStatus, error) {
	for {
		var st unix.WaitStatus
		if _, err := unix.Wait4(pid, &st, 0, nil); err != unix.EINTR {
			return supervise.WaitStatus(st), err
		}
	}
}

// missing tells that there is no such file.
func missing(err error) bool { return errors.Is(err, unix.ENOENT) }
