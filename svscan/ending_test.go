package svscan

import (
	"testing"
	"time"

	"upkeep/supervise"
	"upkeep/supervise/servicedir"
)

func TestExitCode(t *testing.T) {
	t.Parallel()
	for st, want := range map[supervise.WaitStatus]int{
		0: 0, supervise.Exited(1): 1, supervise.Exited(255): 255, 15: 143, 9: 137,
		11 | 128:             139, // with a core
		supervise.UnknownEnd: 111,
	} {
		if got := exitCode(st); got != want {
			t.Errorf("%#x: %d, not %d", uint32(st), got, want)
		}
	}
}

func TestDeadlineOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		given     time.Duration
		container bool
		want      time.Duration
	}{
		{0, false, 0}, {0, true, ContainerDeadline},
		{NoDeadline, false, 0}, {NoDeadline, true, 0},
		{time.Second, false, time.Second}, {time.Second, true, time.Second},
	} {
		if got := deadlineOf(Config{Deadline: c.given}, c.container); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// TestAbandon: what no KILL ends does not keep the scanner beyond its deadline.
func TestAbandon(t *testing.T) {
	t.Parallel()
	var said []Report
	k := &kernel{reports: newReporter(func(r Report) { said = append(said, r) })}
	s := &Scanner{k: k, box: newMailbox[message](), entries: map[servicedir.Identity]*entry{}, stop: true}
	for i, name := range []string{"web", "web"} {
		id := servicedir.Identity{Ino: uint64(i)}
		s.entries[id] = &entry{scanner: s, id: id, name: name, pipe: [2]int{-1, -1}}
	}
	s.ending.deadline, s.ending.code = time.Millisecond, 7
	s.limit()
	for range deadlineSteps {
		if len(s.entries) == 0 {
			t.Fatal("too early")
		}
		<-s.box.wake
		for _, m := range s.box.take() {
			s.handle(m)
		}
	}
	k.reports.flush()
	if len(s.entries) > 0 || s.ending.code != 7 {
		t.Errorf("%d entries, exit %d", len(s.entries), s.ending.code)
	}
	if len(said) != 1 || said[0].Verb != "stop" || said[0].Object != "web and 1 more within 1ms" {
		t.Errorf("it said %+v", said)
	}
}
