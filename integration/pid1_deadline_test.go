package integration

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Scripts of services that do not stop when they should.
const (
	stubborn = "#!/bin/sh\ntrap '' TERM\n: >>../../ready-$(basename $PWD)\nwhile :; do sleep 0.05; done\n"
	hangs    = "#!/bin/sh\n: >>../../ready-finish-$(basename $PWD)\nexec sleep 1000\n"
)

// ready waits for the files that scripts make.
func (c *container) ready(names ...string) {
	c.t.Helper()
	for _, name := range names {
		waitFile(c.t, c.path("ready-"+name), func(string) bool { return unix.Access(c.path("ready-"+name), unix.F_OK) == nil })
	}
}

// endsInTime waits until the scanner exits with code. On a busy machine its last step
// may come before all are dead that were killed, which it says.
func (c *container) endsInTime(code int) {
	c.t.Helper()
	if got := c.scanner.wait(); got != code {
		c.t.Errorf("the scanner ended with %d, not %d", got, code)
	}
	if said := c.scanner.said(); said != "" && !deadlinePassed.MatchString(said) {
		c.t.Errorf("the scanner said %q", said)
	}
}

var deadlinePassed = regexp.MustCompile(`^svscan: warning: unable to stop [ab]( and 1 more)? within 800ms\n$`)

// TestDeadline: whatever does not stop in time is killed, and the scanner exits.
func TestDeadline(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name string
		tree tree
		wait []string
		do   func(c *container) // before the stop
		opt  []string
		code int
	}{
		{name: "a service that ignores TERM",
			tree: tree{"service/a/run!": stubborn, "service/a/log/run!": faultCat},
			wait: []string{"a"}},
		{name: "a finish that hangs",
			tree: tree{"service/a/run!": "#!/bin/sh\n: >../../ready-a\nexec sleep 1000\n", "service/a/finish!": hangs},
			wait: []string{"a"}},
		{name: "a finish that hangs already",
			tree: tree{"service/a/run!": "#!/bin/sh\n", "service/a/finish!": hangs},
			wait: []string{"finish-a"}},
		{name: "a finish after KILL",
			tree: tree{"service/a/run!": stubborn, "service/a/finish!": hangs},
			wait: []string{"a"}},
		{name: "a control script that hangs",
			tree: tree{"service/a/run!": "#!/bin/sh\n: >../../ready-a\nexec sleep 1000\n", "service/a/control/t!": hangs},
			wait: []string{"a"}},
		{name: "a log service that does not read",
			tree: tree{"service/a/run!": faultSleeper, "service/a/log/run!": "#!/bin/sh\ntrap '' TERM\n: >../../../ready-log\nwhile :; do sleep 0.05; done\n"},
			wait: []string{"log"}},
		{name: "a finish of a log service that hangs",
			tree: tree{"service/a/run!": faultSleeper, "service/a/log/run!": "#!/bin/sh\n: >../../../ready-log\nexec cat\n", "service/a/log/finish!": "#!/bin/sh\nexec sleep 1000\n"},
			wait: []string{"log"}},
		{name: "main that ignores TERM",
			tree: tree{"service/a/run!": stubborn, "service/b/run!": stubborn},
			wait: []string{"a", "b"}, opt: []string{"--main", "a"}, code: 137},
		{name: "the others of main ignore TERM",
			tree: tree{"service/a/run!": "#!/bin/sh\ntrap 'exit 7' USR1\n: >../../ready-a\nwhile :; do sleep 0.02; done\n", "service/b/run!": stubborn, "service/b/finish!": hangs},
			wait: []string{"a", "b"}, opt: []string{"--main", "a"}, code: 7,
			do: func(c *container) { _ = c.control("service/a", "1") }},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			c := newContainer(t, x.tree, append(slices.Clone(x.opt), "--deadline", "0.8")...)
			c.ready(x.wait...)
			if x.do != nil {
				x.do(c)
			} else {
				c.scanner.signal(unix.SIGTERM)
			}
			c.endsInTime(x.code)
		})
	}
}

// TestDeadlineLog: who is killed at the deadline does not take with it what his log
// service has to read.
func TestDeadlineLog(t *testing.T) {
	t.Parallel()
	c := newContainer(t, tree{
		"service/a/run!":     "#!/bin/sh\ntrap '' TERM\nseq 1 1000\n: >../../ready-a\nwhile :; do sleep 0.05; done\n",
		"service/a/log/run!": "#!/bin/sh\nread line </dev/null\ncat >>../../../lines\necho over >>../../../lines\n",
		"service/a/finish!":  hangs,
	}, "--deadline", "4")
	c.ready("a")
	c.scanner.signal(unix.SIGTERM)
	c.ends(0)
	want := ""
	for i := range 1000 {
		want += fmt.Sprintln(i + 1)
	}
	if got := c.read("lines"); got != want+"over\n" {
		t.Errorf("the log has %d lines, and ends in %q", strings.Count(got, "\n"), got[max(0, len(got)-20):])
	}
}

// TestDeadlineNone: without one, nobody is killed who needs a moment.
func TestDeadlineNone(t *testing.T) {
	t.Parallel()
	c := newContainer(t, tree{"service/a/run!": "#!/bin/sh\ntrap ': >../../ready-term; sleep 1; exit 0' TERM\n: >../../ready-a\nwhile :; do sleep 0.05; done\n"}, "--deadline", "0")
	c.ready("a")
	c.scanner.signal(unix.SIGTERM)
	c.ready("term")
	c.ends(0)
}
