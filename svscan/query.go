package svscan

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Errors of Query. ErrGone: the connection ended without an answer; ErrLost: so it did after the new
// program had been executed.
var (
	ErrGone = errors.New("it has ended")
	ErrLost = errors.New("the new program has lost the connection")
)

// Dial connects to a socket of the svscan of a directory.
func Dial(dir, name string) (fd int, err error) {
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

// Query sends a request to the svscan of a directory and returns its answer.
func Query(dir, request string) (answer string, err error) {
	fd, err := Dial(dir, HomeSocket)
	if err != nil {
		return "", err
	}
	socket := os.NewFile(uintptr(fd), HomeSocket)
	defer socket.Close()
	if _, err := socket.WriteString(request + "\n"); err != nil {
		return "", err
	}
	b, n := make([]byte, 4096), 0
	for n < len(b) {
		m, err := socket.Read(b[n:])
		n += m
		if err == io.EOF || errors.Is(err, unix.ECONNRESET) {
			break // in the latter case as if it had ended before it got the request
		}
		if err != nil {
			return "", err
		}
	}
	text, began := strings.CutPrefix(string(b[:n]), Upgrading+"\n")
	line, _, whole := strings.Cut(text, "\n")
	switch {
	case whole:
	case began:
		return "", ErrLost
	default:
		return "", ErrGone
	}
	return line, nil
}
