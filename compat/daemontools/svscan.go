package daemontools

import (
	"errors"
	"slices"
	"strings"

	"upkeep/compat/cli"
	"upkeep/supervise"
	"upkeep/supervise/servicedir"
	"upkeep/svscan"
)

// Svscan is svscan [--dialect NAME] [--state DIR] [--cgroups] [DIR]: it supervises every
// service directory below the second DIR, or below the working directory, until TERM or
// INT stop it in order. HUP makes it scan at once and stop the services whose directories
// are gone; QUIT ends it and leaves them all running. With --state everything that is
// written is below that directory. With --cgroups nothing outlives its service, as with a
// file cgroup in each.
// Exit: 0 after a stop or QUIT, 100 for wrong usage, 111 when it could not begin.
func Svscan(env *cli.Env, args []string) int {
	state := ""
	args, cgroups := withoutFlag(args, "--cgroups")
	d, operands, ok := parseOptions(env, args, &state)
	if !ok {
		return env.Usage("svscan", "svscan [--dialect daemontools|encore|runit|s6] [--state dir] [--cgroups] [dir]")
	}
	dir := "."
	if len(operands) > 0 {
		dir = operands[0]
	}
	if err := enterable(dir); err != nil {
		return env.Fatal("svscan", "unable to chdir to "+dir, err)
	}
	s, err := svscan.New(svscan.Config{
		Dir: dir, StateDir: state, Dialect: d, Signals: true, Cgroups: cgroups,
		Report: func(r svscan.Report) { Say(env, r) },
	})
	if err != nil {
		return env.Fatal("svscan", strings.TrimSuffix(err.Error(), ": "+root(err).Error()), root(err))
	}
	s.Run()
	return 0
}

// Supervise is supervise [--dialect NAME] DIR: it supervises one service
// directory with its own standard input and output. Signals end it and leave the
// service running, except under encore, where TERM and INT are svc -dx.
// Exit: 0 after svc -x, 100 for wrong usage, 111 when it could not begin.
func Supervise(env *cli.Env, args []string) int {
	d, operands, ok := Dialect(env, args)
	if !ok || len(operands) != 1 {
		return env.Usage("supervise", "supervise dir")
	}
	dir := operands[0]
	if err := enterable(dir); err != nil {
		return env.Fatal("supervise", "unable to chdir to "+dir, err)
	}
	c := svscan.Config{
		Dir: dir, Dialect: d,
		Report: func(r svscan.Report) { Say(env, r) },
	}
	err := svscan.Supervise(c, stopSignals(d))
	var step *servicedir.StepError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &step):
		return env.Fatal("supervise", "unable to "+step.Verb+" "+dir+"/"+step.File, step.Err)
	}
	return env.Fatal("supervise", "unable to supervise "+dir, root(err))
}

// withoutFlag takes a flag out of the options, which end before the first operand.
func withoutFlag(args []string, flag string) (rest []string, given bool) {
	for i := 1; i < len(args) && strings.HasPrefix(args[i], "--") && args[i] != "--"; i++ {
		if args[i] == flag {
			rest, _ = withoutFlag(slices.Delete(slices.Clone(args), i, i+1), flag)
			return rest, true
		}
		if args[i] == "--dialect" {
			i++
		}
	}
	return args, false
}

// Dialect takes --dialect NAME out of the arguments of a program that belongs to
// no one system; without it UPKEEP_DIALECT decides. ok is false for a name that
// is none.
func Dialect(env *cli.Env, args []string) (d supervise.Dialect, operands []string, ok bool) {
	return parseOptions(env, args, nil)
}

// parseOptions is Dialect and, unless state is nil, takes --state DIR out as well.
func parseOptions(env *cli.Env, args []string, state *string) (d supervise.Dialect, operands []string, ok bool) {
	name, given := env.Getenv("UPKEEP_DIALECT")
	operands = args[1:]
	for len(operands) > 0 && strings.HasPrefix(operands[0], "--") {
		word := operands[0]
		operands = operands[1:]
		if word == "--" {
			break
		}
		word, value, attached := strings.Cut(word, "=")
		if !attached {
			if len(operands) == 0 {
				return 0, nil, false
			}
			value, operands = operands[0], operands[1:]
		}
		switch {
		case word == "--dialect":
			name, given = value, true
		case word == "--state" && state != nil && value != "":
			*state = value
		default:
			return 0, nil, false
		}
	}
	if !given || name == "" {
		return supervise.Common, operands, true
	}
	d, ok = supervise.ParseDialect(name)
	return d, operands, ok
}

// Say prints a report in the words of svscan and supervise.
func Say(env *cli.Env, r svscan.Report) {
	prog := "svscan"
	if r.Service != "" {
		prog = "supervise"
	}
	text := r.Verb
	if r.Object != "" {
		text = "unable to " + r.Verb + " " + r.Object
	}
	if r.Class == svscan.Fatal {
		env.Fatal(prog, text, r.Err)
	} else {
		env.Warn(prog, text, r.Err)
	}
}

// root is the innermost error, which has a text in the table.
func root(err error) error {
	for next := err; next != nil; next = errors.Unwrap(next) {
		err = next
	}
	return err
}
