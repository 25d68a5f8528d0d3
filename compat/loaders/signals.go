package loaders

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// yieldSignals gives signals their meaning outside of Go, for a loader that
// waits: to the runtime many that end a process mean nothing, SIGALRM for one.
// What is ignored stays so, as far as the runtime has left it (SIGHUP, SIGINT).
func yieldSignals() {
	for _, sig := range [...]unix.Signal{
		unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE, unix.SIGALRM, unix.SIGTERM,
		unix.SIGSTKFLT, unix.SIGXCPU, unix.SIGXFSZ, unix.SIGVTALRM, unix.SIGPROF, unix.SIGIO, unix.SIGPWR,
	} {
		// The handler comes first in the kernel's sigaction.
		const ignored = 1
		var action, standard [8]uintptr
		sigaction(sig, nil, &action)
		if action[0] != ignored {
			sigaction(sig, &standard, nil)
		}
	}
}

// sigaction cannot fail for the signals above.
func sigaction(sig unix.Signal, action, old *[8]uintptr) {
	syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig),
		uintptr(unsafe.Pointer(action)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
}
