package svscan

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/svscan/internal/handoff"
)

// HomeDir is the scanner's own directory in the scan directory, whose name keeps it
// from being a service: "lock" says that a scanner is there, and "control" is a
// stream socket that takes one request a connection, a line, and answers with
// another: "ok", or what is wrong.
const HomeDir = ".svscan"

// home is the open directory. It is nil where there can be none, on a read-only
// file system or beside another scanner.
type home struct {
	dir    int
	lock   int
	socket int
	file   *os.File // the socket's
}

// openHome makes the directory and takes its lock.
func openHome(at string) *home {
	h := &home{dir: -1, lock: -1, socket: -1}
	path := at + "/" + HomeDir
	if err := unix.Mkdir(path, 0o700); err != nil && err != unix.EEXIST {
		return nil
	}
	var err error
	if h.dir, err = unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
		return nil
	}
	var st unix.Stat_t
	if unix.Fstat(h.dir, &st) != nil || int(st.Uid) != unix.Geteuid() || st.Mode&0o022 != 0 {
		h.close()
		return nil // others could put their own socket there
	}
	h.lock, err = unix.Openat(h.dir, "lock", unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	if err != nil || unix.Flock(h.lock, unix.LOCK_EX|unix.LOCK_NB) != nil {
		h.close()
		return nil
	}
	if h.socket, err = listen(h.dir, path); err != nil {
		h.close()
		return nil
	}
	return h
}

// inheritHome takes the directory over as it was left.
func inheritHome(w *handoff.Will) *home {
	if w.Home < 0 || w.Lock < 0 || w.Socket < 0 {
		return nil
	}
	return &home{dir: w.Home, lock: w.Lock, socket: w.Socket}
}

// listen makes the socket anew in place of the one of a scanner that is no more.
func listen(dir int, path string) (int, error) {
	if err := unix.Unlinkat(dir, "control", 0); err != nil && err != unix.ENOENT {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	// The name of a socket is short; through the descriptor it always fits.
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: "/proc/self/fd/" + strconv.Itoa(dir) + "/control"})
	if err == unix.ENOENT {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: path + "/control"})
	}
	if err == nil {
		err = unix.Listen(fd, 16)
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
	go func() {
		conn, err := h.file.SyscallConn()
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
				go s.attend(fd)
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

// answer sends a line and ends the connection.
func (c *client) answer(text string) {
	_ = c.file.SetWriteDeadline(time.Now().Add(requestTime))
	_, _ = c.file.WriteString(text + "\n") // one that is gone needs no answer
	c.file.Close()
}

// attend reads a client's request and passes it on.
func (s *Scanner) attend(fd int) {
	c := newClient(fd)
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || cred.Uid != 0 && int(cred.Uid) != unix.Geteuid() {
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
	case "upgrade":
		s.post(message{kind: msgUpgrade, upgrade: &upgrade{program: rest, clients: []*client{c}}})
	default:
		c.answer("request not known")
	}
}

// close gives all up. With the lock goes the right to the socket's name.
func (h *home) close() {
	if h.socket >= 0 {
		_ = unix.Unlinkat(h.dir, "control", 0)
	}
	if h.file != nil {
		h.file.Close()
		h.socket = -1
	}
	for _, fd := range []int{h.socket, h.lock, h.dir} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
