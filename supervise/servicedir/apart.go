package servicedir

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"upkeep/internal/fault"
)

// Store is a directory that holds the state of services whose definitions are
// elsewhere and are not written to. A nil *Store has the state in the definitions.
//
//	NAME                      a link to the following
//	.services/KEY/supervise/  the state
//	.services/KEY/run, down, ...  links into the definition
//	.services/KEY/log/        the same for the log service
//
// So NAME is to clients what the service directory would be. KEY tells definitions
// apart whatever their names: the state stays with one that is renamed, also while
// nobody supervises it.
//
// A definition with a link named supervise says itself where its state is. In its
// place below KEY is a link to that one.
type Store struct {
	fd int
}

const (
	byKey   = ".services"
	newLink = byKey + "/.new"
)

// OpenStore makes the directory and what is missing above it. It fails if nothing can
// be made in it.
func OpenStore(path string) (*Store, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		if step, ok := errors.AsType[*os.PathError](err); ok {
			err = step.Err
		}
		return nil, fault.At("unable to create directory "+path, err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fault.At("unable to open directory "+path, err)
	}
	for _, sub := range [...]string{".", byKey} {
		if sub == byKey {
			err = mkdir(fd, sub)
		}
		if err == nil {
			err = unix.Faccessat(fd, sub, unix.R_OK|unix.W_OK|unix.X_OK, unix.AT_EACCESS)
		}
		if err != nil {
			unix.Close(fd)
			return nil, fault.At("unable to write in directory "+path, err)
		}
	}
	return &Store{fd}, nil
}

// Close gives the store up.
func (s *Store) Close() { unix.Close(s.fd) }

// Identity is that of the store's directory.
func (s *Store) Identity() (Identity, error) {
	var st unix.Stat_t
	err := unix.Fstat(s.fd, &st)
	return IdentityOf(&st), err
}

// mkdir makes a directory that may be there.
func mkdir(dir int, path string) error {
	if err := unix.Mkdirat(dir, path, 0o755); err != nil && err != unix.EEXIST {
		return err
	}
	var st unix.Stat_t
	err := unix.Fstatat(dir, path, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return unix.ENOTDIR
	}
	return err
}

// Key is the key of a definition: device, inode, and the inode's generation where the
// file system tells it, since it may use an inode again.
func Key(def int) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(def, &st); err != nil {
		return "", err
	}
	b := strconv.AppendUint(make([]byte, 0, 40), uint64(st.Dev), 16)
	b = append(b, '-')
	b = strconv.AppendUint(b, st.Ino, 16)
	b = append(b, '-')
	b = strconv.AppendUint(b, generation(def), 16)
	return string(b), nil
}

// LogKey is the key of a service's log service.
func LogKey(key string) string { return key + "/log" }

// parseKey is the identity in a key.
func parseKey(key string) (id Identity, ok bool) {
	f := strings.Split(key, "-")
	if len(f) != 3 {
		return id, false
	}
	var err [3]error
	id.Dev, err[0] = strconv.ParseUint(f[0], 16, 64)
	id.Ino, err[1] = strconv.ParseUint(f[1], 16, 64)
	_, err[2] = strconv.ParseUint(f[2], 16, 64)
	return id, err == [3]error{}
}

// ioctlGetVersion is FS_IOC_GETVERSION, _IOR('v', 1, long).
const ioctlGetVersion = 0x80087601

func generation(def int) uint64 {
	fd, err := readable(def)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	n, err := unix.IoctlGetUint32(fd, ioctlGetVersion)
	if err != nil {
		return 0
	}
	return uint64(n)
}

// readable opens a directory for reading, given any descriptor of it.
func readable(dir int) (int, error) {
	return unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// linked tells whether a definition says itself where its state is.
func linked(def int) bool { return isLink(def, StateDir) }

func isLink(dir int, name string) bool {
	var st unix.Stat_t
	return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK
}

// Open is the function Open with the state in the store. Nobody else can have the
// same definition at the same time: not with another store, which a lock on the
// definition's directory keeps out, nor with supervise/lock in the definition, if
// that is there.
func (s *Store) Open(def int, key string) (d *Dir, remade Remade, err error) {
	if s == nil {
		return Open(def)
	}
	if linked(def) {
		if d, remade, err = Open(def); err == nil {
			_ = s.makeHome(key) // Mirror says why not
		}
		return d, remade, err
	}
	d = New(def)
	d.Home = -1
	held, err := s.hold(d)
	if err != nil {
		err = &StepError{"acquire", StateDir + "/lock", err}
	} else if d.Home, err = s.openHome(key); err != nil {
		err = &StepError{"create", StateDir, err}
	} else {
		remade, err = d.open()
	}
	if err == nil && held >= 0 {
		err = unix.Dup3(held, def, unix.O_CLOEXEC) // the lock is def's from now on
	}
	if held >= 0 {
		unix.Close(held)
	}
	if err != nil {
		d.FD = -1
		d.Close()
		return nil, remade, err
	}
	return d, remade, nil
}

// hold takes the locks on a definition that are to be had without writing to it. held
// is a descriptor of the directory that holds one, or -1. What cannot be opened or
// locked for want of rights, or of locks in the file system, is left out.
func (s *Store) hold(d *Dir) (held int, err error) {
	held, err = readable(d.FD)
	if err != nil {
		held = -1
	} else if err = unix.Flock(held, unix.LOCK_EX|unix.LOCK_NB); err == unix.EAGAIN {
		unix.Close(held)
		return -1, err
	}
	kind := int16(unix.F_WRLCK)
	const flags = unix.O_NONBLOCK | unix.O_CLOEXEC
	if d.Theirs, err = unix.Openat(d.FD, StateDir+"/lock", unix.O_RDWR|flags, 0); err != nil {
		kind = unix.F_RDLCK
		d.Theirs, err = unix.Openat(d.FD, StateDir+"/lock", unix.O_RDONLY|flags, 0)
	}
	if err != nil {
		d.Theirs = -1
	} else if err = exclude(d.Theirs, kind); err == unix.EAGAIN {
		return held, err
	}
	return held, nil
}

// openHome makes and opens the directory of a key.
func (s *Store) openHome(key string) (home int, err error) {
	if err := s.makeHome(key); err != nil {
		return -1, err
	}
	if home, err = s.home(key); err != nil {
		return -1, err
	}
	if linked(home) { // from a time when the definition had a link, too
		if err = unix.Unlinkat(home, StateDir, 0); err != nil {
			unix.Close(home)
			return -1, err
		}
	}
	return home, nil
}

// makeHome makes the directory of a key.
func (s *Store) makeHome(key string) error {
	main, _, log := strings.Cut(key, "/")
	err := mkdir(s.fd, byKey+"/"+main)
	if err == nil && log {
		err = mkdir(s.fd, byKey+"/"+key)
	}
	return err
}

// Peek is the function Peek with the state in the store.
func (s *Store) Peek(def int, key string, w World) *Journal {
	if s == nil || linked(def) {
		return Peek(def, w)
	}
	home, err := s.home(key)
	if err != nil {
		return nil
	}
	defer unix.Close(home)
	return peek(home, def, w)
}

func (s *Store) home(key string) (int, error) {
	return unix.Openat(s.fd, byKey+"/"+key, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// Left are the last processes of a service and of its log service, whatever has become
// of their definitions.
func (s *Store) Left(key string, w World) (marks []Mark) {
	for _, k := range [...]string{key, LogKey(key)} {
		home, err := s.home(k)
		if err != nil {
			continue
		}
		if j := peek(home, -1, w); j != nil && j.Mark != (Mark{}) {
			marks = append(marks, j.Mark)
		}
		unix.Close(home)
	}
	return marks
}

// Link has name lead to the state of key. What is there and was not made by a Link is
// left alone: EEXIST.
func (s *Store) Link(name, key string) error {
	target := byKey + "/" + key
	err := unix.Symlinkat(target, s.fd, name)
	if err != unix.EEXIST {
		return err
	}
	switch now := s.Linked(name); now {
	case key:
		return nil
	case "":
		return unix.EEXIST
	}
	_ = unix.Unlinkat(s.fd, newLink, 0)
	if err = unix.Symlinkat(target, s.fd, newLink); err == nil {
		err = unix.Renameat(s.fd, newLink, s.fd, name)
	}
	return err
}

// Linked is the key that name leads to, or "".
func (s *Store) Linked(name string) string {
	target, _ := readlink(s.fd, name)
	key, ours := strings.CutPrefix(target, byKey+"/")
	if _, ok := parseKey(key); !ours || !ok {
		return ""
	}
	return key
}

// Unlink ends a Link, unless name leads elsewhere by now.
func (s *Store) Unlink(name, key string) {
	if name != "" && s.Linked(name) == key {
		_ = unix.Unlinkat(s.fd, name, 0)
	}
}

// Names lists the names and the keys they lead to.
func (s *Store) Names() map[string]string {
	links := make(map[string]string)
	for _, name := range list(s.fd, ".") {
		if key := s.Linked(name); key != "" {
			links[name] = key
		}
	}
	return links
}

// Keys lists the keys of services, and whose they are.
func (s *Store) Keys() map[string]Identity {
	keys := make(map[string]Identity)
	for _, key := range list(s.fd, byKey) {
		if id, ok := parseKey(key); ok {
			keys[key] = id
		}
	}
	return keys
}

// list are the entries of a directory, or nil if it cannot be read.
func list(dir int, path string) []string {
	fd, err := unix.Openat(dir, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	return names
}

func readlink(dir int, name string) (string, error) {
	var b [unix.PathMax]byte
	n, err := unix.Readlinkat(dir, name, b[:])
	if err != nil {
		return "", err
	}
	return string(b[:n]), nil
}

// lookedAt are the files of a definition that clients look at, and which may come at
// any time: links to them are there before they are.
var lookedAt = [...]string{"check", "down"}

// maxLinks is how many entries of a definition are linked: more are data.
const maxLinks = 200

// Mirror has the directory of a key show what the definition holds. A service without
// a log directory loses what there was of a log service that is over.
func (s *Store) Mirror(def int, key string) error {
	home, err := s.home(key)
	if err != nil {
		return err
	}
	defer unix.Close(home)
	base, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(def))
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(def, &st); err != nil || st.Nlink == 0 {
		return err // it is gone: nothing to show
	}
	var names []string
	for _, name := range list(def, ".") {
		if mirrored(name) && len(names) < maxLinks {
			names = append(names, name)
		}
	}
	for _, name := range lookedAt {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if linked(def) {
		names = append(names, StateDir)
		if !linked(home) {
			removeState(home)
		}
	}
	for _, name := range names {
		if e := relink(home, name, base+"/"+name); err == nil {
			err = e
		}
	}
	for _, name := range list(home, ".") {
		if !slices.Contains(names, name) {
			unlinkOurs(home, name)
		}
	}
	if !strings.Contains(key, "/") && !isDir(def, "log") {
		s.Remove(LogKey(key))
	}
	return err
}

// mirrored tells whether an entry of a definition is linked.
func mirrored(name string) bool {
	return name[0] != '.' && name != StateDir && name != "log" && name != "event"
}

func isDir(dir int, name string) bool {
	var st unix.Stat_t
	return unix.Fstatat(dir, name, &st, 0) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// relink makes a link, in place of another one that leads elsewhere.
func relink(dir int, name, target string) error {
	err := unix.Symlinkat(target, dir, name)
	if err != unix.EEXIST {
		return err
	}
	now, err := readlink(dir, name)
	if err != nil || now == target {
		return nil // a file of somebody else's
	}
	const temporary = ".new"
	_ = unix.Unlinkat(dir, temporary, 0)
	if err = unix.Symlinkat(target, dir, temporary); err == nil {
		err = unix.Renameat(dir, temporary, dir, name)
	}
	return err
}

// unlinkOurs removes a link that relink made.
func unlinkOurs(dir int, name string) {
	if target, err := readlink(dir, name); err == nil && strings.HasPrefix(target, "/") && strings.HasSuffix(target, "/"+name) {
		_ = unix.Unlinkat(dir, name, 0)
	}
}

// Remove removes what the store made for a key and its log service, unless somebody
// supervises them. Files of others stay, and the directories that hold them.
func (s *Store) Remove(key string) {
	if !strings.Contains(key, "/") {
		s.Remove(LogKey(key))
	}
	home, err := s.home(key)
	if err != nil {
		return
	}
	defer unix.Close(home)
	if !linked(home) && !removeState(home) {
		return
	}
	for _, name := range list(home, ".") {
		unlinkOurs(home, name)
	}
	_ = unix.Unlinkat(s.fd, byKey+"/"+key, unix.AT_REMOVEDIR)
}

// removeState removes supervise/ with what we make in it, unless its lock is held.
func removeState(home int) bool {
	dir, err := unix.Openat(home, StateDir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err == unix.ENOENT
	}
	defer unix.Close(dir)
	lock, err := unix.Openat(dir, "lock", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(lock)
		if unix.Flock(lock, unix.LOCK_EX|unix.LOCK_NB) == unix.EAGAIN {
			return false
		}
	}
	for _, name := range [...]string{"ok", "control", "status", "stat", "pid", ".status", ".stat", ".pid", "lock"} {
		_ = unix.Unlinkat(dir, name, 0)
	}
	return unix.Unlinkat(home, StateDir, unix.AT_REMOVEDIR) == nil
}
