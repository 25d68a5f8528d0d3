package runit

import (
	"errors"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/compat/daemontools"
	"upkeep/supervise"
	"upkeep/supervise/servicedir"
	"upkeep/svscan"
)

// Runsv is runsv DIR: it supervises one service directory and its log service. TERM
// is sv exit.
//
// Exit: 0 after sv exit, 1 for wrong usage, 111 when it could not begin.
func Runsv(env *cli.Env, args []string) int {
	if len(args) != 2 {
		return usage(env, args[0], " dir", 1)
	}
	dir := args[1]
	if c, ok := svscan.IsHeir(); ok {
		return inherit(env, c, dir)
	}
	prog := "runsv " + dir
	if err := daemontools.Enterable(dir); err != nil {
		return env.Fatal(prog, "unable to change to directory", err)
	}
	var st unix.Stat_t
	switch err := unix.Stat(dir+"/log", &st); {
	case err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR:
		env.Warn(prog, "./log: not a directory.", nil)
	case err != nil && err != unix.ENOENT:
		env.Warn(prog, "unable to stat() ./log: ", err)
	case err == nil:
		awaitLog(dir)
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	stop := make(chan struct{})
	go func() { // for the rest of the process's life
		<-term
		close(stop)
	}()
	say := &speaker{env: env, prog: prog, one: true}
	err := svscan.SuperviseOne(svscan.Config{
		Dir: dir, Dialect: supervise.Runit, Report: say.say, Patient: true,
	}, stop)
	if err != nil {
		text, err := say.unable(err)
		return env.Fatal(prog, text, err)
	}
	return 0
}

// awaitLog waits until nobody else supervises the log service, as runsv always has;
// but not if somebody supervises the service, of whom there will be told. Whatever
// goes wrong here goes wrong again, and is said, when it is for good.
func awaitLog(dir string) {
	main, err := open(dir+"/supervise/lock", unix.O_WRONLY|unix.O_APPEND|unix.O_NONBLOCK, 0)
	if err == nil {
		defer unix.Close(main)
		if unix.Flock(main, unix.LOCK_EX|unix.LOCK_NB) != nil {
			return
		}
	}
	log, err := open(dir+"/log/supervise/lock", unix.O_WRONLY|unix.O_APPEND|unix.O_NONBLOCK, 0)
	if err == nil {
		_ = lock(log)
		unix.Close(log)
	}
}

// speaker says in the words of runsv and runsvdir what the scanner reports.
type speaker struct {
	env  *cli.Env
	prog string // runsvdir DIR, or runsv DIR
	one  bool   // runsv
}

func (s *speaker) say(r svscan.Report) {
	prog := s.prog
	main, log := strings.CutSuffix(r.Service, "/log")
	if r.Service != "" && !s.one {
		prog = "runsv " + main
	}
	text, err, class := r.Verb, r.Err, r.Class
	if r.Object != "" {
		// What a report names is below the scan directory; runsv is in its own.
		object := strings.TrimPrefix(r.Object, main+"/")
		text = "unable to " + r.Verb + " " + object
		if log {
			object = strings.TrimPrefix(object, "log/")
		}
		switch {
		case r.Service == "":
			if r.Verb == "read" && err == unix.ENOENT {
				text = "unable to stat " + strings.TrimPrefix(object, "directory ")
			} else if r.Verb == "read" {
				text = "unable to open " + object
			}
		case r.Verb == "start" && log:
			text = "unable to start log/./" + object
		case r.Verb == "start":
			text = "unable to start ./" + object
		case r.Verb == "fork for":
			text = "unable to fork, sleeping"
		case r.Verb == "run":
			text, class = "unable to run control/?", svscan.Fatal
		case class == svscan.Fatal:
			text, err = s.unable(&servicedir.StepError{Verb: r.Verb, File: strings.TrimPrefix(r.Object, main+"/"), Err: err})
		}
	}
	if class == svscan.Fatal {
		s.env.Fatal(prog, text, err)
	} else {
		s.env.Warn(prog, text, err)
	}
}

// unable is what could not be done when a service could not be supervised.
func (s *speaker) unable(err error) (string, error) {
	step, ok := errors.AsType[*servicedir.StepError](err)
	if !ok {
		return "unable to change to directory", err
	}
	file := step.File
	switch {
	case errors.Is(step.Err, unix.EAGAIN):
		return "unable to lock " + file, step.Err
	case errors.Is(step.Err, servicedir.ErrNotFIFO):
		return file + " exists but is not a fifo", nil
	case step.Verb == "create" && errors.Is(step.Err, unix.ENAMETOOLONG):
		return "unable to readlink ./" + file, step.Err
	case step.Verb == "create":
		return "unable to open " + file + "/lock", step.Err
	case step.Verb == "read" && strings.HasSuffix(file, "ok"):
		return "unable to read " + file, step.Err
	}
	return "unable to open " + file, step.Err
}
