// Package block makes system calls that are sure to block for long. The runtime
// is told beforehand; with an ordinary call its monitor has to find out by
// polling, which costs the scanner more than its own work.
package block

import (
	"syscall"
	_ "unsafe" // for linkname
)

//go:linkname entersyscallblock runtime.entersyscallblock
func entersyscallblock()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

// Syscall is syscall.Syscall6 with the first result only. Pointers converted to
// uintptr in the call are kept alive.
//
//go:nosplit
//go:uintptrescapes
func Syscall(trap, a1, a2, a3, a4, a5, a6 uintptr) (r uintptr, errno syscall.Errno) {
	entersyscallblock()
	r, _, errno = syscall.RawSyscall6(trap, a1, a2, a3, a4, a5, a6)
	exitsyscall()
	return r, errno
}
