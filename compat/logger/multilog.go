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

const (
	retry      = 5 * time.Second // between two attempts at what failed
	statusSize = 1001
)

// Multilog is the applet multilog of daemontools 0.76 (daemontools.md, section
// 10):
//
//	multilog ACTION ...
//
// Unlike the original it leaves its input in the pipe until it has been written,
// and does not repeat a warning that it has given, as long as nothing else goes
// wrong. A status file gets the last line of what was there to be read, and not
// each in turn.
//
// Exit code: 0 at the end of input or after TERM; 111 if a directory or file
// cannot be opened.
func Multilog(env *cli.Env, args []string) int {
	p := &program{env: env, name: "multilog", words: multilogWords}
	unix.Umask(0o022)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM, unix.SIGALRM)
	script := parseMultilog(args[1:])
	w, err := p.open(script)
	if err != nil {
		t, _ := errors.AsType[*logwriter.Trouble](err)
		return env.Fatal(p.name, multilogFatal(t), t.Err)
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

// word is an action of a script that has not been opened.
type word struct {
	op  logwriter.Op
	arg string // pattern, path
	dir logwriter.DirConfig
}

// script is a command line of multilog.
type script struct {
	stamp bool
	words []word
}

// parseMultilog knows no errors: other words are ignored.
func parseMultilog(args []string) script {
	var s script
	dir := logwriter.DirConfig{Size: 99999, Margin: 2000, Buffer: 512, Keep: 10, Suffix: "s"}
	for i, a := range args {
		if a == "" {
			continue
		}
		switch rest := a[1:]; a[0] {
		case 't':
			s.stamp = s.stamp || i == 0
		case '+':
			s.words = append(s.words, word{op: logwriter.Select, arg: rest})
		case '-':
			s.words = append(s.words, word{op: logwriter.Deselect, arg: rest})
		case 'e':
			s.words = append(s.words, word{op: logwriter.Alert})
		case '=':
			s.words = append(s.words, word{op: logwriter.Keep, arg: rest})
		case 's':
			dir.Size = min(max(number(rest), 4096), 16777215)
		case 'n':
			dir.Keep = max(number(rest), 2)
		case '!':
			dir.Processor, dir.Process = rest, true
		case '.', '/':
			s.words = append(s.words, word{op: logwriter.Append, arg: a, dir: dir})
		}
	}
	return s
}

// number is the number that s begins with, 0 for none.
func number(s string) int {
	const most = 1 << 30
	n := 0
	for i := 0; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		n = min(n*10+int(s[i]-'0'), most)
	}
	return n
}

// open opens the status files, then the directories.
func (p *program) open(s script) (*logwriter.Writer, error) {
	host := &logwriter.Host{
		Trouble: p.trouble,
		Process: process,
		Alert:   func(b []byte) { _, _ = p.env.Stderr.Write(b) },
	}
	actions := make([]logwriter.Action, len(s.words))
	for i, w := range s.words {
		actions[i].Op = w.op
		switch w.op {
		case logwriter.Select, logwriter.Deselect:
			actions[i].Pattern = logwriter.Simple(w.arg)
		case logwriter.Keep:
			var err error
			if actions[i].Status, err = logwriter.OpenStatus(w.arg, statusSize); err != nil {
				return nil, err
			}
		}
	}
	for i, w := range s.words {
		if w.op == logwriter.Append {
			var err error
			if actions[i].Dir, err = logwriter.Open(w.arg, w.dir, host); err != nil {
				return nil, err
			}
		}
	}
	rules := logwriter.Rules{Window: statusSize - 1, Alert: 200, Read: 1024}
	if s.stamp {
		rules.Stamp = logwriter.TAI64N()
	}
	return logwriter.New(rules, actions, host), nil
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
	seen := 0
	for {
		if p.alarm.Swap(false) {
			w.Rotate()
		}
		term := p.term.Load()
		if term && seen == 0 && !w.Inside() {
			break
		}
		b, eof, err := in.Peek(seen, term)
		if eof || err != nil { // as in the original
			w.Finish(b)
			_ = in.Consume(len(b))
			break
		}
		if len(b) == seen {
			continue // interrupted
		}
		done := w.Write(b, seen)
		p.said = "" // whatever it was is over
		seen = len(b) - done
		if in.Consume(done) != nil {
			break
		}
	}
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

// multilogWords are those of section 10.5.
func multilogWords(t logwriter.Trouble) string {
	file := t.Dir + "/" + t.File
	switch t.Step {
	case logwriter.StepWrite:
		return "unable to write to " + file
	case logwriter.StepSync:
		return "unable to write " + file + " to disk"
	case logwriter.StepCreate:
		return "unable to create " + file
	case logwriter.StepMode:
		return "unable to set mode of " + file
	case logwriter.StepStat:
		return "unable to stat " + file
	case logwriter.StepLink:
		return "unable to link to " + file
	case logwriter.StepRemove:
		return "unable to remove " + file
	case logwriter.StepRename:
		return "unable to rename " + t.File + " to " + t.To + " in directory " + t.Dir
	case logwriter.StepReadDir:
		return "unable to read " + t.Dir
	case logwriter.StepRead:
		return "unable to read " + file
	case logwriter.StepOpenDir:
		return "unable to switch to " + t.Dir
	case logwriter.StepFork:
		return "unable to fork for processor in " + t.Dir
	case logwriter.StepWait:
		return "wait failed for processor in " + t.Dir
	case logwriter.StepCrashed:
		return "processor crashed in " + t.Dir
	case logwriter.StepFailed:
		return "processor failed in " + t.Dir
	case logwriter.StepStatus:
		return "unable to write " + t.File
	}
	return t.Error()
}

// multilogFatal are those of section 10.3.
func multilogFatal(t *logwriter.Trouble) string {
	switch t.Step {
	case logwriter.StepOpenDir:
		return "unable to open directory " + t.Dir
	case logwriter.StepLock:
		return "unable to lock directory " + t.Dir
	case logwriter.StepAppend:
		return "unable to append to " + t.Dir + "/" + t.File
	case logwriter.StepMissingStatus:
		return "unable to create " + t.File
	case logwriter.StepOpenStatus:
		return "unable to write " + t.File
	}
	return multilogWords(*t)
}
