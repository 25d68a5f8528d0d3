package lane

import (
	"os"
	"slices"
	"sync"
	"syscall"
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

func TestLockedWorkersHaveTheirOwnThreads(t *testing.T) {
	t.Parallel()
	stuck := make(chan struct{})
	tids := make(chan int, 2)
	l := &Lane[bool, int]{Locked: true, Limit: 10 * time.Millisecond, Begin: syscall.Gettid}
	l.Work = func(tid int, hang bool) {
		if tid != syscall.Gettid() || tid == os.Getpid() {
			t.Errorf("begun on thread %d, working on %d of process %d", tid, syscall.Gettid(), os.Getpid())
		}
		tids <- tid
		if hang {
			<-stuck
		}
	}
	l.Start()
	defer l.Close()
	l.Post(Urgent, &Node[bool]{Job: true})
	l.Post(Urgent, &Node[bool]{})
	if a, b := <-tids, <-tids; a == b {
		t.Error("both on the same thread")
	}
	close(stuck)
}
