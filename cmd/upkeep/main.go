// Upkeep is a supervision suite in one program. Invoked through a link it is the
// program of that name; otherwise its first argument names the program:
//
//	upkeep svscan /service
//	upkeep --list        names the programs
//	upkeep --link DIR    makes a link for each in DIR
//	upkeep demo          runs a small tree and shows it
//	upkeep log SERVICE   shows what a service has logged
//	upkeep upgrade DIR   has the svscan of DIR become the program as it is now
//	upkeep start NAME    and other verbs: docs/managing.md
package main

import (
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/svscan"
)

func main() {
	os.Exit(run(cli.System(), os.Args))
}

func run(env *cli.Env, args []string) int {
	if len(args) == 0 {
		args = []string{"upkeep"}
	}
	if a := find(base(args[0])); a != nil {
		return a(env, args)
	}
	if base(args[0]) != "upkeep" { // as which it executes itself by /proc/self/exe
		if a := linked(executed()); a != nil {
			return a(env, args)
		}
	}
	if len(args) < 2 {
		return usage(env)
	}
	switch name := args[1]; name {
	case "--list":
		return list(env)
	case "--link":
		if len(args) != 3 {
			return usage(env)
		}
		return link(env, args[2])
	case "demo":
		return demo(env, args[1:])
	case "log":
		return showLog(env, args[1:])
	case svscan.KeeperArgs[0]:
		svscan.Keep()
		return 0
	case svscan.HoldArgs[0]:
		svscan.Hold()
		return 0
	case "upgrade":
		return upgradeScanner(env, args[1:])
	default:
		a := find(name)
		if a != nil {
			return a(env, args[1:])
		}
		if code, ok := manage(env, args[1:]); ok {
			return code
		}
		return usage(env)
	}
}

// executed is the path that this program was executed by, which may be a link. What
// argv[0] says may have been found in PATH.
func executed() string {
	const execFN = 31 // AT_EXECFN
	vector, err := unix.Auxv()
	if err != nil {
		return os.Args[0]
	}
	for i := range vector {
		if vector[i][0] == execFN {
			return unix.BytePtrToString(*(**byte)(unsafe.Pointer(&vector[i][1])))
		}
	}
	return os.Args[0]
}

// linked is the program that a link of another name leads to: /etc/init.d/web, say,
// to sv, which takes its name for that of a service.
func linked(path string) cli.Applet {
	for range 16 {
		next, err := os.Readlink(path)
		if err != nil {
			return nil
		}
		if a := find(base(next)); a != nil {
			return a
		}
		if next[0] != '/' {
			next = path[:len(path)-len(base(path))] + next
		}
		path = next
	}
	return nil
}

func base(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

func usage(env *cli.Env) int {
	return env.Usage("upkeep", "upkeep --list | --link dir | demo | upgrade [dir] | log service ... | start|stop|... name ... | program [argument ...]")
}

func list(env *cli.Env) int {
	for _, a := range applets {
		if _, err := env.Stdout.WriteString(a.name + "\n"); err != nil {
			return cli.ExitFatal
		}
	}
	return 0
}

// link makes a symbolic link to this program for each name, in place of links
// that are there, but not of files.
func link(env *cli.Env, dir string) int {
	self, err := os.Executable()
	if err != nil {
		return env.Fatal("upkeep", "unable to find myself", err)
	}
	for _, a := range applets {
		path := filepath.Join(dir, a.name)
		if st, err := os.Lstat(path); err == nil && st.Mode()&os.ModeSymlink != 0 {
			os.Remove(path)
		}
		if err := os.Symlink(self, path); err != nil {
			return env.Fatal("upkeep", "unable to link "+path, err)
		}
	}
	return 0
}
