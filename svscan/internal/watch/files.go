package watch

import (
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Files watches single files, wherever they are, by their paths: what is written to them,
// and what changes where the paths lead to, such as a rename over the file, a link that
// is set anew or a directory that comes back. Its methods may be called from any goroutine.
type Files struct {
	FD int // readable when there are events

	mu      sync.Mutex
	owners  map[spot][]uint32 // who is concerned
	spots   map[uint32][]spot // of each owner
	watches map[int]int       // how many uses each watch has
}

// spot is what an event can be about: a name in a directory, or the file of a watch itself.
type spot struct {
	wd   int
	name string
}

const (
	// fileMask is what may change a file's content, or whether it can be read.
	fileMask = unix.IN_CLOSE_WRITE | unix.IN_ATTRIB | unix.IN_MASK_ADD
	// nameMask is what may change whereto a name leads.
	nameMask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_MASK_ADD
	// linksLimit is the kernel's.
	linksLimit = 40
)

// NewFiles makes an empty set.
func NewFiles() (*Files, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, reason(err)
	}
	return &Files{
		FD: fd, owners: make(map[spot][]uint32), spots: make(map[uint32][]spot), watches: make(map[int]int),
	}, nil
}

// Set watches files on behalf of owner, in place of those that it had watched. It is to be
// called again after each event, before the files are read: then no change is lost. The
// error says why one of them cannot be watched; the rest is.
func (f *Files) Set(owner uint32, paths []string) (err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.spots[owner]
	f.spots[owner] = nil
	for _, p := range paths {
		if e := f.follow(owner, p); err == nil {
			err = reason(e)
		}
	}
	for _, s := range old {
		f.drop(owner, s)
	}
	if len(f.spots[owner]) == 0 {
		delete(f.spots, owner)
	}
	return err
}

// follow watches every name on the way to a file, and the file.
func (f *Files) follow(owner uint32, file string) error {
	at, rest := "/", strings.Split(file, "/")
	var target [unix.PathMax]byte
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		// Before it is looked at, so that no change gets lost.
		if err := f.add(owner, at, nameMask, name); err != nil {
			return err
		}
		next := strings.TrimSuffix(at, "/") + "/" + name
		n, err := unix.Readlink(next, target[:])
		if err == unix.EINVAL { // it is no link
			at = next
			continue
		}
		if links++; err != nil || links > linksLimit {
			return nil // which is for who reads the file to complain of
		}
		if target[0] == '/' {
			at = "/"
		}
		rest = append(strings.Split(string(target[:n]), "/"), rest...)
	}
	err := f.add(owner, at, fileMask, "")
	if err == unix.EACCES {
		return nil // so it cannot be read; its directory tells when it is another
	}
	return err
}

// add watches a name in a directory, or a file if name is empty. What is gone meanwhile is
// another event's.
func (f *Files) add(owner uint32, path string, mask uint32, name string) error {
	wd, err := unix.InotifyAddWatch(f.FD, path, mask)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return nil
	}
	if err != nil {
		return err
	}
	s := spot{wd, name}
	f.watches[wd]++
	f.owners[s] = append(f.owners[s], owner)
	f.spots[owner] = append(f.spots[owner], s)
	return nil
}

func (f *Files) drop(owner uint32, s spot) {
	list := f.owners[s]
	for i, o := range list {
		if o == owner {
			list = append(list[:i], list[i+1:]...)
			break
		}
	}
	if f.owners[s] = list; len(list) == 0 {
		delete(f.owners, s)
	}
	if f.watches[s.wd] == 0 {
		return // the kernel has ended it
	}
	if f.watches[s.wd]--; f.watches[s.wd] == 0 {
		delete(f.watches, s.wd)
		unix.InotifyRmWatch(f.FD, uint32(s.wd))
	}
}

// Read calls changed for each owner of whose files one may have changed, possibly more than
// once.
func (f *Files) Read(changed func(owner uint32)) {
	var all []uint32
	f.mu.Lock()
	readMasks(f.FD, func(wd int, mask uint32, name []byte) {
		switch {
		case wd < 0: // events were lost
			for owner := range f.spots {
				all = append(all, owner)
			}
		case mask&unix.IN_IGNORED != 0:
			delete(f.watches, wd)
		default:
			all = append(all, f.owners[spot{wd, string(name)}]...)
		}
	})
	f.mu.Unlock()
	for _, owner := range all {
		changed(owner)
	}
}

// Close ends all watches.
func (f *Files) Close() { unix.Close(f.FD) }
