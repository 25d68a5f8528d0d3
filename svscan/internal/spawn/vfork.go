//go:build (amd64 || arm64) && !upkeep_portable

package spawn

import (
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"upkeep/supervise/servicedir"
)

// Why not syscall.ForkExec: it holds a processor of the Go runtime until the
// child has executed. An exec that hangs would then stop every goroutine at the
// next garbage collection. Here the runtime is told, as for any system call
// that blocks.

//go:linkname entersyscallblock runtime.entersyscallblock
func entersyscallblock()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

//go:noescape
func rawVfork(trap, a1, a2 uintptr) (r uintptr)

// cloneArgs is the kernel's struct clone_args, version 2.
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal     uint64
	stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// cloneClearSighand starts the child with default dispositions in place of
// handlers (Linux 5.5); without it they are reset one by one.
const cloneClearSighand = 1 << 32

// cloneIntoCgroup starts the child in a cgroup (Linux 5.7).
const cloneIntoCgroup = 1 << 33

// closeRangeUnshare is CLOSE_RANGE_UNSHARE (Linux 5.9).
const closeRangeUnshare = 2

// noClone3 is set where the kernel or a seccomp filter refuses clone3.
var noClone3 atomic.Bool

// noIntoCgroup is set where clone3 does not know of cgroups, or kills who is cloned
// into one: since Linux 6.14, if our own cgroup was ever killed, and that one not.
var noIntoCgroup atomic.Bool

const signals = 64

// child is all that the new process needs, prepared beforehand: between vfork
// and exec nothing may be allocated, locked or called that could grow the stack.
type child struct {
	dir     int
	fds     [3]int // what becomes 0, 1, 2; -1 keeps it
	unshare int    // if not 0, the first descriptor that it does not need
	extra   [extras]Passed
	path    *byte
	argv    **byte
	env     **byte
	limit   *unix.Rlimit
	ignored uint64 // signals to be reset from ignored
	session bool
	follow  bool
	group   bool
	journal int // where mark is written, or -1
	mark    servicedir.Mark
	handles bool // the inode of a pidfd goes into it
	leaf    entrance
	steps   *Steps // nil: none
	sockets []int  // what becomes firstSocket and so on
	// pids are where it writes its pid, for the sockets and for Vars, with room for a zero at the end.
	pids  [2]unsafe.Pointer
	helps bool // it is not a worker's

	step         Step // that it is at
	enter        bool // it has to go into its cgroup by itself
	zero         byte // what it writes for that
	occupied     [perStart]bool
	now          unix.Timespec
	stat         unix.Stat_t
	dispositions bool // reset all, clone did not
	flags        uintptr
	args         cloneArgs
	errno        syscall.Errno // of exec, or of what led to it
	refused      bool          // it could not get a table of its own
	barred       bool          // it could not get into its cgroup
	ran          bool          // it got so far as to run
	follower     int           // the process that follows it, if it has to have one
}

// fork makes the process. The errno is the kernel's refusal to make one; a
// failure to execute is in c.errno, and the pid then that of a child which has
// exited already.
func (c *child) fork() (pid int, errno syscall.Errno) {
	c.flags = unix.CLONE_VM | unix.CLONE_VFORK
	if c.unshare > 0 {
		c.flags |= unix.CLONE_FILES
	}
	c.zero = '0'
	for {
		c.args = cloneArgs{flags: uint64(c.flags) | cloneClearSighand, exitSignal: uint64(unix.SIGCHLD)}
		c.ran, c.follower = false, 0
		c.dispositions = noClone3.Load()
		c.enter = c.leaf.dir >= 0 && (c.dispositions || noIntoCgroup.Load())
		into := c.leaf.dir >= 0 && !c.enter
		if into {
			c.args.flags |= cloneIntoCgroup
			c.args.cgroup = uint64(c.leaf.dir)
		}
		r := forkBlocked(c)
		if -4096 < r && r < 0 {
			errno = syscall.Errno(-r)
			if into && (errno == unix.EINVAL || errno == unix.E2BIG) {
				noIntoCgroup.Store(true)
				continue
			}
			if !c.dispositions && (errno == unix.ENOSYS || errno == unix.EPERM || errno == unix.EINVAL || errno == unix.E2BIG) {
				noClone3.Store(true)
				continue
			}
			return 0, errno
		}
		if into && !c.ran {
			noIntoCgroup.Store(true)
			continue // the reaper knows nothing of that one
		}
		if c.follow && c.follower > 0 {
			// The one that led has ended; its exit is one of an unknown child.
			return c.follower, 0
		}
		return r, 0
	}
}

// forkBlocked keeps signals away while the child borrows our memory: a handler
// of the runtime must not run in it. Only between the two calls of the runtime is
// this sure to be one thread.
//
//go:nosplit
//go:norace
func forkBlocked(c *child) int {
	var old uint64
	all := ^uint64(0)
	entersyscallblock()
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	r := forkExec(c)
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
	exitsyscall()
	return r
}

// forkExec is both the parent, which returns at once, and the child, which never
// does. They share the frame, so it must not be inlined.
//
//go:noinline
//go:nosplit
//go:norace
//go:nocheckptr
func forkExec(c *child) int {
	var pid uintptr
	if c.dispositions {
		pid = rawVfork(unix.SYS_CLONE, c.flags|uintptr(unix.SIGCHLD), 0)
	} else {
		pid = rawVfork(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&c.args)), unsafe.Sizeof(c.args))
	}
	if pid != 0 {
		return int(pid)
	}

	var (
		i     int
		bit   uint64
		moved uintptr
		errno syscall.Errno
	)
	c.ran = true
	for i = 1; i <= signals; i++ {
		bit = 1 << (i - 1)
		if c.dispositions || c.ignored&bit != 0 {
			resetSignal(uintptr(i))
		}
	}
	if c.enter {
		if _, _, errno = syscall.RawSyscall(unix.SYS_WRITE, uintptr(c.leaf.procs), uintptr(unsafe.Pointer(&c.zero)), 1); errno != 0 {
			c.barred = true
			goto fail
		}
	}
	if c.session || c.follow {
		syscall.RawSyscall(unix.SYS_SETSID, 0, 0, 0)
	}
	if c.follow {
		// The follower is a child of our parent, and runs while we wait.
		pid = rawVfork(unix.SYS_CLONE, c.flags|unix.CLONE_PARENT|uintptr(unix.SIGCHLD), 0)
		if pid != 0 {
			c.follower = int(pid)
			if c.follower < 0 {
				c.barred = true
				errno = syscall.Errno(-c.follower)
				goto fail
			}
			for {
				syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
			}
		}
	}
	if c.group && !c.session {
		syscall.RawSyscall(unix.SYS_SETPGID, 0, 0, 0)
	}
	if c.journal >= 0 {
		c.writeMark()
	}
	if _, _, errno = syscall.RawSyscall(unix.SYS_FCHDIR, uintptr(c.dir), 0, 0); errno != 0 {
		goto fail
	}
	// Until here the table was the parent's, and with it its locks held, whatever
	// has become of the parent.
	if c.unshare > 0 {
		if _, _, errno = syscall.RawSyscall(unix.SYS_CLOSE_RANGE, uintptr(c.unshare), 1<<32-1, closeRangeUnshare); errno != 0 {
			c.refused = true
			goto fail
		}
	}
	for i = 0; i < len(c.fds); i++ {
		if c.fds[i] >= 0 {
			if _, _, errno = syscall.RawSyscall(unix.SYS_DUP3, uintptr(c.fds[i]), uintptr(i), 0); errno != 0 {
				goto fail
			}
		}
	}
	if c.extra[0].FD >= 0 && c.extra[1].FD == c.extra[0].At {
		// Out of the way of the first. What is above both is nobody's.
		moved, _, errno = syscall.RawSyscall(unix.SYS_FCNTL, uintptr(c.extra[1].FD), unix.F_DUPFD_CLOEXEC, uintptr(max(c.extra[0].At, c.extra[1].At)+1))
		if errno != 0 {
			goto fail
		}
		c.extra[1].FD = int(moved)
	}
	for i = 0; i < extras; i++ {
		if c.extra[i].FD < 0 {
			continue
		}
		if c.extra[i].FD == c.extra[i].At {
			_, _, errno = syscall.RawSyscall(unix.SYS_FCNTL, uintptr(c.extra[i].FD), unix.F_SETFD, 0)
		} else {
			_, _, errno = syscall.RawSyscall(unix.SYS_DUP3, uintptr(c.extra[i].FD), uintptr(c.extra[i].At), 0)
		}
		if errno != 0 {
			goto fail
		}
	}
	for i = 0; i < len(c.sockets); i++ {
		if _, _, errno = syscall.RawSyscall(unix.SYS_DUP3, uintptr(c.sockets[i]), uintptr(firstSocket+i), 0); errno != 0 {
			goto fail
		}
	}
	for i = 0; i < len(c.pids); i++ {
		if c.pids[i] != nil {
			writePID(c.pids[i])
		}
	}
	if c.limit != nil {
		syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(c.limit)), 0, 0, 0)
	}
	if c.steps != nil {
		if errno = c.steps.take(&c.step); errno != 0 {
			goto fail
		}
	}
	bit = 0
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&bit)), 0, 8, 0, 0)
	_, _, errno = syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(c.path)), uintptr(unsafe.Pointer(c.argv)), uintptr(unsafe.Pointer(c.env)))
fail:
	c.errno = errno
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, failedExit, 0, 0)
	}
}

//go:nosplit
//go:norace
func resetSignal(sig uintptr) {
	var dfl [8]uint64
	syscall.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&dfl)), 0, 8, 0, 0)
}

// writePID has the new process put its pid into its environment.
//
//go:nosplit
//go:norace
//go:nocheckptr
func writePID(to unsafe.Pointer) {
	pid, _, _ := syscall.RawSyscall(unix.SYS_GETPID, 0, 0, 0)
	n := 1
	for rest := pid / 10; rest > 0; rest /= 10 {
		n++
	}
	*(*byte)(unsafe.Add(to, n)) = 0
	for ; n > 0; n-- {
		*(*byte)(unsafe.Add(to, n-1)) = '0' + byte(pid%10)
		pid /= 10
	}
}

// writeMark has the new process say who it is before it becomes what it is to be.
// A parent that did so for it could be killed in between.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (c *child) writeMark() {
	pid, _, _ := syscall.RawSyscall(unix.SYS_GETPID, 0, 0, 0)
	c.mark[servicedir.MarkPID] = uint64(pid)
	syscall.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&c.now)), 0)
	c.mark[servicedir.MarkAfter] = uint64(c.now.Sec)*1e9 + uint64(c.now.Nsec)
	c.mark[servicedir.MarkHandle] = 0
	if c.handles {
		if fd, _, errno := syscall.RawSyscall(unix.SYS_PIDFD_OPEN, pid, 0, 0); errno == 0 {
			if _, _, errno = syscall.RawSyscall(unix.SYS_FSTAT, fd, uintptr(unsafe.Pointer(&c.stat)), 0); errno == 0 {
				c.mark[servicedir.MarkHandle] = c.stat.Ino
			}
			syscall.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
		}
	}
	c.mark[servicedir.MarkSum] = servicedir.MarkSalt ^ c.mark[0] ^ c.mark[1] ^ c.mark[2] ^ c.mark[3] ^ c.mark[4] ^ c.mark[5] ^ c.mark[6]
	syscall.RawSyscall6(unix.SYS_PWRITE64, uintptr(c.journal), uintptr(unsafe.Pointer(&c.mark)), unsafe.Sizeof(c.mark), servicedir.MarkAt, 0, 0)
}
