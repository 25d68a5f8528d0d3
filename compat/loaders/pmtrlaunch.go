package loaders

import (
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
)

const pmtrLaunchSyntax = "pmtr-launch [-e envdir] [-E name=value] [-d dir] [-n nice] [-c cpumask] [-l flag=limit]" +
	" [-u user] [-i in] [-o out] [-r err] program [argument ...]"

// pmtrFailed is the exit code for all that fails at the start of a job of pmtr.
const pmtrFailed = 255

// pmtrLaunch is a start of a job.
type pmtrLaunch struct {
	env     *cli.Env
	log     int  // standard error as it was, out of the program's way
	moved   bool // standard error is the job's by now
	dir     string
	nice    int
	hasNice bool
	cpus    unix.CPUSet
	hasCPUs bool
	limits  []pmtrLimit
	user    string
	paths   [3]string
	flags   [3]int
}

// pmtrLimit is a limit, soft and hard.
type pmtrLimit struct {
	resource int
	rlimit   unix.Rlimit
}

// PmtrLaunch is pmtr-launch [OPTIONS] PROGRAM [ARGUMENT...]: it becomes PROGRAM, which is
// not looked for in PATH, the way in which pmtr starts a job (pmtr.md, section 3.3):
// umask 0, working directory, environment, nice level, affinity, limits, signals, user
// with all groups, and then, as that user, files. Whatever the order of its options,
// this is the order of the steps. What is not asked for stays as it is, but for
// standard input, which is /dev/null then, and signals: those that pmtr uses are not
// ignored, and none is blocked.
//
// -e DIR takes variables from files as envdir does, and is read before -d counts. -c
// has CPUs as hexadecimal digits after 0x, -l one of pmtr's letters for limits, as in
// n=100 or c=unlimited, and -r is for standard error. Messages are pmtr's, and so is
// the exit code 255 for them.
func PmtrLaunch(env *cli.Env, args []string) int {
	begin()
	l := &pmtrLaunch{env: env}
	l.flags = [3]int{unix.O_RDONLY, unix.O_WRONLY | unix.O_CREAT | unix.O_APPEND, unix.O_WRONLY | unix.O_CREAT | unix.O_APPEND}
	l.paths[0] = "/dev/null"
	environ := environment()
	options := cli.NewOptions(env, args, "e:E:d:n:c:l:u:i:o:r:")
	for letter := options.Next(); letter != cli.End; letter = options.Next() {
		arg, ok := options.Arg, true
		switch letter {
		case 'e':
			var path string
			var err error
			if environ, _, path, err = readEnvdir(environ, arg, "", nil); err != nil {
				return l.fail("can't read environment "+path, err)
			}
		case 'E':
			if ok = strings.IndexByte(arg, '=') > 0; ok {
				environ = apply(environ, arg)
			}
		case 'd':
			l.dir = arg
		case 'n':
			var err error
			l.nice, err = strconv.Atoi(arg)
			l.hasNice, ok = true, err == nil
		case 'c':
			ok = l.parseCPUs(arg)
		case 'l':
			ok = l.parseLimit(arg)
		case 'u':
			l.user = arg
		case 'i':
			l.paths[0] = arg
		case 'o':
			l.paths[1] = arg
		case 'r':
			l.paths[2] = arg
		default:
			ok = false
		}
		if !ok {
			return env.Usage("pmtr-launch", pmtrLaunchSyntax)
		}
	}
	argv := options.Args()
	if len(argv) == 0 {
		return env.Usage("pmtr-launch", pmtrLaunchSyntax)
	}
	return l.launch(argv, environ)
}

// parseCPUs reads a mask. CPUs above those that a CPUSet has are left out.
func (l *pmtrLaunch) parseCPUs(mask string) bool {
	digits, ok := strings.CutPrefix(mask, "0x")
	if !ok || digits == "" {
		return false
	}
	for i := range len(digits) {
		d, err := strconv.ParseUint(digits[i:i+1], 16, 8)
		if err != nil {
			return false
		}
		for bit := range 4 {
			if d&(1<<bit) != 0 {
				l.cpus.Set((len(digits)-1-i)*4 + bit)
				l.hasCPUs = true
			}
		}
	}
	return true
}

func (l *pmtrLaunch) parseLimit(text string) bool {
	flag, value, ok := strings.Cut(text, "=")
	if !ok || len(flag) != 1 {
		return false
	}
	n := uint64(unix.RLIM_INFINITY)
	if value != "unlimited" {
		var err error
		if n, err = strconv.ParseUint(value, 10, 64); err != nil {
			return false
		}
	}
	resource, ok := PmtrResource(flag[0])
	l.limits = append(l.limits, pmtrLimit{resource, unix.Rlimit{Cur: n, Max: n}})
	return ok
}

// PmtrResource is what a flag of pmtr's ulimit limits. softlimit and chpst have some of
// the letters for other things.
func PmtrResource(flag byte) (resource int, ok bool) {
	switch flag {
	case 'c':
		return unix.RLIMIT_CORE, true
	case 'd':
		return unix.RLIMIT_DATA, true
	case 'e':
		return unix.RLIMIT_NICE, true
	case 'f':
		return unix.RLIMIT_FSIZE, true
	case 'i':
		return unix.RLIMIT_SIGPENDING, true
	case 'l':
		return unix.RLIMIT_MEMLOCK, true
	case 'm':
		return unix.RLIMIT_RSS, true
	case 'n':
		return unix.RLIMIT_NOFILE, true
	case 'q':
		return unix.RLIMIT_MSGQUEUE, true
	case 'r':
		return unix.RLIMIT_RTPRIO, true
	case 's':
		return unix.RLIMIT_STACK, true
	case 't':
		return unix.RLIMIT_CPU, true
	case 'u':
		return unix.RLIMIT_NPROC, true
	case 'v':
		return unix.RLIMIT_AS, true
	}
	return 0, false
}

// fail says why the job cannot be started, to the log and, if that is something else
// by now, to the job's standard error. err is nil for what needs no reason.
func (l *pmtrLaunch) fail(text string, err error) int {
	b := make([]byte, 0, 200)
	b = append(b, "pmtr["...)
	b = strconv.AppendInt(b, int64(unix.Getpid()), 10)
	b = append(b, "]: "...)
	b = append(b, text...)
	if err != nil {
		b = append(b, ": "...)
		b = append(b, cli.Strerror(err)...)
	}
	b = append(b, '\n')
	_, _ = l.env.Stderr.Write(b)
	if l.log > 0 && l.moved {
		_, _ = cli.FD(l.log).Write(b)
	}
	return pmtrFailed
}

// launch takes the steps. From the first limit on there may be no memory, no thread
// and no descriptor to be had, so all is made before, and only system calls follow.
func (l *pmtrLaunch) launch(argv, environ []string) int {
	var account account
	var groups []uint32
	var userErr, groupsErr error
	if l.user != "" {
		db := system()
		if account, userErr = db.user(l.user); userErr == nil {
			groups, groupsErr = db.groups(account)
		}
	}
	file := argv[0]
	if strings.IndexByte(file, '/') < 0 {
		file = "./" + file // a name without a slash is in the job's directory
	}
	b, err := bind(l.env, "", file, argv, environ)
	if err != nil {
		return l.fail("can't exec "+argv[0], err)
	}
	var opens [3]*byte
	for i, path := range l.paths {
		if path != "" {
			if opens[i], err = syscall.BytePtrFromString(path); err != nil {
				return l.fail("can't open/dup "+path, err)
			}
		}
	}

	unix.Umask(0)
	if l.dir != "" {
		if err := unix.Chdir(l.dir); err != nil {
			return l.fail("can't chdir "+l.dir, err)
		}
	}
	if l.hasNice {
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, l.nice); err != nil {
			return l.fail("can't setpriority", err)
		}
	}
	if l.hasCPUs {
		if err := unix.SchedSetaffinity(0, &l.cpus); err != nil {
			return l.fail("can't set cpu affinity", err)
		}
	}
	// Above the descriptors of the program, which a limit is about.
	const above = 10
	if fd, err := unix.FcntlInt(uintptr(l.env.Stderr), unix.F_DUPFD_CLOEXEC, above); err == nil {
		l.log = fd
	}
	for fd := 3; fd < above; fd++ { // what the runtime has, and misses no more
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC != 0 {
			unix.Close(fd)
		}
	}
	for i := range l.limits {
		r := &l.limits[i]
		if _, _, errno := syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, uintptr(r.resource),
			uintptr(unsafe.Pointer(&r.rlimit)), 0, 0, 0); errno != 0 {
			return l.fail("can't setrlimit", errno)
		}
	}
	standardSignals()
	if l.user != "" {
		if userErr != nil {
			return l.fail("unknown user: "+l.user, nil)
		}
		if err := setgid(account.gid); err != nil {
			return l.fail("can't setgid "+l.user, err)
		}
		if err = groupsErr; err == nil {
			err = setgroups(groups)
		}
		if err != nil {
			return l.fail("can't initgroups "+l.user, err)
		}
		if err := setuid(account.uid); err != nil {
			return l.fail("can't setuid "+l.user, err)
		}
	}
	for fd, path := range opens {
		if path != nil {
			if err := openAs(fd, path, l.flags[fd]); err != nil {
				return l.fail("can't open/dup "+l.paths[fd], err)
			}
			l.moved = fd == 2
		}
	}
	return l.fail("can't exec "+argv[0], b.exec())
}

// openAs opens a file as a descriptor. It allocates nothing.
func openAs(fd int, path *byte, flags int) error {
	const cwd = ^uintptr(-unix.AT_FDCWD - 1)
	got, _, errno := syscall.RawSyscall6(unix.SYS_OPENAT, cwd, uintptr(unsafe.Pointer(path)), uintptr(flags), 0o644, 0, 0)
	if errno != 0 {
		return errno
	}
	if int(got) == fd {
		return nil
	}
	if _, _, errno = syscall.RawSyscall(unix.SYS_DUP3, got, uintptr(fd), 0); errno != 0 {
		return errno
	}
	syscall.RawSyscall(unix.SYS_CLOSE, got, 0, 0)
	return nil
}

// standardSignals has the signals that pmtr uses do what they do by default, also
// those that were ignored, and blocks none.
func standardSignals() {
	var standard [8]uintptr
	for _, sig := range [...]unix.Signal{
		unix.SIGHUP, unix.SIGCHLD, unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGALRM, unix.SIGUSR1, unix.SIGIO,
	} {
		sigaction(sig, &standard, nil)
	}
	const setMask = 2
	var none uint64
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(&none)), 0, 8, 0, 0)
}
