package keeper

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/servicedir"
)

// patience is how long a keeper may take. One that takes longer is as good as none.
const patience = 2 * time.Second

// Client is the scanner's side. The nil Client keeps nothing. Its methods may be
// called from any goroutine.
type Client struct {
	file *os.File
}

// Connect is for the socket of a keeper that has just been made, or was found. path
// names it.
func Connect(path string) (*Client, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &Client{os.NewFile(uintptr(fd), "keeper")}, nil
}

// All takes what is kept. It is to be called once, before anything else.
func (c *Client) All() (map[servicedir.Identity]Kept, error) {
	conn, err := c.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	_ = c.file.SetReadDeadline(time.Now().Add(patience))
	all := make(map[servicedir.Identity]Kept)
	for {
		var b [messageSize + mostText + 1]byte
		var fds []int
		n, failed := 0, error(nil)
		err := conn.Read(func(fd uintptr) bool {
			n, fds, failed = receive(int(fd), unix.MSG_DONTWAIT, b[:])
			return failed != unix.EAGAIN
		})
		if err == nil {
			err = failed
		}
		if err == nil && n == 0 {
			err = unix.ECONNRESET
		}
		if err != nil {
			for _, p := range all {
				p.close()
			}
			return nil, err
		}
		kind, id, text, ok := parse(b[:n])
		if ok && kind == kindAll {
			_ = c.file.SetReadDeadline(time.Time{})
			return all, nil
		}
		keep(all, kind, id, text, fds)
	}
}

// Wait returns when the keeper is gone.
func (c *Client) Wait() {
	b := make([]byte, messageSize+1)
	for {
		if n, err := c.file.Read(b); n == 0 || err != nil {
			return
		}
	}
}

// Pipe has the keeper hold the log pipe of a service, and Rest its second pipe.
func (c *Client) Pipe(id servicedir.Identity, read int) error {
	return c.send(format(kindPipe, id), read)
}

// Rest is described with Pipe.
func (c *Client) Rest(id servicedir.Identity, rest [2]int) error {
	return c.send(format(kindRest, id), rest[0], rest[1])
}

// Sockets has the keeper hold these, instead of those that it held for the service.
func (c *Client) Sockets(id servicedir.Identity, all []Socket) error {
	err := c.send(format(kindUnbind, id))
	for _, s := range all {
		if err == nil {
			err = c.send(append(format(kindSocket, id), s.Text...), s.FD)
		}
	}
	return err
}

// Forget ends all that.
func (c *Client) Forget(id servicedir.Identity) error { return c.send(format(kindForget, id)) }

// Quit ends the keeper, of which nothing is needed any more.
func (c *Client) Quit() error { return c.send(format(kindQuit, servicedir.Identity{})) }

func (c *Client) send(b []byte, fds ...int) error {
	if c == nil {
		return nil
	}
	conn, err := c.file.SyscallConn()
	if err != nil {
		return err
	}
	oob := []byte(nil)
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	_ = c.file.SetWriteDeadline(time.Now().Add(patience))
	failed := error(nil)
	err = conn.Write(func(fd uintptr) bool {
		failed = unix.Sendmsg(int(fd), b, oob, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		return failed != unix.EAGAIN
	})
	if err == nil {
		err = failed
	}
	return err
}

// Close ends the connection: the keeper goes on.
func (c *Client) Close() {
	if c != nil {
		c.file.Close()
	}
}
