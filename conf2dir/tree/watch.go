package tree

import (
	"errors"
	"os"
	"path/filepath"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// settle is how long a file has to be left alone, and the patience with one that is
// not (pmtr.md, section 11).
const (
	settle   = 200 * time.Millisecond
	patience = time.Second
)

// Watch calls changed now and whenever the file at path may be another: written,
// replaced, removed or made again, also where links on the way are. It returns only
// for an error: that of changed, or if the directory is gone or cannot be watched.
func Watch(path string, changed func() error) error {
	w := watch{path: path}
	var err error
	if w.fd, err = unix.InotifyInit1(unix.IN_CLOEXEC); err != nil {
		return os.NewSyscallError("inotify_init1", err)
	}
	defer unix.Close(w.fd)
	for {
		if err := w.arm(); err != nil {
			return err
		}
		if err := changed(); err != nil {
			return err
		}
		if err := w.wait(); err != nil {
			return err
		}
	}
}

type watch struct {
	fd    int
	path  string
	names map[int32]map[string]bool // by watch: the names that matter
}

// maxLinks is how many links are followed on the way to a file.
const maxLinks = 40

// arm watches the directories of the file, and of the links that lead to it.
func (w *watch) arm() error {
	before := w.names
	w.names = map[int32]map[string]bool{}
	path := w.path
	for range maxLinks {
		dir, name := filepath.Dir(path), filepath.Base(path)
		const mask = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_CREATE | unix.IN_DELETE |
			unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
		wd, err := unix.InotifyAddWatch(w.fd, dir, mask)
		if err != nil {
			return &os.PathError{Op: "watch", Path: dir, Err: err}
		}
		if w.names[int32(wd)] == nil {
			w.names[int32(wd)] = map[string]bool{}
		}
		w.names[int32(wd)][name] = true
		target, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		path = target
	}
	for wd := range before {
		if w.names[wd] == nil {
			_, _ = unix.InotifyRmWatch(w.fd, uint32(wd))
		}
	}
	return nil
}

// wait returns when something has happened to the file and nothing more does.
func (w *watch) wait() error {
	for news := false; !news; {
		var err error
		if news, err = w.read(); err != nil {
			return err
		}
	}
	for deadline := time.Now().Add(patience); ; {
		left := min(settle, time.Until(deadline))
		p := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, int(max(left, 0).Milliseconds()))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return os.NewSyscallError("poll", err)
		case n == 0:
			return nil
		default:
			if _, err := w.read(); err != nil {
				return err
			}
		}
	}
}

var errGone = errors.New("the directory of the configuration is gone")

// read takes in events, and tells whether one is about the file.
func (w *watch) read() (news bool, err error) {
	var b [16 << 10]byte
	n, err := unix.Read(w.fd, b[:])
	if err == unix.EINTR {
		return false, nil
	}
	if err != nil {
		return false, os.NewSyscallError("read", err)
	}
	for at := 0; at+unix.SizeofInotifyEvent <= n; {
		e := (*unix.InotifyEvent)(unsafe.Pointer(&b[at]))
		name := unix.ByteSliceToString(b[at+unix.SizeofInotifyEvent : at+unix.SizeofInotifyEvent+int(e.Len)])
		at += unix.SizeofInotifyEvent + int(e.Len)
		names := w.names[e.Wd]
		switch {
		case e.Mask&unix.IN_Q_OVERFLOW != 0:
			news = true
		case names == nil: // of a watch that was given up
		case e.Mask&(unix.IN_DELETE_SELF|unix.IN_MOVE_SELF|unix.IN_IGNORED) != 0:
			return false, errGone
		default:
			news = news || names[name]
		}
	}
	return news, nil
}
