// Package cgroup puts each service into a cgroup (version 2) of its own, a leaf
// below that of the scanner, so that all it ever forked can be limited, killed, and
// seen to have ended. It goes by cgroup-v2.rst of the kernel.
//
// Everything here makes system calls that may take long.
package cgroup

import (
	"bytes"
	"errors"
	"os"
	"path"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Supervisor is the name of the cgroup that a scanner moves to when controllers
// are needed: only a cgroup without processes may have them for its children.
const Supervisor = prefix + "supervisor"

// prefix keeps our names from being those of the kernel's files, or of others.
const prefix = "upkeep."

// ErrNone is the error where no cgroup can be made for lack of a version 2 hierarchy.
var ErrNone = errors.New("no cgroup version 2 of our own")

// Base is the cgroup below which services get theirs.
type Base struct {
	FD   int    // O_PATH
	Path string // in the file system

	enabled atomic.Pointer[string] // controllers that children have
}

// Own finds the scanner's own cgroup. One that was in the cgroup Supervisor when it
// was started finds that's parent, as its predecessor did.
func Own() (*Base, error) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	name, ok := parseOwn(own)
	if !ok {
		return nil, ErrNone
	}
	if path.Base(name) == Supervisor {
		name = path.Dir(name)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	err = ErrNone
	for _, dir := range places(mounts, name) {
		var b *Base
		if b, err = At(dir); err != nil {
			continue
		}
		var fs unix.Statfs_t
		if unix.Fstatfs(b.FD, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
			return b, nil
		}
		unix.Close(b.FD)
		err = ErrNone // something else is mounted over it
	}
	return nil, err
}

// At is the cgroup with that directory.
func At(dir string) (*Base, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &Base{FD: fd, Path: dir}, nil
}

// parseOwn finds the version 2 line of /proc/PID/cgroup. One that was removed, or
// is not below the root of our cgroup namespace, is no use.
func parseOwn(b []byte) (name string, ok bool) {
	for line := range strings.Lines(string(b)) {
		name, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::")
		if !ok {
			continue
		}
		usable := strings.HasPrefix(name, "/") && path.Clean(name) == name && !strings.HasSuffix(name, " (deleted)")
		return name, usable && name != "/.." && !strings.HasPrefix(name, "/../")
	}
	return "", false
}

// places are the directories at which the cgroup of that name may be found, by
// /proc/PID/mountinfo.
func places(mountinfo []byte, name string) (dirs []string) {
	for line := range bytes.Lines(mountinfo) {
		mount, fs, ok := bytes.Cut(line, []byte(" - "))
		if !ok {
			continue
		}
		// proc(5): the fourth is the root of the mount, the fifth the mount point.
		m, f := bytes.Fields(mount), bytes.Fields(fs)
		if len(m) < 5 || len(f) == 0 || string(f[0]) != "cgroup2" {
			continue
		}
		root, point := unescape(m[3]), unescape(m[4])
		below := name
		if root != "/" {
			if below, ok = strings.CutPrefix(name, root); !ok || below != "" && below[0] != '/' {
				continue
			}
		}
		dirs = append(dirs, path.Join(point, below))
	}
	return dirs
}

// unescape undoes mountinfo's octal escapes of blanks and the like.
func unescape(b []byte) string {
	var out []byte
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+3 < len(b) {
			if n, err := strconv.ParseUint(string(b[i+1:i+4]), 8, 8); err == nil {
				out = append(out, byte(n))
				i += 3
				continue
			}
		}
		out = append(out, b[i])
	}
	return string(out)
}

// Leaf is the cgroup of one service. It need not exist.
type Leaf struct {
	Base *Base
	Name string
}

// longest is how much of a service's name goes into that of its leaf.
const longest = 150

// Leaf is the cgroup of the service directory with that device and inode number,
// which alone tell it from all others, also after a restart; the service's name in
// it is for people.
func (b *Base) Leaf(service string, dev, ino uint64) *Leaf {
	return &Leaf{b, prefix + escape(service) + suffix(dev, ino)}
}

// Renamed finds the leaf of a directory that had another name when its leaf was
// made. It is nil if there is none.
func (b *Base) Renamed(dev, ino uint64) *Leaf {
	end := suffix(dev, ino)
	names, _ := b.list(".")
	for _, name := range names {
		if strings.HasPrefix(name, prefix) && strings.HasSuffix(name, end) {
			return &Leaf{b, name}
		}
	}
	return nil
}

func suffix(dev, ino uint64) string {
	return "." + strconv.FormatUint(dev, 16) + "-" + strconv.FormatUint(ino, 16)
}

// escape makes a file name of a service's name.
func escape(s string) string {
	const digits = "0123456789abcdef"
	var out []byte
	for i := 0; i < len(s) && len(out) < longest; i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-', c == '.', c == '@', c == '+', c == ':':
			out = append(out, c)
		default:
			out = append(out, '%', digits[c>>4], digits[c&15])
		}
	}
	return string(out)
}

// list is the names of the cgroups in one.
func (b *Base) list(name string) (names []string, err error) {
	fd, err := unix.Openat(b.FD, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	dir := os.NewFile(uintptr(fd), name)
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// Make makes the leaf if it is not there.
func (l *Leaf) Make() error {
	if err := unix.Mkdirat(l.Base.FD, l.Name, 0o755); err != unix.EEXIST {
		return err
	}
	return nil
}

// Exists tells whether the leaf is there.
func (l *Leaf) Exists() bool {
	return unix.Faccessat(l.Base.FD, l.Name, unix.F_OK, 0) == nil
}

// Divided tells whether the service gave controllers to cgroups that it made in the
// leaf, which then takes no processes itself.
func (l *Leaf) Divided() bool {
	return strings.TrimSpace(l.Base.read(l.Name+"/cgroup.subtree_control")) != ""
}

// Remove removes the leaf with the cgroups that its service made in it. It fails
// with EBUSY if there are processes.
func (l *Leaf) Remove() error { return l.Base.remove(l.Name) }

func (b *Base) remove(name string) error {
	err := unix.Unlinkat(b.FD, name, unix.AT_REMOVEDIR)
	if err == unix.EBUSY || err == unix.ENOTEMPTY {
		below, _ := b.list(name)
		for _, child := range below {
			_ = b.remove(name + "/" + child) // or the next says so
		}
		err = unix.Unlinkat(b.FD, name, unix.AT_REMOVEDIR)
	}
	if err == unix.ENOENT {
		return nil
	}
	return err
}

// Dir opens the leaf for CLONE_INTO_CGROUP.
func (l *Leaf) Dir() (fd int, err error) {
	return unix.Openat(l.Base.FD, l.Name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// Procs opens the file into which processes are written that are to move in.
func (l *Leaf) Procs() (fd int, err error) {
	return unix.Openat(l.Base.FD, l.Name+"/cgroup.procs", unix.O_WRONLY|unix.O_CLOEXEC, 0)
}

// Events opens the file whose changes epoll tells of as EPOLLPRI, for Populated.
func (l *Leaf) Events() (fd int, err error) {
	return unix.Openat(l.Base.FD, l.Name+"/cgroup.events", unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// Populated tells whether there are processes in the leaf of an Events, or in
// cgroups below. After an error there can be none: it was removed.
func Populated(events int) bool {
	var b [128]byte
	n, err := unix.Pread(events, b[:], 0)
	return err == nil && parsePopulated(b[:n])
}

func parsePopulated(b []byte) bool {
	for line := range bytes.Lines(b) {
		if bytes.Equal(bytes.TrimSpace(line), []byte("populated 1")) {
			return true
		}
	}
	return false
}

// Populated tells whether there are processes in the leaf. One that cannot be
// looked at has none.
func (l *Leaf) Populated() bool {
	fd, err := l.Events()
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return Populated(fd)
}

// write writes a file of a cgroup below the base.
func (b *Base) write(name, value string) error {
	fd, err := unix.Openat(b.FD, name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for {
		_, err = unix.Write(fd, []byte(value))
		if err != unix.EINTR {
			return err
		}
	}
}
