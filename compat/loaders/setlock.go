package loaders

import (
	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
)

// Setlock is setlock [-nNxX] FILE CHILD: it locks FILE and runs CHILD, which holds
// the lock as long as it or a descendant keeps the descriptor.
func Setlock(env *cli.Env, args []string) int {
	const prog, syntax = "setlock", "setlock [ -nNxX ] file program [ arg ... ]"
	if dialect(env) == runit {
		return Chpst(env, args)
	}
	wait, silent := true, false
	options := cli.NewOptions(env, args, "nNxX")
	for c := options.Next(); c != cli.End; c = options.Next() {
		switch c {
		case 'n':
			wait = false
		case 'N':
			wait = true
		case 'x':
			silent = true
		case 'X':
			silent = false
		default:
			return env.Usage(prog, syntax)
		}
	}
	operands := options.Args()
	if len(operands) < 2 {
		return env.Usage(prog, syntax)
	}
	begin()
	if step, err := lock(operands[0], wait); err != nil {
		if silent {
			return 0
		}
		return env.Fatal(prog, "unable to "+step+" "+operands[0], err)
	}
	return unable(env, prog, operands[1:], become(env, operands[1:], environment()))
}

// lock opens a file, which it makes if need be, and locks it. The descriptor stays
// open and is inherited. For an error, step is "open" or "lock".
func lock(path string, wait bool) (step string, err error) {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_APPEND|unix.O_CREAT, 0o600)
	if err != nil {
		return "open", err
	}
	how := unix.LOCK_EX | unix.LOCK_NB
	if wait {
		yieldSignals()
		how = unix.LOCK_EX
	}
	for {
		if err = unix.Flock(fd, how); err != unix.EINTR {
			break
		}
	}
	if err == nil {
		lowest(fd)
	}
	return "lock", err
}

// lowest moves a descriptor to the number that it would have in a program without
// the Go runtime, whose own close at the exec. What comes between now and then is
// too short for the runtime to miss them.
func lowest(fd int) {
	for n := range fd {
		flags, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			continue
		}
		if unix.Dup3(fd, n, 0) == nil {
			unix.Close(fd)
		}
		return
	}
}
