package spawn

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// OriginalLimit is the limit of open files that this process was started with.
// The Go runtime has raised the soft limit since; it remembers the old one only
// for an exec, so one is tried that cannot succeed. The limit is raised again.
func OriginalLimit() (*unix.Rlimit, error) {
	var raised, original unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &raised); err != nil {
		return nil, err
	}
	syscall.Exec("", nil, nil)
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &original); err != nil {
		return nil, err
	}
	raised.Cur = raised.Max
	// Not through package syscall, which would take it for the wish to pass
	// this limit on.
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &raised, nil); err != nil {
		return nil, err
	}
	return &original, nil
}

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
