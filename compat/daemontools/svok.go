package daemontools

import (
	"upkeep/compat/cli"
	"upkeep/svc"
)

// notAlive is svok's exit code for a service that is not supervised.
const notAlive = 100

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
	dir := args[1]
	return Ok(env, dir, svc.StateDir, dir+"/")
}

// Ok is svok for one service. state is its state directory (svc.Open), and
// prefix what a complaint puts before the path of that.
func Ok(env *cli.Env, dir, state, prefix string) int {
	alive, err := alive(dir, state)
	if err != nil {
		return Fail(env, "svok", dir, prefix, err)
	}
	if !alive {
		return notAlive
	}
	return 0
}

func alive(dir, state string) (bool, error) {
	d, err := svc.Open(dir, state)
	if err != nil {
		return false, err
	}
	defer d.Close()
	return d.Alive()
}

// Fail complains of an error of package svc under the name prog and returns
// the exit code. prefix is put before the path of a file.
func Fail(env *cli.Env, prog, dir, prefix string, err error) int {
	e := cause(err)
	what := "unable to open " + prefix + e.Path
	switch e.Step {
	case svc.StepDir:
		what = "unable to chdir to " + dir
	case svc.StepState:
		what = "unable to setup control path for " + dir
	case svc.StepReadStatus:
		what = "unable to read " + prefix + e.Path
	}
	return env.Fatal(prog, what, err)
}
