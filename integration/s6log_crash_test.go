package integration

import (
	"math/rand/v2"
	"testing"
)

// TestS6logKilled: as TestMultilogKilled. No line is lost, and what is repeated
// was in flight.
func TestS6logKilled(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args  []string
		write func(r *rand.Rand) int // bytes written at a time
	}{
		"blocks":    {[]string{"s100000", "n1000000", "./d"}, func(*rand.Rand) int { return 65536 }},
		"pieces":    {[]string{"t", "s20000", "n1000000", "./d"}, func(r *rand.Rand) int { return 1 + r.IntN(3000) }},
		"processor": {[]string{"?cat", "s50000", "n1000000", "./d"}, func(r *rand.Rand) int { return 1 + r.IntN(30000) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLogger(t, newSite(t, nil), c.args...)
			l.program = ours(t, "s6-log")
			killLogger(t, l, c.write)
		})
	}
}
