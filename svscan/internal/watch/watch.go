// Package watch tells when the scan directory or a service directory changed.
// An event only means "look again": names and kinds in it are never trusted.
//
// The scan directory is watched through fsnotify. Service directories are
// watched through inotify itself, because only there can the watch leave out
// modifications: a service that writes into its own directory must not wake the
// scanner at every write.
package watch

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"unsafe"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// Tree watches a scan directory, and its parent so as to notice that it was
// moved away, replaced or made again.
type Tree struct {
	w    *fsnotify.Watcher
	dir  string
	done chan struct{}
}

// NewTree watches dir and calls changed, on a goroutine of its own, whenever
// something happened in it or to it.
func NewTree(dir string, changed func()) (*Tree, error) {
	w, err := fsnotify.NewBufferedWatcher(64)
	if err != nil {
		return nil, fmt.Errorf("unable to watch %s: %w", dir, err)
	}
	t := &Tree{w: w, dir: dir, done: make(chan struct{})}
	if err := t.Again(); err != nil {
		w.Close()
		return nil, err
	}
	go t.run(changed)
	return t, nil
}

// Again watches what is at the path now. A missing scan directory is no error:
// its parent tells when it appears.
func (t *Tree) Again() error {
	t.w.Remove(t.dir)
	if err := t.w.Add(t.dir); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, fsnotify.ErrClosed) {
		return fmt.Errorf("unable to watch %s: %w", t.dir, err)
	}
	for _, parent := range t.parents() {
		if err := t.w.Add(parent); err == nil {
			break
		}
	}
	return nil
}

// parents are the directories above, the nearest first.
func (t *Tree) parents() (list []string) {
	abs, err := filepath.Abs(t.dir)
	for err == nil && abs != "/" {
		abs = filepath.Dir(abs)
		list = append(list, abs)
	}
	return list
}

func (t *Tree) run(changed func()) {
	defer close(t.done)
	base := filepath.Base(t.dir)
	for {
		select {
		case ev, ok := <-t.w.Events:
			if !ok {
				return
			}
			// What happens beside the scan directory is nobody's business.
			if filepath.Dir(ev.Name) != filepath.Clean(t.dir) && filepath.Base(ev.Name) != base && len(t.w.WatchList()) > 1 {
				continue
			}
			if ev.Op == fsnotify.Write || ev.Op == fsnotify.Chmod {
				continue
			}
			changed()
		case _, ok := <-t.w.Errors:
			if !ok {
				return
			}
			changed() // an overflow: anything may have happened
		}
	}
}

// Close ends the watch.
func (t *Tree) Close() {
	t.w.Close()
	<-t.done
}

// Remote tells whether changes in the file system of path may come from
// elsewhere, so that no watch sees all of them.
func Remote(path string) bool {
	var fs unix.Statfs_t
	if unix.Statfs(path, &fs) != nil {
		return false
	}
	switch int64(fs.Type) & 0xffffffff {
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC,
		unix.V9FS_MAGIC, unix.FUSE_SUPER_MAGIC, unix.AFS_SUPER_MAGIC, unix.CEPH_SUPER_MAGIC, unix.CODA_SUPER_MAGIC:
		return true
	}
	return false
}

// Dirs watches service directories. Its methods may be called from any goroutine.
type Dirs struct {
	FD int // readable when there are events
}

// NewDirs makes an empty set.
func NewDirs() (*Dirs, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	return &Dirs{fd}, nil
}

// dirMask is what can change a definition: entries that come and go, and files
// that become executable or complete.
const dirMask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
	unix.IN_ATTRIB | unix.IN_CLOSE_WRITE | unix.IN_ONLYDIR

// Add watches the directory behind a descriptor and returns the number that its
// events carry.
func (d *Dirs) Add(fd int) (wd int, err error) {
	wd, err = unix.InotifyAddWatch(d.FD, "/proc/self/fd/"+strconv.Itoa(fd), dirMask)
	return wd, os.NewSyscallError("inotify_add_watch", err)
}

// Remove ends a watch.
func (d *Dirs) Remove(wd int) { unix.InotifyRmWatch(d.FD, uint32(wd)) }

// Read delivers what has happened: the watch and the entry's name. wd is -1 when
// events were lost.
func (d *Dirs) Read(deliver func(wd int, name []byte)) {
	var buf [4096]byte
	for {
		n, err := unix.Read(d.FD, buf[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return
		}
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			ev := (*unix.InotifyEvent)(unsafe.Pointer(&b[0]))
			end := min(unix.SizeofInotifyEvent+int(ev.Len), len(b))
			name, _, _ := bytes.Cut(b[unix.SizeofInotifyEvent:end], []byte{0})
			if ev.Mask&unix.IN_IGNORED == 0 {
				deliver(int(ev.Wd), name)
			}
			b = b[end:]
		}
	}
}

// Close ends all watches.
func (d *Dirs) Close() { unix.Close(d.FD) }
