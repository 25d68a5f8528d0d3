package runit

import (
	"strings"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
)

// runlevels is where runsvdir's directories are, unless RUNSVDIR says otherwise.
const runlevels = "/etc/runit/runsvdir"

// Runsvchdir is the applet runsvchdir: have another directory be the current one.
//
//	runsvchdir NAME
//
// Exit code: 0; 1 for wrong usage; 111 if it cannot be done.
func Runsvchdir(env *cli.Env, args []string) int {
	if len(args) < 2 {
		return usage(env, args[0], " dir", 1)
	}
	prog, name := args[0], args[1]
	if strings.HasPrefix(name, ".") {
		return env.Fatal(prog, name+": must not start with a dot.", nil)
	}
	dir := runlevels
	if d, ok := env.Getenv("RUNSVDIR"); ok {
		dir = d
	}
	at, err := open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return env.Fatal(prog, "unable to chdir: "+dir, err)
	}
	defer unix.Close(at)
	var to, now unix.Stat_t
	if err := unix.Fstatat(at, name, &to, 0); err != nil {
		return env.Fatal(prog, name, err)
	}
	if to.Mode&unix.S_IFMT != unix.S_IFDIR {
		return env.Fatal(prog, name+"not a directory.", nil)
	}
	if err := unix.Fstatat(at, "current", &now, 0); err != nil {
		return env.Fatal(prog, "unable to stat: current", err)
	}
	if to.Dev == now.Dev && to.Ino == now.Ino {
		_, _ = env.Stdout.WriteString("runsvchdir: " + name + ": current.\n")
		return 0
	}
	if err := unix.Unlinkat(at, "current.new", 0); err != nil && err != unix.ENOENT {
		return env.Fatal(prog, "unable to unlink: current.new", err)
	}
	if err := unix.Symlinkat(name, at, "current.new"); err != nil {
		return env.Fatal(prog, "unable to create: current.new -> "+name, err)
	}
	if err := unix.Unlinkat(at, "previous", 0); err != nil && err != unix.ENOENT {
		return env.Fatal(prog, "unable to unlink: previous", err)
	}
	if err := turn(at); err != nil {
		return env.Fatal(prog, err.what, err.err)
	}
	_, _ = env.Stdout.WriteString("runsvchdir: " + name + ": now current.\n")
	return 0
}

// turnError is what could not be done.
type turnError struct {
	what string
	err  error
}

// turn makes current previous, and current.new current. Where the file system can, there is a
// current at every moment.
func turn(at int) *turnError {
	if unix.Renameat2(at, "current", at, "current.new", unix.RENAME_EXCHANGE) == nil {
		if err := unix.Renameat(at, "current.new", at, "previous"); err != nil {
			_ = unix.Renameat2(at, "current", at, "current.new", unix.RENAME_EXCHANGE)
			return &turnError{"unable to copy: current to previous", err}
		}
		return nil
	}
	if err := unix.Renameat(at, "current", at, "previous"); err != nil {
		return &turnError{"unable to copy: current to previous", err}
	}
	if err := unix.Renameat(at, "current.new", at, "current"); err != nil {
		_ = unix.Renameat(at, "previous", at, "current")
		return &turnError{"unable to move: current.new to current", err}
	}
	return nil
}
