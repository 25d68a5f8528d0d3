package svscan

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/servicedir"
	"upkeep/svscan/internal/watch"
)

// extension is what a unit has in addition whose directory has files that say how it is to
// be run otherwise. Unless said otherwise it belongs to who does the unit's disk jobs.
type extension struct {
	said    [3][]string // of the files of the policy, of what it depends on, and needs
	depends bool        // there are files that the service depends on
	content uint64      // of these
	lacking bool        // one of them cannot be read
	polled  bool        // no watch tells of them

	// The rest is under the unit's mu.

	settling bool // they will be looked at
	notes    []announcement
	needs    *needs
	unfit    error // why run could not be executed the last time somebody wanted to know
	ready    *readiness
	speaker  *speaker
	events   bool   // there is a directory of events
	deaths   []byte // that are to be recorded
	unheard  string // why there is no directory of events, as it was reported
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

// PolicyDir is a directory in the scan directory. What is there below the name of a service
// counts more than what its own directory says of the policy: it is for who starts what
// others have defined.
const PolicyDir = ".policy"

// lookForPolicy finds out what the service directory says of the policy.
func (u *unit) lookForPolicy() {
	if u.isScriptLog() {
		return // its directory is its service's
	}
	base := u.policy()
	var faults []fileFault
	over := -1
	if !u.log && !u.k.config.One {
		if fd, err := unix.Open(u.k.config.Dir+"/"+PolicyDir+"/"+u.name(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
			over = fd
			defer unix.Close(fd)
		}
	}
	p := servicedir.Policy(u.dir.FD, over, base, func(name string, err error) { faults = append(faults, fileFault{name, err}) })
	if u.ext != nil || faults != nil {
		u.tellFaults(&u.extend().said[0], faults)
	}
	if p.Tally > 0 {
		u.extend()
	}
	u.SetPolicy(p)
}

// fileFault is what is wrong with a file, which has a path if it is not of the directory.
type fileFault struct {
	name string
	err  error
}

// tellFaults says what is wrong, each thing once until it is otherwise.
func (u *unit) tellFaults(said *[]string, faults []fileFault) {
	var now []string
	for _, f := range faults {
		text := f.name + "\n" + f.err.Error()
		now = append(now, text)
		if slices.Contains(*said, text) {
			continue
		}
		verb, object := "use", u.name()+"/"+f.name
		if f.name[0] == '/' {
			verb, object = "read", f.name+", which "+u.name()+" depends on"
		}
		u.k.report(Warning, u.name(), verb, object, f.err)
	}
	*said = now
}

// lookAtDepends reads what the service depends on.
func (u *unit) lookAtDepends() {
	if u.isScriptLog() || u.ext == nil && !servicedir.HasDepends(u.dir.FD) {
		return
	}
	x := u.extend()
	var faults []fileFault
	paths, err := servicedir.Depends(u.dir.FD)
	if err != nil {
		faults = append(faults, fileFault{"depends", err})
	}
	if x.depends || len(paths) > 0 {
		u.watchDepends(x, paths)
	}
	x.depends, x.content, x.lacking = len(paths) > 0, 0, false
	if x.depends {
		x.content, faults = readDepends(paths)
		x.lacking = faults != nil
	}
	u.tellFaults(&x.said[1], faults)
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
		u.k.reportUnwatched(err)
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
	if token == jobsFiles {
		k.jobs.fileChanged()
		return
	}
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

// readDepends digests files, and tells which cannot be read.
func readDepends(paths []string) (content uint64, faults []fileFault) {
	d := servicedir.NewDigest()
	for _, path := range paths {
		b, err := readDepend(path)
		if err != nil {
			faults = append(faults, fileFault{path, err})
		}
		d.Add([]byte(path + "\x00"))
		d.Add(b)
		d.Add([]byte{0})
	}
	return max(uint64(d), 1), faults
}

// readDepend reads a file. What has no size has no content, as in pmtr.
func readDepend(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	switch err := unix.Fstat(fd, &st); {
	case err != nil:
		return nil, err
	case st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Size == 0:
		return nil, nil
	}
	return servicedir.ReadAll(fd, dependsSize)
}
