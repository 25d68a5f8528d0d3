package cgroup

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Kill kills all processes in the leaf and in the cgroups below, those included
// that are being forked. It is to be called again at each change of Events until
// Populated is false, and then Thaw.
func (l *Leaf) Kill() error {
	err := l.Base.write(l.Name+"/cgroup.kill", "1") // Linux 5.14
	if err != unix.ENOENT {
		return err
	}
	return l.killEach()
}

// killEach is Kill for kernels without cgroup.kill. What is frozen cannot fork, and
// yet be killed. That all are frozen is a change of Events: who was too new to be
// seen here is found then.
func (l *Leaf) killEach() error {
	err := l.Base.write(l.Name+"/cgroup.freeze", "1")
	if err == unix.ENOENT {
		if !l.Exists() {
			return nil
		}
	}
	killed := make(map[int]bool)
	for {
		pids := l.pids()
		again := false
		for _, pid := range pids {
			if !killed[pid] {
				killed[pid], again = true, true
				l.killOne(pid)
			}
		}
		if !again {
			return err
		}
	}
}

// killOne kills a process if it is in the leaf. Its number may be somebody else's
// by now: what is looked up is the process that the pidfd stands for, or that is
// dead.
func (l *Leaf) killOne(pid int) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == nil {
		defer unix.Close(fd)
		if slices.Contains(l.pids(), pid) {
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // ESRCH is as good
		}
		return
	}
	if err != unix.ESRCH && slices.Contains(l.pids(), pid) {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

// Thaw undoes what Kill did to a leaf that is empty now.
func (l *Leaf) Thaw() {
	if name := l.Name + "/cgroup.freeze"; l.Base.read(name) == "1\n" {
		_ = l.Base.write(name, "0") // or what is started stays frozen, and is seen so
	}
}

// pids are the processes of the leaf and of the cgroups below.
func (l *Leaf) pids() []int { return l.Base.pids(l.Name) }

func (b *Base) pids(name string) (pids []int) {
	for word := range strings.FieldsSeq(b.read(name + "/cgroup.procs")) {
		if pid, err := strconv.Atoi(word); err == nil && pid > 0 { // 0 is not in our pid namespace
			pids = append(pids, pid)
		}
	}
	below, _ := b.list(name)
	for _, child := range below {
		pids = append(pids, b.pids(name+"/"+child)...)
	}
	return pids
}

// read is the content of a file of a cgroup below the base, or nothing.
func (b *Base) read(name string) string {
	fd, err := unix.Openat(b.FD, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	var text strings.Builder
	var buf [4096]byte
	for {
		n, err := f.Read(buf[:])
		text.Write(buf[:n])
		if err != nil || n == 0 {
			return text.String()
		}
	}
}
