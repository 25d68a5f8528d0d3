package s6

import (
	"strings"

	"upkeep/compat/cli"
	"upkeep/svc"
)

// letters are the control bytes that s6 2.11.3 knows.
const letters = "abqhkti12pcyroduDUxOQ"

// maxCommands is as many of them as may be sent at once.
const maxCommands = 62

const svcUsage = "[ -wu | -wU | -wd | -wD | -wr | -wR ] [ -T timeout ] [ -abqhkti12pcyroduDUxOQ ] servicedir"

// Svc is s6-svc: it sends commands to a service, and may wait for what comes of them.
// Exit: 0; 99 when the time is over; 100 for wrong usage and where nobody supervises the
// service; 111 when something failed; while waiting 1 if it has failed for good.
func Svc(env *cli.Env, args []string) int {
	p := base{env, "s6-svc"}
	o := options(args, "abqhkti12pcyroduDUxOQT:w:")
	commands, wait, patience := "", byte(0), 0
	for c := o.Next(); c != cli.End; c = o.Next() {
		switch {
		case c == 'T':
			var ok bool
			if patience, ok = number(o.Arg); !ok {
				return p.usage(svcUsage)
			}
		case c == 'w':
			if len(o.Arg) == 0 || strings.IndexByte("uUdDrR", o.Arg[0]) < 0 {
				return p.usage(svcUsage)
			}
			wait = o.Arg[0]
		case strings.IndexByte(letters, c) < 0:
			return p.usage(svcUsage)
		case len(commands) == maxCommands:
			return p.die(cli.ExitUsage, "too many commands", nil)
		default:
			commands += string(rune(c))
		}
	}
	operands := o.Args()
	if len(operands) == 0 {
		return p.usage(svcUsage)
	}
	if len(operands) > 1 {
		p.warn("ignoring extra arguments", nil)
	}
	dir := operands[0]
	if wait == 0 {
		return p.control(dir, svc.StateDir, commands)
	}
	if (wait == 'U' || wait == 'R') && !exists(dir+"/notification-fd") && !exists(dir+"/notify-socket") {
		p.warn(dir+"/notification-fd not present - ignoring request for readiness notification", nil)
		wait += 'a' - 'A'
	}
	w := waiter{base: base{env, "s6-svlisten1"}, deadline: deadline(patience)}
	return w.wait([]string{dir}, goalOf(wait), func() int { return p.control(dir, svc.StateDir, commands) })
}

const svscanctlUsage = "[ -zabhitqnN ] svscandir"

// Svscanctl is s6-svscanctl: it sends commands to s6-svscan. Exit: 0; 100 for wrong usage
// and where there is none; 111 when something failed.
func Svscanctl(env *cli.Env, args []string) int {
	p := base{env, "s6-svscanctl"}
	o := options(args, "zabhitqnN")
	commands := ""
	for c := o.Next(); c != cli.End; c = o.Next() {
		if c == cli.Bad {
			return p.usage(svscanctlUsage)
		}
		commands += string(rune(c))
	}
	if len(o.Args()) == 0 {
		return p.usage(svscanctlUsage)
	}
	return p.control(o.Args()[0], controlDir, commands)
}
