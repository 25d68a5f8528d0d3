package main

import (
	"context"
	"fmt"
)

// measureMemory looks at trees at rest. At the largest N it then counts how
// often their supervisors are woken while nothing happens.
func (b *bench) measureMemory(ctx context.Context) error {
	for _, n := range b.options.n {
		what := fmt.Sprintf("memory of %d", n)
		err := b.interleave(ctx, what, b.suites, b.half(), func(rep int, s *suite) error {
			return b.withTree(ctx, s, n, b.place, func(t *tree) error {
				return b.atRest(ctx, t, key{place: b.place.name, n: n, suite: s.name}, rep)
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) atRest(ctx context.Context, t *tree, k key, rep int) error {
	if err := sleep(ctx, b.options.settle); err != nil {
		return err
	}
	pids := t.supervisors()
	m := memoryOf(pids)
	samples := map[metric]int{
		metricPSS:       m.pss,
		metricDirty:     m.privateDirty,
		metricProcesses: len(pids),
		metricThreads:   threadsOf(pids),
	}
	if k.n == b.largest() && !t.suite.bare {
		before := switchesOf(pids)
		if err := sleep(ctx, b.options.idle); err != nil {
			return err
		}
		samples[metricSwitches] = switchesOf(pids) - before
	}
	for metric, v := range samples {
		k.metric = metric
		if err := b.results.add(k, rep, float64(v)); err != nil {
			return err
		}
	}
	return nil
}
