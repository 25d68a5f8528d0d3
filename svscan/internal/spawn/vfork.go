//go:build (amd64 || arm64) && !upkeep_portable

package spawn

import (
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
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

// noClone3 is set where the kernel or a seccomp filter refuses clone3.
var noClone3 atomic.Bool

const signals = 64

// child is all that the new process needs, prepared beforehand: between vfork
// and exec nothing may be allocated, locked or called that could grow the stack.
type child struct {
	dir     int
	fds     [3]int // what becomes 0, 1, 2; -1 keeps it
	extra   int    // becomes extraAt
	extraAt int
	path    *byte
	argv    **byte
	env     **byte
	limit   *unix.Rlimit
	ignored uint64 // signals to be reset from ignored
	session bool
	group   bool

	dispositions bool // reset all, clone did not
	args         cloneArgs
	errno        syscall.Errno // of exec, or of what led to it
}

// fork makes the process. The errno is the kernel's refusal to make one; a
// failure to execute is in c.errno, and the pid then that of a child which has
// exited already.
func (c *child) fork() (pid int, errno syscall.Errno) {
	c.args = cloneArgs{
		flags:      unix.CLONE_VM | unix.CLONE_VFORK | cloneClearSighand,
		exitSignal: uint64(unix.SIGCHLD),
	}
	for {
		c.dispositions = noClone3.Load()
		r := forkBlocked(c)
		if -4096 < r && r < 0 {
			errno = syscall.Errno(-r)
			if !c.dispositions && (errno == unix.ENOSYS || errno == unix.EPERM || errno == unix.EINVAL || errno == unix.E2BIG) {
				noClone3.Store(true)
				continue
			}
			return 0, errno
		}
		return r, 0
	}
}

// forkBlocked keeps signals away while the child borrows our memory: a handler
// of the runtime must not run in it.
//
//go:nosplit
//go:norace
func forkBlocked(c *child) int {
	var old uint64
	all := ^uint64(0)
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	entersyscallblock()
	r := forkExec(c)
	exitsyscall()
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
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
		pid = rawVfork(unix.SYS_CLONE, unix.CLONE_VM|unix.CLONE_VFORK|uintptr(unix.SIGCHLD), 0)
	} else {
		pid = rawVfork(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&c.args)), unsafe.Sizeof(c.args))
	}
	if pid != 0 {
		return int(pid)
	}

	var (
		i     int
		bit   uint64
		errno syscall.Errno
	)
	for i = 1; i <= signals; i++ {
		bit = 1 << (i - 1)
		if c.dispositions || c.ignored&bit != 0 {
			resetSignal(uintptr(i))
		}
	}
	if c.session {
		syscall.RawSyscall(unix.SYS_SETSID, 0, 0, 0)
	} else if c.group {
		syscall.RawSyscall(unix.SYS_SETPGID, 0, 0, 0)
	}
	if _, _, errno = syscall.RawSyscall(unix.SYS_FCHDIR, uintptr(c.dir), 0, 0); errno != 0 {
		goto fail
	}
	for i = 0; i < len(c.fds); i++ {
		if c.fds[i] >= 0 {
			if _, _, errno = syscall.RawSyscall(unix.SYS_DUP3, uintptr(c.fds[i]), uintptr(i), 0); errno != 0 {
				goto fail
			}
		}
	}
	if c.extra >= 0 {
		if c.extra == c.extraAt {
			_, _, errno = syscall.RawSyscall(unix.SYS_FCNTL, uintptr(c.extra), unix.F_SETFD, 0)
		} else {
			_, _, errno = syscall.RawSyscall(unix.SYS_DUP3, uintptr(c.extra), uintptr(c.extraAt), 0)
		}
		if errno != 0 {
			goto fail
		}
	}
	if c.limit != nil {
		syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(c.limit)), 0, 0, 0)
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
