// Package keeper keeps the log pipes whose reader is the scanner itself, and the sockets
// that it holds for services. If it is killed, and the service ends as well, nobody else
// would have them: what was written and not yet logged would be gone, and clients
// refused. So there is one small process beside the scanner that does nothing but hold
// them; the next scanner gets them from it.
//
// It listens at a socket in the scanner's directory and has one client at a time, the
// newest. Messages, of a SOCK_SEQPACKET socket, are a letter and the identity of the
// service directory, with descriptors:
//
//	p  the pipe: its reading end
//	r  the second pipe, with the beginning of a line: both ends
//	s  a socket; the text that it is known by follows
//	u  forget the sockets
//	d  forget all
//	e  to a client: this was all there is
//	q  end, nothing has to be kept
//
// Without a client it ends by itself when every pipe is empty and at its end, and nobody
// has come for the sockets for a while.
package keeper

import (
	"encoding/binary"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"upkeep/supervise/servicedir"
)

// The kinds of messages.
const (
	kindPipe   = 'p'
	kindRest   = 'r'
	kindSocket = 's'
	kindUnbind = 'u'
	kindForget = 'd'
	kindAll    = 'e'
	kindQuit   = 'q'
)

const (
	messageSize = 1 + 16
	mostText    = 256
)

// socketsFor is how long, in milliseconds, sockets are held for the next scanner: clients
// that connect to one meanwhile get no answer.
const socketsFor = 10 * 60 * 1000

// Kept are the descriptors that are kept for one service, or -1.
type Kept struct {
	Read    int    // the log pipe
	Rest    [2]int // the second one
	Sockets []Socket
}

// Socket is one of those, with the text that it is known by.
type Socket struct {
	Text string
	FD   int
}

func none() Kept { return Kept{Read: -1, Rest: [2]int{-1, -1}} }

func (p *Kept) unbind() {
	for _, s := range p.Sockets {
		unix.Close(s.FD)
	}
	p.Sockets = nil
}

func (p *Kept) close() {
	p.unbind()
	for _, fd := range []int{p.Read, p.Rest[0], p.Rest[1]} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func format(kind byte, id servicedir.Identity) []byte {
	b := append(make([]byte, 0, messageSize+mostText), kind)
	b = binary.NativeEndian.AppendUint64(b, id.Dev)
	return binary.NativeEndian.AppendUint64(b, id.Ino)
}

func parse(b []byte) (kind byte, id servicedir.Identity, text string, ok bool) {
	if len(b) < messageSize || len(b) > messageSize+mostText {
		return 0, id, "", false
	}
	id.Dev = binary.NativeEndian.Uint64(b[1:])
	id.Ino = binary.NativeEndian.Uint64(b[9:])
	return b[0], id, string(b[messageSize:]), true
}

// keep enters descriptors that came with a message. Those it has no place for are
// closed.
func keep(m map[servicedir.Identity]Kept, kind byte, id servicedir.Identity, text string, fds []int) {
	p, ok := m[id]
	if !ok {
		p = none()
	}
	switch {
	case kind == kindPipe && len(fds) == 1:
		if p.Read >= 0 {
			unix.Close(p.Read)
		}
		p.Read = fds[0]
	case kind == kindSocket && len(fds) == 1:
		p.Sockets = append(p.Sockets, Socket{text, fds[0]})
	case kind == kindRest && len(fds) == 2:
		for i, fd := range fds {
			if p.Rest[i] >= 0 {
				unix.Close(p.Rest[i])
			}
			p.Rest[i] = fd
		}
	default:
		for _, fd := range fds {
			unix.Close(fd)
		}
		return
	}
	m[id] = p
}

// receive takes a message. n is 0 at the end.
func receive(fd, flags int, b []byte) (n int, fds []int, err error) {
	oob := make([]byte, unix.CmsgSpace(2*4))
	for {
		var k int
		n, k, _, _, err = unix.Recvmsg(fd, b, oob, flags|unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, nil, err
		}
		list, _ := unix.ParseSocketControlMessage(oob[:k])
		for i := range list {
			got, _ := unix.ParseUnixRights(&list[i])
			fds = append(fds, got...)
		}
		return n, fds, nil
	}
}

// keeper is the state of Run.
type keeper struct {
	listen int
	client int // or -1
	pipes  map[servicedir.Identity]Kept
}

// Run keeps pipes, with listen as the socket to listen at, until it has nothing to
// keep any more. Signals to the scanner's process group are not meant for it.
func Run(listen int) {
	signal.Notify(make(chan os.Signal, 1), unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE, unix.SIGALRM)
	if null, err := unix.Open("/dev/null", unix.O_RDWR, 0); err == nil {
		// It has nothing to say, and who reads what the scanner says waits for the end.
		for _, fd := range []int{1, 2} {
			_ = unix.Dup3(null, fd, 0)
		}
		unix.Close(null)
	}
	run(listen, socketsFor)
}

func run(listen, socketsFor int) {
	_ = unix.SetNonblock(listen, false)
	k := &keeper{listen: listen, client: -1, pipes: make(map[servicedir.Identity]Kept)}
	defer k.close()
	// The scanner that has made this process has a connection in the queue.
	for k.accept(); ; {
		fds := []unix.PollFd{{Fd: int32(listen), Events: unix.POLLIN}}
		var ids []servicedir.Identity
		timeout := -1
		if k.client >= 0 {
			fds = append(fds, unix.PollFd{Fd: int32(k.client), Events: unix.POLLIN})
		} else if fds, ids = k.watch(fds); len(k.pipes) == 0 && !waits(listen) {
			return
		} else if k.binds() {
			timeout = socketsFor
		}
		n, err := unix.Poll(fds, timeout)
		if err != nil && err != unix.EINTR {
			return
		}
		if n == 0 && err == nil {
			k.unbind()
			continue
		}
		if fds[0].Revents != 0 {
			k.accept()
			continue
		}
		if k.client >= 0 {
			if fds[1].Revents != 0 && k.obey() {
				return
			}
			continue
		}
		for i, id := range ids {
			if fds[1+i].Revents&(unix.POLLHUP|unix.POLLERR) != 0 {
				k.ended(id)
			}
		}
	}
}

func (k *keeper) binds() bool {
	for _, p := range k.pipes {
		if p.Sockets != nil {
			return true
		}
	}
	return false
}

// unbind gives the sockets up, for which nobody has come.
func (k *keeper) unbind() {
	for id, p := range k.pipes {
		p.unbind()
		k.pipes[id] = p
	}
}

// watch adds the pipes whose end is still to come.
func (k *keeper) watch(fds []unix.PollFd) ([]unix.PollFd, []servicedir.Identity) {
	var ids []servicedir.Identity
	for id := range k.pipes {
		if p := k.ended(id); p.Read >= 0 && !atEnd(p.Read) {
			fds = append(fds, unix.PollFd{Fd: int32(p.Read)})
			ids = append(ids, id)
		}
	}
	return fds, ids
}

// ended gives up a pipe that is empty and at its end.
func (k *keeper) ended(id servicedir.Identity) Kept {
	p := k.pipes[id]
	if p.Read >= 0 && (!atEnd(p.Read) || held(p.Read)) || p.Rest[0] >= 0 && held(p.Rest[0]) || p.Sockets != nil {
		return p
	}
	p.close()
	delete(k.pipes, id)
	return none()
}

func atEnd(pipe int) bool {
	p := []unix.PollFd{{Fd: int32(pipe)}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1 && p[0].Revents&unix.POLLHUP != 0
}

func held(pipe int) bool {
	n, err := unix.IoctlGetInt(pipe, unix.TIOCINQ)
	return err == nil && n > 0
}

// accept gives a new client all there is. It takes the place of the last one, which
// may be a scanner that has become another program.
func (k *keeper) accept() {
	fd, _, err := unix.Accept4(k.listen, unix.SOCK_CLOEXEC)
	if err != nil {
		return
	}
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || cred.Uid != 0 && int(cred.Uid) != os.Geteuid() {
		unix.Close(fd)
		return
	}
	if k.client >= 0 {
		k.leave()
	}
	k.client = fd
	for id, p := range k.pipes {
		if p.Read >= 0 {
			err = send(fd, format(kindPipe, id), p.Read)
		}
		if p.Rest[0] >= 0 && err == nil {
			err = send(fd, format(kindRest, id), p.Rest[0], p.Rest[1])
		}
		for _, s := range p.Sockets {
			if err == nil {
				err = send(fd, append(format(kindSocket, id), s.Text...), s.FD)
			}
		}
	}
	if err == nil {
		err = send(fd, format(kindAll, servicedir.Identity{}))
	}
	if err != nil {
		k.leave()
	}
}

func (k *keeper) close() {
	if k.client >= 0 {
		k.leave()
	}
	for _, p := range k.pipes {
		p.close()
	}
}

// leave is the end of a client. What it has said is still true.
func (k *keeper) leave() {
	for !k.obeyNow() {
	}
	unix.Close(k.client)
	k.client = -1
}

// waits tells whether somebody wants to connect.
func waits(listen int) bool {
	p := []unix.PollFd{{Fd: int32(listen), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1 && p[0].Revents&unix.POLLIN != 0
}

// obeyNow takes a message of the client that is there already. It is true if there is
// none.
func (k *keeper) obeyNow() (last bool) {
	p := []unix.PollFd{{Fd: int32(k.client), Events: unix.POLLIN}}
	if n, err := unix.Poll(p, 0); err != nil || n == 0 {
		return true
	}
	var b [messageSize + mostText + 1]byte
	n, fds, err := receive(k.client, unix.MSG_DONTWAIT, b[:])
	if err != nil || n == 0 {
		return true
	}
	k.take(b[:n], fds)
	return false
}

// obey takes a message of the client, and tells whether this is the end.
func (k *keeper) obey() (end bool) {
	var b [messageSize + mostText + 1]byte
	n, fds, err := receive(k.client, 0, b[:])
	if err != nil || n == 0 {
		k.leave()
		return false
	}
	return k.take(b[:n], fds)
}

func (k *keeper) take(b []byte, fds []int) (end bool) {
	kind, id, text, ok := parse(b)
	if !ok {
		kind = 0
	}
	switch kind {
	case kindUnbind:
		if p, ok := k.pipes[id]; ok {
			p.unbind()
			k.pipes[id] = p
		}
	case kindForget:
		if p, ok := k.pipes[id]; ok {
			p.close()
			delete(k.pipes, id)
		}
	case kindQuit:
		return true
	}
	keep(k.pipes, kind, id, text, fds)
	return false
}

func send(fd int, b []byte, fds ...int) error {
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	for {
		err := unix.Sendmsg(fd, b, oob, nil, unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return err
		}
	}
}
