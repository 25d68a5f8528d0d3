//go:build !(amd64 || arm64) || upkeep_portable

package spawn

import (
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"upkeep/supervise/servicedir"
	"upkeep/svscan/internal/handoff"
)

// child is one process to be. See vfork.go, whose stand-in this is where there
// is no assembler for it: it keeps a processor of the runtime until the exec.
type child struct {
	dir     int
	fds     [3]int
	unshare int // the standard library always copies the table
	extra   [extras]Passed
	path    *byte
	argv    **byte
	env     **byte
	limit   *unix.Rlimit // see OriginalLimit
	ignored uint64       // left as they are
	session bool
	follow  bool // as session here
	group   bool
	journal int
	mark    servicedir.Mark
	handles bool
	leaf    entrance
	steps   *Steps // which nobody asks for
	step    Step
	sockets []int
	pids    [2]unsafe.Pointer // see there; here a shell takes their place
	helps   bool
	errno   syscall.Errno

	occupied [perStart]bool
	refused  bool
	barred   bool
}

// OriginalLimit is nil here: syscall.ForkExec gives children the limit that this
// process was started with.
func OriginalLimit() (*unix.Rlimit, error) { return nil, nil }

func (c *child) fork() (pid int, errno syscall.Errno) {
	attr := &syscall.ProcAttr{
		Dir:   "/proc/self/fd/" + strconv.Itoa(c.dir),
		Env:   list(c.env),
		Files: make([]uintptr, 3, 4),
		Sys:   &syscall.SysProcAttr{Setsid: c.session || c.follow, Setpgid: c.group && !c.session && !c.follow},
	}
	for i, fd := range c.fds {
		attr.Files[i] = uintptr(i)
		if fd >= 0 {
			attr.Files[i] = uintptr(fd)
		}
	}
	for _, x := range c.extra {
		if x.FD < 0 {
			continue
		}
		place(attr, x.At, x.FD)
	}
	path, argv := unix.BytePtrToString(c.path), list(c.argv)
	script := ""
	for i, name := range []string{"LISTEN_PID", "WATCHDOG_PID"} {
		if c.pids[i] != nil {
			script += name + "=$$; export " + name + "; "
		}
	}
	if script != "" {
		for i, fd := range c.sockets {
			place(attr, firstSocket+i, fd)
		}
		argv = append([]string{"sh", "-c", script + `exec "$0" "$@"`, path}, argv[1:]...)
		path = "/bin/sh"
	}
	if c.leaf.dir >= 0 {
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, c.leaf.dir
	}
	pid, err := syscall.ForkExec(path, argv, attr)
	enter := attr.Sys.UseCgroupFD && (err == syscall.ENOSYS || err == syscall.EPERM)
	if enter {
		attr.Sys.UseCgroupFD = false // no clone3
		pid, err = syscall.ForkExec(path, argv, attr)
	}
	switch err {
	case nil:
		if enter {
			// Late, like the mark: what it forked by now is not in it.
			_, _ = unix.Write(c.leaf.procs, strconv.AppendInt(nil, int64(pid), 10))
		}
		if c.journal >= 0 {
			c.writeMark(pid)
		}
		return pid, 0
	case syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE:
		return 0, err.(syscall.Errno)
	}
	c.errno, _ = err.(syscall.Errno)
	return 0, 0
}

func place(attr *syscall.ProcAttr, at, fd int) {
	for len(attr.Files) <= at {
		attr.Files = append(attr.Files, ^uintptr(0))
	}
	attr.Files[at] = uintptr(fd)
}

// writeMark is late here: who is killed before it leaves a process that nobody
// will know of.
func (c *child) writeMark(pid int) {
	c.mark[servicedir.MarkPID] = uint64(pid)
	c.mark[servicedir.MarkAfter] = handoff.Boottime()
	if fd, err := unix.PidfdOpen(pid, 0); c.handles && err == nil {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil {
			c.mark[servicedir.MarkHandle] = st.Ino
		}
		unix.Close(fd)
	}
	c.mark.Seal()
	b := unsafe.Slice((*byte)(unsafe.Pointer(&c.mark)), unsafe.Sizeof(c.mark))
	_, _ = unix.Pwrite(c.journal, b, servicedir.MarkAt)
}

func list(p **byte) (l []string) {
	for ; *p != nil; p = (**byte)(unsafe.Add(unsafe.Pointer(p), unsafe.Sizeof(p))) {
		l = append(l, unix.BytePtrToString(*p))
	}
	return l
}
