package svc

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// Changes waits for changes of several services at once, for those who do not
// know beforehand how many they have to do with. One inotify instance does for
// all of them; where it is refused, Next polls like Wait.
//
// As with Wait, nothing that lasts is missed by who looks after Add and after
// each Next.
type Changes struct {
	inotify int              // -1: refused
	dirs    map[int32][]*Dir // a directory may have been added twice
}

// NewChanges watches nothing yet.
func NewChanges() *Changes {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		fd = -1
	}
	return &Changes{fd, make(map[int32][]*Dir)}
}

// Close ends the watch.
func (c *Changes) Close() { drop(&c.inotify) }

// Add has the state directory of d watched. A change is a new status, or that the
// supervisor has gone.
func (c *Changes) Add(d *Dir) {
	if c.inotify < 0 {
		return
	}
	// A supervisor that ends closes its end of ok. Clients close theirs for writing.
	const mask = statusMask | unix.IN_CLOSE_NOWRITE
	wd, err := unix.InotifyAddWatch(c.inotify, d.statePath(), mask)
	if err != nil {
		c.Close()
		return
	}
	c.dirs[int32(wd)] = append(c.dirs[int32(wd)], d)
}

// Next waits for a change, but no longer than until. It returns what has changed;
// nothing means that all are to be looked at: the time is over, or what has changed
// is not known.
func (c *Changes) Next(until time.Time) (changed []*Dir) {
	lost := false
	for {
		left := time.Until(until)
		if left <= 0 {
			return nil
		}
		if c.inotify < 0 {
			time.Sleep(min(left, pollEvery))
			return nil
		}
		p := [...]unix.PollFd{{Fd: int32(c.inotify), Events: unix.POLLIN}}
		if n, _ := unix.Poll(p[:], millis(left)); n <= 0 {
			continue
		}
		all := !readEvents(c.inotify, func(wd int32, mask uint32, name string) {
			switch {
			case mask&unix.IN_Q_OVERFLOW != 0:
				wd = -1
			case mask&(unix.IN_MODIFY|unix.IN_MOVED_TO|unix.IN_DELETE) != 0 && name == "status",
				mask&unix.IN_CLOSE_NOWRITE != 0 && name == "ok",
				mask&(unix.IN_MOVE_SELF|unix.IN_IGNORED) != 0:
			default:
				return
			}
			lost = lost || wd < 0
			changed = append(changed, c.dirs[wd]...)
		})
		if all {
			c.Close()
		}
		if all || lost {
			return nil
		}
		if changed != nil {
			return changed
		}
	}
}

// statusMask: status written in place (encore), renamed into place (the others)
// or removed; ok opened by a new supervisor; the directory moved away.
const statusMask = unix.IN_MODIFY | unix.IN_MOVED_TO | unix.IN_DELETE | unix.IN_OPEN |
	unix.IN_MOVE_SELF | unix.IN_ONLYDIR

// readEvents reads all events that there are. It is false if they cannot be read.
func readEvents(inotify int, each func(wd int32, mask uint32, name string)) bool {
	var b [4096]byte // holds many events: these have names of up to 16 bytes
	for {
		n, err := unix.Read(inotify, b[:])
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			return true
		}
		if err != nil || n < unix.SizeofInotifyEvent {
			return false
		}
		for e := b[:n]; len(e) >= unix.SizeofInotifyEvent; {
			end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(e[12:]))
			each(int32(binary.NativeEndian.Uint32(e)), binary.NativeEndian.Uint32(e[4:]),
				unix.ByteSliceToString(e[unix.SizeofInotifyEvent:end]))
			e = e[end:]
		}
	}
}
