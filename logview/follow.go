package logview

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"upkeep/internal/fault"
)

// Follow gives f each line as it is finished, until f returns false or stop is closed.
// It is to be called after All, and loses no line to rotations in between. What comes
// at the same time to several logs is merged by its time stamps.
func (v *View) Follow(stop <-chan struct{}, f func(Line) bool) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fault.At("unable to watch logs", err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	defer events.Close()
	watched := make(map[int32]*reader)
	for _, r := range v.readers {
		wd, err := unix.InotifyAddWatch(fd, r.log.Dir, unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_MOVED_FROM|unix.IN_ONLYDIR)
		if err != nil {
			return fault.At("unable to watch "+r.log.Dir, err)
		}
		watched[int32(wd)] = r
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() { // until Follow returns
		select {
		case <-stop:
			events.Close()
		case <-ended:
		}
	}()
	changed := v.readers // since they were read
	for b := make([]byte, 16<<10); ; {
		goOn := true
		for _, r := range changed {
			if err := r.renew(); err != nil {
				return err
			}
		}
		if err := v.merge(func(l Line) bool { goOn = f(l); return goOn }); err != nil {
			return err
		}
		if !goOn {
			return nil
		}
		n, err := events.Read(b)
		if err != nil {
			select {
			case <-stop:
				return nil
			default:
				return fault.At("unable to watch logs", err)
			}
		}
		changed = readersOf(b[:n], watched)
	}
}

// readersOf are those to whose directories something has happened.
func readersOf(b []byte, watched map[int32]*reader) (list []*reader) {
	for len(b) >= unix.SizeofInotifyEvent {
		ev := (*unix.InotifyEvent)(unsafe.Pointer(&b[0]))
		if ev.Mask&unix.IN_Q_OVERFLOW != 0 {
			list = list[:0]
			for _, r := range watched {
				list = append(list, r)
			}
			return list
		}
		if r := watched[ev.Wd]; r != nil && !slices.Contains(list, r) {
			list = append(list, r)
		}
		b = b[min(unix.SizeofInotifyEvent+int(ev.Len), len(b)):]
	}
	return list
}

// renew appends the files that have come since the last one of the reader, which may
// have another name by now.
func (r *reader) renew() error {
	var last *os.File
	if n := len(r.files); n > 0 {
		last = r.files[n-1].f
		if st, err := os.Stat(filepath.Join(r.log.Dir, "current")); err == nil {
			if now, err := last.Stat(); err == nil && os.SameFile(st, now) {
				return r.shrunk(now.Size())
			}
		}
	}
	label := r.log.label()
	list, err := r.log.files()
	if err != nil {
		return err
	}
	// Those after the one that the last is now; if it is gone, or is being processed,
	// those that were rotated later.
	from := 0
	if last != nil {
		i := slices.IndexFunc(list, func(x file) bool { return same(x.f, last) })
		switch {
		case i >= 0:
			from = i + 1
		default:
			from = slices.IndexFunc(list, func(x file) bool { return x.name == "current" || strings.Compare(x.name, r.newest) > 0 })
			if from < 0 {
				from = len(list)
			}
		}
	}
	closeFiles(list[:from])
	r.files = append(r.files, list[from:]...)
	r.newest = label
	return nil
}

// shrunk goes back to the end of a file that a logger has cut off after a crash.
func (r *reader) shrunk(size int64) error {
	f := r.files[len(r.files)-1].f
	at, err := f.Seek(0, 1)
	if err == nil && at > size && len(r.files) == 1 {
		r.buf = nil
		_, err = f.Seek(size, 0)
	}
	return err
}
