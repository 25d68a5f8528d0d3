package daemontools

import (
	"errors"
	"os"
	"strings"
	"syscall"

	"upkeep/compat/cli"
	"upkeep/supervise"
	"upkeep/supervise/servicedir"
	"upkeep/svscan"
)

// Svscan is svscan [OPTION...] [DIR [LOGSERVICE]]: it supervises every service directory below DIR,
// or below the working directory, until TERM or INT stop it in order. HUP makes it scan
// at once and stop the services whose directories are gone; QUIT ends it and leaves them
// all running; USR2 has it become the program as it is now.
//
// With --dialect NAME the habits are those of another system. Under encore LOGSERVICE, if it
// is there, reads what svscan and all services print. With --state DIR everything
// that is written is below DIR. With --cgroups nothing outlives its service, as with a
// file cgroup in each.
//
// With --main NAME the first end of that service's run, of whatever kind, svc -t and -d
// included, stops all others as well. With --deadline SECONDS a stop is over in that time:
// five eighths of it are for TERM to be obeyed. PID 1 has one of 8 seconds; 0 is none.
//
// With --anchor all this is done by a child, which this process starts again after a
// crash; it passes signals on and exits as the child does.
//
// Exit: 0 after a stop or QUIT, or, with --main, what run ended with, 128+n for signal n;
// 100 for wrong usage, 111 when it could not begin, and when NAME is not there or its run
// cannot be executed.
func Svscan(env *cli.Env, args []string) int {
	c, ok := readScan(env, args[1:])
	if !ok {
		return env.Usage("svscan", "svscan [--dialect daemontools|encore|runit|s6] [--state dir] [--cgroups] [--main name] [--deadline seconds] [--anchor] [dir]")
	}
	if err := Enterable(c.Dir); err != nil {
		return env.Fatal("svscan", "unable to chdir to "+c.Dir, err)
	}
	if c.anchor && !svscan.Anchored() {
		code, err := svscan.Anchor(append(args[:1:1], c.args...), c.Report)
		if err != nil {
			return env.Fatal("svscan", strings.TrimSuffix(err.Error(), ": "+root(err).Error()), root(err))
		}
		return code
	}
	s, err := svscan.New(c.Config)
	if err != nil {
		return env.Fatal("svscan", strings.TrimSuffix(err.Error(), ": "+root(err).Error()), root(err))
	}
	return s.Run()
}

// Supervise is supervise [--dialect NAME] DIR: it supervises one service
// directory with its own standard input and output. Signals end it and leave the
// service running, except under encore, where TERM and INT are svc -dx, TSTP is svc -p
// and CONT is svc -c. There a script log is supervised as well.
// Exit: 0 after svc -x, 100 for wrong usage, 111 when it could not begin.
func Supervise(env *cli.Env, args []string) int {
	c, ok := superviseOptions(env, args[1:])
	if !ok {
		return env.Usage("supervise", "supervise dir")
	}
	dir := c.Dir
	if err := Enterable(dir); err != nil {
		return env.Fatal("supervise", "unable to chdir to "+dir, err)
	}
	below := dir + "/"
	var err error
	if c.Dialect == supervise.Encore {
		below = ""
		c.Orders, c.Patient = map[os.Signal]svscan.Order{
			syscall.SIGTERM: svscan.OrderStop, syscall.SIGINT: svscan.OrderStop,
			syscall.SIGTSTP: svscan.OrderPause, syscall.SIGCONT: svscan.OrderContinue,
		}, true
		err = svscan.SuperviseOne(c, nil)
	} else {
		err = svscan.Supervise(c, stopSignals(c.Dialect))
	}
	var step *servicedir.StepError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &step):
		return env.Fatal("supervise", "unable to "+step.Verb+" "+below+step.File, step.Err)
	}
	return env.Fatal("supervise", "unable to supervise "+dir, root(err))
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
	switch r.Class {
	case svscan.Fatal:
		env.Fatal(prog, text, r.Err)
	case svscan.Info:
		_, _ = env.Stderr.WriteString(prog + ": info: " + text + "\n")
	default:
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
