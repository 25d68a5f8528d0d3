package svscan

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/svscan/internal/handoff"
)

// HomeSocket is the scanner's own socket in the scan directory, or in the one of the
// state. It is a stream socket that takes one request a connection, a line, and answers
// with another: "ok", or what is wrong. It is no directory, so that nobody takes it for
// a service.
const HomeSocket = ".svscan"

// home is the socket and its directory, which is locked: of several scanners the first
// has the socket. It is nil where there can be none, as on a read-only file system.
type home struct {
	at     string
	dir    int
	socket int
	file   *os.File // the socket's
	events *os.File // EventsSocket's, or nil
}

func openHome(at string) *home {
	h := &home{at: at, dir: -1, socket: -1}
	var err error
	if h.dir, err = unix.Open(at, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return nil
	}
	if unix.Flock(h.dir, unix.LOCK_EX|unix.LOCK_NB) == nil {
		h.socket, err = openListener(h.dir, at, HomeSocket, unix.SOCK_STREAM)
	}
	if err != nil || h.socket < 0 {
		h.close()
		return nil
	}
	return h
}

// inheritHome takes the socket over as it was left.
func inheritHome(w *handoff.Will, at string) *home {
	if w.Home < 0 || w.Socket < 0 {
		return nil
	}
	return &home{at: at, dir: w.Home, socket: w.Socket}
}

// openListener makes the socket anew in place of the one of a scanner that is no more.
func openListener(dir int, at, name string, kind int) (int, error) {
	// It gets its name when it listens: nobody who finds it is refused.
	begun := name + ".new"
	if err := unix.Unlinkat(dir, begun, 0); err != nil && err != unix.ENOENT {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	// The name of a socket is short; through the descriptor it always fits.
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: "/proc/self/fd/" + strconv.Itoa(dir) + "/" + begun})
	if err == unix.ENOENT {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: at + "/" + begun})
	}
	if err == nil {
		err = unix.Fchmodat(dir, begun, 0o600, 0)
	}
	if err == nil {
		err = unix.Listen(fd, 16)
	}
	if err == nil {
		err = unix.Renameat(dir, begun, dir, name)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// serve answers clients until close. Each has a goroutine, which ends with its
// request or when that does not come.
func (h *home) serve(s *Scanner) {
	h.file = os.NewFile(uintptr(h.socket), "control")
	accept(h.file, s.attend)
	fd, err := openListener(h.dir, h.at, EventsSocket, unix.SOCK_STREAM)
	if err != nil {
		s.k.report(Warning, "", "create", h.at+"/"+EventsSocket, err)
		return
	}
	h.events = os.NewFile(uintptr(fd), "events")
	accept(h.events, s.attendReader)
}

// accept attends to the clients of a socket until it is closed.
func accept(file *os.File, attend func(fd int)) {
	go func() {
		conn, err := file.SyscallConn()
		for err == nil {
			fd := -1
			var refused error
			err = conn.Read(func(socket uintptr) bool {
				fd, _, refused = unix.Accept4(int(socket), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
				return refused != unix.EAGAIN
			})
			switch {
			case err != nil:
			case refused == nil:
				go attend(fd)
			case refused == unix.EMFILE, refused == unix.ENFILE, refused == unix.ENOMEM, refused == unix.ENOBUFS:
				time.Sleep(pollEvery) // the client waits as long
			}
		}
	}()
}

// requestTime is what a client gets to send its request, and requestSize how long
// that may be.
const (
	requestTime = 5 * time.Second
	requestSize = 8 << 10
)

// client is somebody who waits for an answer.
type client struct {
	fd   int
	file *os.File
}

func newClient(fd int) *client {
	return &client{fd, os.NewFile(uintptr(fd), "client")}
}

// may tells whether the client has the right to command us.
func (c *client) may() bool {
	cred, err := unix.GetsockoptUcred(c.fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	return err == nil && (cred.Uid == 0 || int(cred.Uid) == unix.Geteuid())
}

// answer sends a line and ends the connection.
func (c *client) answer(text string) {
	c.say(text)
	c.file.Close()
}

// say sends a line. Who is gone needs none.
func (c *client) say(text string) {
	_ = c.file.SetWriteDeadline(time.Now().Add(requestTime))
	_, _ = c.file.WriteString(text + "\n")
}

// attend reads a client's request and passes it on.
func (s *Scanner) attend(fd int) {
	c := newClient(fd)
	if !c.may() {
		c.answer("permission denied")
		return
	}
	_ = c.file.SetReadDeadline(time.Now().Add(requestTime))
	var request []byte
	for b := make([]byte, 512); !strings.Contains(string(request), "\n") && len(request) < requestSize; {
		n, err := c.file.Read(b)
		if err != nil {
			c.file.Close()
			return
		}
		request = append(request, b[:n]...)
	}
	line, _, _ := strings.Cut(string(request), "\n")
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "do":
		s.attendOrder(c, rest, string(request[len(line)+1:]))
	case "ping":
		c.answer(understood)
	case "upgrade":
		s.post(message{kind: msgUpgrade, upgrade: &upgrade{program: rest, clients: []*client{c}}})
	default:
		c.answer("request not known")
	}
}

// close gives all up. With the lock goes the right to the socket's name.
func (h *home) close() {
	if h.socket >= 0 {
		_ = unix.Unlinkat(h.dir, HomeSocket, 0)
	}
	if h.file != nil {
		h.file.Close()
		h.socket = -1
	}
	if h.events != nil {
		_ = unix.Unlinkat(h.dir, EventsSocket, 0)
		h.events.Close()
	}
	for _, fd := range []int{h.socket, h.dir} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
