// Package pump is one epoll for the many descriptors of a scanner: control
// FIFOs, notification pipes, pidfds, inotify. It only says that a descriptor
// has something to read; who owns it reads.
package pump

import (
	"os"

	"golang.org/x/sys/unix"

	"upkeep/internal/fault"
)

// Pump is an epoll instance. It is itself watched by the runtime's poller, so
// that waiting takes no thread. Its methods may be called from any goroutine.
type Pump struct {
	file *os.File
	fd   int
}

// New makes an empty pump.
func New() (*Pump, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err == nil {
		err = unix.SetNonblock(fd, true) // which has os.NewFile use the poller
	}
	if err != nil {
		return nil, fault.At("unable to create epoll", err)
	}
	return &Pump{os.NewFile(uintptr(fd), "epoll"), fd}, nil
}

// Add watches fd for input. Each time more arrives, token is delivered once: the
// owner then reads until there is nothing left. Closing fd ends the watch.
func (p *Pump) Add(fd int, token uint64) error {
	return p.add(fd, unix.EPOLLIN, token)
}

// Once has token delivered once when fd has input, at once if it has some now. It is
// to be called again for the next time.
func (p *Pump) Once(fd int, token uint64) error {
	return p.modify(fd, unix.EPOLLIN|unix.EPOLLONESHOT, token)
}

func (p *Pump) modify(fd int, events uint32, token uint64) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(token), Pad: int32(token >> 32)}
	err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_MOD, fd, &ev)
	if err == unix.ENOENT {
		err = unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &ev)
	}
	if err != nil {
		return fault.At("unable to add to epoll", err)
	}
	return nil
}

// Again is Add for what may be watched already: what it has to read is told of once more.
func (p *Pump) Again(fd int, token uint64) error {
	return p.modify(fd, unix.EPOLLIN|edge, token)
}

// Remove ends the watch on what somebody else has a duplicate of.
func (p *Pump) Remove(fd int) { _ = unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, fd, nil) }

// AddPriority is Add for the files of cgroups, of whose changes it tells.
func (p *Pump) AddPriority(fd int, token uint64) error {
	return p.add(fd, unix.EPOLLPRI, token)
}

func (p *Pump) add(fd int, events uint32, token uint64) error {
	ev := unix.EpollEvent{Events: events | edge, Fd: int32(token), Pad: int32(token >> 32)}
	if err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fault.At("unable to add to epoll", err)
	}
	return nil
}

const edge = 1 << 31 // EPOLLET, which x/sys has as a negative number

// Run delivers tokens until Close, on its own goroutine, which deliver must not
// block.
func (p *Pump) Run(deliver func(token uint64)) error {
	conn, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	var events [64]unix.EpollEvent
	for {
		n := 0
		err := conn.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events[:], 0)
			return n > 0
		})
		if err != nil {
			return nil // closed
		}
		for _, ev := range events[:n] {
			deliver(uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32)
		}
	}
}

// Close makes Run return.
func (p *Pump) Close() { p.file.Close() }
