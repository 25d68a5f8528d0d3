package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// facts are what a suite has to show after its supervisors were killed and a new
// one was started.
type facts struct {
	supervisors int // that were killed

	twice, orphans        int // services with two processes; with one that no supervisor knows
	twiceLogs, orphanLogs int // the same of log services
	started               int // starts of services that had not ended
	startedLogs           int // of log services that had not ended
	killed                int // services that ended and were not told to
	unread                int // processes of services whose output nobody reads
	waiting               int // bytes of theirs that are in pipes

	again   time.Duration // until the one that had ended runs again
	whole   time.Duration // until no process is unsupervised, or 0 for never
	noticed bool          // the end of one from before is
	status  string        // and what finish is told of it

	written, lost, doubled int // lines
}

// whole tells whether every service and log service has a supervisor that knows all
// of its processes.
func (t *tree) whole() bool {
	for _, name := range t.names {
		for _, dir := range []string{name, name + "/log"} {
			fd, err := unix.Open(t.path(dir, "supervise/control"), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			if err != nil {
				return false // nobody reads it
			}
			unix.Close(fd)
		}
	}
	var f facts
	t.count(&f)
	return f.orphans+f.orphanLogs == 0
}

// count looks at what is there now.
func (t *tree) count(f *facts) {
	services, loggers := map[string][]int{}, map[string][]int{}
	readers := map[string]bool{}
	for _, p := range t.processes() {
		switch p.role {
		case service:
			services[p.name] = append(services[p.name], p.pid)
		case logger:
			loggers[p.name] = append(loggers[p.name], p.pid)
			readers[pipeOf(p.pid, 0)] = true
		}
	}
	for _, name := range t.names {
		for _, x := range []struct {
			pids           []int
			known          int
			twice, orphans *int
		}{
			{services[name], t.knows(name), &f.twice, &f.orphans},
			{loggers[name], t.knows(name + "/log"), &f.twiceLogs, &f.orphanLogs},
		} {
			if len(x.pids) > 1 {
				*x.twice++
			}
			if slices.ContainsFunc(x.pids, func(pid int) bool { return pid != x.known }) {
				*x.orphans++
			}
		}
		for _, pid := range services[name] {
			if !readers[pipeOf(pid, 1)] {
				f.unread++
				f.waiting += inPipe(pid, 1)
			}
		}
	}
}

// pipeOf names what a process has as a descriptor.
func pipeOf(pid, fd int) string {
	name, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
	return name
}

// inPipe is how many bytes are in the pipe that a process has as a descriptor.
func inPipe(pid, fd int) int {
	r, err := unix.Open(fmt.Sprintf("/proc/%d/fd/%d", pid, fd), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0 // it has just ended
	}
	defer unix.Close(r)
	n, err := unix.IoctlGetInt(r, unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n
}

// audit ends all processes of services, waits until log services write no more, and
// compares.
func (t *tree) audit(ctx context.Context, f *facts) error {
	audited := map[string]bool{}
	for _, p := range t.processes() {
		if p.role == service {
			audited[strconv.Itoa(p.pid)] = true
			_ = unix.Kill(p.pid, unix.SIGTERM)
		}
	}
	err := t.until(ctx, "services end that were told to", patience, func() bool {
		return !slices.ContainsFunc(descendants(), func(pid int) bool { return audited[strconv.Itoa(pid)] })
	})
	if err != nil {
		return err
	}
	// What has been started since writes on; it does not count.
	const calm = 3 * time.Second
	for last, n := -1, t.settled(); n != last; last, n = n, t.settled() {
		if err := t.pass(ctx, calm); err != nil {
			return err
		}
	}
	for _, name := range t.names {
		numbers, ends := t.numbers(name), t.ends(name)
		for pid, end := range ends {
			f.written += end.written
			if !end.told {
				f.killed++
			}
			for n, times := range numbers[pid] {
				f.doubled += times - 1
				if n >= end.written { // written, but not counted yet
					delete(numbers[pid], n)
				}
			}
			f.lost += end.written - len(numbers[pid])
		}
		// Who was killed has written nothing about it.
		for _, pid := range t.starts(name) {
			if _, ended := ends[strconv.Itoa(pid)]; !ended && !slices.Contains(descendants(), pid) {
				f.killed++
			}
		}
	}
	return nil
}

// settled counts the lines in the logs that are of processes which have ended.
func (t *tree) settled() (n int) {
	for _, name := range t.names {
		ends := t.ends(name)
		for pid, numbers := range t.numbers(name) {
			if _, ended := ends[pid]; ended {
				n += len(numbers)
			}
		}
	}
	return n
}

// end is an entry of the book of ends.
type end struct {
	written int
	told    bool
}

// ends is that book, by pid.
func (t *tree) ends(name string) map[string]end {
	all := map[string]end{}
	for line := range strings.Lines(t.read(name, "ends")) {
		words := strings.SplitN(strings.TrimSpace(line), " ", 3)
		if len(words) == 3 {
			n, _ := strconv.Atoi(words[1])
			all[words[0]] = end{n, words[2] == toldToEnd}
		}
	}
	return all
}

// numbers are those in the log: how often each came, by pid.
func (t *tree) numbers(name string) map[string]map[int]int {
	all := map[string]map[int]int{}
	for line := range strings.Lines(t.logged(name)) {
		pid, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.Atoi(number)
		if err != nil {
			continue
		}
		if all[pid] == nil {
			all[pid] = map[int]int{}
		}
		all[pid][n]++
	}
	return all
}
