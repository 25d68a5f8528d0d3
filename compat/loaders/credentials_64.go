//go:build !386 && !arm

package loaders

import "golang.org/x/sys/unix"

const (
	callSetgroups = unix.SYS_SETGROUPS
	callSetgid    = unix.SYS_SETGID
	callSetuid    = unix.SYS_SETUID
)
