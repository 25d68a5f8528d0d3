//go:build 386 || arm

package loaders

import "golang.org/x/sys/unix"

// Without the 32 a user would be cut to 16 bits.
const (
	callSetgroups = unix.SYS_SETGROUPS32
	callSetgid    = unix.SYS_SETGID32
	callSetuid    = unix.SYS_SETUID32
)
