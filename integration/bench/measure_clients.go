package main

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// How often the clients are run in a repetition.
const (
	svstatRuns = 20
	svcRuns    = 200
)

// measureClients times svstat and svc of all suites that have them on one tree,
// which ours supervises, in turns: the files they work with are the same ones.
func (b *bench) measureClients(ctx context.Context) error {
	clients := b.only(func(s *suite) bool { return s.svc != "" })
	host := b.only(func(s *suite) bool { return s.name == ours })
	return b.interleave(ctx, "clients", host, b.half(), func(rep int, s *suite) error {
		return b.withTree(ctx, s, b.largest(), b.place, func(t *tree) error {
			return b.clients(ctx, t, clients, rep)
		})
	})
}

func (b *bench) clients(ctx context.Context, t *tree, clients []*suite, rep int) error {
	if err := sleep(ctx, b.options.settle); err != nil {
		return err
	}
	var dirs []string
	for i := range t.starts {
		dirs = append(dirs, t.link(serviceName(i)))
	}
	for _, c := range clients {
		if err := reportsUp(c.svstat, dirs); err != nil {
			return err
		}
	}
	k := key{metricSvstat, b.place.name, len(dirs), ""}
	err := b.inTurns(ctx, t, clients, svstatRuns, k, rep, func(c *suite) []string {
		return append([]string{c.svstat}, dirs...)
	})
	if err != nil {
		return err
	}
	t.stamps.drain()
	k.metric = metricSvc
	err = b.inTurns(ctx, t, clients, svcRuns, k, rep, func(c *suite) []string {
		return []string{c.svc, "-h", dirs[0]}
	})
	if err != nil {
		return err
	}
	_, err = t.stamps.wait(ctx, kindHangup, len(clients)*svcRuns, 5*time.Second)
	return err
}

// inTurns runs a command of each client, A B B A.
func (b *bench) inTurns(ctx context.Context, t *tree, clients []*suite, runs int, k key, rep int, argv func(*suite) []string) error {
	took := make(map[string][]float64)
	turn := slices.Clone(clients)
	for i := range runs + 1 {
		for _, c := range turn {
			// What the last command set going should be over.
			if err := sleep(ctx, 2*time.Millisecond); err != nil {
				return err
			}
			d, err := t.command(argv(c)...)
			if err != nil {
				return err
			}
			if i > 0 { // the first only warms up
				took[c.name] = append(took[c.name], milliseconds(d))
			}
		}
		slices.Reverse(turn)
	}
	for _, c := range clients {
		k.suite = c.name
		if err := b.results.add(k, rep, took[c.name]...); err != nil {
			return err
		}
	}
	return nil
}

// reportsUp makes sure that svstat does what it is timed for.
func reportsUp(svstat string, dirs []string) error {
	out, err := exec.Command(svstat, dirs...).Output()
	if err != nil {
		return fmt.Errorf("%s: %w", svstat, err)
	}
	if up := strings.Count(string(out), ": up (pid "); up != len(dirs) {
		return fmt.Errorf("%s reports %d of %d services as up", svstat, up, len(dirs))
	}
	return nil
}
