package logger

import (
	"errors"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/logwriter"
)

const (
	svlogdSyntax  = " [-ttv] [-r c] [-R abc] [-l len] [-b buflen] dir ...\n\n"
	svlogdVersion = "$Id: upkeep $\n"
	svlogdRetry   = 3 * time.Second // between two attempts at what failed
)

// Svlogd is the applet svlogd of runit 2.1.2 (runit.md, section 5):
//
//	svlogd [-tttv] [-r C] [-R XYZ] [-l LEN] [-b BUFLEN] DIR ...
//
// Unlike the original it leaves its input in the pipe until it has been written; it
// logs the last line even if it has no end, and the one that TERM came in; it
// deletes old files of either kind, but not the one that is being processed; a
// processor goes on over HUP; and one that fails again and again is started once a
// second.
//
// Exit code: 0 at the end of input or after TERM; 111 for wrong usage and if no
// directory can be used.
func Svlogd(env *cli.Env, args []string) int {
	p := &svlogd{env: env}
	o, ok := p.options(args)
	if !ok {
		_, _ = env.Stderr.WriteString("usage: " + args[0] + svlogdSyntax)
		return cli.ExitFatal
	}
	var err error
	if p.home, err = unix.Open(".", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return env.Fatal("svlogd", "unable to open current working directory", err)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM, unix.SIGALRM, unix.SIGHUP)
	if p.in, err = logwriter.OpenInput(int(env.Stdin)); err != nil {
		return env.Fatal("svlogd", "unable to prepare to read", err)
	}
	p.in.Allow(o.window())
	go p.heed(signals)
	return p.run(o)
}

// svlogdOptions are the command line.
type svlogdOptions struct {
	stamps  int
	line    int
	replace *[256]byte
	dirs    []string
}

// window is how much of a line is looked at: there has to be room for it.
func (o *svlogdOptions) window() int { return min(o.line, 1<<28) }

// svlogd is a running svlogd.
type svlogd struct {
	env     *cli.Env
	in      *logwriter.Input
	home    int // the directory that names are relative to
	verbose bool
	line    int
	host    *logwriter.Host

	logs []*runitLog

	term, alarm, hangup atomic.Bool
	// tending is set while it is looked what has happened meanwhile.
	tending bool
}

// runitLog is a log directory that was named.
type runitLog struct {
	name   string
	dir    *logwriter.Dir // nil if it cannot be used
	config svlogdConfig
}

func (p *svlogd) options(args []string) (o svlogdOptions, ok bool) {
	opts := cli.NewOptions(p.env, args, "R:r:l:b:tvV")
	var with byte
	var also string
	buffer := uint64(0)
	line := uint64(0)
	for {
		switch opts.Next() {
		case cli.End:
			if line == 0 {
				line = 1000
			}
			if buffer == 0 {
				buffer = 1024
			}
			o.dirs, o.line = opts.Args(), size(line)
			if with != 0 {
				o.replace = replacement(with, also)
			}
			return o, len(o.dirs) > 0 && buffer > line
		case 'R':
			if also = opts.Arg; with == 0 {
				with = '_'
			}
		case 'r':
			if len(opts.Arg) != 1 {
				return o, false
			}
			with = opts.Arg[0]
		case 'l':
			line, _ = leadingNumber(opts.Arg)
		case 'b':
			buffer, _ = leadingNumber(opts.Arg)
		case 't':
			o.stamps++
		case 'v':
			p.verbose = true
		case 'V':
			_, _ = p.env.Stderr.WriteString(svlogdVersion)
			return o, false
		default:
			return o, false
		}
	}
}

// replacement is a table of what is written for each character.
func replacement(with byte, also string) *[256]byte {
	var t [256]byte
	for i := range t {
		t[i] = byte(i)
		if i < 32 || i > 126 || strings.IndexByte(also, byte(i)) >= 0 {
			t[i] = with
		}
	}
	return &t
}

// heed takes signals for the rest of the process's life.
func (p *svlogd) heed(signals <-chan os.Signal) {
	for s := range signals {
		switch s {
		case unix.SIGTERM:
			p.term.Store(true)
		case unix.SIGALRM:
			p.alarm.Store(true)
		default:
			p.hangup.Store(true)
		}
		p.in.Interrupt()
	}
}

// run feeds the writer until the input ends or TERM comes.
func (p *svlogd) run(o svlogdOptions) int {
	p.line = o.line
	p.host = &logwriter.Host{
		Trouble: p.trouble,
		Alert:   func(b []byte) { _, _ = p.env.Stderr.Write(b) },
		Start:   p.start,
		Note:    p.note,
	}
	for _, name := range o.dirs {
		p.logs = append(p.logs, &runitLog{name: name})
	}
	some := false
	for _, l := range p.logs {
		some = p.open(l, "") || some
	}
	if !some {
		return p.env.Fatal("svlogd", "no functional log directories.", nil)
	}
	rules := logwriter.Rules{Window: o.window(), Replace: o.replace}
	switch {
	case o.stamps == 1:
		rules.Stamp = logwriter.TAI64N()
	case o.stamps == 2:
		rules.Stamp = logwriter.Date('_', 5, " ", time.UTC)
	case o.stamps > 2:
		rules.Stamp = logwriter.Date('T', 5, " ", time.UTC)
	}
	w := logwriter.NewOutlets(rules, p.outlets(), p.host)
	timer := time.AfterFunc(time.Hour, p.in.Interrupt)
	defer timer.Stop()
	told, lost := false, false
	err := feed(p.in, w, func() (stop, over bool) {
		if p.alarm.Swap(false) {
			p.info("sigalarm received.")
			w.Rotate()
		}
		if p.hangup.Swap(false) {
			p.info("sighangup received.")
			if lost = !p.reopen(w); lost {
				return true, true
			}
		}
		stop = p.term.Load()
		if stop && !told {
			told = true
			p.info("sigterm received.")
		}
		p.tend(timer)
		return stop, false
	}, nil)
	if lost {
		return p.env.Fatal("svlogd", "no functional log directories.", nil)
	}
	if err != nil {
		p.env.Warn("svlogd", "unable to read standard input", err)
	}
	for _, l := range p.logs {
		if l.dir != nil {
			l.dir.Await()
			p.close(l)
		}
	}
	return 0
}

// tend sees to what is due in the directories, and has timer fire when something
// is the next time.
func (p *svlogd) tend(timer *time.Timer) {
	now := time.Now()
	next := now.Add(time.Hour)
	p.tending = true
	for _, l := range p.logs {
		if l.dir == nil {
			continue
		}
		l.dir.Tend(now)
		if at := l.dir.Due(); !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	p.tending = false
	timer.Reset(time.Until(next))
}

// open opens a directory, or says why it cannot be used. was is the name that it
// was open under.
func (p *svlogd) open(l *runitLog, was string) bool {
	l.config = svlogdConfig{}
	var err error
	l.dir, err = logwriter.OpenRunit(l.name, func(read func() ([]byte, error)) logwriter.RunitConfig {
		text, err := read()
		if err != unix.ENOENT {
			if err != nil {
				p.env.Warn("svlogd", "unable to read config: "+l.name, err)
			}
			p.info("read: " + l.name + "/config")
		}
		l.config = parseSvlogdConfig(text)
		for _, s := range l.config.warnings {
			p.env.Warn("svlogd", s, nil)
		}
		l.config.dir.Line = p.line
		return l.config.dir
	}, p.host)
	if err == nil {
		return true
	}
	l.dir = nil
	t, _ := errors.AsType[*logwriter.Trouble](err)
	what := "unable to stat current: "
	switch t.Step {
	case logwriter.StepOpenDir:
		what = "unable to open log directory: "
	case logwriter.StepEnterDir:
		what = "unable to change directory: "
	case logwriter.StepLock:
		what = "unable to lock directory: "
	}
	if t.Step != logwriter.StepOpenDir {
		p.info("close: " + was)
	}
	p.env.Warn("svlogd", what+l.name, t.Err)
	return false
}

// reopen closes all directories and opens them again.
func (p *svlogd) reopen(w *logwriter.Writer) (some bool) {
	for _, l := range p.logs {
		earlier, was := l.dir, ""
		if earlier != nil {
			p.close(l)
			was = l.name
		}
		if !p.open(l, was) {
			continue
		}
		some = true
		if earlier != nil {
			l.dir.Adopt(earlier)
		}
	}
	w.Replace(p.outlets())
	return some
}

func (p *svlogd) close(l *runitLog) {
	p.info("close: " + l.name)
	l.dir.Close()
}

func (p *svlogd) outlets() []logwriter.Outlet {
	list := make([]logwriter.Outlet, len(p.logs))
	for i, l := range p.logs {
		list[i] = logwriter.Outlet{Dir: l.dir, Choices: l.config.choices, Prefix: l.config.prefix, Only: l.config.only}
		if l.config.to.port != 0 {
			list[i].Send = l.config.to.sender()
		}
	}
	return list
}

// start starts a processor: /bin/sh, with the descriptors where the original has
// them, in the log directory.
func (p *svlogd) start(pr logwriter.Processor) (<-chan syscall.WaitStatus, error) {
	if err := unix.Fchdir(pr.Dir); err != nil {
		return nil, err
	}
	none := ^uintptr(0)
	pid, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", pr.Command}, &syscall.ProcAttr{
		Env: os.Environ(),
		Files: []uintptr{uintptr(pr.Stdin), uintptr(pr.Stdout), 2, none,
			uintptr(pr.State), uintptr(pr.NewState)},
	})
	if home := unix.Fchdir(p.home); err == nil && home != nil {
		p.env.Warn("svlogd", "unable to change to initial working directory", home)
	}
	if err != nil {
		return nil, err
	}
	ended := make(chan syscall.WaitStatus, 1)
	go func() {
		const lost = 111 << 8 // its exit status is not known: let it be done again
		for {
			var status syscall.WaitStatus
			_, err := syscall.Wait4(pid, &status, 0, nil)
			if err == syscall.EINTR {
				continue
			}
			if err != nil {
				status = lost
			}
			ended <- status
			p.in.Interrupt()
			return
		}
	}()
	return ended, nil
}

func (p *svlogd) info(text string) {
	if p.verbose {
		_, _ = p.env.Stderr.WriteString("svlogd: info: " + text + "\n")
	}
}

// note says what happens to files (section 5.8).
func (p *svlogd) note(n logwriter.Note) {
	file := n.Dir + "/" + n.File
	if p.tending && (n.Event == logwriter.Processed || n.Event == logwriter.Failed) {
		p.info("sigchild received.")
	}
	switch n.Event {
	case logwriter.Opened:
		if n.Size < 0 {
			p.info("new: " + file)
		} else {
			p.info("append: " + file)
		}
	case logwriter.Renamed:
		p.info("rename: " + n.Dir + "/current " + n.File + " " + strconv.Itoa(n.Size))
	case logwriter.Deleted:
		p.info("delete: " + file)
	case logwriter.Sacrificed:
		p.env.Warn("svlogd", "out of disk space, delete: "+file, nil)
	case logwriter.Processing:
		p.info("processing: " + file)
	case logwriter.Processed:
		p.info("processed: " + file)
	case logwriter.Failed:
		p.env.Warn("svlogd", "processor failed, restart: "+n.Dir, nil)
	case logwriter.Unremoved:
		what := "unable to unlink oldest logfile: "
		if strings.HasSuffix(n.File, ".t") {
			what = "unable to unlink processor leftover: "
		}
		p.env.Warn("svlogd", what+n.Dir, n.Err)
	}
}

// trouble says what is wrong and waits.
func (p *svlogd) trouble(t logwriter.Trouble) {
	_, _ = p.env.Stderr.WriteString("svlogd: pausing: " + svlogdWords(t) + ": " + t.Dir + ": " + cli.ErrText(t.Err) + "\n")
	time.Sleep(svlogdRetry)
}

func svlogdWords(t logwriter.Trouble) string {
	current := t.File == "current"
	switch t.Step {
	case logwriter.StepWrite:
		return "unable to write to current"
	case logwriter.StepSync:
		if current {
			return "unable to fsync current logfile"
		}
		return "unable to fsync processed"
	case logwriter.StepMode:
		if current {
			return "unable to set mode of current"
		}
		return "unable to set mode of processed"
	case logwriter.StepRename:
		switch t.File {
		case "current":
			return "unable to rename current"
		case "newstate":
			return "unable to rename state"
		}
		return "unable to rename processed"
	case logwriter.StepAppend:
		return "unable to open current"
	case logwriter.StepReadDir:
		return "unable to open directory, want rotate"
	case logwriter.StepFork:
		return "unable to fork for processor"
	case logwriter.StepCreate:
		switch t.File {
		case "current":
			return "unable to create new current"
		case "newstate":
			return "unable to open newstate for processor"
		}
		return "unable to open output for processor"
	case logwriter.StepRead:
		if t.File == "state" {
			return "unable to open state for processor"
		}
		return "unable to open input for processor"
	}
	return t.Error()
}
