package svscan

import (
	"time"

	"upkeep/supervise"
)

// timers are those of one service, each made when it is first armed. nil is none.
type timers [supervise.Timers]*time.Timer

// arm arms a timer of s; where are its timers, if there are some, or will be.
func arm(where **timers, s *supervise.Service, k *kernel, t supervise.Timer, after time.Duration) {
	if *where == nil {
		*where = new(timers)
	}
	timer := &(*where)[t]
	if *timer != nil {
		(*timer).Reset(after)
		return
	}
	*timer = time.AfterFunc(after, func() {
		if t == supervise.TimerControl {
			s.PostControl()
			return
		}
		s.Append(supervise.Event{Kind: supervise.EvTimer, Timer: t, At: k.now()})
		s.Proceed()
	})
}

func (t *timers) disarm(which supervise.Timer) {
	if t != nil && t[which] != nil {
		t[which].Stop()
	}
}

func (t *timers) disarmAll() {
	for which := supervise.Timer(0); which < supervise.Timers; which++ {
		t.disarm(which)
	}
}
