package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

// pace is how long a service rests after each line.
const pace = 5 * time.Millisecond

// tree is a scanner with its services. There is never more than one.
type tree struct {
	suite  *suite
	self   string // this program, which is the services
	scan   string // the scan directory
	log    string // what the supervisors say
	names  []string
	began  time.Time     // of the scanner
	settle time.Duration // see options
}

// measure runs a suite and takes everything down.
func (s *suite) measure(ctx context.Context, dir string, o options) (f *facts, err error) {
	t := &tree{suite: s, scan: filepath.Join(dir, s.name), log: filepath.Join(dir, s.name+".log"), settle: o.settle}
	defer func() { err = errors.Join(err, killAll()) }() // also after a panic
	if t.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if t.self, err = filepath.EvalSymlinks(t.self); err != nil {
		return nil, err
	}
	if err := t.layOut(o.n); err != nil {
		return nil, err
	}
	if f, err = t.story(ctx); err != nil {
		said, _ := os.ReadFile(t.log)
		err = fmt.Errorf("%w; the supervisors said %.500q", err, said)
	}
	return f, err
}

// layOut makes the service directories.
func (t *tree) layOut(n int) error {
	for i := range n {
		name := fmt.Sprintf("s%03d", i)
		t.names = append(t.names, name)
		files := map[string]string{
			"run":     "exec env " + paceVariable + "=" + pace.String() + " " + t.self + "\n",
			"log/run": "echo $$ >>starts\nexec " + strings.Join(t.suite.logger, " ") + "\n",
		}
		if t.suite.finish {
			files["finish"] = "echo $1 $2 >>finished\n"
		}
		if err := os.MkdirAll(t.path(name, "log/main"), 0o755); err != nil {
			return err
		}
		for file, text := range files {
			if err := os.WriteFile(t.path(name, file), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
				return err
			}
		}
		if t.suite.config != "" {
			if err := os.WriteFile(t.path(name, "log/main/config"), []byte(t.suite.config), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tree) path(elem ...string) string {
	return filepath.Join(append([]string{t.scan}, elem...)...)
}

// start runs the scanner, in a session of its own, so that an interrupt from the
// terminal reaches only us.
func (t *tree) start() error {
	log, err := os.OpenFile(t.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	argv := append(slices.Clone(t.suite.scanner), t.scan)
	t.began = time.Now()
	_, err = syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
		Dir: filepath.Dir(t.scan),
		// No more than what all suites want: the way to their other half.
		Env:   []string{"PATH=" + os.Getenv("PATH")},
		Files: []uintptr{null.Fd(), log.Fd(), log.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fmt.Errorf("unable to run %s: %w", argv[0], err)
	}
	return nil
}

// until waits for a condition, and reaps orphans meanwhile.
func (t *tree) until(ctx context.Context, what string, limit time.Duration, cond func() bool) error {
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		lookBelow()
		switch {
		case cond():
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Since(began) > limit:
			return fmt.Errorf("it does not happen within %v that %s", limit, what)
		}
	}
}

// pass lets time pass.
func (t *tree) pass(ctx context.Context, d time.Duration) error {
	end := time.Now().Add(d)
	return t.until(ctx, "time passes", d+time.Minute, func() bool { return time.Now().After(end) })
}

// patience is for what happens within a few seconds.
const patience = 30 * time.Second

// story is what is done to a tree; see the documentation of the command.
func (t *tree) story(ctx context.Context) (f *facts, err error) {
	f = &facts{}
	if err := t.start(); err != nil {
		return nil, err
	}
	err = t.until(ctx, "all services write", patience, func() bool {
		return !slices.ContainsFunc(t.names, func(name string) bool {
			return t.knows(name) == 0 || t.knows(name+"/log") == 0 || t.lines(name) < 50
		})
	})
	if err != nil {
		return nil, err
	}

	// No supervisor is left, and one service ends.
	if f.supervisors, err = t.killSupervisors(ctx); err != nil {
		return nil, err
	}
	first, second := t.names[0], t.names[1]
	original := t.starts(second)
	if err := t.tellToExit(t.starts(first)[0]); err != nil {
		return nil, err
	}
	if err := t.pass(ctx, time.Second); err != nil {
		return nil, err
	}
	starts, logStarts := map[string]int{}, map[string]int{}
	for _, name := range t.names {
		starts[name], logStarts[name] = len(t.starts(name)), len(t.starts(name+"/log"))
	}
	if err := t.start(); err != nil {
		return nil, err
	}
	err = t.until(ctx, "the service that has ended runs again", patience, func() bool { return len(t.starts(first)) > starts[first] })
	if err != nil {
		return nil, err
	}
	f.again = time.Since(t.began)
	settled := t.began.Add(t.settle)
	if t.until(ctx, "all are supervised again", t.settle, t.whole) == nil {
		f.whole = time.Since(t.began)
	}
	if err := t.pass(ctx, time.Until(settled)); err != nil {
		return nil, err
	}
	t.count(f)
	for _, name := range t.names[1:] {
		f.started += len(t.starts(name)) - starts[name]
		f.startedLogs += len(t.starts(name+"/log")) - logStarts[name]
	}

	// Another one ends.
	n, told := len(t.starts(second)), t.finished(second)
	if err := t.tellToExit(original[0]); err != nil {
		return nil, err
	}
	if err := t.pass(ctx, 2500*time.Millisecond); err != nil {
		return nil, err
	}
	f.noticed = len(t.starts(second)) > n
	if now := t.finished(second); len(now) > len(told) {
		f.status = now[len(now)-1]
	}
	return f, t.audit(ctx, f)
}

// killSupervisors kills them, the scanner first, and tells how many there were.
func (t *tree) killSupervisors(ctx context.Context) (n int, err error) {
	find := func() (pids []int) {
		for _, p := range t.processes() { // from the top down
			if p.role == supervisor {
				pids = append(pids, p.pid)
			}
		}
		return pids
	}
	pids := find()
	err = t.until(ctx, "no supervisor is left", patience, func() bool {
		left := find()
		for _, pid := range left {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		return len(left) == 0
	})
	return len(pids), err
}

// tellToExit tells a service to end with exitStatus.
func (t *tree) tellToExit(pid int) error {
	if _, zombie, err := parent(pid); err != nil || zombie {
		return fmt.Errorf("process %d, a service, has ended by itself", pid)
	}
	return unix.Kill(pid, unix.SIGUSR1)
}

// knows is the process that a supervisor has for a service, or 0.
func (t *tree) knows(name string) int {
	b, err := os.ReadFile(t.path(name, "supervise/status"))
	if err != nil {
		return 0
	}
	r, err := status.Decode(b, t.suite.layout)
	if err != nil {
		return 0
	}
	return int(r.PID)
}

// starts are the pids in a book of starts.
func (t *tree) starts(name string) (pids []int) {
	for _, word := range strings.Fields(t.read(name, "starts")) {
		pid, _ := strconv.Atoi(word)
		pids = append(pids, pid)
	}
	return pids
}

// finished is what finish was told, each time.
func (t *tree) finished(name string) []string {
	return strings.FieldsFunc(t.read(name, "finished"), func(r rune) bool { return r == '\n' })
}

func (t *tree) read(elem ...string) string {
	b, err := os.ReadFile(t.path(elem...))
	if err != nil {
		return "" // nobody has written to it yet
	}
	return string(b)
}

// logged is all that a log service has written.
func (t *tree) logged(name string) string {
	var all strings.Builder
	files, _ := filepath.Glob(t.path(name, "log/main/[@c]*"))
	for _, file := range files {
		if filepath.Base(file) != "config" {
			all.WriteString(t.read(name, "log/main", filepath.Base(file)))
		}
	}
	return all.String()
}

func (t *tree) lines(name string) int { return strings.Count(t.logged(name), "\n") }
