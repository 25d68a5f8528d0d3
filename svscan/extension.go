package svscan

import (
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/servicedir"
	"upkeep/svscan/internal/watch"
)

// extension is what a unit has in addition whose directory has files that say how it is to
// be run otherwise. Unless said otherwise it belongs to who does the unit's disk jobs.
type extension struct {
	said    map[string]string // of the files, by name
	depends bool              // there are files that the service depends on
	content uint64            // of these
	lacking bool              // one of them cannot be read
	polled  bool              // no watch tells of them

	// The rest is under the unit's mu.

	settling bool // they will be looked at
}

const (
	// dependsSettle is how long after a change of a file it is read: it may be one of
	// several, or a part of one.
	dependsSettle = 200 * time.Millisecond
	// dependsSize is as much as pmtr reads (pmtr.md, section 3.10).
	dependsSize = 10 << 20
)

func (u *unit) extend() *extension {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ext == nil {
		u.ext = new(extension)
	}
	return u.ext
}

// lookForPolicy finds out what the service directory says of the policy.
func (u *unit) lookForPolicy() {
	if u.isScriptLog() {
		return // its directory is its service's
	}
	base := u.policy()
	faults := make(map[string]error)
	p := servicedir.Policy(u.dir.FD, base, func(name string, err error) { faults[name] = err })
	if u.ext != nil || len(faults) > 0 {
		u.extend().complain(u, faults, servicedir.SetsPolicy)
	}
	if p == base || *p != *u.Policy() {
		u.SetPolicy(p)
	}
}

// complain says what is wrong with files, each once until something else is. about tells
// which files faults would be of.
func (x *extension) complain(u *unit, faults map[string]error, about func(name string) bool) {
	for name := range x.said {
		if faults[name] == nil && about(name) {
			delete(x.said, name)
		}
	}
	for name, err := range faults {
		if x.said[name] == err.Error() {
			continue
		}
		if x.said == nil {
			x.said = make(map[string]string)
		}
		x.said[name] = err.Error()
		if name[0] != '/' {
			u.k.report(Warning, u.name(), "use", u.name()+"/"+name, err)
		} else {
			u.k.report(Warning, u.name(), "read", name+", which "+u.name()+" depends on", err)
		}
	}
}

// lookAtDepends reads what the service depends on.
func (u *unit) lookAtDepends() {
	if u.isScriptLog() || u.ext == nil && !servicedir.HasDepends(u.dir.FD) {
		return
	}
	x := u.extend()
	faults := make(map[string]error)
	paths, err := servicedir.Depends(u.dir.FD)
	if err != nil {
		faults["depends"] = err
	}
	if x.depends || len(paths) > 0 {
		u.watchDepends(x, paths)
	}
	x.depends, x.content, x.lacking = len(paths) > 0, 0, false
	if x.depends {
		x.content, x.lacking = readDepends(paths, faults)
	}
	x.complain(u, faults, func(name string) bool { return name[0] == '/' || name == "depends" })
	if x.depends && x.polled {
		u.settleDepends(pollEvery)
	}
}

// watchDepends sees to it that a change of one of the files is heard of, or else polled for.
func (u *unit) watchDepends(x *extension, paths []string) {
	x.polled = false
	for _, path := range paths {
		x.polled = x.polled || watch.Remote(path)
	}
	if x.polled {
		paths = nil
	}
	files := u.k.watchFiles(len(paths) > 0)
	if files == nil {
		x.polled = true
	} else if err := files.Set(u.token, paths); err != nil {
		x.polled = true
		u.k.reportUnwatched(rootCause(err))
	}
}

// watchFiles is the watch on files that services depend on, or nil where there is none.
func (k *kernel) watchFiles(make bool) *watch.Files {
	k.mu.Lock()
	files := k.files
	k.mu.Unlock()
	if files != nil || !make || k.config.NoWatch {
		return files
	}
	files, err := watch.NewFiles()
	if err == nil {
		k.mu.Lock()
		if k.files != nil { // another lane was quicker
			files.Close()
			files = k.files
		} else if err = k.pump.Add(files.FD, filesToken); err == nil {
			k.files = files
		}
		k.mu.Unlock()
	}
	if err != nil {
		k.reportUnwatched(err)
		return nil
	}
	return files
}

// filesToken is the pump's token for that.
const filesToken = 64 << 32

// reportUnwatched says once that files are polled.
func (k *kernel) reportUnwatched(err error) {
	k.mu.Lock()
	said := k.polls
	k.polls = true
	k.mu.Unlock()
	if !said {
		k.report(Warning, "", "watch", "what services depend on, looking every 5 seconds", err)
	}
}

// fileChanged is the pump's: something happened to a file that the unit depends on.
func (k *kernel) fileChanged(token uint32) {
	k.mu.Lock()
	var u *unit
	if token < uint32(len(k.units)) {
		u = k.units[token]
	}
	k.mu.Unlock()
	if u != nil {
		u.settleDepends(dependsSettle)
	}
}

// settleDepends has the files looked at after a while.
func (u *unit) settleDepends(after time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ext == nil || u.ext.settling {
		return
	}
	u.ext.settling = true
	time.AfterFunc(after, func() {
		u.mu.Lock()
		u.ext.settling = false
		u.order(jobDepends)
		u.mu.Unlock()
	})
}

// readDepends digests files. Which cannot be read goes to faults, and sets lacking.
func readDepends(paths []string, faults map[string]error) (content uint64, lacking bool) {
	d := servicedir.NewDigest()
	for _, path := range paths {
		d.Add([]byte(path))
		d.Add([]byte{0})
		if err := readDepend(&d, path); err != nil {
			faults[path] = err
			lacking = true
		}
		d.Add([]byte{0})
	}
	return max(uint64(d), 1), lacking
}

// readDepend digests a file. What has no size has no content, as in pmtr.
func readDepend(d *servicedir.Digest, path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return unix.EISDIR
	case st.Mode&unix.S_IFMT != unix.S_IFREG, st.Size == 0:
		return nil
	}
	b := make([]byte, 16<<10)
	for size := 0; ; {
		n, err := unix.Read(fd, b)
		size += max(n, 0)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err
		case size > dependsSize:
			return unix.EFBIG
		case n == 0:
			return nil
		default:
			d.Add(b[:n])
		}
	}
}
