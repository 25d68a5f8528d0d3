package logwriter

import (
	"bytes"
	"time"

	"golang.org/x/sys/unix"
)

// arena is how many bytes are collected for one write.
const arena = 64 << 10

// DirConfig is how a log directory is kept.
type DirConfig struct {
	// Size is the greatest size of a file, in bytes.
	Size int
	// Margin is the number of bytes at the end of a file in which the next
	// newline ends it.
	Margin int
	// Buffer is the size of the buffer of the program that is followed. It
	// decides on the writes that Margin is about; ours are larger.
	Buffer int
	// Keep is the number of files, current included.
	Keep int
	// Suffix is that of finished files, without the dot.
	Suffix string
	// Processor works on full files, if Process is set.
	Processor string
	Process   bool
	// Resume says that current is as a writer left it that is no more, and that the
	// kernel has seen no other end since: it is appended to.
	Resume bool
	// Total is the greatest size of all old files together; 0 is none.
	Total uint64
	// Mode is that of files; 0 is 0644. The directory's owner may execute those
	// that are complete.
	Mode uint32
	// Leap is how far ahead of multilog's the clock of the file names is.
	Leap time.Duration
	// Fcntl has the directory locked as s6-log does it as well.
	Fcntl bool
}

// Dir is a log directory in the format that multilog, svlogd and s6-log share.
// It is locked while it is open.
//
// What is written is decided on as if each line went through the small buffer of
// the original (DirConfig.Buffer), so that files end where its files end. The
// bytes themselves are collected: out has those which were "written", up to done,
// and then those in the small buffer.
type Dir struct {
	DirConfig
	Name string // as it was given

	host    *Host
	runit   *runit // of svlogd; nil for multilog
	fd      int
	lock    int
	current int
	size    int    // of current, when out[:done] is written
	out     []byte // nil between calls of Writer
	done    int
	on      bool // the line of which the rest is to come goes here
	fresh   bool // current has grown since LineWriter decided on its end
}

// Open makes name if it is missing, locks it, puts in order what a crash left,
// and opens current. The error is a *Trouble.
func Open(name string, c DirConfig, host *Host) (*Dir, error) {
	return OpenAt(unix.AT_FDCWD, name, c, host)
}

// OpenAt is Open for a name relative to the directory at.
func OpenAt(at int, name string, c DirConfig, host *Host) (*Dir, error) {
	d := &Dir{DirConfig: c, Name: name, host: host, fd: -1, lock: -1, current: -1}
	if err := d.open(at); err != nil {
		d.drop()
		return nil, err
	}
	return d, nil
}

func (d *Dir) trouble(s Step, file string, err error) *Trouble {
	return &Trouble{Step: s, Dir: d.Name, File: file, Err: err}
}

func (d *Dir) open(at int) error {
	_ = unix.Mkdirat(at, d.Name, 0o700) // it may be there; if not, that is seen next
	var err error
	if d.fd, err = openAt(at, d.Name, unix.O_RDONLY|unix.O_DIRECTORY, 0); err != nil {
		return d.trouble(StepOpenDir, "", err)
	}
	if d.lock, err = openAt(d.fd, "lock", unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT, d.lockMode()); err == nil {
		err = unix.Flock(d.lock, unix.LOCK_EX|unix.LOCK_NB)
	}
	if err == nil && d.Fcntl {
		err = lockAsS6(d)
	}
	if err != nil {
		return d.trouble(StepLock, "", err)
	}
	mode, err := d.mode("current")
	if err != nil {
		return d.trouble(StepStat, "current", err)
	}
	if mode&0o100 != 0 || mode != 0 && d.resumes() {
		if d.current, err = openAt(d.fd, "current", unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT, 0o600); err != nil {
			return d.trouble(StepAppend, "current", err)
		}
	} else if err := d.recover(); err != nil {
		return err
	}
	if err := unix.Fchmod(d.current, d.fileMode()); err != nil {
		return d.trouble(StepMode, "current", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(d.current, &st); err != nil {
		return d.trouble(StepStat, "current", err)
	}
	d.size = int(st.Size)
	return nil
}

// resumes tells whether nothing was under way when the last writer was left.
func (d *Dir) resumes() bool {
	var st unix.Stat_t
	return d.Resume && unix.Fstatat(d.fd, "previous", &st, 0) == unix.ENOENT &&
		unix.Fstatat(d.fd, "processed", &st, 0) == unix.ENOENT
}

// recover is what section 10.3 does after a crash.
func (d *Dir) recover() error {
	d.discard("state")
	d.discard("newstate")
	mode, err := d.mode("processed")
	if err != nil {
		return d.trouble(StepStat, "processed", err)
	}
	if mode&0o100 != 0 {
		d.discard("previous")
		d.finish("processed", d.Suffix)
	} else {
		d.discard("processed")
		d.finish("previous", "u")
	}
	d.finish("current", "u")
	state, err := openAt(d.fd, "state", unix.O_WRONLY|unix.O_TRUNC|unix.O_CREAT, 0o644)
	if err != nil {
		return d.trouble(StepWrite, "state", err)
	}
	unix.Close(state)
	if d.current, err = openAt(d.fd, "current", unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT, 0o644); err != nil {
		return d.trouble(StepWrite, "current", err)
	}
	return nil
}

// mode is 0 for a file that is not there.
func (d *Dir) mode(file string) (uint32, error) {
	var st unix.Stat_t
	err := unix.Fstatat(d.fd, file, &st, 0)
	if err == unix.ENOENT {
		return 0, nil
	}
	return st.Mode, err
}

// discard removes a file that nothing depends on.
func (d *Dir) discard(file string) { _ = unix.Unlinkat(d.fd, file, 0) }

// again does a step until it is done.
func (d *Dir) again(s Step, file string, do func() error) {
	for {
		err := do()
		if err == nil {
			return
		}
		d.host.Trouble(*d.trouble(s, file, err))
	}
}

// put adds a piece, which the original would give to its buffer at once.
func (d *Dir) put(a, b []byte) {
	n := len(a) + len(b)
	if kept := len(d.out) - d.done; n > d.Buffer-kept && kept > 0 {
		d.wrote(kept)
	}
	d.out = append(append(d.out, a...), b...)
	if n > d.Buffer {
		d.wrote(n)
	}
}

// putBytes is put for pieces of one byte each.
func (d *Dir) putBytes(b []byte) {
	for len(b) > 0 {
		n := min(len(b), d.Buffer-(len(d.out)-d.done))
		if n == 0 {
			d.wrote(d.Buffer)
			continue
		}
		d.out = append(d.out, b[:n]...)
		b = b[n:]
	}
	if d.done > arena {
		d.write()
	}
}

// putLine is put for a line and its newline.
func (d *Dir) putLine(stamp, line []byte) {
	d.put(stamp, line)
	if len(d.out)-d.done >= d.Buffer {
		d.wrote(len(d.out) - d.done)
	}
	d.out = append(d.out, '\n')
	if d.done > arena {
		d.write()
	}
}

// wrote is where the original would write n bytes: this decides where a file
// ends.
func (d *Dir) wrote(n int) {
	if d.size+n < d.Size-d.Margin {
		d.size += n
		d.done += n
		return
	}
	for n > 0 {
		if d.size >= d.Size {
			d.rotate()
		}
		m := min(n, d.Size-d.size)
		if d.size+m >= d.Size-d.Margin {
			if i := bytes.LastIndexByte(d.out[d.done:d.done+m], '\n'); i >= 0 {
				m = i + 1
			}
		}
		d.size += m
		d.done += m
		n -= m
		if d.size >= d.Size-d.Margin && d.out[d.done-1] == '\n' {
			d.rotate()
		}
	}
}

// flush empties the small buffer.
func (d *Dir) flush() {
	if kept := len(d.out) - d.done; kept > 0 {
		d.wrote(kept)
	}
}

// write writes what was "written".
func (d *Dir) write() {
	for b := d.out[:d.done]; len(b) > 0; {
		n, err := unix.Write(d.current, b)
		switch {
		case err == unix.EINTR:
		case err != nil && d.runit != nil && d.makeRoom(err):
		case err != nil:
			d.host.Trouble(*d.trouble(StepWrite, "current", err))
		default:
			b = b[n:]
		}
	}
	d.out = d.out[:copy(d.out, d.out[d.done:])]
	d.done = 0
}

// sync writes current to disk and says so in its mode.
func (d *Dir) sync() {
	d.again(StepSync, "current", func() error { return unix.Fsync(d.current) })
}

// rotate begins a new file (section 10.4).
func (d *Dir) rotate() {
	if d.runit != nil {
		d.rotateRunit()
		return
	}
	d.write()
	d.sync()
	unix.Close(d.current)
	for {
		err := unix.Renameat(d.fd, "current", d.fd, "previous")
		if err == nil {
			break
		}
		t := d.trouble(StepRename, "current", err)
		t.To = "previous"
		d.host.Trouble(*t)
	}
	d.again(StepCreate, "current", func() (err error) {
		d.current, err = openAt(d.fd, "current", unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT, 0o644)
		return err
	})
	d.size = 0
	d.again(StepMode, "current", func() error { return unix.Fchmod(d.current, d.fileMode()) })
	d.again(StepMode, "previous", func() error { return unix.Fchmodat(d.fd, "previous", d.fileMode()|0o100, 0) })
	if d.Process {
		d.process()
	} else {
		d.finish("previous", d.Suffix)
	}
}

// Rotate is what an alarm asks for: a new file, unless current is empty.
func (d *Dir) Rotate() {
	if d.size > 0 {
		d.rotate()
	}
}

// Close closes the directory cleanly.
func (d *Dir) Close() {
	d.sync()
	d.again(StepMode, "current", func() error { return unix.Fchmod(d.current, d.fileMode()|0o100) })
	d.drop()
}

// fileMode is Mode with its default.
func (d *Dir) fileMode() uint32 {
	if d.Mode == 0 {
		return 0o644
	}
	return d.Mode
}

// drop gives the directory up as it is.
func (d *Dir) drop() {
	for _, fd := range []int{d.current, d.lock, d.fd} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	d.current, d.lock, d.fd = -1, -1, -1
}

// finish gives a file its final name and makes room for it. A file with two
// names had got its final one before a crash.
func (d *Dir) finish(file, suffix string) {
	for {
		var st unix.Stat_t
		err := unix.Fstatat(d.fd, file, &st, 0)
		if err == unix.ENOENT {
			return
		}
		if err != nil {
			d.host.Trouble(*d.trouble(StepStat, file, err))
			continue
		}
		if st.Nlink != 1 {
			break
		}
		var l Label
		name := string(l.At(time.Now().Add(d.Leap))) + "." + suffix
		if err = unix.Linkat(d.fd, file, d.fd, name, 0); err == nil {
			break
		}
		d.host.Trouble(*d.trouble(StepLink, name, err))
	}
	d.again(StepRemove, file, func() error { return unix.Unlinkat(d.fd, file, 0) })
	d.prune()
}

// prune leaves at most Keep-1 old files, and Total bytes of them: those whose
// names begin with a label.
func (d *Dir) prune() {
	for {
		oldest, n, total, err := d.oldest()
		if err != nil {
			d.host.Trouble(*d.trouble(StepReadDir, "", err))
			continue
		}
		if n < d.Keep && (d.Total == 0 || total <= d.Total) || n == 0 {
			return
		}
		if err := unix.Unlinkat(d.fd, oldest, 0); err != nil {
			d.host.Trouble(*d.trouble(StepRemove, oldest, err))
		}
	}
}

// oldest counts the old files and names the first of those with the smallest
// label. Their sizes are added up if they matter.
func (d *Dir) oldest() (name string, n int, total uint64, err error) {
	fd, err := openAt(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return "", 0, 0, err
	}
	defer unix.Close(fd)
	b := make([]byte, 4096)
	for {
		k, err := unix.ReadDirent(fd, b)
		if err == unix.EINTR {
			continue
		}
		if k <= 0 || err != nil {
			return name, n, total, err
		}
		_, _, names := unix.ParseDirent(b[:k], -1, nil)
		for _, s := range names {
			if len(s) < labelLen || s[0] != '@' {
				continue
			}
			n++
			var st unix.Stat_t
			if d.Total > 0 && unix.Fstatat(d.fd, s, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
				total += uint64(st.Size)
			}
			if name == "" || s[:labelLen] < name[:labelLen] {
				name = s
			}
		}
	}
}

// process has the processor work on previous until it succeeds.
func (d *Dir) process() {
	for !d.processOnce() {
	}
	sync := func(file string) {
		d.again(StepSync, file, func() error {
			fd, err := openAt(d.fd, file, unix.O_WRONLY|unix.O_CREAT, 0o600)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.Fsync(fd)
		})
	}
	sync("processed")
	d.again(StepMode, "processed", func() error { return unix.Fchmodat(d.fd, "processed", d.fileMode()|0o100, 0) })
	sync("newstate")
	d.again(StepRemove, "previous", func() error { return unix.Unlinkat(d.fd, "previous", 0) })
	for {
		err := unix.Renameat(d.fd, "newstate", d.fd, "state")
		if err == nil {
			break
		}
		t := d.trouble(StepRename, "newstate", err)
		t.To = "state"
		d.host.Trouble(*t)
	}
	d.finish("processed", d.Suffix)
}

func (d *Dir) processOnce() bool {
	var fds [4]int
	for i, f := range [...]struct {
		name  string
		step  Step
		flags int
	}{
		{"previous", StepRead, unix.O_RDONLY},
		{"processed", StepCreate, unix.O_WRONLY | unix.O_TRUNC | unix.O_CREAT},
		{"state", StepRead, unix.O_RDONLY | unix.O_CREAT},
		{"newstate", StepCreate, unix.O_WRONLY | unix.O_TRUNC | unix.O_CREAT},
	} {
		d.again(f.step, f.name, func() (err error) {
			fds[i], err = openAt(d.fd, f.name, f.flags, 0o644)
			return err
		})
	}
	status, step, err := d.host.Process(Processor{
		Command: d.Processor, Dir: d.fd,
		Stdin: fds[0], Stdout: fds[1], State: fds[2], NewState: fds[3],
	})
	for _, fd := range fds {
		unix.Close(fd)
	}
	switch {
	case err != nil:
		d.host.Trouble(*d.trouble(step, "", err))
	case status.Signaled():
		d.host.Trouble(*d.trouble(StepCrashed, "", nil))
	case status.ExitStatus() != 0:
		d.host.Trouble(*d.trouble(StepFailed, "", nil))
	default:
		return true
	}
	return false
}

func openAt(dir int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_NONBLOCK|unix.O_CLOEXEC, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}
