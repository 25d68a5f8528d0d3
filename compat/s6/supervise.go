package s6

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/compat/daemontools"
	"upkeep/supervise"
	"upkeep/supervise/servicedir"
	"upkeep/svscan"
)

// Supervise is s6-supervise DIR: it supervises one service directory. TERM stops the
// service and ends it, HUP has it leave when the service has ended, QUIT ends it and leaves
// the service running, and so does INT after it has interrupted the service.
// Exit: 0; 100 for wrong usage and if somebody else supervises it; 111 when it could not
// begin.
func Supervise(env *cli.Env, args []string) int {
	p := base{env, "s6-supervise"}
	if len(args) < 2 {
		return p.usage("dir")
	}
	dir := args[1]
	if err := daemontools.Enterable(dir); err != nil {
		return p.die(cli.ExitFatal, "unable to chdir to "+dir, err)
	}
	err := svscan.SuperviseOne(svscan.Config{
		Dir: dir, Dialect: supervise.S6, Patient: true, Report: func(r svscan.Report) { report(env, r) },
		Orders: map[os.Signal]svscan.Order{
			syscall.SIGTERM: svscan.OrderStop,
			syscall.SIGHUP:  svscan.OrderExit,
			syscall.SIGQUIT: svscan.OrderLeave,
			syscall.SIGINT:  svscan.OrderInterrupt,
		},
	}, nil)
	if err == nil {
		return 0
	}
	p.name += " " + dir
	return p.cannot(err)
}

// cannot says why a service cannot be supervised.
func (p base) cannot(err error) int {
	step, ok := errors.AsType[*servicedir.StepError](err)
	switch {
	case ok && root(err) == unix.EAGAIN:
		return p.die(cli.ExitUsage, "another instance of s6-supervise is already running", nil)
	case ok:
		return p.die(cli.ExitFatal, "unable to "+step.Verb+" "+step.File, err)
	}
	return p.die(cli.ExitFatal, "unable to supervise", err)
}

// report puts what there is to say into the words of s6-supervise and s6-svscan.
func report(env *cli.Env, r svscan.Report) {
	p := base{env, "s6-svscan"}
	if r.Service != "" {
		p.name = "s6-supervise " + r.Service
	}
	object := strings.TrimPrefix(r.Object, r.Service+"/")
	switch {
	case r.Object == "":
		p.warn(r.Verb, r.Err)
	case r.Verb == "start" && r.Service != "" && r.Err != nil:
		child := base{env, p.name + " (child)"}
		child.say("fatal", "unable to exec "+object, r.Err)
		if object == "run" {
			p.warn("unable to spawn ./run - waiting 10 seconds", nil)
		}
	case r.Class == svscan.Fatal && r.Service != "":
		p.cannot(&servicedir.StepError{Verb: r.Verb, File: object, Err: r.Err})
	default:
		p.warn("unable to "+r.Verb+" "+object, r.Err)
	}
}

const svscanUsage = "[ -c maxservices ] [ -t timeout ] [ -d notif ] [ -X consoleholder ] [ dir ]"

// Svscan is s6-svscan: it supervises the service directories below DIR, or below the
// working directory, and their log services, all in this process. New ones are looked for
// when s6-svscanctl says so, or every TIMEOUT milliseconds. When it is told to end, it
// stops them and executes .s6-svscan/finish, if that is there. An executable file
// .s6-svscan/SIGTERM, and the like, runs in place of what the signal does. The service
// s6-svscan-log ends last, when there is nothing more to read for it; what is written by
// then goes to -X. -c is of no consequence. USR2 without such a file has it become the program as it is now.
//
// Exit: 0, or what finish exits with; 100 for wrong usage and if there is one already;
// 111 when it could not begin.
func Svscan(env *cli.Env, args []string) int {
	p := base{env, "s6-svscan"}
	o := options(args, "c:t:d:X:")
	c := svscan.Config{
		Dir: ".", Dialect: supervise.S6, Patient: true, Control: controlDir, Commanded: true, CatchAll: "s6-svscan-log",
	}
	notify := 0
	for letter := o.Next(); letter != cli.End; letter = o.Next() {
		n, ok := number(o.Arg)
		if letter == cli.Bad || !ok {
			return p.usage(svscanUsage)
		}
		switch letter {
		case 't':
			c.ScanEvery = time.Duration(n) * time.Millisecond
		case 'd':
			if svscan.Inherits() {
				break // another program has said so
			}
			if n < 3 {
				return p.die(cli.ExitUsage, "notification fd must be 3 or more", nil)
			}
			if _, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0); err != nil {
				return p.die(cli.ExitUsage, "invalid notification fd", err)
			}
			notify = n
		case 'X':
			c.Console = n
		}
	}
	if len(o.Args()) > 0 {
		c.Dir = o.Args()[0]
	}
	if err := daemontools.Enterable(c.Dir); err != nil {
		return p.die(cli.ExitFatal, "unable to chdir", err)
	}
	c.Report = func(r svscan.Report) { report(env, r) }
	c.Orders = map[os.Signal]svscan.Order{
		syscall.SIGTERM:  svscan.OrderStop,
		syscall.SIGINT:   svscan.OrderStop,
		syscall.SIGQUIT:  svscan.OrderStopAll,
		syscall.SIGHUP:   svscan.OrderRescan,
		syscall.SIGALRM:  svscan.OrderScan,
		syscall.SIGABRT:  svscan.OrderLeave,
		syscall.SIGUSR2:  svscan.OrderUpgrade,
		syscall.SIGUSR1:  svscan.OrderNone,
		syscall.SIGPWR:   svscan.OrderNone,
		syscall.SIGWINCH: svscan.OrderNone,
	}
	s, err := svscan.New(c)
	if err != nil {
		step, ok := errors.AsType[*servicedir.StepError](err)
		switch {
		case ok && root(err) == unix.EAGAIN:
			return p.die(cli.ExitUsage, "another instance of s6-svscan is already running on the same directory", nil)
		case ok:
			return p.die(cli.ExitFatal, "unable to "+step.Verb+" "+strings.TrimPrefix(step.File, c.Dir+"/"), err)
		}
		return p.die(cli.ExitFatal, "unable to begin", err)
	}
	if notify > 0 {
		_, _ = cli.FD(notify).WriteString("\n")
		unix.Close(notify)
	}
	code := s.Run()
	if err := unix.Chdir(c.Dir); err != nil {
		p.warn("unable to chdir to "+c.Dir, err)
		return cli.ExitFatal
	}
	finish := controlDir + "/finish"
	if err := syscall.Exec(finish, []string{finish}, os.Environ()); err != unix.ENOENT {
		p.warn("unable to exec finish script "+finish, err)
		return cli.ExitFatal
	}
	return code
}
