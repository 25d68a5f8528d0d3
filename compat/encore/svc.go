package encore

import (
	"bytes"

	"upkeep/compat/cli"
	"upkeep/compat/daemontools"
)

const svcOptions = "svc options: + kill process group, = kill parent process, L kill log, l kill main, " +
	"u up, d down, o once, x exit, p pause, c continue, h hup, a alarm, i interrupt, t term, k kill, " +
	"q quit, 1 SIGUSR1, 2 SIGUSR2, w SIGWINCH\n"

// maxCommands is what encore's svc has room for.
const maxCommands = 32

// Svc is the applet svc: send control bytes to services.
//
//	svc [-+=Lludopchaitkq12wx] [DIR ...]
//
// What is sent begins with an l, which undoes an L before, and then has the
// letters in order, without repetitions since the last L or l.
//
// Exit code: 0, also if some or all services could not be controlled; 100 for
// an unknown option; 111 for too many.
func Svc(env *cli.Env, args []string) int {
	commands := []byte{'l'}
	since := len(commands) // where the letters after the last L or l begin
	options := cli.NewOptions(env, args, "+=Lludopchaitkq12wx")
	for c := options.Next(); c != cli.End; c = options.Next() {
		if c == cli.Bad {
			_, _ = env.Stderr.WriteString(svcOptions)
			return cli.ExitUsage
		}
		target := c == 'L' || c == 'l'
		if !target && bytes.IndexByte(commands[since:], c) >= 0 {
			continue
		}
		if len(commands) == maxCommands {
			return env.Fatal("svc", "too many options", nil)
		}
		commands = append(commands, c)
		if target {
			since = len(commands)
		}
	}
	daemontools.Send(env, stateDir(env), string(commands), options.Args())
	return 0
}
