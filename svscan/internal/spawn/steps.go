//go:build (amd64 || arm64) && !upkeep_portable

package spawn

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Prepares tells that Steps can be taken.
const Prepares = true

// take takes the steps in the new process, as far as it gets; step is where it is. It
// shares our memory, as the rest of forkExec does.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (s *Steps) take(step *Step) (errno syscall.Errno) {
	const cwd = ^uintptr(-unix.AT_FDCWD - 1)
	var (
		i     int
		fd    uintptr
		flags uintptr
	)
	if s.Dir != nil {
		*step = StepDir
		if _, _, errno = syscall.RawSyscall(unix.SYS_CHDIR, uintptr(unsafe.Pointer(s.Dir)), 0, 0); errno != 0 {
			return errno
		}
	}
	if s.HasNice {
		*step = StepNice
		if _, _, errno = syscall.RawSyscall(unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, uintptr(s.Nice)); errno != 0 {
			return errno
		}
	}
	if s.CPUs != nil {
		*step = StepCPUs
		if _, _, errno = syscall.RawSyscall(unix.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(*s.CPUs), uintptr(unsafe.Pointer(s.CPUs))); errno != 0 {
			return errno
		}
	}
	*step = StepLimits
	for i = 0; i < len(s.Limits); i++ {
		if _, _, errno = syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, uintptr(s.Limits[i].Resource), uintptr(unsafe.Pointer(&s.Limits[i].Rlimit)), 0, 0, 0); errno != 0 {
			return errno
		}
	}
	for i = 0; i < len(s.Files); i++ {
		if s.Files[i] == nil {
			continue
		}
		*step = StepInput + Step(i)
		flags = unix.O_WRONLY | unix.O_CREAT | unix.O_APPEND
		if i == 0 {
			flags = unix.O_RDONLY
		}
		if fd, _, errno = syscall.RawSyscall6(unix.SYS_OPENAT, cwd, uintptr(unsafe.Pointer(s.Files[i])), flags, 0o644, 0, 0); errno != 0 {
			return errno
		}
		if fd == uintptr(i) {
			continue
		}
		if _, _, errno = syscall.RawSyscall(unix.SYS_DUP3, fd, uintptr(i), 0); errno != 0 {
			return errno
		}
		syscall.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
	}
	*step = StepExec
	return 0
}
