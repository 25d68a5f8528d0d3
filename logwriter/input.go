package logwriter

import (
	"bytes"
	"time"

	"golang.org/x/sys/unix"
)

// block is how much is read at a time: what a pipe holds.
const block = 64 << 10

// spare is room for what Writer.Write leaves. Rules.Window must be smaller.
const spare = 16 << 10

const (
	// busy is how soon input has to follow on other input for the reader to let
	// it gather for the time of nap. It is as with network cards: one line is
	// written at once, and many lines cost one wake-up.
	busy = time.Millisecond
	nap  = 200 * time.Microsecond
	// little is how much input is not worth a wake-up if there is more to come.
	little = block / 2
	// A writer that fills a pipe in the time of two or three naps, which is much, waits
	// for the reader and wakes it all the time. It gets a wide pipe, in bytes, and
	// takes longer naps.
	much    = 24 << 10
	wide    = 1 << 20
	wideNap = 500 * time.Microsecond
	// naps is how often a quarter of a nap is taken for the rest of a line,
	// before the waits of 1, 2, 4... milliseconds, the last of which is longest.
	naps    = 4
	longest = 512
)

// Input is the standard input of a logger. What is in a pipe stays there until it
// is consumed: tee(2) duplicates it. Any other file is read, and what was read and
// has not been consumed dies with the process.
//
// The beginning of a line stays in the pipe too, while the reader waits for its
// end. Linux wakes whoever waits on a pipe for edges at every write that ends, but
// not when a write fills a pipe that was not empty and blocks. So meanwhile the
// reader looks by itself, at growing intervals, and after about a second without
// anything new takes the beginning of the line into memory after all: there it is
// lost if the process is killed, but nothing wakes up for it any more.
type Input struct {
	fd    int
	alarm int // an eventfd
	epoll int // -1 if fd is no pipe
	side  [2]int
	null  int
	buf   []byte
	n     int       // bytes of buf that are valid, if fd is read
	held  bool      // a pipe is read, until no line is begun
	woken time.Time // when the last Peek began after little input
	last  int       // bytes that were new last time

	widened bool // the pipe, or that was tried
	nap     time.Duration
}

// OpenInput prepares to read from fd, of which it does not change the mode. No
// other process should read from it.
func OpenInput(fd int) (*Input, error) {
	in := &Input{fd: fd, epoll: -1, null: -1, side: [2]int{-1, -1}, nap: nap, buf: make([]byte, block+spare)}
	var err error
	if in.alarm, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO {
		in.peekable()
	}
	return in, nil
}

// peekable makes what it takes to peek. Without it the input is read.
func (in *Input) peekable() {
	if unix.Pipe2(in.side[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return
	}
	null, err := unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	in.null = null
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return
	}
	for fd, events := range map[int]uint32{in.fd: unix.EPOLLIN | unix.EPOLLET, in.alarm: unix.EPOLLIN} {
		if unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Fd: int32(fd), Events: events}) != nil {
			unix.Close(epoll)
			return
		}
	}
	in.epoll = epoll
}

// Interrupt makes a Peek that waits return. It may be called from any goroutine,
// and has an effect on the next Peek if none waits.
func (in *Input) Interrupt() {
	one := [8]byte{0: 1}
	_, _ = unix.Write(in.alarm, one[:]) // fails only if it is full, which will do
}

// Peek waits for more than the seen bytes that the last Peek showed and that have
// not been consumed, and shows all. If oneLine is set it shows nothing that comes
// after the first newline, and does not read that either. What it shows holds
// until the next call of Peek or Consume.
//
// eof tells that there is nothing more to come; b are the seen bytes then. An
// interrupted Peek returns no error and no more than the seen bytes.
func (in *Input) Peek(seen int, oneLine bool) (b []byte, eof bool, err error) {
	in.held = in.held && seen > 0
	if in.epoll < 0 || in.held {
		return in.read(oneLine)
	}
	if in.last > 0 && in.last < little {
		now := time.Now()
		if now.Sub(in.woken) < busy {
			t := unix.NsecToTimespec(int64(in.nap))
			_ = unix.Nanosleep(&t, nil)
		}
		in.woken = now
	}
	for tries := 0; ; tries++ {
		timeout := -1
		b, err = in.tee()
		switch {
		case err == unix.EAGAIN:
		case err != nil:
			return nil, false, err
		case len(b) == 0:
			return nil, true, nil
		case len(b) > seen:
			in.last = len(b) - seen
			if in.last >= much && !in.widened {
				in.widened = true
				if n, err := unix.FcntlInt(uintptr(in.fd), unix.F_SETPIPE_SZ, wide); err == nil && n >= wide {
					in.nap = wideNap
				}
			}
			if oneLine {
				if i := bytes.IndexByte(b[seen:], '\n'); i >= 0 {
					b = b[:seen+i+1]
				}
			}
			return b, false, nil
		default:
			// The beginning of a line, which the pipe still holds.
			if p, _ := poll(0, in.fd); p[0]&unix.POLLHUP != 0 {
				if n, err := unix.IoctlGetInt(in.fd, unix.TIOCINQ); err == nil && n == len(b) {
					return b, true, nil
				}
			}
			if tries < naps {
				t := unix.NsecToTimespec(int64(nap) / 4)
				_ = unix.Nanosleep(&t, nil)
				continue
			}
			if timeout = 1 << (tries - naps); timeout > longest || len(b) == block {
				// Also if there are so many small pieces that tee shows no more.
				in.demote()
				in.n = len(b)
				if err := in.skip(in.n); err != nil {
					return b, false, err
				}
				return in.read(oneLine)
			}
		}
		if interrupted, err := in.wait(timeout); err != nil || interrupted {
			return b, false, err
		}
	}
}

// tee shows what the pipe holds.
func (in *Input) tee() ([]byte, error) {
	for {
		n, err := unix.Tee(in.fd, in.side[1], block, unix.SPLICE_F_NONBLOCK)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return nil, err
		}
		got := 0
		for got < int(n) {
			k, err := unix.Read(in.side[0], in.buf[got:n])
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return nil, err
			}
			got += k
		}
		return in.buf[:got], nil
	}
}

// demote has the input read from now on.
func (in *Input) demote() {
	in.held = true
	in.n = 0
}

// wait waits for a write, the end of the input or an interruption, at most timeout
// milliseconds.
func (in *Input) wait(timeout int) (interrupted bool, err error) {
	var events [2]unix.EpollEvent
	for {
		n, err := unix.EpollWait(in.epoll, events[:], timeout)
		if err == unix.EINTR {
			continue
		}
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) == in.alarm {
				in.calm()
				interrupted = true
			}
		}
		return interrupted, err
	}
}

func (in *Input) calm() {
	var b [8]byte
	_, _ = unix.Read(in.alarm, b[:])
}

// read is Peek for what is no pipe.
func (in *Input) read(oneLine bool) (b []byte, eof bool, err error) {
	room := in.buf[in.n : in.n+min(block, len(in.buf)-in.n)]
	if oneLine {
		room = room[:1]
	}
	for {
		p, err := poll(-1, in.fd, in.alarm)
		if err != nil {
			return in.buf[:in.n], false, err
		}
		if p[1] != 0 {
			in.calm()
			return in.buf[:in.n], false, nil
		}
		n, err := unix.Read(in.fd, room)
		switch {
		case err == unix.EINTR || err == unix.EAGAIN:
		case err != nil:
			return in.buf[:in.n], false, err
		default:
			in.n += n
			return in.buf[:in.n], n == 0, nil
		}
	}
}

// Consume takes the first n bytes of what Peek has shown out of the input.
func (in *Input) Consume(n int) error {
	if in.epoll >= 0 && !in.held {
		return in.skip(n)
	}
	in.n = copy(in.buf, in.buf[n:in.n])
	return nil
}

// Keeps tells whether what the last Peek showed is still there for the next
// process, unless it is consumed.
func (in *Input) Keeps() bool { return in.epoll >= 0 && !in.held }

func (in *Input) skip(n int) error {
	for n > 0 {
		k, err := unix.Splice(in.fd, nil, in.null, nil, n, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil || k == 0 {
			return err
		}
		n -= int(k)
	}
	return nil
}

func poll(timeout int, fds ...int) (events [2]int16, err error) {
	var p [2]unix.PollFd
	for i, fd := range fds {
		p[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	}
	for {
		_, err := unix.Poll(p[:len(fds)], timeout)
		if err != unix.EINTR {
			return [2]int16{p[0].Revents, p[1].Revents}, err
		}
	}
}
