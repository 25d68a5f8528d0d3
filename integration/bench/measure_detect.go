package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// How new services are tried: for scanners that poll, only so many and at any
// time within their interval.
const (
	detectServices = 10
	detectRuns     = 20
	detectPolls    = 2
	pollInterval   = 5 * time.Second
)

// measureDetect is the time from the link in the scan directory, and the command
// that makes the scanner look where it must be told, to the first instruction of
// the service.
func (b *bench) measureDetect(ctx context.Context) error {
	list := b.only(func(s *suite) bool { return !s.bare })
	return b.interleave(ctx, "detect", list, b.options.reps, func(rep int, s *suite) error {
		return b.withTree(ctx, s, detectServices, b.place, func(t *tree) error {
			latencies, err := t.detectEach(ctx)
			if err != nil {
				return err
			}
			return b.results.add(key{metricDetect, b.place.name, detectServices, s.name}, rep, latencies...)
		})
	})
}

// detectEach adds services one after another, and returns the milliseconds until
// each ran.
func (t *tree) detectEach(ctx context.Context) (latencies []float64, err error) {
	if err := sleep(ctx, upFor); err != nil {
		return nil, err
	}
	runs, from, to := detectRuns, 100*time.Millisecond, 200*time.Millisecond
	if t.suite.polls {
		runs, from, to = detectPolls, 0, pollInterval
	}
	for i := range runs {
		if err := pause(ctx, from, to); err != nil {
			return nil, err
		}
		ms, err := t.detect(ctx, fmt.Sprintf("new%d", i))
		if err != nil {
			return nil, err
		}
		latencies = append(latencies, ms)
	}
	return latencies, nil
}

func (t *tree) detect(ctx context.Context, name string) (ms float64, err error) {
	target, err := t.define(name)
	if err != nil {
		return 0, err
	}
	t.stamps.drain()
	began := now()
	if err := os.Symlink(target, t.link(name)); err != nil {
		return 0, err
	}
	if argv := t.suite.rescan; argv != nil {
		if _, err := t.command(append(argv[:len(argv):len(argv)], t.scan())...); err != nil {
			return 0, err
		}
	}
	up, err := t.stamps.wait(ctx, kindStart, 1, 4*pollInterval)
	if err != nil {
		return 0, err
	}
	return milliseconds(time.Duration(up[0].at - began)), nil
}
