package integration

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// enterPrivateWorld gives the calling goroutine a thread with a mount and a
// network namespace of its own, for as long as it runs. Of the network there is
// the loopback interface.
func enterPrivateWorld() error {
	runtime.LockOSThread() // for good: the thread is of no use to others after this
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWNET); err != nil {
		return err
	}
	// What is mounted here from now on is mounted nowhere else.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return raiseLoopback()
}

func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}
