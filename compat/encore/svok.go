package encore

import (
	"upkeep/compat/cli"
	"upkeep/compat/daemontools"
)

// Svok is the applet svok: is a service supervised?
//
//	svok DIR
//
// More arguments are ignored.
//
// Exit code: 0 yes; 100 no, or no argument; 111 if that cannot be found out.
func Svok(env *cli.Env, args []string) int {
	if len(args) < 2 {
		return env.Usage("svok", "svok dir")
	}
	return daemontools.Ok(env, args[1], stateDir(env), "")
}
