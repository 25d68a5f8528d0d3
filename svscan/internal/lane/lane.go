// Package lane is a queue of jobs with one worker that cannot be blocked for
// good: when a job overruns its time, a new worker takes the queue over and the
// late one ends with its job. Spawning (an exec from a dead file system) and
// disk writes go through lanes, so that one bad service directory never stops
// the others.
package lane

import (
	"sync"
	"time"
)

// Node is a job's place in a queue. It belongs to whoever posts it, so that
// posting allocates nothing, and may be posted again once Work was called with
// its job.
type Node[T any] struct {
	Job  T
	next *Node[T]
}

// Lane carries jobs of type T, those of a lower level first, to a worker with
// state of type W.
type Lane[T, W any] struct {
	// Work does one job.
	Work func(W, T)
	// Begin makes the state of a new worker.
	Begin func() W
	// Limit is how long a job may take before another worker takes over.
	Limit time.Duration
	// Quick, unless it is 0, is how long the last job may have taken for Release
	// to do one.
	Quick time.Duration
	// Late, if set, is told of a job that overran Limit, once a job.
	Late func(job T)
	// Patience is how long a job may keep Release from returning; then the lane
	// goes on without it, and Stuck, if set, is called.
	Patience time.Duration
	Stuck    func()
	// Quiet is how long nothing else must have come for jobs at Idle to be done.
	Quiet time.Duration

	mu      sync.Mutex
	wake    *sync.Cond
	queues  [levels]queue[T]
	held    bool
	paused  bool
	current T
	busy    bool
	helped  bool // it is not the worker who is busy
	slow    bool // the last job took longer than Quick
	began   time.Time
	serial  int              // of the worker in charge, or of who helps in its place
	stuck   map[int]struct{} // those who were replaced and have not come back
	watched bool
	guard   *time.Timer
	posted  time.Time // when something came at another level than Idle
	lull    *time.Timer
	lulled  bool // it is armed
	closed  bool
}

// Levels of urgency. What is posted at Idle waits for a pause.
const (
	Urgent = iota
	Bulk
	Idle
	levels
)

// Start makes the first worker and returns when Begin is over.
func (l *Lane[T, W]) Start() {
	l.wake = sync.NewCond(&l.mu)
	l.guard = time.AfterFunc(time.Hour, l.watch)
	l.guard.Stop()
	l.lull = time.AfterFunc(time.Hour, func() {
		l.mu.Lock()
		l.lulled = false
		l.mu.Unlock()
		l.wake.Signal()
	})
	l.lull.Stop()
	ready := make(chan struct{})
	go l.worker(0, ready)
	<-ready
}

// Post appends a job. It never blocks.
func (l *Lane[T, W]) Post(level int, job *Node[T]) {
	l.mu.Lock()
	l.queues[level].push(job)
	if l.Quiet > 0 {
		if level == Idle {
			l.waitForLull(l.Quiet)
		} else {
			l.posted = time.Now()
		}
	}
	if !l.watched {
		l.watched = true
		l.guard.Reset(l.Limit)
	}
	wake := !l.held && l.due()
	l.mu.Unlock()
	if wake {
		l.wake.Signal()
	}
}

// due tells whether there is something for the worker. What waits for a lull is
// not, until there is one.
func (l *Lane[T, W]) due() bool {
	return l.queues[Urgent].first != nil || l.queues[Bulk].first != nil || l.queues[Idle].first != nil && !l.lulled
}

func (l *Lane[T, W]) waitForLull(d time.Duration) {
	if !l.lulled {
		l.lulled = true
		l.lull.Reset(d)
	}
}

// Hold keeps the worker from being woken until Release, which has to follow soon:
// nothing that may block belongs in between.
func (l *Lane[T, W]) Hold() {
	l.mu.Lock()
	l.held = true
	l.mu.Unlock()
}

// Release ends a Hold of lanes. If there are no more than few urgent jobs, the caller
// does those of one lane, with w, and not the worker: to wake that would cost more
// than many a job. The caller may get stuck in that; no lane is held by then.
func Release[T, W any](lanes []Lane[T, W], few int, w W) {
	pending, mine := 0, -1
	for i := range lanes {
		if n := lanes[i].pending(); n > 0 {
			pending += n
			mine = i
		}
	}
	for i := range lanes {
		if i != mine || pending > few {
			lanes[i].release(false, w)
		}
	}
	if mine >= 0 && pending <= few {
		lanes[mine].release(true, w)
	}
}

// pending counts the urgent jobs.
func (l *Lane[T, W]) pending() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queues[Urgent].len
}

func (l *Lane[T, W]) release(help bool, w W) {
	l.mu.Lock()
	l.held = false
	serial := l.serial
	for help && l.serial == serial && !l.busy && !l.slow && !l.paused {
		job, ok := l.queues[Urgent].pop()
		if !ok {
			break
		}
		l.begin(job, true)
		l.watched = true
		l.guard.Reset(l.Patience)
		l.mu.Unlock()
		l.Work(w, job)
		l.mu.Lock()
		l.end(serial)
		delete(l.stuck, serial)
	}
	if l.paused {
		l.wake.Broadcast()
	}
	if l.serial == serial && !l.busy && l.empty() {
		l.watched = false
		l.guard.Stop()
	}
	wake := l.serial == serial && l.due()
	l.mu.Unlock()
	if wake {
		l.wake.Signal()
	}
}

func (l *Lane[T, W]) begin(job T, helped bool) {
	l.current, l.busy, l.helped, l.began = job, true, helped, time.Now()
}

func (l *Lane[T, W]) end(serial int) {
	if l.serial == serial {
		var none T
		l.current, l.busy = none, false
		l.slow = l.Quick > 0 && time.Since(l.began) > l.Quick
	}
}

// Pause waits until the job under way is done, at most for d, and has no other
// begun until Resume.
func (l *Lane[T, W]) Pause(d time.Duration) {
	late := false
	timer := time.AfterFunc(d, func() {
		l.mu.Lock()
		late = true
		l.mu.Unlock()
		l.wake.Broadcast()
	})
	defer timer.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paused = true
	for (l.busy || len(l.stuck) > 0) && !late {
		l.wake.Wait()
	}
}

// Resume ends a Pause.
func (l *Lane[T, W]) Resume() {
	l.mu.Lock()
	l.paused = false
	l.mu.Unlock()
	l.wake.Broadcast()
}

// Close ends the worker once the queue is empty.
func (l *Lane[T, W]) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.wake.Broadcast()
}

func (l *Lane[T, W]) worker(serial int, ready chan<- struct{}) {
	w := l.Begin()
	close(ready)
	l.mu.Lock()
	for l.serial == serial {
		if l.paused || l.busy { // busy by somebody who helps
			l.wake.Wait()
			continue
		}
		job, ok := l.next()
		if !ok {
			if l.closed {
				break
			}
			l.wake.Wait()
			continue
		}
		l.begin(job, false)
		l.mu.Unlock()
		l.Work(w, job)
		l.mu.Lock()
		l.end(serial)
		delete(l.stuck, serial)
		if l.paused {
			l.wake.Broadcast()
		}
	}
	l.mu.Unlock()
}

func (l *Lane[T, W]) next() (job T, ok bool) {
	for i := range Idle {
		if job, ok = l.queues[i].pop(); ok {
			return job, true
		}
	}
	if l.queues[Idle].first != nil && !l.closed {
		if d := l.Quiet - time.Since(l.posted); d > 0 {
			l.waitForLull(d)
			return job, false
		}
	}
	return l.queues[Idle].pop()
}

// watch runs while there is work, every Limit, and replaces a worker that is
// stuck; who helps is replaced sooner.
func (l *Lane[T, W]) watch() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.busy && l.empty() {
		l.watched = false
		return
	}
	next, limit := l.Limit, l.Limit
	if l.helped {
		limit = l.Patience
	}
	if l.busy {
		if d := time.Since(l.began); d < limit {
			next = limit - d
		} else {
			l.replace(d)
		}
	}
	l.guard.Reset(next)
}

// replace has a new worker take over from one that is at its job since d ago.
func (l *Lane[T, W]) replace(d time.Duration) {
	job, serial := l.current, l.serial
	if l.stuck == nil {
		l.stuck = make(map[int]struct{})
	}
	l.stuck[serial] = struct{}{}
	switch {
	case l.helped:
		time.AfterFunc(l.Limit-d, func() {
			l.mu.Lock()
			_, still := l.stuck[serial]
			l.mu.Unlock()
			if still && l.Late != nil {
				l.Late(job)
			}
		})
		if l.Stuck != nil {
			go l.Stuck()
		}
	case l.Late != nil:
		go l.Late(job)
	}
	l.serial++
	l.busy = false
	go l.worker(l.serial, make(chan struct{}))
	// The former one, if it is not the one that is stuck, has to end: it would
	// swallow what is meant for the new one.
	l.wake.Broadcast()
}

func (l *Lane[T, W]) empty() bool {
	for i := range l.queues {
		if l.queues[i].first != nil {
			return false
		}
	}
	return true
}

// queue is a FIFO of nodes.
type queue[T any] struct {
	first, last *Node[T]
	len         int
}

func (q *queue[T]) push(n *Node[T]) {
	n.next = nil
	q.len++
	if q.last == nil {
		q.first = n
	} else {
		q.last.next = n
	}
	q.last = n
}

func (q *queue[T]) pop() (job T, ok bool) {
	n := q.first
	if n == nil {
		return job, false
	}
	q.len--
	if q.first = n.next; q.first == nil {
		q.last = nil
	}
	return n.Job, true
}
