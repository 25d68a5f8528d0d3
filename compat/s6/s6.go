// Package s6 holds the programs of s6's supervision under their own names:
// s6-svscan, s6-supervise and their clients. Arguments, messages and exit codes
// are those of s6 2.11 (s6.md, sections 5, 9 and 10).
//
// What listens, s6-svwait and the like, hears of changes by the FIFOs in event/
// itself; s6-ftrigrd is not needed.
package s6

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/svc"
)

// Exit codes beside those of daemontools.
const (
	exitTimeout = 99
)

// options reads the options of a program. s6 complains of a wrong one by its usage alone.
func options(args []string, letters string) cli.Options {
	o := cli.NewOptions(&cli.Env{Stderr: -1}, args, letters)
	o.Exact = true
	return o
}

// number reads decimal digits that fill 32 bits at most.
func number(s string) (int, bool) {
	n, ok := cli.Number(s, 1<<32-1)
	return int(n), ok
}

// base is a program that says something.
type base struct {
	env  *cli.Env
	name string
}

func (p base) usage(syntax string) int { return p.env.Usage(p.name, p.name+" "+syntax) }

// die says what is fatal, with the C library's text for err if there is one.
func (p base) die(code int, text string, err error) int {
	p.say("fatal", text, err)
	return code
}

func (p base) warn(text string, err error) { p.say("warning", text, err) }

func (p base) say(class, text string, err error) {
	line := p.name + ": " + class + ": " + text
	if err != nil {
		line += ": " + cli.Strerror(root(err))
	}
	_, _ = p.env.Stderr.WriteString(line + "\n")
}

// root is the innermost error.
func root(err error) error {
	for next := err; next != nil; next = errors.Unwrap(next) {
		err = next
	}
	return err
}

// print writes to standard output, of which a failure is fatal.
func (p base) print(text string) int {
	if _, err := p.env.Stdout.WriteString(text); err != nil {
		return p.die(cli.ExitFatal, "unable to write to stdout", err)
	}
	return 0
}

// deadline is when a number of milliseconds is over; 0 is never.
func deadline(ms int) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(ms) * time.Millisecond)
}

// supervised tells whether the service directory is; if it is not there, it is not.
func supervised(dir string) (bool, error) {
	d, err := svc.Open(dir, svc.StateDir)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer d.Close()
	return d.Locked()
}

// control sends commands to a service, or, by the name of its state directory, to a scanner.
func (p base) control(path, state, commands string) int {
	d, err := svc.Open(path, state)
	there := err == nil
	if there {
		err = d.Control(commands)
		d.Close()
	}
	switch {
	case err == nil:
		return 0
	case there && errors.Is(err, unix.ENOENT) && exists(path+"/"+state):
		return p.die(cli.ExitUsage, "something is wrong with the "+path+"/"+state+" directory", err)
	case errors.Is(err, svc.ErrNotRunning), there && errors.Is(err, unix.ENOENT):
		return p.die(cli.ExitUsage, ": unable to control "+path+": supervisor not listening", nil)
	}
	return p.die(cli.ExitFatal, "unable to control "+path, err)
}

// controlDir is what s6-svscan has in its scan directory.
const controlDir = ".s6-svscan"

// exists tells whether there is such a file, and no other reason not to see it.
func exists(path string) bool { return unix.Access(path, unix.F_OK) == nil }
