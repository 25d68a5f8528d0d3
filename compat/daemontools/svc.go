package daemontools

import (
	"bytes"
	"errors"

	"upkeep/compat/cli"
	"upkeep/svc"
)

const svcOptions = "svc options: u up, d down, o once, x exit, p pause, c continue, h hup, a alarm, i interrupt, t term, k kill\n"

// Svc is the applet svc: send control bytes to services.
//
//	svc [-udopchaitkx] [DIR ...]
//
// The letters go to each DIR in the order in which they first occur. Without
// letters, svc only tells which services could not be controlled. It waits for
// no effect.
//
// Exit code: 0, also if some or all services could not be controlled; 100 for
// an unknown option.
func Svc(env *cli.Env, args []string) int {
	var commands []byte
	options := cli.NewOptions(env, args, "udopchaitkx")
	for c := options.Next(); c != cli.End; c = options.Next() {
		if c == cli.Bad {
			_, _ = env.Stderr.WriteString(svcOptions)
			return cli.ExitUsage
		}
		if bytes.IndexByte(commands, c) < 0 {
			commands = append(commands, c)
		}
	}
	Send(env, svc.StateDir, string(commands), options.Args())
	return 0
}

// Send sends commands to the services dirs, under the name of svc, and warns of
// those that cannot be controlled. state is the state directory (svc.Open).
func Send(env *cli.Env, state, commands string, dirs []string) {
	for _, dir := range dirs {
		if err := send(dir, state, commands); err != nil {
			warn(env, dir, err)
		}
	}
}

func send(dir, state, commands string) error {
	d, err := svc.Open(dir, state)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Control(commands)
}

func warn(env *cli.Env, dir string, err error) {
	if errors.Is(err, svc.ErrNotRunning) {
		env.Warn("svc", "unable to control "+dir+": supervise not running", nil)
		return
	}
	what := "unable to control "
	switch cause(err).Step {
	case svc.StepDir:
		what = "unable to chdir to "
	case svc.StepState:
		what = "unable to setup control path for "
	case svc.StepWrite:
		what = "error writing commands to "
	}
	env.Warn("svc", what+dir, err)
}
