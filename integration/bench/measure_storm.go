package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A storm is many services that end just after the second within which nobody
// restarts them at once.
const (
	stormServices = 200
	stormLife     = 1050 * time.Millisecond
	stormBuildUp  = 4 * time.Second // until the starts have spread
	stormWindow   = 10 * time.Second
)

// measureStorm is the CPU time of the supervisors for each restart. What a child
// does between fork and exec is the child's.
func (b *bench) measureStorm(ctx context.Context) error {
	return b.interleave(ctx, "storm", b.suites, b.half(), func(rep int, s *suite) error {
		return b.withTree(ctx, s, stormServices, b.place, func(t *tree) error {
			perRestart, err := t.weather(ctx)
			if err != nil {
				return err
			}
			us := float64(perRestart) / float64(time.Microsecond)
			return b.results.add(key{metricStorm, b.place.name, stormServices, s.name}, rep, us)
		}, fmt.Sprintf("BENCH_EXIT_MS=%d", stormLife.Milliseconds()))
	})
}

// weather is the processor time of the supervisors for a restart.
func (t *tree) weather(ctx context.Context) (perRestart time.Duration, err error) {
	if err := sleep(ctx, stormBuildUp); err != nil {
		return 0, err
	}
	before := processorTime(t.supervisors())
	t.stamps.drain()
	restarts, err := t.stamps.count(ctx, kindStart, stormWindow)
	if err != nil {
		return 0, err
	}
	if restarts == 0 {
		return 0, errors.New("nothing was restarted")
	}
	// What is a supervisor only now or only then was on its way from the fork to
	// the exec of a service.
	var used time.Duration
	for pid, after := range processorTime(t.supervisors()) {
		if at, ok := before[pid]; ok {
			used += after - at
		}
	}
	return used / time.Duration(restarts), nil
}
