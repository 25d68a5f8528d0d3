package loaders

import (
	"strconv"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
)

// Setuidgid is setuidgid ACCOUNT CHILD: CHILD runs as that user, with the user's
// own group and no other. encore's has the option -s, for all groups of the user.
func Setuidgid(env *cli.Env, args []string) int {
	const prog = "setuidgid"
	syntax, supplementary := "setuidgid account child", false
	operands := args[1:]
	switch dialect(env) {
	case runit:
		return Chpst(env, args)
	case encore:
		syntax = "setuidgid [-s] account child"
		options := cli.NewOptions(env, args, "s")
		for c := options.Next(); c != cli.End; c = options.Next() {
			if c == cli.Bad {
				return env.Usage(prog, syntax)
			}
			supplementary = true
		}
		operands = options.Args()
	}
	begin()
	if len(operands) < 2 {
		return env.Usage(prog, syntax)
	}
	db := system()
	a, err := db.user(operands[0])
	if err != nil {
		return env.Fatal(prog, "unknown account "+operands[0], nil)
	}
	if code := assume(env, prog, db, a, supplementary); code != 0 {
		return code
	}
	argv := operands[1:]
	return unable(env, prog, argv, become(env, argv, environment()))
}

// assume takes on the groups and the user of an account. It returns an exit
// code, 0 for success.
func assume(env *cli.Env, prog string, db database, a account, supplementary bool) int {
	err := setgroups([]uint32{a.gid})
	if err == nil {
		err = setgid(a.gid)
	}
	if err != nil {
		return env.Fatal(prog, "unable to setgid", err)
	}
	if supplementary {
		list, err := db.groups(a)
		if err == nil {
			err = setgroups(list)
		}
		if err != nil {
			return env.Fatal(prog, "unable to initgroups", err)
		}
	}
	if err := setuid(a.uid); err != nil {
		return env.Fatal(prog, "unable to setuid", err)
	}
	return 0
}

// Envuidgid is envuidgid ACCOUNT CHILD: CHILD finds the user and group of the
// account in UID and GID, and may become that later.
func Envuidgid(env *cli.Env, args []string) int {
	const prog = "envuidgid"
	if dialect(env) == runit {
		return Chpst(env, args)
	}
	begin()
	if len(args) < 3 {
		return env.Usage(prog, "envuidgid account child")
	}
	a, err := system().user(args[1])
	if err != nil {
		return env.Fatal(prog, "unknown account "+args[1], nil)
	}
	return unable(env, prog, args[2:], become(env, args[2:], setIDs(environment(), a.uid, a.gid)))
}

func setIDs(environ []string, uid, gid uint32) []string {
	environ = setenv(environ, "GID", strconv.FormatUint(uint64(gid), 10))
	return setenv(environ, "UID", strconv.FormatUint(uint64(uid), 10))
}

// Setuser is encore's setuser ACCOUNT CHILD, something like a login: CHILD runs
// with the account's environment, home directory, groups and user. The real one
// forgets about the environment, against its documentation.
func Setuser(env *cli.Env, args []string) int {
	const prog = "setuser"
	begin()
	if len(args) < 3 {
		return env.Usage(prog, "setuser account child")
	}
	db := system()
	a, err := db.user(args[1])
	if err != nil {
		return env.Fatal(prog, "unknown account "+args[1], nil)
	}
	environ := environment()
	environ = setenv(environ, "HOME", a.home)
	environ = setenv(environ, "SHELL", a.shell)
	environ = setenv(environ, "USER", a.name)
	environ = setIDs(environ, a.uid, a.gid)
	if err := unix.Chdir(a.home); err != nil {
		return env.Fatal(prog, "unable to chdir to "+a.home, err)
	}
	if code := assume(env, prog, db, a, true); code != 0 {
		return code
	}
	return unable(env, prog, args[2:], become(env, args[2:], environ))
}
