package logwriter

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// RunitConfig is how a directory of svlogd is kept (runit.md, section 5.2).
type RunitConfig struct {
	Size int // of a file; 0: any
	Line int // the end of a line in the last Line bytes of a file ends it
	Keep int // old files; 0: any number
	// KeepFull is how many of them at least are not sacrificed to a full disk.
	KeepFull int
	// Age is after what time a file that is not empty is ended; 0: never.
	Age       time.Duration
	Processor string // "": none
}

// DefaultRunit is what counts without a file config.
func DefaultRunit() RunitConfig { return RunitConfig{Size: 1000000, Keep: 10, KeepFull: 10} }

// runit is what a directory of svlogd has in addition.
type runit struct {
	RunitConfig
	due time.Time // for a file to be ended by age
	job *job
	// before is called before something is noted.
	before func()
}

// job is a file that is being processed. It ends well, after any number of
// attempts.
type job struct {
	label    string
	dev, ino uint64 // of the directory
	ended    <-chan syscall.WaitStatus
	failures int       // in a row
	again    time.Time // when to start the processor again, if it does not run
}

// relief is between two attempts of a processor that fails. The first repetition
// follows at once.
const relief = time.Second

// ConfigFile reads the file config of an open log directory.
type ConfigFile func(read func() ([]byte, error)) RunitConfig

// OpenRunit opens a log directory of svlogd as Open does for multilog. config is
// called when it is locked.
func OpenRunit(name string, config ConfigFile, host *Host) (*Dir, error) {
	d := &Dir{Name: name, host: host, fd: -1, lock: -1, current: -1, runit: &runit{before: func() {}}}
	if err := d.openRunit(config); err != nil {
		d.drop()
		return nil, err
	}
	return d, nil
}

func (d *Dir) openRunit(config ConfigFile) error {
	fd, err := openAt(unix.AT_FDCWD, d.Name, unix.O_RDONLY, 0)
	if err != nil {
		return d.trouble(StepOpenDir, "", err)
	}
	d.fd, err = openAt(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	unix.Close(fd)
	if err != nil {
		return d.trouble(StepEnterDir, "", err)
	}
	if d.lock, err = openAt(d.fd, "lock", unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT, 0o600); err == nil {
		err = unix.Flock(d.lock, unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		return d.trouble(StepLock, "", err)
	}
	d.configure(config(d.readConfig))

	var st unix.Stat_t
	err = unix.Fstatat(d.fd, "current", &st, 0)
	missing := err == unix.ENOENT
	if err != nil && !missing {
		return d.trouble(StepStat, "current", err)
	}
	if !missing && st.Size > 0 && st.Mode&0o100 == 0 {
		// It was not closed cleanly.
		missing = true
		d.rename("current", d.free(".u"))
		d.pruneRunit("")
	}
	d.removeTwins()
	d.openCurrent(StepAppend)
	d.size = 0
	if !missing {
		d.size = int(st.Size)
		d.note(Note{Event: Opened, File: "current", Size: d.size})
	} else {
		d.note(Note{Event: Opened, File: "current", Size: -1})
	}
	return nil
}

// configure sets what decides on the ends of files.
func (d *Dir) configure(c RunitConfig) {
	d.runit.RunitConfig = c
	d.DirConfig = DirConfig{Size: c.Size, Margin: c.Line, Buffer: 8192, Keep: c.Keep, Suffix: "s", Processor: c.Processor, Process: c.Processor != ""}
	if d.Size == 0 {
		d.Size = 1 << 62
	}
	if d.Margin > d.Size {
		// The original subtracts without a sign. A file is full when no byte fits.
		d.Margin = -1
	}
	if c.Age > 0 {
		d.runit.due = time.Now().Add(c.Age)
	}
}

func (d *Dir) readConfig() ([]byte, error) {
	fd, err := openAt(d.fd, "config", unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var b []byte
	for block := make([]byte, 4096); ; {
		n, err := unix.Read(fd, block)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			return b, err
		}
		b = append(b, block[:n]...)
	}
}

func (d *Dir) note(n Note) {
	d.runit.before()
	n.Dir = d.Name
	d.host.Note(n)
}

// openCurrent opens current for appending.
func (d *Dir) openCurrent(s Step) {
	d.again(s, "current", func() (err error) {
		d.current, err = openAt(d.fd, "current", unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT, 0o600)
		return err
	})
	d.again(StepMode, "current", func() error { return unix.Fchmod(d.current, 0o644) })
}

// free is a label that no old file has together with the ending.
func (d *Dir) free(ending string) string {
	var l Label
	for {
		name := string(l.At(time.Now())) + ending
		var st unix.Stat_t
		if unix.Fstatat(d.fd, name, &st, 0) != nil {
			return name
		}
		time.Sleep(time.Microsecond)
	}
}

func (d *Dir) rename(from, to string) {
	for {
		err := unix.Renameat(d.fd, from, d.fd, to)
		if err == nil {
			return
		}
		t := d.trouble(StepRename, from, err)
		t.To = to
		d.host.Trouble(*t)
	}
}

// rotateRunit begins a new file (section 5.4).
func (d *Dir) rotateRunit() {
	d.write()
	d.restartAge(time.Now())
	d.Await()
	ending := ".s"
	if d.Process {
		ending = ".u"
	}
	name := d.free(ending)
	d.sync()
	d.again(StepMode, "current", func() error { return unix.Fchmod(d.current, 0o744) })
	unix.Close(d.current)
	d.note(Note{Event: Renamed, File: name, Size: d.size})
	d.rename("current", name)
	d.openCurrent(StepCreate)
	d.size = 0
	d.pruneRunit(name)
	if d.Process {
		d.runit.job = &job{label: name[:labelLen]}
		d.runit.job.dev, d.runit.job.ino = d.identity()
		d.startJob()
	}
}

// restartAge has the time of the file begin anew, if it is over.
func (d *Dir) restartAge(now time.Time) {
	r := d.runit
	if r.Age <= 0 || now.Before(r.due) {
		return
	}
	if r.due = r.due.Add(r.Age); !now.Before(r.due) {
		r.due = now.Add(r.Age)
	}
}

func (d *Dir) identity() (dev, ino uint64) {
	var st unix.Stat_t
	_ = unix.Fstat(d.fd, &st)
	return uint64(st.Dev), st.Ino
}

// old lists what has the form of a rotated file's name.
func (d *Dir) old() ([]string, error) {
	fd, err := openAt(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var list []string
	b := make([]byte, 4096)
	for {
		k, err := unix.ReadDirent(fd, b)
		if err == unix.EINTR {
			continue
		}
		if k <= 0 || err != nil {
			return list, err
		}
		_, _, names := unix.ParseDirent(b[:k], -1, nil)
		for _, s := range names {
			if len(s) == labelLen+2 && s[0] == '@' {
				list = append(list, s)
			}
		}
	}
}

// pruneRunit deletes what processors have left, and one old file if there are too
// many, which is not the one that is about to be processed.
func (d *Dir) pruneRunit(spare string) {
	var oldest string
	n := 0
	d.again(StepReadDir, "", func() error {
		list, err := d.old()
		if err != nil {
			return err
		}
		for _, s := range list {
			if s[labelLen:] == ".t" {
				if err := unix.Unlinkat(d.fd, s, 0); err != nil {
					d.note(Note{Event: Unremoved, File: s, Err: err})
				}
				continue
			}
			n++
			if s != spare && (oldest == "" || s < oldest) {
				oldest = s
			}
		}
		return nil
	})
	if d.Keep > 0 && n > d.Keep && oldest != "" {
		d.note(Note{Event: Deleted, File: oldest})
		if err := unix.Unlinkat(d.fd, oldest, 0); err != nil {
			d.note(Note{Event: Unremoved, File: oldest, Err: err})
		}
	}
}

// removeTwins removes what a logger that was killed could not: files that have
// been processed, and their results have got their names.
func (d *Dir) removeTwins() {
	list, err := d.old()
	if err != nil {
		return
	}
	made := make(map[string]bool, len(list))
	for _, s := range list {
		if s[labelLen:] == ".s" {
			made[s[:labelLen]] = true
		}
	}
	for _, s := range list {
		if s[labelLen:] == ".u" && made[s[:labelLen]] {
			d.discard(s)
		}
	}
}

// makeRoom deletes an old file if the disk is full and the config allows it.
func (d *Dir) makeRoom(err error) bool {
	if err != unix.ENOSPC || d.runit.KeepFull >= d.Keep {
		return false
	}
	list, err := d.old()
	if err != nil {
		return false
	}
	var oldest string
	n := 0
	for _, s := range list {
		if s[labelLen:] == ".t" {
			continue
		}
		n++
		if j := d.runit.job; j != nil && s[:labelLen] == j.label {
			continue
		}
		if oldest == "" || s < oldest {
			oldest = s
		}
	}
	if n <= d.runit.KeepFull || oldest == "" {
		return false
	}
	d.note(Note{Event: Sacrificed, File: oldest})
	if err := unix.Unlinkat(d.fd, oldest, 0); err != nil {
		d.note(Note{Event: Unremoved, File: oldest, Err: err})
		return false
	}
	return true
}

// Due is when Tend has to be called next, at the latest; zero if only when a
// processor ends.
func (d *Dir) Due() time.Time {
	r := d.runit
	var at time.Time
	if r.Age > 0 {
		at = r.due
	}
	if r.job != nil && r.job.ended == nil && (at.IsZero() || r.job.again.Before(at)) {
		at = r.job.again
	}
	return at
}

// Tend does what is due: a file is ended by its age, a processor is started again,
// or its result gets its name. ended tells of a processor that has ended.
func (d *Dir) Tend(now time.Time) (ended bool) {
	r := d.runit
	if j := r.job; j != nil {
		switch {
		case j.ended != nil:
			select {
			case status := <-j.ended:
				d.jobEnded(status)
				ended = true
			default:
			}
		case !now.Before(j.again):
			d.startJob()
		}
	}
	if r.Age > 0 && !now.Before(r.due) {
		if d.size > 0 {
			borrowed := d.out == nil
			if borrowed {
				d.out = borrow()
			}
			d.rotateRunit()
			if borrowed {
				giveBack(d.out)
				d.out = nil
			}
		} else {
			d.restartAge(now)
		}
	}
	return ended
}

// Await waits for the processor to succeed, if one works.
func (d *Dir) Await() {
	for d.runit.job != nil {
		j := d.runit.job
		if j.ended != nil {
			d.jobEnded(<-j.ended)
			continue
		}
		time.Sleep(time.Until(j.again))
		d.startJob()
	}
}

// startJob starts a processor.
func (d *Dir) startJob() {
	j := d.runit.job
	d.note(Note{Event: Processing, File: j.label + ".u"})
	var fds []int
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	for _, f := range [...]struct {
		name  string
		step  Step
		flags int
	}{
		{j.label + ".u", StepRead, unix.O_RDONLY},
		{j.label + ".t", StepCreate, unix.O_WRONLY | unix.O_TRUNC | unix.O_CREAT},
		{"state", StepRead, unix.O_RDONLY | unix.O_CREAT},
		{"newstate", StepCreate, unix.O_WRONLY | unix.O_TRUNC | unix.O_CREAT},
	} {
		fd, err := openAt(d.fd, f.name, f.flags, 0o644)
		if err == unix.ENOENT && f.name == j.label+".u" {
			d.runit.job = nil // somebody has taken it away
			return
		}
		if err != nil {
			d.host.Trouble(*d.trouble(f.step, f.name, err))
			d.jobFailed()
			return
		}
		fds = append(fds, fd)
	}
	d.again(StepFork, "", func() (err error) {
		j.ended, err = d.host.Start(Processor{
			Command: d.Processor, Dir: d.fd,
			Stdin: fds[0], Stdout: fds[1], State: fds[2], NewState: fds[3],
		})
		return err
	})
}

// jobEnded takes the end of a processor. One that was killed has succeeded, as in
// the original.
func (d *Dir) jobEnded(status syscall.WaitStatus) {
	j := d.runit.job
	j.ended = nil
	made, from := j.label+".t", j.label+".u"
	if status.Exited() && status.ExitStatus() != 0 {
		d.note(Note{Event: Failed})
		d.discard(made)
		d.jobFailed()
		return
	}
	d.again(StepSync, made, func() error {
		fd, err := openAt(d.fd, made, unix.O_WRONLY|unix.O_CREAT, 0o644)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Fsync(fd)
	})
	d.rename(made, j.label+".s")
	d.again(StepMode, j.label+".s", func() error { return unix.Fchmodat(d.fd, j.label+".s", 0o744, 0) })
	if err := unix.Unlinkat(d.fd, from, 0); err != nil {
		d.note(Note{Event: Unremoved, File: from, Err: err})
	}
	d.renameState()
	d.note(Note{Event: Processed, File: j.label + ".s"})
	d.runit.job = nil
}

// renameState has the new state take the place of the old one.
func (d *Dir) renameState() {
	for {
		err := unix.Renameat(d.fd, "newstate", d.fd, "state")
		if err == nil || err == unix.ENOENT {
			return
		}
		t := d.trouble(StepRename, "newstate", err)
		t.To = "state"
		d.host.Trouble(*t)
	}
}

// jobFailed arranges for the next attempt.
func (d *Dir) jobFailed() {
	j := d.runit.job
	if !d.Process {
		d.runit.job = nil // it has been taken out of the config
		return
	}
	j.again = time.Now()
	if j.failures > 0 {
		j.again = j.again.Add(relief)
	}
	j.failures++
}

// Adopt takes over what an earlier Dir, which has been closed, has being
// processed, if it was the same directory.
func (d *Dir) Adopt(earlier *Dir) {
	j := earlier.runit.job
	if j == nil {
		return
	}
	if dev, ino := d.identity(); dev == j.dev && ino == j.ino {
		d.runit.job = j
	}
}
