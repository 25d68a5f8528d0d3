package loaders

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
)

// duplicates is how many more descriptors of its pipe fghack gives to the child,
// which may close those that it happens to know.
const duplicates = 30

// Fghack is fghack CHILD: it runs CHILD and stays until CHILD and all its
// descendants are gone that have not closed descriptors they know nothing of. The
// exit code is CHILD's.
func Fghack(env *cli.Env, args []string) int {
	const prog = "fghack"
	if len(args) < 2 {
		return env.Usage(prog, "fghack child")
	}
	begin()
	var pipe [2]int
	if err := unix.Pipe(pipe[:]); err != nil {
		return env.Fatal(prog, "unable to create pipe", err)
	}
	// Out of the way, where the child does not inherit it.
	if fd, err := unix.FcntlInt(uintptr(pipe[0]), unix.F_DUPFD_CLOEXEC, pipe[1]+duplicates+1); err == nil {
		unix.Close(pipe[0])
		pipe[0] = fd
	} else {
		unix.CloseOnExec(pipe[0])
	}
	writers := append(make([]int, 0, duplicates+1), pipe[1])
	for range duplicates {
		// As many as it gets.
		if fd, err := unix.Dup(pipe[1]); err == nil {
			writers = append(writers, fd)
		}
	}
	attr := &syscall.ProcAttr{Env: environment(), Files: []uintptr{standard(0), standard(1), standard(2)}}
	pid := 0
	paths := candidates(env, args[1])
	err := search(len(paths), func(i int) (err error) {
		pid, err = syscall.ForkExec(paths[i], args[1:], attr)
		return err
	})
	for _, fd := range writers {
		unix.Close(fd)
	}
	if err != nil {
		// Fork and exec fail for different reasons.
		if errno, ok := errors.AsType[syscall.Errno](err); ok && (errno == unix.EAGAIN || errno == unix.ENOMEM) {
			return env.Fatal(prog, "unable to fork", err)
		}
		return unable(env, prog, args[1:], err)
	}
	yieldSignals()
	var b [512]byte
	for {
		if n, err := cli.FD(pipe[0]).Read(b[:]); n == 0 || err != nil {
			break
		}
	}
	status, err := wait(pid)
	switch {
	case err != nil:
		return env.Fatal(prog, "wait failed", err)
	case status.Signaled():
		return env.Fatal(prog, "child crashed", nil)
	}
	return status.ExitStatus()
}

// standard is fd for ForkExec, which has another word for one that is closed.
func standard(fd int) uintptr {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		return ^uintptr(0)
	}
	return uintptr(fd)
}
