package s6

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/supervise/status"
	"upkeep/svc"
)

// goal is what a service is waited for.
type goal struct {
	up, ready bool
	again     bool // it has to be down first
}

// goalOf is what the letter of an option means, in upper case with readiness.
func goalOf(letter byte) goal {
	g := goal{up: letter|0x20 != 'd', ready: letter&0x20 == 0}
	g.again = letter|0x20 == 'r'
	return g
}

const svwaitUsage = "[ -U | -u | -d | -D | -r | -R ] [ -a | -o ] [ -t timeout ] servicedir..."

// Svwait is s6-svwait: it waits until services are up, down, ready or restarted.
//
// Exit: 0 when they are; 99 when the time is over; 100 for wrong usage; 111 when something
// failed; else how many of them have failed for good or are not supervised any more.
func Svwait(env *cli.Env, args []string) int {
	w := waiter{base: base{env, "s6-svwait"}}
	o := options(args, "uUdDrRaot:")
	letter := byte('u')
	for c := o.Next(); c != cli.End; c = o.Next() {
		switch c {
		case 'a', 'o':
			w.one = c == 'o'
		case 't':
			ms, ok := number(o.Arg)
			if !ok {
				return w.usage(svwaitUsage)
			}
			w.deadline = deadline(ms)
		case cli.Bad:
			return w.usage(svwaitUsage)
		default:
			letter = c
		}
	}
	if len(o.Args()) == 0 {
		return w.usage(svwaitUsage)
	}
	return w.wait(o.Args(), goalOf(letter), nil)
}

// waiter waits for services.
type waiter struct {
	base
	one      bool // of them is enough
	deadline time.Time

	listener svc.Listener
	states   []state
}

// state is how a service is as far as it was heard.
type state struct {
	up, ready bool
	was       bool // down, where that has to come first
	failed    bool // for good, or nobody supervises it
}

// wait listens to the services, calls begin, if there is one, and waits until they are as
// they should be.
func (w *waiter) wait(dirs []string, g goal, begin func() int) int {
	defer func() { w.listener.Close() }()
	for _, dir := range dirs {
		d, err := svc.Open(dir, svc.StateDir)
		if err == nil {
			defer d.Close()
			err = w.listener.Add(d)
		}
		if err != nil {
			return w.die(cli.ExitFatal, "unable to subscribe to events for "+dir, err)
		}
		// Who listens already misses nothing that comes after this.
		r, err := d.Status(status.S6)
		if err != nil {
			if root(err) == status.ErrFormat {
				err = unix.EPIPE
			}
			return w.die(cli.ExitFatal, "unable to s6_svstatus_read", err)
		}
		w.states = append(w.states, state{up: up(&r), ready: r.Ready})
	}
	if begin != nil {
		begin() // s6-svlisten1 has it be done by a child, whose end it does not look at
	}
	for {
		reached, failed := 0, 0
		for i := range w.states {
			s := &w.states[i]
			s.note(g)
			switch {
			case s.failed:
				failed++
			case s.reached(g):
				reached++
			}
		}
		switch {
		case reached == len(dirs), w.one && reached > 0:
			return 0
		case reached+failed == len(dirs):
			return w.die(failed, "some services reported permanent failure or their supervisor died", nil)
		}
		err := w.listener.Next(w.deadline, func(i int, event byte) { w.states[i].hear(event, g) })
		switch {
		case root(err) == svc.ErrTimeout:
			return w.die(exitTimeout, "timed out", nil)
		case err != nil:
			return w.die(cli.ExitFatal, "unable to wait for events", err)
		}
	}
}

func (s *state) reached(g goal) bool {
	return s.up == g.up && (!g.ready || s.ready) && (!g.again || s.was)
}

// note notes that it is down.
func (s *state) note(g goal) { s.was = s.was || !s.up && (!g.ready || s.ready) }

// hear takes an event in, unless the service is as it should be already: what comes
// behind that in one batch does not count.
func (s *state) hear(event byte, g goal) {
	switch {
	case s.failed, s.reached(g):
	case event == 'O' && !g.up, event == 's':
	case event == 'O', event == 'x':
		s.failed = true
	default:
		if i := strings.IndexByte("dDuU", event); i >= 0 {
			s.up, s.ready = i >= 2, i&1 != 0
			s.note(g)
		}
	}
}
