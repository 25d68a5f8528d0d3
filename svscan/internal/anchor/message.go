package anchor

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// kind is what a message says.
type kind uint8

const (
	// From the scanner.
	up       kind = 1 + iota // it obeys signals
	stopping                 // it stops everything; status is main's exit code, or noCode
	leaving                  // it is about to exit with status
	ask                      // answer, with the same serial, is to follow all who are dead by now
	// From the anchor.
	died
	answer
)

// noCode is the status of stopping while main has not ended.
const noCode = 1<<32 - 1

// message is one packet. Both sides are one program on one machine; still it has a
// version, since either may be exchanged while the other runs.
type message struct {
	kind   kind
	pid    int32
	status uint32
	start  uint64
	handle uint64
	serial uint64
}

const (
	messageVersion = 1
	messageSize    = 40
)

func (m *message) encode() []byte {
	b := make([]byte, messageSize)
	o := binary.NativeEndian
	b[0], b[1] = messageVersion, byte(m.kind)
	o.PutUint32(b[4:], uint32(m.pid))
	o.PutUint32(b[8:], m.status)
	o.PutUint64(b[16:], m.start)
	o.PutUint64(b[24:], m.handle)
	o.PutUint64(b[32:], m.serial)
	return b
}

// decode is false for what is no message of this version.
func decode(b []byte) (m message, ok bool) {
	if len(b) < messageSize || b[0] != messageVersion || kind(b[1]) < up || kind(b[1]) > answer {
		return m, false
	}
	o := binary.NativeEndian
	return message{
		kind: kind(b[1]), pid: int32(o.Uint32(b[4:])), status: o.Uint32(b[8:]),
		start: o.Uint64(b[16:]), handle: o.Uint64(b[24:]), serial: o.Uint64(b[32:]),
	}, true
}

// receive takes one message from a socket, if there is one: EAGAIN says that there is
// none, and EPIPE that there will be none.
func receive(fd int) (message, error) {
	var b [messageSize + 1]byte
	for {
		n, _, err := unix.Recvfrom(fd, b[:], unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return message{}, err
		case n == 0:
			return message{}, unix.EPIPE
		}
		if m, ok := decode(b[:n]); ok {
			return m, nil
		}
	}
}

// send gives one message to a socket, if there is room: else it is EAGAIN.
func send(fd int, m *message) error {
	for {
		if err := unix.Sendto(fd, m.encode(), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil); err != unix.EINTR {
			return err
		}
	}
}
