// Package cli is what the inherited programs share on their command line: the
// three standard descriptors, the message forms and exit codes of daemontools,
// its table of error texts and its option parser, which runit uses as well.
//
// It knows nothing of services. Every personality under compat is built on it,
// and since the start of a program is a budget, it imports no more than system
// calls and does no work at init.
package cli

import "golang.org/x/sys/unix"

// Exit codes of daemontools.md, section 1.1. Programs that answer a question
// by their exit code define their own names.
const (
	ExitUsage = 100 // wrong usage
	ExitFatal = 111 // a system call failed
)

// Applet is one program of the suite. args[0] is the program's name as it was
// invoked and is always there. The result is the exit code.
type Applet func(env *Env, args []string) int

// Env is the outside world of an applet.
type Env struct {
	Stdin, Stdout, Stderr FD
	// Getenv looks up an environment variable; found tells an empty one from
	// none.
	Getenv func(name string) (value string, found bool)
}

// System is the environment of this process.
func System() *Env {
	return &Env{Stdin: 0, Stdout: 1, Stderr: 2, Getenv: unix.Getenv}
}

// FD is a descriptor without the runtime's poller around it. Unlike with
// os.Stdout, a broken pipe is an error to the writer and not the death of the
// process.
type FD int

// Read is one read(2), repeated if a signal interrupts it. At the end of input
// it returns 0 and no error, as read(2) does: FD is no io.Reader.
func (f FD) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(f), b)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// Write writes all of b, in one write(2) if the kernel takes it so. The error
// is a syscall.Errno.
func (f FD) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		n, err := unix.Write(int(f), b[done:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// WriteString is Write for a string.
func (f FD) WriteString(s string) (int, error) { return f.Write([]byte(s)) }

// Usage prints "PROG: usage: SYNTAX" and returns ExitUsage.
func (e *Env) Usage(prog, syntax string) int {
	e.say(prog, ": usage: ", syntax, nil)
	return ExitUsage
}

// Fatal prints "PROG: fatal: TEXT", with ": ERRTEXT" if err is not nil, and
// returns ExitFatal.
func (e *Env) Fatal(prog, text string, err error) int {
	e.say(prog, ": fatal: ", text, err)
	return ExitFatal
}

// Warn prints "PROG: warning: TEXT", with ": ERRTEXT" if err is not nil.
func (e *Env) Warn(prog, text string, err error) {
	e.say(prog, ": warning: ", text, err)
}

// say writes a message in one piece, so that messages of processes that share
// a terminal or a log do not mix.
func (e *Env) say(prog, class, text string, err error) {
	b := make([]byte, 0, 160)
	b = append(b, prog...)
	b = append(b, class...)
	b = append(b, text...)
	if err != nil {
		b = append(b, ": "...)
		b = append(b, ErrText(err)...)
	}
	// Nobody is left to be told that standard error is gone.
	_, _ = e.Stderr.Write(append(b, '\n'))
}
