package loaders

import (
	"syscall"
	"unsafe"
)

// These change the calling thread only, which is the one that executes the
// program: the exec ends all others.

func setgroups(gids []uint32) error {
	var first *uint32
	if len(gids) > 0 {
		first = &gids[0]
	}
	return call(callSetgroups, uintptr(len(gids)), uintptr(unsafe.Pointer(first)))
}

func setgid(gid uint32) error { return call(callSetgid, uintptr(gid), 0) }

func setuid(uid uint32) error { return call(callSetuid, uintptr(uid), 0) }

//go:uintptrescapes
func call(number, a, b uintptr) error {
	if _, _, errno := syscall.RawSyscall(number, a, b, 0); errno != 0 {
		return errno
	}
	return nil
}
