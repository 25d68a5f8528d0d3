package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"
)

// bench is one run.
type bench struct {
	options  options
	dir      string // of the run's own files
	programs programs
	suites   []*suite
	disk     *place
	tmpfs    *place // nil if there is none
	place    *place // where trees are if nothing else is said
	results  *results
	progress io.Writer
	trees    int
	failures []string
}

// measurements are what -only chooses from.
var measurements = []struct {
	name string
	run  func(*bench, context.Context) error
}{
	{"memory", (*bench).measureMemory},
	{"startup", (*bench).measureStartup},
	{"restart", (*bench).measureRestart},
	{"spawn", (*bench).measureSpawn},
	{"detect", (*bench).measureDetect},
	{"storm", (*bench).measureStorm},
	{"clients", (*bench).measureClients},
}

// interleave calls one measurement for every suite and repetition: A B B A, so
// that what changes slowly on the machine meets all suites alike. A suite that
// fails is noted and left; an interrupt ends all.
func (b *bench) interleave(ctx context.Context, what string, list []*suite, reps int, one func(rep int, s *suite) error) error {
	for rep := range reps {
		turn := slices.Clone(list)
		if rep%2 == 1 {
			slices.Reverse(turn)
		}
		for _, s := range turn {
			began := now()
			err := one(rep, s)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				b.failures = append(b.failures, fmt.Sprintf("%s, %s: %v", what, s.name, err))
			}
			b.report("%s, %s, %d of %d: %v, load %s", what, s.name, rep+1, reps, since(began).Round(time.Millisecond), load())
			if err != nil {
				b.report("  %v", err)
			}
		}
	}
	return nil
}

// report says on standard error how far we are.
func (b *bench) report(format string, args ...any) {
	fmt.Fprintf(b.progress, format+"\n", args...)
}

// only are the suites for which a condition holds.
func (b *bench) only(holds func(*suite) bool) (list []*suite) {
	for _, s := range b.suites {
		if holds(s) {
			list = append(list, s)
		}
	}
	return list
}

// half is the repetitions of measurements that take long and vary little.
func (b *bench) half() int { return (b.options.reps + 1) / 2 }

// largest is the greatest number of services asked for.
func (b *bench) largest() int { return slices.Max(b.options.n) }

// milliseconds is the unit of most samples.
func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// upFor is how long a service must have been up for its next start not to be
// put off: 1 s everywhere, and some for the scheduler.
const upFor = 1500 * time.Millisecond
