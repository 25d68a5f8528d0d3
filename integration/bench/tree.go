package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tree is a running scanner with its services. Everything below us belongs to
// it, for there is never more than one.
type tree struct {
	suite   *suite
	service string // the program that is supervised
	dir     string // has sv, the service directories, and scan, links to them
	stamps  *stamps
	log     string
	began   int64   // just before the fork of the scanner
	starts  []stamp // of the services
	remove  func() error
}

// withTree has a measurement made on a new tree of n services, all of which are
// up, and takes the tree down. env is added to that of the services.
func (b *bench) withTree(ctx context.Context, s *suite, n int, p *place, measure func(*tree) error, env ...string) (err error) {
	t, err := b.startTree(ctx, s, n, p, env)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.stop()) }() // also when measure panics
	return measure(t)
}

func (b *bench) startTree(ctx context.Context, s *suite, n int, p *place, env []string) (*tree, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.trees++
	t := &tree{
		suite:   s,
		service: b.programs.service,
		log:     filepath.Join(b.dir, fmt.Sprintf("tree-%d.log", b.trees)),
	}
	var err error
	if t.dir, t.remove, err = p.fresh(); err != nil {
		return nil, err
	}
	t.stamps, err = openStamps(filepath.Join(b.dir, fmt.Sprintf("tree-%d.stamps", b.trees)))
	if err != nil {
		return nil, errors.Join(err, t.remove())
	}
	if err = t.layOut(n); err == nil {
		err = t.start(env)
	}
	if err == nil {
		limit := 20*time.Second + time.Duration(n)*30*time.Millisecond
		t.starts, err = t.stamps.wait(ctx, kindStart, n, limit)
	}
	if err != nil {
		err = fmt.Errorf("unable to start %d services: %w%s", n, err, t.complaint())
		return nil, errors.Join(err, t.stop())
	}
	return t, nil
}

func (t *tree) scan() string { return filepath.Join(t.dir, "scan") }

// link is the name of a service in the scan directory.
func (t *tree) link(name string) string { return filepath.Join(t.scan(), name) }

func serviceName(i int) string { return fmt.Sprintf("s%04d", i) }

// layOut makes the directories, as an administrator would: service directories
// in one place, links to them in the scan directory.
func (t *tree) layOut(n int) error {
	if err := os.MkdirAll(t.scan(), 0o755); err != nil {
		return err
	}
	for i := range n {
		name := serviceName(i)
		target, err := t.define(name)
		if err == nil {
			err = os.Symlink(target, t.link(name))
		}
		if err != nil {
			return err
		}
	}
	// runsvdir waits a second for a scan directory that has just been changed.
	old := time.Now().Add(-100 * time.Second)
	if err := os.Chtimes(t.scan(), old, old); err != nil {
		return err
	}
	return settleDisk(t.dir)
}

// define makes a service directory which nobody supervises yet.
func (t *tree) define(name string) (dir string, err error) {
	dir = filepath.Join(t.dir, "sv", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return dir, os.Symlink(t.service, filepath.Join(dir, "run"))
}

// start runs the scanner in a session of its own, so that an interrupt from the
// terminal reaches only us.
func (t *tree) start(env []string) error {
	log, err := os.Create(t.log)
	if err != nil {
		return err
	}
	defer log.Close()
	argv := append(append([]string{}, t.suite.scanner...), t.scan())
	attr := &syscall.ProcAttr{
		Dir:   t.dir,
		Env:   append(append([]string{"BENCH_STAMPS=" + t.stamps.path}, t.suite.env...), env...),
		Files: []uintptr{devNull(), log.Fd(), log.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	}
	t.began = now()
	if _, err := syscall.ForkExec(argv[0], argv, attr); err != nil {
		return fmt.Errorf("unable to run %s: %w", argv[0], err)
	}
	return nil
}

// command runs a client program of the tree's suite.
func (t *tree) command(argv ...string) (time.Duration, error) { return timed(argv, t.suite.env) }

// supervisors are all processes of the tree that are not services.
func (t *tree) supervisors() (pids []int) {
	for _, pid := range descendants(processes(), os.Getpid()) {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err == nil && exe != t.service {
			pids = append(pids, pid)
		}
	}
	return pids
}

// complaint is the end of what the scanner said.
func (t *tree) complaint() string {
	text, _ := os.ReadFile(t.log)
	text = text[max(0, len(text)-300):]
	if said := strings.TrimSpace(string(text)); said != "" {
		return "\n\t" + strings.ReplaceAll(said, "\n", "\n\t")
	}
	return ""
}

// stop kills the tree from the top down and removes its directory.
func (t *tree) stop() error {
	err := killChildren()
	t.stamps.close()
	os.Remove(t.log)
	return errors.Join(err, t.remove())
}

// killChildren kills our children, again and again until there are none. The
// orphans of a dead process become our children, because we are their subreaper:
// so a supervisor is always dead before its services are killed, and no pid can
// pass to another process before we have reaped it.
func killChildren() error {
	const limit = 60 * time.Second
	self := os.Getpid()
	for began := now(); haveChildren(); time.Sleep(2 * time.Millisecond) {
		if since(began) > limit {
			return fmt.Errorf("some processes outlived SIGKILL for %v", limit)
		}
		for pid, p := range processes() {
			if p.parent == self {
				unix.Kill(pid, unix.SIGKILL)
				unix.Wait4(pid, nil, unix.WNOHANG, nil)
			}
		}
	}
	return nil
}

func haveChildren() bool {
	return unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) != unix.ECHILD
}
