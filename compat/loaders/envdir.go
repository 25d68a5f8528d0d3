package loaders

import (
	"strings"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
)

// Envdir is envdir DIR CHILD: CHILD gets a variable for each file in DIR, or
// loses it if the file is empty. encore's has -p PREFIX. Wrong usage is 111 here.
//
// Unlike the originals it does not change into DIR and back, so it does not fail
// in a working directory that cannot be read.
func Envdir(env *cli.Env, args []string) int {
	const prog = "envdir"
	operands, prefix, syntax := args[1:], "", "envdir dir child"
	switch dialect(env) {
	case runit:
		return Chpst(env, args)
	case encore:
		var ok bool
		syntax = "envdir [ -p prefix ] dir child"
		if operands, prefix, ok = prefixOption(env, args); !ok {
			operands = nil
		}
	}
	begin()
	if len(operands) < 2 {
		env.Usage(prog, syntax)
		return cli.ExitFatal
	}
	environ, step, path, err := readEnvdir(environment(), operands[0], prefix, nil)
	if err != nil {
		if step == stepOpenDir {
			step = stepReadDir
		}
		return env.Fatal(prog, step+" "+path, err)
	}
	return unable(env, prog, operands[1:], become(env, operands[1:], environ))
}

// prefixOption reads [-p PREFIX].
func prefixOption(env *cli.Env, args []string) (operands []string, prefix string, ok bool) {
	options := cli.NewOptions(env, args, "p:")
	for c := options.Next(); c != cli.End; c = options.Next() {
		if c == cli.Bad {
			return nil, "", false
		}
		prefix = options.Arg
	}
	return options.Args(), prefix, true
}

// What readEnvdir may be unable to do, with its path.
const (
	stepSwitch  = "unable to switch to directory"
	stepOpenDir = "unable to open directory"
	stepReadDir = "unable to read directory"
	stepRead    = "unable to read"
)

// readEnvdir changes environ as the files in a directory say. Files whose name
// starts with a dot are none of them. For an error, step and path say what could
// not be done. skip, if there is one, is told of a directory among the files, which
// otherwise is an error.
func readEnvdir(environ []string, dir, prefix string, skip func(path string)) (_ []string, step, path string, err error) {
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, stepSwitch, dir, err
	}
	defer unix.Close(at)
	fd, err := unix.Openat(at, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		// Is it not to be entered, or not to be read?
		if fd, err := unix.Openat(at, ".", unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
			return nil, stepSwitch, dir, err
		} else {
			unix.Close(fd)
		}
		return nil, stepOpenDir, dir, err
	}
	defer unix.Close(fd)
	buffer := make([]byte, 4096)
	for {
		n, err := unix.ReadDirent(fd, buffer)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, stepReadDir, dir, err
		}
		if n <= 0 {
			return environ, "", "", nil
		}
		_, _, names := unix.ParseDirent(buffer[:n], -1, nil)
		for _, name := range names {
			if name[0] == '.' {
				continue
			}
			text, err := firstLine(fd, name)
			switch {
			case err == unix.EISDIR && skip != nil:
				skip(dir + "/" + name)
			case err != nil:
				return nil, stepRead, dir + "/" + name, err
			case text == "":
				environ = unsetenv(environ, prefix+name)
			default:
				environ = setenv(environ, prefix+name, envdirValue(text))
			}
		}
	}
}

// maxLine is more than the kernel takes for a variable.
const maxLine = 1 << 20

// firstLine reads a file until a line has come, or maxLine bytes: "" for an empty
// one, and for one that is gone by now, such as behind a link that leads nowhere.
func firstLine(dir int, name string) (string, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return drain(fd, true)
}

// envdirValue is the variable that a file which is not empty stands for.
func envdirValue(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return strings.ReplaceAll(strings.TrimRight(line, " \t"), "\x00", "\n")
}
