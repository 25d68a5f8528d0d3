package spawn

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ignoredSignals is the set of signals that we were started with as ignored,
// bit n-1 for signal n.
func ignoredSignals() (set uint64) {
	for sig := uintptr(1); sig <= 64; sig++ {
		var old [8]uint64 // the handler comes first in the kernel's sigaction
		syscall.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&old)), 8, 0, 0)
		if old[0] == 1 { // SIG_IGN
			set |= 1 << (sig - 1)
		}
	}
	return set
}
