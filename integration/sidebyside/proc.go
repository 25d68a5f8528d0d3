package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// role is what a process is in a tree.
type role uint8

const (
	other      role = iota // a shell that is about to become something
	supervisor             // of the suite
	service
	logger
)

// process is a live one below us.
type process struct {
	pid  int
	role role
	name string // of the service, for service and logger
}

// processes are those below us, which all belong to the tree.
func (t *tree) processes() (list []process) {
	for _, pid := range descendants() {
		dir := "/proc/" + strconv.Itoa(pid)
		exe, err := os.Readlink(dir + "/exe")
		if err != nil {
			continue // it has ended
		}
		p := process{pid: pid}
		cwd, _ := os.Readlink(dir + "/cwd")
		below, inside := strings.CutPrefix(cwd, t.scan+"/")
		name, rest, _ := strings.Cut(below, "/")
		program := filepath.Base(exe)
		switch {
		case slices.Contains(t.suite.supervisors, program):
			p.role = supervisor
		case exe == t.self && inside && rest == "":
			p.role, p.name = service, name
		case program == t.suite.logger[0] && inside:
			p.role, p.name = logger, name
		}
		list = append(list, p)
	}
	return list
}

// parent takes the state and the parent out of /proc/PID/stat. The name before them
// is in parentheses and may contain anything.
func parent(pid int) (ppid int, zombie bool, err error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false, err
	}
	f := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(f) < 2 {
		return 0, false, errors.New("stat is too short")
	}
	ppid, err = strconv.Atoi(string(f[1]))
	return ppid, f[0][0] == 'Z', err
}

// descendants are the live processes below us, as two looks agree: one may miss what
// moves since its parent has just ended.
func descendants() []int {
	last := lookBelow()
	for range 20 {
		now := lookBelow()
		if slices.Equal(last, now) {
			break
		}
		last = now
	}
	return last
}

// lookBelow is one look. Orphans that have ended are reaped: all are ours.
func lookBelow() (list []int) {
	children := map[int][]int{}
	names, _ := os.ReadDir("/proc")
	self := os.Getpid()
	for _, n := range names {
		pid, err := strconv.Atoi(n.Name())
		if err != nil {
			continue
		}
		ppid, zombie, err := parent(pid)
		switch {
		case err != nil:
		case zombie && ppid == self:
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		case !zombie:
			children[ppid] = append(children[ppid], pid)
		}
	}
	for todo := []int{self}; len(todo) > 0; todo = todo[1:] {
		list = append(list, children[todo[0]]...)
		todo = append(todo, children[todo[0]]...)
	}
	return list
}

// killAll kills what is below us until there is nothing. The orphans of a dead
// process become our children, and no pid can pass to another process before we have
// reaped it: so only our own children are killed.
func killAll() error {
	const limit = 30 * time.Second
	self := os.Getpid()
	for began := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		list := descendants()
		if len(list) == 0 && unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == unix.ECHILD {
			return nil
		}
		if time.Since(began) > limit {
			return errors.New("some processes outlive SIGKILL")
		}
		for _, pid := range list {
			if ppid, _, err := parent(pid); err == nil && ppid == self {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
	}
}
