// Package lane is a queue of jobs with one worker that cannot be blocked for
// good: when a job overruns its time, a new worker takes the queue over and the
// late one ends with its job. Spawning (an exec from a dead file system) and
// disk writes go through lanes, so that one bad service directory never stops
// the others.
package lane

import (
	"os"
	"runtime"
	"sync"
	"syscall"
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
	// Begin makes the state of a new worker, on its own thread if Locked.
	Begin func() W
	// Locked gives each worker an OS thread of its own, which ends with it and
	// is never the process's first.
	Locked bool
	// Limit is how long a job may take before another worker takes over.
	Limit time.Duration
	// Late, if set, is told of a job that overran Limit, once a job.
	Late func(T)
	// Quiet is how long nothing else must have come for jobs at Idle to be done.
	Quiet time.Duration

	mu      sync.Mutex
	wake    *sync.Cond
	queues  [levels]queue[T]
	current T
	busy    bool
	began   time.Time
	serial  int // of the worker in charge
	watched bool
	guard   *time.Timer
	posted  time.Time // when something came at another level than Idle
	lull    *time.Timer
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
	l.lull = time.AfterFunc(time.Hour, func() { l.wake.Signal() })
	l.lull.Stop()
	ready := make(chan struct{})
	go l.worker(0, ready)
	<-ready
}

// Post appends a job. It never blocks.
func (l *Lane[T, W]) Post(level int, job *Node[T]) {
	l.mu.Lock()
	l.queues[level].push(job)
	if level != Idle && l.Quiet > 0 {
		l.posted = time.Now()
	}
	if !l.watched {
		l.watched = true
		l.guard.Reset(l.Limit)
	}
	l.mu.Unlock()
	l.wake.Signal()
}

// Close ends the worker once the queue is empty.
func (l *Lane[T, W]) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.wake.Broadcast()
}

func (l *Lane[T, W]) worker(serial int, ready chan<- struct{}) {
	if l.Locked {
		runtime.LockOSThread()
		if syscall.Gettid() == os.Getpid() {
			// While this one keeps the first thread, another gets another.
			moved := make(chan struct{})
			go l.worker(serial, moved)
			<-moved
			runtime.UnlockOSThread()
			close(ready)
			return
		}
		// Never unlocked: what Begin does to the thread ends with it.
	}
	w := l.Begin()
	close(ready)
	l.mu.Lock()
	for l.serial == serial {
		job, ok := l.next()
		if !ok {
			if l.closed {
				break
			}
			l.wake.Wait()
			continue
		}
		l.current, l.busy, l.began = job, true, time.Now()
		l.mu.Unlock()
		l.Work(w, job)
		l.mu.Lock()
		if l.serial == serial {
			var none T
			l.current, l.busy = none, false
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
			l.lull.Reset(d)
			return job, false
		}
	}
	return l.queues[Idle].pop()
}

// watch runs while there is work, every Limit, and replaces a worker that is
// stuck.
func (l *Lane[T, W]) watch() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.busy && l.empty() {
		l.watched = false
		return
	}
	next := l.Limit
	if l.busy {
		if d := time.Since(l.began); d < l.Limit {
			next = l.Limit - d
		} else {
			if l.Late != nil {
				late := l.current
				go l.Late(late)
			}
			l.serial++
			l.busy = false
			go l.worker(l.serial, make(chan struct{}))
		}
	}
	l.guard.Reset(next)
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
}

func (q *queue[T]) push(n *Node[T]) {
	n.next = nil
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
	if q.first = n.next; q.first == nil {
		q.last = nil
	}
	return n.Job, true
}
