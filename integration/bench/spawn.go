package main

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// devNull is the standard input of all, and the output of what is only timed.
var devNull = sync.OnceValue(func() uintptr {
	fd, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	return uintptr(fd)
})

// timed runs a command and returns how long it took, from before the fork to
// after the wait. os/exec would add goroutines and pipes to it.
func timed(argv, env []string) (time.Duration, error) {
	null := devNull()
	began := now()
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{Env: env, Files: []uintptr{null, null, null}})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", argv[0], err)
	}
	status, err := wait(pid)
	took := since(began)
	if err == nil && status != 0 {
		err = fmt.Errorf("%s: wait status %#x", argv[0], uint32(status))
	}
	return took, err
}

// wait reaps one child, by its pid: others may be somebody else's.
func wait(pid int) (syscall.WaitStatus, error) {
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(pid, &status, 0, nil)
		if err != syscall.EINTR {
			return status, err
		}
	}
}
