package logger

import (
	"errors"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/logwriter"
)

// S6Log is the applet s6-log (s6.md, section 11):
//
//	s6-log [OPTION...] [--] DIRECTIVE ...
//
// Unlike the original it leaves its input in the pipe until it has been written;
// a last line without newline is logged at the end of input, where the original
// forgets it; and a processor is waited for before more is read. A warning that
// has just been given is not repeated.
//
// Exit code: 0 at the end of input or after TERM or HUP; 100 for wrong usage; 111
// if a directory cannot be opened.
func S6Log(env *cli.Env, args []string) int {
	p := &s6Program{env: env}
	o, complaint, ok := parseS6Options(args[1:])
	switch {
	case complaint != "":
		return p.refuse(complaint)
	case !ok:
		return env.Usage("s6-log", s6Usage)
	}
	p.verbosity = o.verbosity
	if o.notify > 0 {
		// What is close-on-exec is the runtime's, and not inherited.
		flags, err := unix.FcntlInt(uintptr(o.notify), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			return p.refuse("invalid notification fd: " + s6Error(unix.EBADF))
		}
		unix.CloseOnExec(o.notify)
	}
	script, complaint := parseS6(o.script)
	if script.extra {
		p.warn("ignoring extraneous non-action directives")
	}
	if complaint != "" {
		return p.refuse(complaint)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM, unix.SIGALRM, unix.SIGHUP)
	if p.cwd, ok = openCwd(); !ok {
		p.cwd = unix.AT_FDCWD
	}
	p.umask = uint32(unix.Umask(0))
	unix.Umask(int(p.umask))
	actions, complaint := p.open(script)
	if complaint != "" {
		p.fatal(complaint)
		return cli.ExitFatal
	}
	w := logwriter.NewLines(logwriter.LineRules{Limit: o.limit, Read: 8191}, actions)
	return p.run(w, signals, o)
}

// s6Program is a running s6-log.
type s6Program struct {
	env       *cli.Env
	verbosity int
	cwd       int // processors change the working directory
	umask     uint32
	retries   map[string]time.Duration // of the log directories
	opened    bool

	stop, alarm, late atomic.Bool
	said              string // the last warning about a log directory
	out, alerts       []byte
	outClosed         bool
}

// openCwd opens the working directory.
func openCwd() (fd int, ok bool) {
	fd, err := unix.Open(".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return fd, err == nil
}

func (p *s6Program) say(class, text string) {
	_, _ = p.env.Stderr.WriteString("s6-log: " + class + ": " + text + "\n")
}

func (p *s6Program) fatal(text string) { p.say("fatal", text) }

func (p *s6Program) warn(text string) {
	if p.verbosity > 0 {
		p.say("warning", text)
	}
}

func (p *s6Program) refuse(complaint string) int {
	p.fatal(complaint)
	return cli.ExitUsage
}

// open opens the directories, in order.
func (p *s6Program) open(s s6Script) (actions []logwriter.LineAction, complaint string) {
	host := &logwriter.Host{Trouble: p.trouble, Process: s6Process}
	p.retries = make(map[string]time.Duration)
	for i := range s.words {
		w := &s.words[i]
		a := logwriter.LineAction{Pattern: w.pattern, Op: logwriter.Put, Stamp: w.stamp(p.env)}
		switch w.op {
		case '+':
			a.Op = logwriter.Select
		case '-':
			a.Op = logwriter.Deselect
		case 'f':
			a.Op = logwriter.Fresh
		case '1':
			a.Put, a.Flush = p.print, p.flushOut
		case '2':
			a.Put, a.Flush = p.alerter(w.alert), p.flushAlerts
		case '=':
			status := &s6Status{name: w.arg, size: w.status}
			a.Put = status.put
			a.Flush = func() {
				if err := status.write(p.cwd); err != nil {
					p.warn("unable to write status file " + status.name + ": " + s6Error(err))
				}
			}
		case '/':
			p.retries[w.arg] = w.retry
			if err := unix.Mkdir(w.arg, 0o2700); err != nil && err != unix.EEXIST {
				return nil, "unable to mkdir " + w.arg + ": " + s6Error(err)
			}
			a.Op = logwriter.Append
			w.dir.Mode = 0o666 &^ p.umask
			var err error
			if a.Dir, err = logwriter.Open(w.arg, w.dir, host); err != nil {
				t, _ := errors.AsType[*logwriter.Trouble](err)
				return nil, s6Words(*t)
			}
		}
		actions = append(actions, a)
	}
	p.opened = true
	return actions, ""
}

// stamp is what goes before the lines that this action gets, nil for nothing.
func (w *s6Word) stamp(env *cli.Env) logwriter.Stamp {
	if !w.acts() || !w.tai && !w.iso && w.prefix == "" {
		return nil
	}
	tai, iso := logwriter.LeapTAI64N(), logwriter.Stamp(nil)
	if w.iso {
		iso = logwriter.Date(' ', 9, "  ", cli.Local(env))
	}
	return func(b []byte, now time.Time) []byte {
		if w.tai {
			b = tai(b, now)
		}
		if w.iso {
			b = iso(b, now)
		}
		if w.prefix != "" {
			b = append(append(b, w.prefix...), ' ')
		}
		return b
	}
}

func (p *s6Program) print(stamp, line []byte) {
	if p.outClosed {
		return
	}
	p.out = append(append(append(p.out, stamp...), line...), '\n')
	if len(p.out) > 64<<10 {
		p.flushOut()
	}
}

func (p *s6Program) flushOut() {
	if len(p.out) == 0 || p.outClosed {
		return
	}
	_, err := p.env.Stdout.Write(p.out)
	for ; err == unix.EAGAIN; _, err = p.env.Stdout.Write(p.out) {
		// Somebody has made it non-blocking.
		fds := []unix.PollFd{{Fd: int32(p.env.Stdout), Events: unix.POLLOUT}}
		_, _ = unix.Poll(fds, -1)
	}
	p.out = nil
	if err != nil {
		p.warn("unable to write to stdout, closing the stream - error was: " + s6Error(err))
		unix.Close(int(p.env.Stdout))
		p.outClosed = true
	}
}

// alerter shows at most size bytes of a line and an ellipsis, which does not stand
// for less than it takes.
func (p *s6Program) alerter(size int) func(stamp, line []byte) {
	return func(stamp, line []byte) {
		p.alerts = append(append(p.alerts, "s6-log: alert: "...), stamp...)
		if size > 0 && len(line) > size+len("...") {
			p.alerts = append(append(p.alerts, line[:size]...), "..."...)
		} else {
			p.alerts = append(p.alerts, line...)
		}
		p.alerts = append(p.alerts, '\n')
		if len(p.alerts) > 4096 {
			p.flushAlerts()
		}
	}
}

func (p *s6Program) flushAlerts() {
	if len(p.alerts) > 0 {
		_, _ = p.env.Stderr.Write(p.alerts)
		p.alerts = nil
	}
}

// run feeds the writer until the input ends or a signal comes. A line that was
// begun then gets some time to end; after it, what the pipe still holds is left
// to the next process.
func (p *s6Program) run(w *logwriter.LineWriter, signals <-chan os.Signal, o s6Options) int {
	in, err := logwriter.OpenInput(int(p.env.Stdin))
	if err != nil {
		p.fatal("unable to prepare to read: " + s6Error(err))
		return cli.ExitFatal
	}
	if o.notify > 0 {
		_, _ = cli.FD(o.notify).WriteString("\n")
		unix.Close(o.notify)
	}
	go func() { // for the rest of the process's life
		for s := range signals {
			switch {
			case s == unix.SIGALRM:
				p.alarm.Store(true)
			case s == unix.SIGTERM && o.protect:
				continue
			default:
				p.stop.Store(true)
				time.AfterFunc(o.patience, func() {
					p.late.Store(true)
					in.Interrupt()
				})
			}
			in.Interrupt()
		}
	}()
	err = feed(in, w, func() (stop, over bool) {
		p.said = "" // whatever it was is over
		if p.alarm.Swap(false) {
			w.Rotate()
		}
		return p.stop.Load(), false
	}, p.late.Load)
	if err != nil {
		p.warn("unable to read from stdin: " + s6Error(err))
	}
	w.Close()
	return 0
}

// trouble says what is wrong, unless it has just said so, and waits. While
// directories are being opened it is fatal.
func (p *s6Program) trouble(t logwriter.Trouble) {
	text := s6Words(t)
	if !p.opened {
		p.fatal(text)
		os.Exit(cli.ExitFatal)
	}
	if text != p.said {
		p.said = text
		p.warn(text)
	}
	time.Sleep(p.retries[t.Dir])
}

// s6Process runs a processor: "!" and a block of execline, or "?" and a line for
// sh.
func s6Process(p logwriter.Processor) (syscall.WaitStatus, logwriter.Step, error) {
	line := p.Command[1:]
	if p.Command[0] == '?' {
		return processBy("/bin/sh", []string{"/bin/sh", "-c", line}, p)
	}
	path := execlineb()
	return processBy(path, []string{path, "-Pc", line}, p)
}

// execlineb is where the packages have it, or else found by PATH.
func execlineb() string {
	paths := []string{"/usr/lib/execline/bin", "/usr/bin", "/bin"}
	for _, dir := range append(paths, strings.Split(os.Getenv("PATH"), ":")...) {
		path := dir + "/execlineb"
		if dir != "" && unix.Access(path, unix.X_OK) == nil {
			return path
		}
	}
	return "/usr/bin/execlineb"
}

// s6Error is the text of the C library for an error.
func s6Error(err error) string {
	s := err.Error()
	if s != "" && s[0] >= 'a' && s[0] <= 'z' {
		return string(s[0]-'a'+'A') + s[1:]
	}
	return s
}

// s6Words are s6-log's for a step that failed.
func s6Words(t logwriter.Trouble) string {
	file := t.Dir + "/" + t.File
	unable, cause := "", t.Err
	switch t.Step {
	case logwriter.StepOpenDir:
		unable = "open " + t.Dir + "/lock"
	case logwriter.StepLock:
		unable = "open " + t.Dir + "/lock"
		if t.Err == unix.EAGAIN || t.Err == unix.EACCES {
			unable, cause = "lock "+t.Dir+"/lock", unix.EBUSY
		}
	case logwriter.StepStat:
		unable = "stat " + file
	case logwriter.StepAppend, logwriter.StepCreate:
		unable = "open_append " + file
	case logwriter.StepWrite:
		switch {
		case t.File == "state":
			unable = "open_trunc " + file
		default:
			unable = "write to " + file
		}
	case logwriter.StepSync:
		unable = "fd_sync " + file
	case logwriter.StepMode:
		unable = "fd_chmod " + file
	case logwriter.StepRename:
		unable = "rename " + file + " to " + t.Dir + "/" + t.To
	case logwriter.StepLink:
		unable = "finish previous " + t.File[strings.LastIndexByte(t.File, '.'):] + " to logdir " + t.Dir
	case logwriter.StepRemove:
		unable = "unlink " + file
	case logwriter.StepReadDir:
		unable = "opendir " + t.Dir
	case logwriter.StepRead:
		unable = "open_readb " + file
	case logwriter.StepFork, logwriter.StepWait:
		unable = "fork processor for logdir " + t.Dir
	case logwriter.StepCrashed:
		return "processor crashed in " + t.Dir
	case logwriter.StepFailed:
		return "processor failed in " + t.Dir
	default:
		return t.Error()
	}
	return "unable to " + unable + ": " + s6Error(cause)
}
