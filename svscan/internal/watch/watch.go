// Package watch tells when the scan directory or a service directory changed.
// An event only means "look again": names and kinds in it are never trusted.
//
// It uses inotify itself, since libraries for it do not let modifications be left
// out: a service that writes into its own directory, or beside the scan directory,
// must not wake the scanner at every write.
package watch

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"upkeep/internal/fault"
)

// Tree watches a scan directory, and its parent so as to notice that it was
// moved away, replaced or made again.
type Tree struct {
	file *os.File
	fd   int
	dir  string
	base []byte
	done chan struct{}

	mu     sync.Mutex
	self   int // watch on the scan directory, or -1
	parent int // on the nearest directory above that there is, or -1
}

// What the errors of inotify mean; of other calls they say something else.
var (
	errInstances = errors.New("fs.inotify.max_user_instances is used up, or descriptors are")
	errWatches   = errors.New("fs.inotify.max_user_watches is used up")
)

func reason(err error) error {
	switch err {
	case unix.EMFILE:
		return errInstances
	case unix.ENOSPC:
		return errWatches
	}
	return err
}

// entries is what happens to the names in a directory.
const entries = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_ONLYDIR

// NewTree watches dir and calls changed, on a goroutine of its own, whenever
// something happened in it or to it.
func NewTree(dir string, changed func()) (*Tree, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fault.At("unable to watch "+dir, reason(err))
	}
	t := &Tree{
		file: os.NewFile(uintptr(fd), "inotify"), fd: fd, dir: dir,
		done: make(chan struct{}), self: -1, parent: -1,
	}
	if abs, err := filepath.Abs(dir); err == nil {
		t.base = []byte(filepath.Base(abs))
	}
	if err := t.Again(); err != nil {
		t.file.Close()
		return nil, err
	}
	go t.run(changed)
	return t, nil
}

// Again watches what is at the path now. A missing scan directory is no error:
// its parent tells when it appears.
func (t *Tree) Again() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, wd := range []*int{&t.self, &t.parent} {
		if *wd >= 0 {
			unix.InotifyRmWatch(t.fd, uint32(*wd))
			*wd = -1
		}
	}
	wd, err := unix.InotifyAddWatch(t.fd, t.dir, entries|unix.IN_DELETE_SELF|unix.IN_MOVE_SELF)
	if err == nil {
		t.self = wd
	} else if err != unix.ENOENT {
		return fault.At("unable to watch "+t.dir, reason(err))
	}
	for _, parent := range t.parents() {
		if wd, err := unix.InotifyAddWatch(t.fd, parent, entries); err == nil {
			t.parent = wd
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
	conn, err := t.file.SyscallConn()
	if err != nil {
		return
	}
	for {
		news := false
		err := conn.Read(func(fd uintptr) bool {
			seen := readEvents(int(fd), func(wd int, name []byte) { news = t.concerns(wd, name) || news })
			return seen
		})
		if err != nil {
			return // closed
		}
		if news {
			changed()
		}
	}
}

// concerns tells whether an event is about the scan directory. What happens
// beside it is nobody's business.
func (t *Tree) concerns(wd int, name []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch wd {
	case -1, t.self:
		return true
	case t.parent:
		return t.self < 0 || bytes.Equal(name, t.base)
	}
	return false // of a watch that was given up
}

// Close ends the watch.
func (t *Tree) Close() {
	t.file.Close()
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
		return nil, reason(err)
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
	return wd, reason(err)
}

// Remove ends a watch.
func (d *Dirs) Remove(wd int) { unix.InotifyRmWatch(d.FD, uint32(wd)) }

// Read delivers what has happened: the watch and the entry's name. wd is -1 when
// events were lost.
func (d *Dirs) Read(deliver func(wd int, name []byte)) { readEvents(d.FD, deliver) }

// readEvents delivers all events that there are, and tells whether there were any.
func readEvents(fd int, deliver func(wd int, name []byte)) (any bool) {
	return readMasks(fd, func(wd int, mask uint32, name []byte) {
		if mask&unix.IN_IGNORED == 0 {
			deliver(wd, name)
		}
	})
}

// readMasks is readEvents with what happened, and with the ends of watches.
func readMasks(fd int, deliver func(wd int, mask uint32, name []byte)) (any bool) {
	var buf [4096]byte
	for {
		n, err := unix.Read(fd, buf[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return any
		}
		any = true
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			ev := (*unix.InotifyEvent)(unsafe.Pointer(&b[0]))
			end := min(unix.SizeofInotifyEvent+int(ev.Len), len(b))
			name, _, _ := bytes.Cut(b[unix.SizeofInotifyEvent:end], []byte{0})
			deliver(int(ev.Wd), ev.Mask, name)
			b = b[end:]
		}
	}
}

// Close ends all watches.
func (d *Dirs) Close() { unix.Close(d.FD) }
