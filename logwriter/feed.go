package logwriter

import (
	"bytes"
	"sync"

	"golang.org/x/sys/unix"
)

// Feed is the reading end of a pipe for a writer that is one of many in a process:
// somebody else waits until there is something to read. Like Input it takes nothing
// out of the pipe that has not been written; the beginning of a line is moved to a
// second pipe, so that the first one is empty until there is more, and whoever waits
// hears of it.
type Feed struct {
	// Pipe is the reading end. It is not closed.
	Pipe int
	// Rest is the second pipe, made when it is needed, -1 until then. Who keeps both
	// pipes while nobody writes loses nothing.
	Rest [2]int
	// Keep is told of a new second pipe, before anything is in it.
	Keep func(rest [2]int)

	held int // bytes in Rest
}

// Hold counts what is in a second pipe that was kept.
func (f *Feed) Hold() error {
	n, err := unix.IoctlGetInt(f.Rest[0], unix.TIOCINQ)
	f.held = n
	return err
}

// Begun tells that the beginning of a line is held.
func (f *Feed) Begun() bool { return f.held > 0 }

// gear is what it takes to read, which is needed only meanwhile.
type gear struct {
	side [2]int
	null int
	buf  [block + spare]byte
}

var gears struct {
	mu   sync.Mutex
	free []*gear
}

// mostGears is how many are kept.
const mostGears = 2

func takeGear() (*gear, error) {
	gears.mu.Lock()
	if n := len(gears.free); n > 0 {
		g := gears.free[n-1]
		gears.free = gears.free[:n-1]
		gears.mu.Unlock()
		return g, nil
	}
	gears.mu.Unlock()
	g := &gear{null: -1}
	if err := unix.Pipe2(g.side[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, err
	}
	var err error
	if g.null, err = unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *gear) close() {
	for _, fd := range []int{g.side[0], g.side[1], g.null} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// giveBack keeps the gear for another one, unless something may be left in it.
func (g *gear) giveBack(clean bool) {
	if clean {
		gears.mu.Lock()
		defer gears.mu.Unlock()
		if len(gears.free) < mostGears {
			gears.free = append(gears.free, g)
			return
		}
	}
	g.close()
}

// ReleaseGears frees what is kept for feeds.
func ReleaseGears() {
	gears.mu.Lock()
	defer gears.mu.Unlock()
	for _, g := range gears.free {
		g.close()
	}
	gears.free = nil
}

// Step has w write what there is to be read, at most a block. If oneLine is set, what
// comes after the first newline stays in the pipe. n is how many bytes were new, and
// 0 if nothing could be done; eof tells that there will be nothing more.
func (f *Feed) Step(w *Writer, oneLine bool) (n int, eof bool, err error) {
	g, err := takeGear()
	if err != nil {
		return 0, false, err
	}
	clean := false
	defer func() { g.giveBack(clean) }()
	held := f.held
	if held > 0 {
		if n, err := g.tee(f.Rest[0], 0, held); err != nil || n != held {
			return 0, false, or(err, unix.EIO)
		}
	}
	n, err = g.tee(f.Pipe, held, block)
	if err == unix.EAGAIN {
		clean = true
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	b := g.buf[:held+n]
	if n == 0 {
		w.Finish(b)
		clean = true
		return 0, true, f.consume(g, 0, held)
	}
	if oneLine {
		if i := bytes.IndexByte(b[held:], '\n'); i >= 0 {
			b = b[:held+i+1]
			n = i + 1
		}
	}
	done := w.Write(b, held)
	clean = true
	if done > 0 {
		if err := f.consume(g, max(done-held, 0), min(done, held)); err != nil {
			return n, false, err
		}
	}
	moved, err := f.hold(len(b) - max(done, held))
	if done == 0 && moved == 0 {
		n = 0
	}
	return n, false, err
}

func or(err, other error) error {
	if err == nil {
		return other
	}
	return err
}

// tee shows what a pipe holds, at most most bytes, from position at of the buffer on.
func (g *gear) tee(pipe, at, most int) (n int, err error) {
	var got int64
	for {
		got, err = unix.Tee(pipe, g.side[1], most, unix.SPLICE_F_NONBLOCK)
		if err != unix.EINTR {
			break
		}
	}
	for err == nil && n < int(got) {
		var k int
		k, err = unix.Read(g.side[0], g.buf[at+n:at+int(got)])
		if err == unix.EINTR {
			err = nil
			continue
		}
		n += k
	}
	return n, err
}

// consume takes bytes out of the pipe, and before that out of the second one.
func (f *Feed) consume(g *gear, fromPipe, fromRest int) error {
	if fromRest > 0 {
		if err := splice(f.Rest[0], g.null, fromRest); err != nil {
			return err
		}
		f.held -= fromRest
	}
	return splice(f.Pipe, g.null, fromPipe)
}

// hold moves the beginning of a line, which is next in the pipe, to the second one.
// What there is no room for stays where it is.
func (f *Feed) hold(n int) (moved int, err error) {
	if n > 0 && f.Rest[0] < 0 {
		var p [2]int
		if unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
			return 0, nil
		}
		f.Rest = p
		if f.Keep != nil {
			f.Keep(p)
		}
	}
	for moved < n {
		k, err := unix.Splice(f.Pipe, nil, f.Rest[1], nil, n-moved, unix.SPLICE_F_NONBLOCK)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN || err == nil && k == 0 {
			break
		}
		if err != nil {
			return moved, err
		}
		moved += int(k)
		f.held += int(k)
	}
	return moved, nil
}

// Left tells that there is something in the pipe that Step has seen and not taken
// out of it: a line so slow that the second pipe has no room for its pieces.
func (f *Feed) Left() bool {
	n, err := unix.IoctlGetInt(f.Pipe, unix.TIOCINQ)
	return err == nil && n > 0
}

// Close closes the second pipe.
func (f *Feed) Close() {
	for i, fd := range f.Rest {
		if fd >= 0 {
			unix.Close(fd)
		}
		f.Rest[i] = -1
	}
	f.held = 0
}

func splice(from, to, n int) error {
	for n > 0 {
		k, err := unix.Splice(from, nil, to, nil, n, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil || k == 0 {
			return or(err, unix.EIO)
		}
		n -= int(k)
	}
	return nil
}
