package main

import (
	"errors"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/svscan"
)

const upgradeUsage = "upkeep upgrade [--program path] [dir]"

// upgradeScanner is upkeep upgrade [--program PATH] [DIR]: the svscan of DIR, or of
// the working directory, executes the program at PATH, or the one that stands now
// where it was started from, and goes on as that, with all processes, pipes and
// locks. Exit: 0 when the new program has taken over; 111 when the old one goes on;
// 100 for wrong usage.
func upgradeScanner(env *cli.Env, args []string) int {
	program, dir := "", "."
	operands := args[1:]
	for len(operands) > 0 && strings.HasPrefix(operands[0], "--") {
		word := operands[0]
		operands = operands[1:]
		switch path, attached := strings.CutPrefix(word, "--program="); {
		case word == "--":
		case word == "--check" && len(operands) == 0:
			return checkUpgrade(env)
		case attached:
			program = path
		case word == "--program" && len(operands) > 0:
			program, operands = operands[0], operands[1:]
		default:
			return env.Usage("upkeep", upgradeUsage)
		}
		if word == "--" {
			break
		}
	}
	switch {
	case len(operands) > 1:
		return env.Usage("upkeep", upgradeUsage)
	case len(operands) == 1:
		dir = operands[0]
	}
	if program != "" {
		var err error
		if program, err = filepath.Abs(program); err != nil {
			return env.Fatal("upkeep", "unable to find "+program, err)
		}
	}
	answer, err := ask(dir, "upgrade "+program)
	if err == errGone {
		// It was at another's upgrade, and is there again.
		answer, err = ask(dir, "upgrade "+program)
	}
	switch {
	case err != nil:
		return env.Fatal("upkeep", "unable to reach the svscan of "+dir, err)
	case answer != "ok":
		return env.Fatal("upkeep", "unable to upgrade the svscan of "+dir+", which goes on as before: "+answer, nil)
	}
	return 0
}

// checkUpgrade is what a running svscan asks of its successor.
func checkUpgrade(env *cli.Env) int {
	answer, err := svscan.CheckUpgrade(int(env.Stdin))
	if err != nil {
		answer = err.Error()
	}
	if _, err := env.Stdout.WriteString(answer + "\n"); err != nil {
		return cli.ExitFatal
	}
	return 0
}

// errGone: the connection ended without an answer; errLost: so it did after the new
// program had been executed.
var (
	errGone = errors.New("it has ended")
	errLost = errors.New("the new program has lost the connection")
)

// dial connects to a socket of the svscan of a directory.
func dial(dir, name string) (fd int, err error) {
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(at)
	if fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, err
	}
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: "/proc/self/fd/" + strconv.Itoa(at) + "/" + name})
	if err == unix.ENOENT {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: dir + "/" + name})
	}
	// Who can write to the directory could have put a socket of his own there.
	var cred *unix.Ucred
	if err == nil {
		cred, err = unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	}
	if err == nil && cred.Uid != 0 && int(cred.Uid) != unix.Geteuid() && unix.Geteuid() != 0 {
		err = unix.EPERM
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// ask sends a request to the svscan of a directory and returns its answer.
func ask(dir, request string) (answer string, err error) {
	fd, err := dial(dir, svscan.HomeSocket)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	socket := cli.FD(fd)
	if _, err := socket.WriteString(request + "\n"); err != nil {
		return "", err
	}
	b, n := make([]byte, 4096), 0
	for n < len(b) {
		m, err := socket.Read(b[n:])
		if err == unix.ECONNRESET {
			break // as if it had ended before it got the request
		}
		if err != nil {
			return "", err
		}
		if m == 0 {
			break
		}
		n += m
	}
	text, began := strings.CutPrefix(string(b[:n]), svscan.Upgrading+"\n")
	line, _, whole := strings.Cut(text, "\n")
	switch {
	case whole:
	case began:
		return "", errLost
	default:
		return "", errGone
	}
	return line, nil
}
