// Package logger is the personality of the log programs: the words of their
// scripts, their messages and signals. The work is done by package logwriter.
package logger

import (
	"errors"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/logwriter"
)

// retry is the time between two attempts at what failed.
const retry = 5 * time.Second

// Multilog is the applet multilog of daemontools 0.76, or encore's if UPKEEP_DIALECT is
// "encore" (daemontools.md, section 10):
//
//	multilog ACTION ...
//
// Encore's F counts for the patterns behind it, and not for those of the next line too.
// Unlike the original it leaves its input in the pipe until it has been written,
// and does not repeat a warning that it has given, as long as nothing else goes
// wrong. A status file gets the last line of what was there to be read, and not
// each in turn.
//
// Exit code: 0 at the end of input or after TERM; 111 if a directory or file
// cannot be opened.
func Multilog(env *cli.Env, args []string) int {
	p := &program{env: env, name: "multilog", words: logwriter.MultilogWarning}
	unix.Umask(0o022)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM, unix.SIGALRM)
	dialect, _ := env.Getenv("UPKEEP_DIALECT")
	w, err := logwriter.ParseMultilog(args[1:], dialect == "encore").Open(unix.AT_FDCWD, &logwriter.Host{
		Trouble: p.trouble,
		Process: process,
		Alert:   func(b []byte) { _, _ = p.env.Stderr.Write(b) },
	})
	if err != nil {
		t, _ := errors.AsType[*logwriter.Trouble](err)
		return env.Fatal(p.name, logwriter.MultilogFatal(t), t.Err)
	}
	return p.run(w, signals)
}

// program is a running logger.
type program struct {
	env   *cli.Env
	name  string
	words func(logwriter.Trouble) string

	term, alarm atomic.Bool
	said        string // the last warning
}

// run feeds the writer until the input ends or TERM comes.
func (p *program) run(w *logwriter.Writer, signals <-chan os.Signal) int {
	in, err := logwriter.OpenInput(int(p.env.Stdin))
	if err != nil {
		return p.env.Fatal(p.name, "unable to prepare to read", err)
	}
	go func() { // for the rest of the process's life
		for s := range signals {
			if s == unix.SIGTERM {
				p.term.Store(true)
			} else {
				p.alarm.Store(true)
			}
			in.Interrupt()
		}
	}()
	_ = feed(in, w, func() (stop, over bool) { // an error is an end, as in the original
		p.said = "" // whatever it was is over
		if p.alarm.Swap(false) {
			w.Rotate()
		}
		return p.term.Load(), false
	}, nil)
	w.Close()
	return 0
}

// trouble says what is wrong, unless it has just said so, and waits.
func (p *program) trouble(t logwriter.Trouble) {
	text := p.words(t) + ", pausing"
	full := text + cli.ErrText(t.Err)
	if full != p.said {
		p.said = full
		p.env.Warn(p.name, text, t.Err)
	}
	time.Sleep(retry)
}

// process runs a processor: /bin/sh, with the descriptors where multilog has
// them. The log directory becomes the working directory of this process, which
// has no more use for its own.
func process(p logwriter.Processor) (status syscall.WaitStatus, step logwriter.Step, err error) {
	return processBy("/bin/sh", []string{"sh", "-c", p.Command}, p)
}

// processBy is process by another program.
func processBy(path string, argv []string, p logwriter.Processor) (status syscall.WaitStatus, step logwriter.Step, err error) {
	if err := unix.Fchdir(p.Dir); err != nil {
		return 0, logwriter.StepOpenDir, err
	}
	none := ^uintptr(0)
	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{
		Env: os.Environ(),
		Files: []uintptr{uintptr(p.Stdin), uintptr(p.Stdout), 2, none,
			uintptr(p.State), uintptr(p.NewState)},
	})
	if err != nil {
		return 0, logwriter.StepFork, err
	}
	for {
		_, err = syscall.Wait4(pid, &status, 0, nil)
		if err != syscall.EINTR {
			return status, logwriter.StepWait, err
		}
	}
}
