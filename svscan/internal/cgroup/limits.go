package cgroup

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Limits are the files of a cgroup that a service directory may have, under the
// same names (cgroup-v2.rst, "Controllers").
var Limits = [...]string{
	"cpu.max", "cpu.weight", "cpu.idle",
	"memory.max", "memory.high", "memory.low", "memory.min", "memory.swap.max", "memory.oom.group",
	"pids.max",
	"io.max", "io.weight",
	"cpuset.cpus", "cpuset.mems",
	"hugetlb.2MB.max", "hugetlb.1GB.max",
}

// Set is a set of Limits, by index.
type Set uint32

// Errors of limits that cannot be set.
var (
	// ErrController: the hierarchy has no such controller to give us.
	ErrController = errors.New("controller not available")
	// ErrOccupied: controllers need a cgroup without processes, and there are some
	// beside the scanner.
	ErrOccupied = errors.New("other processes are in the scanner's cgroup")
)

// longestLimit is as much as a kernel takes.
const longestLimit = 4096

// ReadLimit reads a limit of the service directory dir. ok is false if there is
// none.
func ReadLimit(dir int, name string) (value string, ok bool, err error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return "", false, nil
	}
	if err != nil {
		return "", true, err
	}
	defer unix.Close(fd)
	b := make([]byte, longestLimit+1)
	n, err := unix.Read(fd, b)
	if err != nil {
		return "", true, err
	}
	if n > longestLimit {
		return "", true, unix.E2BIG
	}
	value = strings.TrimRight(string(b[:n]), "\n")
	if strings.TrimSpace(value) == "" {
		return value, true, unix.EINVAL // which the kernel would take for 0
	}
	return value, true, nil
}

// Limit sets a limit of the leaf, each line by itself, as the kernel wants them
// where there is one for each device.
func (l *Leaf) Limit(name, value string) error {
	controller, _, _ := strings.Cut(name, ".")
	if err := l.Base.Enable(controller); err != nil {
		return err
	}
	for line := range strings.Lines(value) {
		if line = strings.TrimSuffix(line, "\n"); line == "" {
			continue
		}
		if err := l.Base.write(l.Name+"/"+name, line); err != nil {
			return err
		}
	}
	return nil
}

// Enable lets leaves have a controller. If that needs the base to be without
// processes, the scanner moves to Supervisor, alone: others are nobody's to move.
func (b *Base) Enable(controller string) error {
	if b.has(b.enabled.Load(), controller) {
		return nil
	}
	now := b.read("cgroup.subtree_control")
	b.enabled.Store(&now)
	if b.has(&now, controller) {
		return nil
	}
	if all := b.read("cgroup.controllers"); !b.has(&all, controller) {
		return ErrController
	}
	enable := func() error { return b.write("cgroup.subtree_control", "+"+controller) }
	err := enable()
	if err == unix.EBUSY {
		if err = b.leave(); err != nil {
			return err
		}
		if err = enable(); err == unix.EBUSY {
			return ErrOccupied
		}
	}
	return err
}

func (b *Base) has(list *string, controller string) bool {
	return list != nil && slices.Contains(strings.Fields(*list), controller)
}

// leave moves this process out of the base.
func (b *Base) leave() error {
	l := Leaf{b, Supervisor}
	if err := l.Make(); err != nil {
		return err
	}
	return b.write(Supervisor+"/cgroup.procs", strconv.Itoa(os.Getpid()))
}
