package loaders

import (
	"runtime"
	"strings"
	"syscall"

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
	return search(env, file, func(path string) error {
		return syscall.Exec(path, argv, environ)
	})
}

// search tries a program under all the paths it may have (daemontools.md,
// section 1.4) until one attempt succeeds. PATH is that of the loader and never
// of the environment that is being made.
func search(env *cli.Env, file string, try func(path string) error) error {
	if strings.IndexByte(file, '/') >= 0 {
		return try(file)
	}
	path, found := env.Getenv("PATH")
	if !found {
		path = "/bin:/usr/bin"
	}
	var result error = unix.ENOENT
	for {
		dir, rest, more := strings.Cut(path, ":")
		if dir == "" {
			dir = "."
		}
		err := try(dir + "/" + file)
		switch err {
		case nil:
			return nil
		case unix.ENOENT:
		case unix.EACCES, unix.EPERM, unix.EISDIR:
			result = err
		default:
			return err
		}
		if !more {
			return result
		}
		path = rest
	}
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

// makeRoom has the heap ready for the copy that syscall.Exec makes of arguments
// and environment: after a limit on memory has been set there may be no more.
// The heap starts with 4 MB, which is enough but for giants.
func makeRoom(argv, environ []string) {
	size := 0
	for _, list := range [][]string{argv, environ} {
		for _, s := range list {
			size += len(s) + 16
		}
	}
	if size > 1<<20 {
		b := make([]byte, 4*size)
		runtime.KeepAlive(&b[0])
		runtime.GC() // leaves it to the heap
	}
}
