// Package keeper keeps the log pipes whose reader is the scanner itself. If that is
// killed, and the service ends as well, nobody else would have the pipe, and what was
// written and not yet logged would be gone. So there is one small process beside the
// scanner that does nothing but hold them; the next scanner gets them from it.
//
// It listens at a socket in the scanner's directory and has one client at a time, the
// newest. Messages, of a SOCK_SEQPACKET socket, are a letter and the identity of the
// service directory, with descriptors:
//
//	p  the pipe: its reading end
//	r  the second pipe, with the beginning of a line: both ends
//	d  forget both
//	e  to a client: this was all there is
//	q  end, nothing has to be kept
//
// Without a client it ends by itself when every pipe is empty and at its end.
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
	kindForget = 'd'
	kindAll    = 'e'
	kindQuit   = 'q'
)

const messageSize = 1 + 16

// Pipes are the descriptors that are kept for one service, or -1.
type Pipes struct {
	Read int    // the log pipe
	Rest [2]int // the second one
}

func none() Pipes { return Pipes{-1, [2]int{-1, -1}} }

func (p *Pipes) close() {
	for _, fd := range []int{p.Read, p.Rest[0], p.Rest[1]} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func format(kind byte, id servicedir.Identity) []byte {
	b := append(make([]byte, 0, messageSize), kind)
	b = binary.NativeEndian.AppendUint64(b, id.Dev)
	return binary.NativeEndian.AppendUint64(b, id.Ino)
}

func parse(b []byte) (kind byte, id servicedir.Identity, ok bool) {
	if len(b) != messageSize {
		return 0, id, false
	}
	id.Dev = binary.NativeEndian.Uint64(b[1:])
	id.Ino = binary.NativeEndian.Uint64(b[9:])
	return b[0], id, true
}

// keep enters descriptors that came with a message. Those it has no place for are
// closed.
func keep(m map[servicedir.Identity]Pipes, kind byte, id servicedir.Identity, fds []int) {
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
	pipes  map[servicedir.Identity]Pipes
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
	run(listen)
}

func run(listen int) {
	_ = unix.SetNonblock(listen, false)
	k := &keeper{listen: listen, client: -1, pipes: make(map[servicedir.Identity]Pipes)}
	defer k.close()
	// The scanner that has made this process has a connection in the queue.
	for k.accept(); ; {
		fds := []unix.PollFd{{Fd: int32(listen), Events: unix.POLLIN}}
		var ids []servicedir.Identity
		if k.client >= 0 {
			fds = append(fds, unix.PollFd{Fd: int32(k.client), Events: unix.POLLIN})
		} else if fds, ids = k.watch(fds); len(k.pipes) == 0 && !waits(listen) {
			return
		}
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return
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
func (k *keeper) ended(id servicedir.Identity) Pipes {
	p := k.pipes[id]
	if p.Read >= 0 && (!atEnd(p.Read) || held(p.Read)) || p.Rest[0] >= 0 && held(p.Rest[0]) {
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
	var b [messageSize + 1]byte
	n, fds, err := receive(k.client, unix.MSG_DONTWAIT, b[:])
	if err != nil || n == 0 {
		return true
	}
	k.take(b[:n], fds)
	return false
}

// obey takes a message of the client, and tells whether this is the end.
func (k *keeper) obey() (end bool) {
	var b [messageSize + 1]byte
	n, fds, err := receive(k.client, 0, b[:])
	if err != nil || n == 0 {
		k.leave()
		return false
	}
	return k.take(b[:n], fds)
}

func (k *keeper) take(b []byte, fds []int) (end bool) {
	kind, id, ok := parse(b)
	if !ok {
		kind = 0
	}
	switch kind {
	case kindForget:
		if p, ok := k.pipes[id]; ok {
			p.close()
			delete(k.pipes, id)
		}
	case kindQuit:
		return true
	}
	keep(k.pipes, kind, id, fds)
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
