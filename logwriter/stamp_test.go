package logwriter

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// times are instants in any order, many of them near the ends of seconds.
func times() (all []time.Time) {
	r := rand.New(rand.NewPCG(1, 2))
	at := time.Unix(1700000000, 0)
	for range 2000 {
		switch r.IntN(4) {
		case 0:
			at = time.Unix(at.Unix()+r.Int64N(3)-1, r.Int64N(3)*499_999_999)
		case 1:
			at = time.Unix(r.Int64N(4e9), r.Int64N(1e9))
		default:
			at = at.Add(time.Duration(r.Int64N(1e6)))
		}
		all = append(all, at)
	}
	return append(all, time.Unix(0, 0), time.Unix(0, 999_999_999), time.Unix(1, 0))
}

func TestStamps(t *testing.T) {
	t.Parallel()
	hex := func(sec int64, nsec int) string { return fmt.Sprintf("@%016x%08x ", uint64(1<<62+10+sec), nsec) }
	for name, c := range map[string]struct {
		stamp Stamp
		want  func(time.Time) string
	}{
		"multilog": {TAI64N(), func(at time.Time) string { return hex(at.Unix(), at.Nanosecond()/1000*1000+500) }},
		"s6":       {LeapTAI64N(), func(at time.Time) string { return hex(at.Unix()+27, at.Nanosecond()) }},
		"encore":   {Seconds(), func(at time.Time) string { return fmt.Sprintf("%d.%06d ", at.Unix(), at.Nanosecond()/1000) }},
		"utc": {Date('T', 5, " ", time.UTC),
			func(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.00000 ") }},
		"local": {Date(' ', 9, "  ", time.Local),
			func(at time.Time) string { return at.Format("2006-01-02 15:04:05.000000000  ") }},
	} {
		for _, at := range times() {
			if got, want := string(c.stamp([]byte("x"), at)), "x"+c.want(at); got != want {
				t.Errorf("%s: %q, expected is %q", name, got, want)
			}
		}
	}
}

// TestClock: the times of a block grow, and do not lag behind.
func TestClock(t *testing.T) {
	t.Parallel()
	var c Clock
	for range 10 {
		before := time.Now()
		c.Reset()
		last := c.Now()
		if last.Before(before) {
			t.Fatal("a block begins with an old time")
		}
		for i := range 100 {
			before := time.Now()
			now := c.Now()
			if !now.After(last) {
				t.Fatalf("%v comes after %v", now, last)
			}
			if (i+1)%8 == 0 && now.Before(before) {
				t.Fatalf("%d: the clock was not looked at", i)
			}
			last = now
		}
	}
}
