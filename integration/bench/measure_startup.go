package main

import (
	"context"
	"fmt"
	"time"
)

// measureStartup is the time from the fork of the scanner to the first
// instruction of the last service, in a tree that no supervisor has seen before.
func (b *bench) measureStartup(ctx context.Context) error {
	for _, p := range []*place{b.disk, b.tmpfs} {
		if p == nil {
			continue
		}
		for _, n := range b.options.n {
			what := fmt.Sprintf("startup of %d on %s", n, p.name)
			err := b.interleave(ctx, what, b.suites, b.options.reps, func(rep int, s *suite) error {
				return b.withTree(ctx, s, n, p, func(t *tree) error {
					return b.results.add(key{metricAllUp, p.name, n, s.name}, rep, milliseconds(t.allUp()))
				})
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// allUp is when the last service ran.
func (t *tree) allUp() time.Duration {
	last := t.began
	for _, s := range t.starts {
		last = max(last, s.at)
	}
	return time.Duration(last - t.began)
}
