// Package servicedir is the on-disk contract of a service directory: what a
// definition says, and the run-time files below supervise/ which clients of
// daemontools, runit and s6 know: lock, control, ok, status, stat, pid.
//
// Everything goes through a descriptor of the directory, so that it may be
// renamed or unlinked while its service is up.
package servicedir

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"upkeep/internal/fault"
	"upkeep/supervise"
)

// StateDir is the usual name of the state directory.
const StateDir = "supervise"

// stateDir is what it is called instead (SetStateDir), or empty.
var stateDir string

// SetStateDir has the state directory of all services be called name from now on; with an
// absolute name they are below that, each by the physical path of its service directory
// (encore's SUPERVISEDIR; daemontools.md, section 5.1). It is to be called before
// anything else.
func SetStateDir(name string) {
	if name == StateDir {
		name = ""
	}
	stateDir = name
}

// StateDirIn is the state directory of the service directory fd, as *at calls with fd
// take it.
func StateDirIn(fd int) string {
	if stateDir == "" {
		return StateDir
	}
	if stateDir[0] != '/' {
		return stateDir
	}
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return StateDir
	}
	return stateDir + "/" + strings.ReplaceAll(strings.TrimPrefix(path, "/"), "/", ":")
}

// StepError is a failing step of Open: what was being done to which file, in the
// words of daemontools.
type StepError struct {
	Verb string // "acquire", "read", ...
	File string // below the service directory
	Err  error
}

func (e *StepError) Error() string {
	return "unable to " + e.Verb + " " + e.File + ": " + e.Err.Error()
}

// Unwrap is the cause.
func (e *StepError) Unwrap() error { return e.Err }

// Identity tells directories apart whatever their names.
type Identity struct {
	Dev uint64
	Ino uint64
}

// IdentityOf is the identity of a file.
func IdentityOf(st *unix.Stat_t) Identity { return Identity{uint64(st.Dev), st.Ino} }

// ErrNotFIFO is the cause when a file stands where a FIFO belongs and cannot be
// replaced.
var ErrNotFIFO = errors.New("not a fifo")

// Dir is an open service directory: four descriptors, or up to six where the state
// is kept apart. All are close-on-exec; children get none.
type Dir struct {
	FD      int // of the definition; O_PATH, or a lock on it where the state is apart
	Home    int // what supervise/ is in: FD, unless the state is apart
	Theirs  int // the definition's own lock file where the state is apart, or -1
	Lock    int
	Control int // reads control bytes; also the writer that keeps EOF away
	OK      int // -1 until Show

	state             *string // the state directory, in Home; nil: StateDir
	status, stat, pid pair

	unreadable bool // the lock file
	journal    bool // one is kept
	begun      bool // it has its header
	world      World
}

// pair is a file that is replaced often, and the hidden one that it changes
// places with.
type pair struct {
	shown bool
	spare bool
	size  uint8 // of the hidden file
	last  uint8 // of the one shown
}

// Remade tells which files stood in the place of a FIFO and were replaced.
type Remade struct{ Control, OK bool }

// Open makes the state directory of the service directory fd, which it takes over
// unless it fails, and takes the lock before it touches anything else. Clients
// see a supervised service only from the first WriteStatus on.
func Open(fd int) (d *Dir, remade Remade, err error) {
	d = New(fd)
	if remade, err = d.open(); err != nil {
		d.FD, d.Home = -1, -1
		d.Close()
		return nil, remade, err
	}
	return d, remade, nil
}

// New is the service directory fd, of which nothing else is open.
func New(fd int) *Dir {
	d := &Dir{FD: fd, Home: fd, Theirs: -1, Lock: -1, Control: -1, OK: -1}
	if stateDir != "" {
		state := StateDirIn(fd)
		d.state = &state
	}
	return d
}

func (d *Dir) stateDir() string {
	if d.state == nil {
		return StateDir
	}
	return *d.state
}

// in is a file of the state directory.
func (d *Dir) in(name string) string { return d.stateDir() + "/" + name }

func (d *Dir) open() (remade Remade, err error) {
	if err = makeStateDir(d.Home, d.stateDir()); err != nil {
		err = &StepError{"create", d.stateDir(), err}
	} else if err = d.lock(); err != nil {
		err = &StepError{"acquire", d.in("lock"), err}
	} else if d.Control, remade.Control, err = openFIFO(d.Home, d.in("control"), unix.O_RDWR); err != nil {
		err = &StepError{"read", d.in("control"), err}
	}
	return remade, err
}

// Show opens ok, whose having a reader tells clients that the service is
// supervised and that there is a status.
func (d *Dir) Show() (remade Remade, err error) {
	if d.OK, remade.OK, err = openFIFO(d.Home, d.in("ok"), unix.O_RDONLY); err != nil {
		err = &StepError{"read", d.in("ok"), err}
	}
	return remade, err
}

// makeStateDir makes supervise, or the target of a dangling link of that name
// (runit.md, section 1.1).
func makeStateDir(fd int, state string) error {
	err := unix.Mkdirat(fd, state, 0o700)
	if err == nil {
		return nil
	}
	var st unix.Stat_t
	if unix.Fstatat(fd, state, &st, 0) == nil {
		return nil // if it is no directory, the lock will say so, as in daemontools
	}
	var target [unix.PathMax]byte
	n, e := unix.Readlinkat(fd, state, target[:])
	if e != nil {
		return err
	}
	return unix.Mkdirat(fd, string(target[:n]), 0o700)
}

// lock takes the lock that daemontools and runit look at (flock) and the one that
// s6 looks at (a record lock) on one descriptor. The record lock is an
// open-file-description lock: a plain one would be lost when anything in this
// process closed the file.
func (d *Dir) lock() error {
	const flags = unix.O_CREAT | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := unix.Openat(d.Home, d.in("lock"), unix.O_RDWR|flags, 0o600)
	if err == unix.EACCES {
		d.unreadable = true
		fd, err = unix.Openat(d.Home, d.in("lock"), unix.O_WRONLY|flags, 0o600)
	}
	if err != nil {
		return err
	}
	d.Lock = fd
	return exclude(fd, unix.F_WRLCK)
}

// exclude takes both locks on an open file; record is the kind of the record lock.
func exclude(fd int, record int16) error {
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	whole := unix.Flock_t{Type: record}
	err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &whole)
	if err == unix.EAGAIN || err == unix.EACCES {
		return unix.EAGAIN
	}
	return nil // a file system without record locks
}

// openFIFO makes and opens a FIFO. A file in its place is removed: the lock is
// ours, so nobody else has a use for it.
func openFIFO(dir int, path string, mode int) (fd int, remade bool, err error) {
	for range 2 {
		if err := unix.Mkfifoat(dir, path, 0o600); err != nil && err != unix.EEXIST {
			return -1, remade, err
		}
		fd, err := unix.Openat(dir, path, mode|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			var st unix.Stat_t
			if err := unix.Fstat(fd, &st); err != nil {
				unix.Close(fd)
				return -1, remade, err
			}
			if st.Mode&unix.S_IFMT == unix.S_IFIFO {
				return fd, remade, nil
			}
			unix.Close(fd)
		} else if err != unix.EISDIR && err != unix.ENXIO && err != unix.ELOOP && err != unix.ENOENT {
			return -1, remade, err
		}
		if remade || unix.Unlinkat(dir, path, 0) != nil {
			break
		}
		remade = true
	}
	return -1, remade, ErrNotFIFO
}

// OpenControl makes and opens a FIFO control in the directory fd.
func OpenControl(fd int) (int, error) {
	control, _, err := openFIFO(fd, "control", unix.O_RDWR)
	return control, err
}

// Close closes all descriptors; with them go the locks.
func (d *Dir) Close() {
	if d.Home == d.FD {
		d.Home = -1
	}
	for _, fd := range []int{d.OK, d.Control, d.Lock, d.Theirs, d.Home, d.FD} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// noExchange is set where the file system or the kernel cannot exchange names.
var noExchange atomic.Bool

// WriteStatus publishes the status file: readers find it whole at any instant,
// before or after.
func (d *Dir) WriteStatus(b []byte) error {
	return d.publish(&d.status, d.in("status"), d.in(".status"), b)
}

// WriteStat publishes runit's text file stat, and WritePID pid.
func (d *Dir) WriteStat(b []byte) error {
	return d.publish(&d.stat, d.in("stat"), d.in(".stat"), b)
}

// WritePID is described with WriteStat.
func (d *Dir) WritePID(b []byte) error {
	return d.publish(&d.pid, d.in("pid"), d.in(".pid"), b)
}

// publish replaces a small file.
//
// A rename over the old file costs ten times an exchange of names on ext4, which
// first writes the successor of what is replaced to disk. So there are two files
// that take turns: the hidden one is rewritten, then both change names.
func (d *Dir) publish(p *pair, shown, hidden string, b []byte) error {
	if !p.shown {
		// In a fresh directory there is nobody yet who could see it half made.
		p.shown = true
		err := d.write(shown, b, unix.O_EXCL, false)
		if err == nil {
			p.last = uint8(len(b))
			return nil
		}
		if err != unix.EEXIST {
			return err
		}
		p.last = 255 // of whatever length the former life left
	}
	// Not O_TRUNC: that, too, would have ext4 write to disk.
	if err := d.write(hidden, b, 0, !p.spare || int(p.size) > len(b)); err != nil {
		return err
	}
	p.spare, p.size = true, uint8(len(b))
	refused := false
	if !noExchange.Load() {
		err := unix.Renameat2(d.Home, hidden, d.Home, shown, unix.RENAME_EXCHANGE)
		switch err {
		case nil:
			p.size, p.last = p.last, p.size
			return nil
		case unix.EINVAL, unix.ENOSYS, unix.EPERM: // EPERM may be a filter's
			refused = true
		case unix.ENOENT: // somebody removed the one shown
		default:
			return fault.At("unable to rename "+hidden, err)
		}
	}
	p.spare, p.last = false, uint8(len(b))
	err := unix.Renameat(d.Home, hidden, d.Home, shown)
	if refused && err == nil {
		noExchange.Store(true)
	}
	return err
}

// write writes a file; cut says that it may be longer than b.
func (d *Dir) write(path string, b []byte, flags int, cut bool) error {
	fd, err := unix.Openat(d.Home, path, unix.O_WRONLY|unix.O_CREAT|unix.O_NONBLOCK|unix.O_CLOEXEC|flags, 0o644)
	if err != nil {
		return err
	}
	n, err := unix.Write(fd, b)
	if err == nil && n < len(b) {
		err = unix.ENOSPC
	}
	if err == nil && cut {
		err = unix.Ftruncate(fd, int64(len(b)))
	}
	if e := unix.Close(fd); err == nil {
		err = e
	}
	return err
}

// MendFIFOs makes control and ok anew where they were removed or replaced behind
// our back. The descriptors keep their numbers; a new control has to be watched
// anew.
func (d *Dir) MendFIFOs() (Remade, error) {
	var r Remade
	var err error
	if r.Control, err = d.mend(d.Control, d.in("control"), unix.O_RDWR); err != nil {
		return r, err
	}
	if d.OK >= 0 {
		r.OK, err = d.mend(d.OK, d.in("ok"), unix.O_RDONLY)
	}
	return r, err
}

func (d *Dir) mend(fd int, path string, mode int) (bool, error) {
	if d.same(fd, path) {
		return false, nil
	}
	now, _, err := openFIFO(d.Home, path, mode)
	if err != nil {
		return false, err
	}
	defer unix.Close(now)
	return true, unix.Dup3(now, fd, unix.O_CLOEXEC)
}

func (d *Dir) same(fd int, path string) bool {
	var here, there unix.Stat_t
	return unix.Fstat(fd, &here) == nil && unix.Fstatat(d.Home, path, &there, 0) == nil &&
		IdentityOf(&here) == IdentityOf(&there)
}

// Facts looks at the parts of the definition that steer the machine.
func Facts(fd int) supervise.Facts {
	present := func(name string) supervise.Presence {
		if exists(fd, name) {
			return supervise.Present
		}
		return supervise.Absent
	}
	return supervise.Facts{
		Down:     exists(fd, "down"),
		Once:     exists(fd, "once"),
		NoRun:    !exists(fd, "run"),
		Finish:   present("finish"),
		Controls: present("control"),
	}
}

// EncoreFacts is Facts with encore's scripts in addition.
func EncoreFacts(fd int) supervise.Facts {
	f := Facts(fd)
	if Executable(fd, "start") {
		f.Start = supervise.Present
	}
	if Executable(fd, "stop") {
		f.Stop = supervise.Present
	}
	return f
}

// Executable tells whether encore takes a file for one of its scripts: it is regular,
// and its owner may execute it (daemontools.md, section 2).
func Executable(fd int, name string) bool {
	var st unix.Stat_t
	return unix.Fstatat(fd, name, &st, 0) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o100 != 0
}

// SessionsOff tells whether encore's processes get no session of their own.
func SessionsOff(fd int) bool { return exists(fd, "no-setsid") }

// LogHome is below the state directory of a service and stands for the directory of its
// log service where that is encore's script log. It is hidden, since who lists the state
// directory may expect certain files (daemontools.md, section 13).
const LogHome = ".log"

// OpenLogHome opens it, and makes it if need be.
func OpenLogHome(fd int) (home int, err error) {
	state := StateDirIn(fd)
	if err = makeStateDir(fd, state); err == nil {
		if err = unix.Mkdirat(fd, state+"/"+LogHome, 0o700); err == unix.EEXIST {
			err = nil
		}
	}
	if err != nil {
		return -1, err
	}
	return unix.Openat(fd, state+"/"+LogHome, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// IsLogHome tells whether home is that of the service directory fd.
func IsLogHome(fd, home int) bool {
	var there, here unix.Stat_t
	return unix.Fstatat(fd, StateDirIn(fd)+"/"+LogHome, &there, 0) == nil && unix.Fstat(home, &here) == nil &&
		IdentityOf(&there) == IdentityOf(&here)
}

// Logged tells whether there may be a log service.
func Logged(fd int) bool { return exists(fd, "log") }

// Caged tells whether nothing may outlive the service: it has a file cgroup.
func Caged(fd int) bool { return exists(fd, "cgroup") }

// exists is false only for what is certainly not there.
func exists(dir int, name string) bool {
	var st unix.Stat_t
	return unix.Fstatat(dir, name, &st, 0) != unix.ENOENT
}

// SetDown makes or removes the file down.
func SetDown(fd int, on bool) error {
	if !on {
		if err := unix.Unlinkat(fd, "down", 0); err != nil && err != unix.ENOENT {
			return err
		}
		return nil
	}
	f, err := unix.Openat(fd, "down", unix.O_WRONLY|unix.O_CREAT|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o666)
	if err != nil {
		return err
	}
	return unix.Close(f)
}

// ControlScript tells whether control/LETTER is to be consulted: it exists and
// its owner may execute it (runit.md, section 1.8).
func ControlScript(fd int, letter byte) (bool, error) {
	var st unix.Stat_t
	err := unix.Fstatat(fd, "control/"+string(rune(letter)), &st, 0)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return false, nil
	}
	return err == nil && st.Mode&0o100 != 0, err
}

// Readable tells whether finish can be opened for reading, which is what runit
// asks of it; who may not run it then finds out from the exec.
func Readable(fd int, name string) bool {
	f, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	unix.Close(f)
	return true
}
