package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"
)

// restartServices is the size of the tree in which restarts are compared.
const restartServices = 50

// measureRestart is the time from the SIGKILL of a service to the first
// instruction of the next, once each, one service after another.
func (b *bench) measureRestart(ctx context.Context) error {
	return b.interleave(ctx, "restart", b.suites, b.options.reps, func(rep int, s *suite) error {
		return b.restarts(ctx, rep, s, key{metricRestart, b.place.name, restartServices, s.name}, restartServices)
	})
}

// The trees whose restarts show what a spawn costs: nothing but the number of
// services differs, and no file is created as at the start of a tree.
const (
	spawnFew     = 10
	spawnMany    = 1000
	spawnSamples = 100
)

// measureSpawn tells how the cost of a spawn grows with the tree. The floor shows
// how much of that is the kernel's.
func (b *bench) measureSpawn(ctx context.Context) error {
	list := b.only(func(s *suite) bool { return s.name == ours || s.bare })
	for _, n := range []int{spawnFew, spawnMany} {
		n = min(n, b.largest())
		err := b.interleave(ctx, fmt.Sprintf("spawn in %d", n), list, b.half(), func(rep int, s *suite) error {
			return b.restarts(ctx, rep, s, key{metricSpawn, b.place.name, n, s.name}, spawnSamples)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) restarts(ctx context.Context, rep int, s *suite, k key, samples int) error {
	return b.withTree(ctx, s, k.n, b.place, func(t *tree) error {
		latencies, err := t.killEach(ctx, samples)
		if err != nil {
			return err
		}
		return b.results.add(k, rep, latencies...)
	})
}

// killBudget is how long killing may go on in one tree: s6 waits a second after
// every death, and fewer samples will do for it.
const killBudget = 10 * time.Second

// killEach kills services at random, in rounds so that each has been up for long
// enough, and returns the milliseconds until its successor ran.
func (t *tree) killEach(ctx context.Context, samples int) (latencies []float64, err error) {
	pids := make([]int, 0, len(t.starts))
	for _, s := range t.starts {
		pids = append(pids, s.pid)
	}
	rand.Shuffle(len(pids), func(i, j int) { pids[i], pids[j] = pids[j], pids[i] })
	for began := now(); ; {
		if err := sleep(ctx, upFor); err != nil {
			return nil, err
		}
		t.stamps.drain()
		for i, pid := range pids {
			killed := now()
			if err := unix.Kill(pid, unix.SIGKILL); err != nil {
				return nil, fmt.Errorf("unable to kill service %d: %w", pid, err)
			}
			next, err := t.stamps.wait(ctx, kindStart, 1, 10*time.Second)
			if err != nil {
				return nil, err
			}
			pids[i] = next[0].pid
			latencies = append(latencies, milliseconds(time.Duration(next[0].at-killed)))
			if len(latencies) == samples || since(began) > killBudget {
				return latencies, nil
			}
			if err := pause(ctx, 10*time.Millisecond, 20*time.Millisecond); err != nil {
				return nil, err
			}
		}
	}
}

// pause sleeps for a random time, so that nothing falls into step with a clock.
func pause(ctx context.Context, from, to time.Duration) error {
	return sleep(ctx, from+rand.N(to-from))
}
