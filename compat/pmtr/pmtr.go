package pmtr

import (
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/conf2dir"
)

const (
	defaultConf = "/etc/pmtr.conf"
	usageText   = " [options]\n" +
		"  -c FILE  configuration (default " + defaultConf + ")\n" +
		"  -F       stay in the foreground\n" +
		"  -p FILE  write the pid to FILE\n" +
		"  -t       check the configuration and exit\n" +
		"  -v       say more; may be repeated\n" +
		"  -h       this text\n"
)

// options is a command line.
type options struct {
	env        *cli.Env
	log        *journal
	conf       string
	pidfile    string
	foreground bool
	test       bool
	verbose    int
}

// Pmtr is pmtr [-F] [-c CONF] [-p PIDFILE] [-t] [-v] (pmtr.md): it runs the jobs of CONF, and
// obeys whatever is saved there at once. TERM, INT, QUIT and USR1 end it with all jobs, HUP
// has it read CONF again. As process 1 it is in the foreground.
//
// Exit: 0 after a signal, and for -t if CONF is right; 1 if it is not, or pmtr could not
// begin; 255 for wrong usage.
func Pmtr(env *cli.Env, args []string) int {
	o := &options{env: env, log: newJournal(env), conf: defaultConf}
	if !o.read(args) {
		_, _ = env.Stderr.WriteString("usage: " + args[0] + usageText)
		return exitUsage
	}
	if o.test {
		return o.check()
	}
	if !o.foreground && os.Getpid() != 1 {
		return o.daemon(args)
	}
	return o.run()
}

// read reads the command line. Operands are passed over, options behind them are not.
func (o *options) read(args []string) bool {
	rest := args
	for len(rest) > 0 {
		list := cli.NewOptions(o.env, append(args[:1:1], rest[1:]...), "Fc:tvp:Ih")
		letter := list.Next()
		for ; letter != cli.End; letter = list.Next() {
			switch letter {
			case 'F':
				o.foreground = true
			case 'c':
				o.conf = list.Arg
			case 't':
				o.test = true
			case 'v':
				o.verbose++
			case 'p':
				o.pidfile = list.Arg
			case 'I': // has no effect any more
			default:
				return false
			}
		}
		left := list.Args()
		if n := len(rest) - len(left); n > 0 && rest[n-1] == "--" && n > 1 {
			break
		}
		rest = left
	}
	return o.conf != ""
}

// check is -t.
func (o *options) check() int {
	text, err := conf2dir.ReadFile(o.conf)
	if err != nil {
		o.log.say(errs, err.Error())
		o.log.say(errs, "parse failed: ")
		return exitFailed
	}
	file, wrong := conf2dir.Parse(o.conf, text)
	if wrong != nil {
		o.log.say(errs, "parse failed: ", wrong.Text)
		return exitFailed
	}
	remark(o.log, file)
	start, err := os.Getwd()
	if err != nil {
		start = "."
	}
	f, code := &front{log: o.log}, 0
	for _, j := range file.Jobs {
		if len(j.Cmd) == 0 {
			code = exitFailed
		} else if j.Disable {
			continue
		} else if _, err := j.Fingerprint(start); err != nil {
			f.complainOfDepends(err)
		}
	}
	return code
}

// daemon starts what goes on in the background, if the configuration is right.
func (o *options) daemon(args []string) int {
	if text, err := conf2dir.ReadFile(o.conf); err == nil {
		if _, wrong := conf2dir.Parse(o.conf, text); wrong != nil {
			o.log.say(errs, "parse failed: ", wrong.Text)
			return exitFailed
		}
	}
	pidfile, ok := o.openPIDFile()
	if !ok {
		return exitFailed
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	pid := 0
	if err == nil {
		pid, err = syscall.ForkExec("/proc/self/exe", append([]string{"pmtr", "-F"}, args[1:]...), &syscall.ProcAttr{
			Env: syscall.Environ(), Files: []uintptr{uintptr(null), uintptr(null), uintptr(null)},
			Sys: &syscall.SysProcAttr{Setsid: true},
		})
	}
	if err != nil {
		o.log.say(errs, "can't fork: ", cli.Strerror(err))
		return exitFailed
	}
	writePID(pidfile, pid) // as it will do itself
	return 0
}

// openPIDFile makes the pidfile, if one is asked for; else fd is -1.
func (o *options) openPIDFile() (fd int, ok bool) {
	if o.pidfile == "" {
		return -1, true
	}
	fd, err := unix.Open(o.pidfile, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC, 0o644)
	if err != nil {
		o.log.say(errs, "can't open ", o.pidfile, ": ", cli.Strerror(err))
	}
	return fd, err == nil
}

func writePID(fd, pid int) {
	if fd >= 0 {
		_, _ = unix.Pwrite(fd, append(strconv.AppendInt(nil, int64(pid), 10), '\n'), 0)
		unix.Close(fd)
	}
}

// run is pmtr in the foreground.
func (o *options) run() int {
	signals := catch()
	pidfile, ok := o.openPIDFile()
	if !ok {
		return exitFailed
	}
	writePID(pidfile, os.Getpid())
	if o.pidfile != "" {
		defer os.Remove(o.pidfile)
	}
	unix.Umask(0)
	_ = os.WriteFile("/proc/self/comm", []byte("pmtr"), 0) // by whatever name it was executed
	f, err := newFront(o)
	if err != nil {
		o.log.say(errs, "can't start: ", cli.Strerror(err))
		return exitFailed
	}
	if !o.create() {
		return exitFailed
	}
	f.watch(nil) // before it is read, so that no change is lost
	file, complaint := f.read()
	if file == nil {
		o.log.say(errs, "parse failed: ", complaint)
		return exitFailed
	}
	f.run(file, signals)
	return 0
}

// create makes a configuration that is missing, which is empty.
func (o *options) create() bool {
	fd, err := unix.Open(o.conf, unix.O_RDONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	switch {
	case err == nil:
		unix.Close(fd)
		o.log.say(info, "creating empty ", o.conf)
	case unix.Access(o.conf, unix.F_OK) != nil:
		o.log.say(errs, "can't create ", o.conf, ": ", cli.Strerror(err))
		return false
	}
	return true
}

// catch has the signals that mean something be delivered, and the others mean nothing. None
// of that is inherited by jobs.
func catch() <-chan os.Signal {
	c := make(chan os.Signal, 16)
	signal.Notify(c, unix.SIGHUP, unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1)
	signal.Notify(make(chan os.Signal, 1), unix.SIGUSR2, unix.SIGALRM, unix.SIGPIPE, unix.SIGVTALRM, unix.SIGTSTP,
		unix.SIGTTIN, unix.SIGTTOU, unix.SIGPWR, unix.SIGSTKFLT, unix.SIGXCPU, unix.SIGXFSZ, unix.SIGWINCH, unix.SIGIO)
	if os.Getpid() == 1 {
		signal.Notify(make(chan os.Signal, 1), unix.SIGABRT, unix.SIGTRAP, unix.SIGSYS)
	}
	return c
}
