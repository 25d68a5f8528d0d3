// Package loaders is the chain loaders of daemontools, daemontools-encore and
// runit: programs that change one thing about themselves and then become
// another program. Arguments, messages, the order of checks and exit codes are
// those of daemontools.md, section 8, and of runit.md, section 4.
//
// Where a name means two things, as setlock -n does, it is daemontools' 0.76
// unless UPKEEP_DIALECT is "encore" or "runit".
//
// What changes a thread and not the process (user, groups, nice level) is done
// on the very thread that executes the program; every loader keeps to one.
// Nothing here may start slowly, so there are only system calls below.
package loaders

import (
	"runtime"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
)

const (
	encore = "encore"
	runit  = "runit"
)

func dialect(env *cli.Env) string {
	d, _ := env.Getenv("UPKEEP_DIALECT")
	return d
}

// begin keeps the loader on one thread.
func begin() { runtime.LockOSThread() }

// unable is the end of every loader of daemontools whose program cannot be
// executed.
func unable(env *cli.Env, prog string, argv []string, err error) int {
	return env.Fatal(prog, "unable to run "+argv[0], err)
}

// Pgrphack is pgrphack CHILD: it runs CHILD in a session of its own. That fails
// for the leader of a process group, which the original ignores, too.
func Pgrphack(env *cli.Env, args []string) int {
	if dialect(env) == runit {
		return Chpst(env, args)
	}
	begin()
	if len(args) < 2 {
		return env.Usage("pgrphack", "pgrphack child")
	}
	_, _ = unix.Setsid()
	return unable(env, "pgrphack", args[1:], become(env, args[1:], environment()))
}
