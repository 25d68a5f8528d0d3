package loaders

import (
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
)

// become executes argv in place of this process. It returns only to say why it
// could not.
func become(env *cli.Env, argv, environ []string) error {
	return becomeAs(env, argv[0], argv, environ)
}

// becomeAs is become for a program that is not called what argv[0] says.
//
// syscall.Exec gives back the limit of open files that the runtime has raised,
// unless it was set since, and keeps threads from being made meanwhile.
func becomeAs(env *cli.Env, file string, argv, environ []string) error {
	paths := candidates(env, file)
	return search(len(paths), func(i int) error { return syscall.Exec(paths[i], argv, environ) })
}

// candidates are the paths that a program may have. PATH is that of the loader and
// never of the environment that is being made.
func candidates(env *cli.Env, file string) []string {
	if strings.IndexByte(file, '/') >= 0 {
		return []string{file}
	}
	path, found := env.Getenv("PATH")
	if !found {
		path = "/bin:/usr/bin"
	}
	list := make([]string, 0, 1+strings.Count(path, ":"))
	for {
		dir, rest, more := strings.Cut(path, ":")
		if dir == "" {
			dir = "."
		}
		list = append(list, dir+"/"+file)
		if !more {
			return list
		}
		path = rest
	}
}

// search tries n paths until one attempt succeeds (daemontools.md, section 1.4).
func search(n int, try func(i int) error) error {
	var result error = unix.ENOENT
	for i := range n {
		err := try(i)
		switch err {
		case nil:
			return nil
		case unix.ENOENT:
		case unix.EACCES, unix.EPERM, unix.EISDIR:
			result = err
		default:
			return err
		}
	}
	return result
}

// environment is a copy of this process's.
func environment() []string { return syscall.Environ() }

// setenv sets a variable, or changes it. A NUL ends the value as it does in C. A
// name with "=" in it is cut there (daemontools.md, section 8.4).
func setenv(environ []string, name, value string) []string {
	return apply(environ, name+"="+value)
}

// unsetenv removes a variable. A name with "=" in it sets what is before it.
func unsetenv(environ []string, name string) []string { return apply(environ, name) }

func apply(environ []string, entry string) []string {
	entry, _, _ = strings.Cut(entry, "\x00")
	name, _, set := strings.Cut(entry, "=")
	for i, e := range environ {
		if len(e) > len(name) && e[len(name)] == '=' && e[:len(name)] == name {
			if set {
				environ[i] = entry
				return environ
			}
			last := len(environ) - 1
			environ[i] = environ[last]
			return environ[:last]
		}
	}
	if set {
		environ = append(environ, entry)
	}
	return environ
}

// bounded is an exec under limits that are meant for the program, of which this
// process may have exceeded some. The runtime dies if it is refused memory or a
// thread, so all is made before: with one processor it makes no more threads, which
// is also what syscall.Exec has a lock for, and nothing is allocated below set.
type bounded struct {
	env       *cli.Env
	paths     []*byte
	argv      []*byte
	environ   []*byte
	complaint []byte
}

// bind prepares it. complaint is the message for a failure without its cause.
func bind(env *cli.Env, complaint, file string, argv, environ []string) (*bounded, error) {
	b := &bounded{env: env, complaint: append(make([]byte, 0, len(complaint)+100), complaint...)}
	var err error
	if b.argv, err = syscall.SlicePtrFromStrings(argv); err != nil {
		return nil, err
	}
	if b.environ, err = syscall.SlicePtrFromStrings(environ); err != nil {
		return nil, err
	}
	for _, path := range candidates(env, file) {
		p, err := syscall.BytePtrFromString(path)
		if err != nil {
			return nil, err
		}
		b.paths = append(b.paths, p)
	}
	// Whoever fails to exec has the limit of open files back that the runtime
	// has raised.
	_ = syscall.Exec("", nil, nil)
	runtime.GOMAXPROCS(1)
	return b, nil
}

// run sets limits and executes the program. It returns an exit code, after a
// complaint, if that fails. For a limit, failed makes the complaint.
func (b *bounded) run(limits []limit, failed func(step string, err error) int) int {
	for i := range limits {
		if step, err := limits[i].set(); err != nil {
			return failed(step, err)
		}
	}
	b.complaint = append(b.complaint, cli.ErrText(b.exec())...)
	_, _ = b.env.Stderr.Write(append(b.complaint, '\n'))
	return cli.ExitFatal
}

// exec executes the program. It returns only to say why it could not.
func (b *bounded) exec() error {
	return search(len(b.paths), func(i int) error {
		_, _, errno := syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(b.paths[i])),
			uintptr(unsafe.Pointer(&b.argv[0])), uintptr(unsafe.Pointer(&b.environ[0])))
		return errno
	})
}
