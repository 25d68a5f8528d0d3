// Package pump is one epoll for the many descriptors of a scanner: control
// FIFOs, notification pipes, pidfds, inotify. It only says that a descriptor
// has something to read; who owns it reads.
package pump

import (
	"fmt"

	"unsafe"

	"golang.org/x/sys/unix"

	"upkeep/svscan/internal/block"
)

// Pump is an epoll instance. Its methods may be called from any goroutine.
type Pump struct {
	epoll int
	stop  int // eventfd
}

// New makes an empty pump.
func New() (*Pump, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("unable to create epoll: %w", err)
	}
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(ep)
		return nil, fmt.Errorf("unable to create eventfd: %w", err)
	}
	p := &Pump{ep, stop}
	if err := p.Add(stop, stopToken); err != nil {
		unix.Close(stop)
		unix.Close(ep)
		return nil, err
	}
	return p, nil
}

const stopToken = 1<<64 - 1

// forever is a time-out of -1.
const forever = ^uintptr(0)

// Add watches fd for input. Each time more arrives, token is delivered once: the
// owner then reads until there is nothing left. Closing fd ends the watch.
func (p *Pump) Add(fd int, token uint64) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET&0xffffffff, Fd: int32(token), Pad: int32(token >> 32)}
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("unable to add to epoll: %w", err)
	}
	return nil
}

// Run delivers tokens until Stop, with deliver on its own goroutine, which must
// not block. It closes the pump.
func (p *Pump) Run(deliver func(token uint64)) {
	events := make([]unix.EpollEvent, 64)
	for {
		n, errno := block.Syscall(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll), uintptr(unsafe.Pointer(&events[0])),
			uintptr(len(events)), forever, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			panic("epoll_wait: " + errno.Error()) // only a bad descriptor does that
		}
		for _, ev := range events[:n] {
			token := uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32
			if token == stopToken {
				unix.Close(p.stop)
				unix.Close(p.epoll)
				return
			}
			deliver(token)
		}
	}
}

// Stop makes Run return.
func (p *Pump) Stop() {
	unix.Write(p.stop, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}
