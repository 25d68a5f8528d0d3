package lane

import (
	"slices"
	"sync"
	"testing"
	"time"
)

func nothing() struct{} { return struct{}{} }

func post[T any](l *Lane[T, struct{}], level int, jobs ...T) {
	for _, j := range jobs {
		l.Post(level, &Node[T]{Job: j})
	}
}

func TestOrderAndLevels(t *testing.T) {
	t.Parallel()
	gate, done := make(chan int), make(chan struct{})
	var got []int
	l := &Lane[int, struct{}]{Begin: nothing, Limit: time.Hour}
	l.Work = func(_ struct{}, n int) {
		if n == 0 {
			<-gate
			return
		}
		got = append(got, n)
		if len(got) == 6 {
			close(done)
		}
	}
	l.Start()
	defer l.Close()
	post(l, Urgent, 0)
	post(l, Idle, 31)
	post(l, Bulk, 21, 22)
	post(l, Urgent, 11, 12, 13)
	gate <- 0
	<-done
	if want := []int{11, 12, 13, 21, 22, 31}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestIdleWaitsForQuiet(t *testing.T) {
	t.Parallel()
	var got []string
	done := make(chan struct{})
	l := &Lane[string, struct{}]{Begin: nothing, Limit: time.Hour, Quiet: 20 * time.Millisecond}
	l.Work = func(_ struct{}, s string) {
		got = append(got, s)
		if s == "idle" {
			close(done)
		}
	}
	l.Start()
	defer l.Close()
	began := time.Now()
	post(l, Urgent, "urgent")
	post(l, Idle, "idle")
	<-done
	if d := time.Since(began); d < 20*time.Millisecond {
		t.Errorf("the idle job was done after %v", d)
	}
	if !slices.Equal(got, []string{"urgent", "idle"}) {
		t.Errorf("got %v", got)
	}
}

// A job that hangs must not keep the others, and its worker must not come back
// to take jobs beside the new one.
func TestTakeover(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	working, most := 0, 0
	stuck, late, done := make(chan struct{}), make(chan string, 9), make(chan string, 9)
	l := &Lane[string, struct{}]{Begin: nothing, Limit: 10 * time.Millisecond, Late: func(s string) { late <- s }}
	l.Work = func(_ struct{}, s string) {
		if s == "stuck" {
			<-stuck
			done <- s
			return
		}
		mu.Lock()
		working++
		most = max(most, working)
		mu.Unlock()
		done <- s
		mu.Lock()
		working--
		mu.Unlock()
	}
	l.Start()
	defer l.Close()
	post(l, Urgent, "stuck", "a", "b")
	if s := <-late; s != "stuck" {
		t.Errorf("%s is late", s)
	}
	if a, b := <-done, <-done; a != "a" || b != "b" {
		t.Errorf("%s %s", a, b)
	}
	close(stuck)
	<-done
	for range 50 {
		post(l, Urgent, "c")
	}
	for range 50 {
		<-done
	}
	if most != 1 {
		t.Errorf("%d workers at the same time", most)
	}
}

func TestRelease(t *testing.T) {
	t.Parallel()
	const few = 3
	done := make(chan string, 9)
	lanes := make([]Lane[string, string], 2)
	for i := range lanes {
		l := &lanes[i]
		l.Begin = func() string { return "worker" }
		l.Limit, l.Patience = time.Minute, time.Minute
		l.Work = func(who, job string) { done <- who + " " + job }
		l.Start()
		defer l.Close()
	}
	for _, c := range []struct{ first, second, want []string }{
		{nil, nil, nil},
		{[]string{"a"}, nil, []string{"caller a"}},
		{nil, []string{"a"}, []string{"caller a"}},
		{[]string{"a", "b", "c"}, nil, []string{"caller a", "caller b", "caller c"}},
		{[]string{"a"}, []string{"b"}, []string{"caller b", "worker a"}},
		{[]string{"a", "b", "c", "d"}, nil, []string{"worker a", "worker b", "worker c", "worker d"}},
		{[]string{"a", "b"}, []string{"c", "d"}, []string{"worker a", "worker b", "worker c", "worker d"}},
	} {
		for i, jobs := range [][]string{c.first, c.second} {
			lanes[i].Hold()
			for _, j := range jobs {
				lanes[i].Post(Urgent, &Node[string]{Job: j})
			}
		}
		Release(lanes, few, "caller")
		var got []string
		for range c.want {
			got = append(got, <-done)
		}
		if slices.Sort(got); !slices.Equal(got, c.want) {
			t.Errorf("%q and %q: %q, want %q", c.first, c.second, got, c.want)
		}
	}
}

// A helper that gets stuck is told of, and the lane goes on.
func TestStuckHelper(t *testing.T) {
	t.Parallel()
	stuck, relief, late, done := make(chan struct{}), make(chan struct{}), make(chan bool), make(chan string, 9)
	lanes := make([]Lane[string, struct{}], 1)
	l := &lanes[0]
	l.Begin, l.Limit, l.Patience = nothing, 20*time.Millisecond, 10*time.Millisecond
	l.Late = func(job string) { late <- job == "hang" }
	l.Stuck = func() { relief <- struct{}{} }
	l.Work = func(_ struct{}, job string) {
		if job == "hang" {
			<-stuck
		}
		done <- job
	}
	l.Start()
	defer l.Close()
	l.Hold()
	post(l, Urgent, "hang")
	returned := make(chan struct{})
	go func() {
		Release(lanes, 1, struct{}{})
		close(returned)
	}()
	<-relief
	post(l, Urgent, "next")
	if got := <-done; got != "next" {
		t.Errorf("done: %q", got)
	}
	if !<-late {
		t.Error("the wrong one is late")
	}
	close(stuck)
	<-returned
	if got := <-done; got != "hang" {
		t.Errorf("done: %q", got)
	}
	post(l, Urgent, "last")
	if got := <-done; got != "last" {
		t.Errorf("done: %q", got)
	}
}

func TestSlowIsNotHelped(t *testing.T) {
	t.Parallel()
	done := make(chan string, 9)
	lanes := make([]Lane[time.Duration, string], 1)
	l := &lanes[0]
	l.Begin = func() string { return "worker" }
	l.Limit, l.Patience, l.Quick = time.Minute, time.Minute, 10*time.Millisecond
	l.Work = func(who string, d time.Duration) {
		began := time.Now()
		for time.Since(began) < d { // a job that takes its time
		}
		done <- who
	}
	l.Start()
	defer l.Close()
	for _, c := range []struct {
		takes time.Duration
		by    string
	}{{0, "caller"}, {20 * time.Millisecond, "caller"}, {0, "worker"}} {
		l.Hold()
		l.Post(Urgent, &Node[time.Duration]{Job: c.takes})
		Release(lanes, 1, "caller")
		if got := <-done; got != c.by {
			t.Errorf("a job of %v was done by the %s", c.takes, got)
		}
	}
}

// While a lane is paused nothing is begun, by whomever.
func TestPause(t *testing.T) {
	t.Parallel()
	started, goOn, done := make(chan struct{}), make(chan struct{}), make(chan string, 9)
	lanes := make([]Lane[string, struct{}], 1)
	l := &lanes[0]
	l.Begin, l.Limit, l.Patience = nothing, time.Minute, time.Minute
	l.Work = func(_ struct{}, job string) {
		if job == "long" {
			close(started)
			<-goOn
		}
		done <- job
	}
	l.Start()
	defer l.Close()
	post(l, Urgent, "long")
	<-started
	l.Pause(time.Millisecond) // does not wait for it for ever
	l.Resume()
	paused := make(chan struct{})
	go func() {
		l.Pause(time.Minute)
		close(paused)
	}()
	close(goOn)
	<-paused
	if got := <-done; got != "long" {
		t.Errorf("done: %q", got)
	}
	l.Hold()
	post(l, Urgent, "later")
	Release(lanes, 1, struct{}{})
	select {
	case got := <-done:
		t.Errorf("done: %q", got)
	default:
	}
	l.Resume()
	if got := <-done; got != "later" {
		t.Errorf("done: %q", got)
	}
}
