package tree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"upkeep/conf2dir"
)

// Options says what to bring in step with what.
type Options struct {
	Source string // the configuration: whose directories these are
	Out    string // the directory that they are in
	Link   string // if set, the scan directory, which has links to them
	Form   conf2dir.Form

	Apply  bool // tell running services: restarts, new wishes, retirement
	DryRun bool // change nothing; say what would be, with diffs
	Force  bool // overwrite what others have changed
	Adopt  bool // give directories in which others have changed something away to them

	// Say takes what is done, a line without its end at a time.
	Say func(line string)
}

// ErrLocked says that another Sync is at work.
var ErrLocked = errors.New("another conf2dir is at work there")

// syncer is one run.
type syncer struct {
	Options
	failed bool // something is not as the configuration says
	plans  []*plan
}

// Sync makes, changes and retires service directories. inStep is false if something
// was left as it was, of which Say has told; the rest is done nevertheless.
func Sync(services []conf2dir.Service, o Options) (inStep bool, err error) {
	if strings.ContainsRune(o.Source, '\n') {
		return false, errors.New("the name of the configuration has a line end in it")
	}
	s := &syncer{Options: o}
	if !o.DryRun {
		unlock, err := lock(o.Out)
		if err != nil {
			return false, err
		}
		defer unlock()
		if err := s.sweep(); err != nil {
			return false, err
		}
	}
	wanted := map[string]bool{}
	for i := range services {
		wanted[services[i].Dir] = true
	}
	gone, err := s.gone(wanted)
	if err != nil {
		return false, err
	}
	finish := s.retire(gone)
	for i := range services {
		if !services[i].Keep {
			s.service(&services[i])
		}
	}
	if o.Apply && !o.DryRun {
		s.apply()
	}
	finish()
	return !s.failed, nil
}

// lock keeps others out of a directory.
func lock(out string) (unlock func(), err error) {
	fd, err := unix.Open(filepath.Join(out, ".conf2dir.lock"), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: filepath.Join(out, ".conf2dir.lock"), Err: err}
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		unix.Close(fd)
		if err == unix.EWOULDBLOCK {
			err = ErrLocked
		}
		return nil, err
	}
	return func() { unix.Close(fd) }, nil
}

func (s *syncer) say(parts ...string) { s.Say(strings.Join(parts, "")) }

// fail tells of what is not as it should be.
func (s *syncer) fail(parts ...string) {
	s.failed = true
	s.say(parts...)
}

// service brings one directory in step.
func (s *syncer) service(service *conf2dir.Service) {
	dir := service.Dir
	path := filepath.Join(s.Out, dir)
	var old *manifest
	if _, err := os.Lstat(path); err == nil {
		old = readManifest(path)
		if old == nil || old.source != s.Source {
			s.fail("failed ", dir, ": the directory is there and not made from ", s.Source)
			return
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		s.fail("failed ", dir, ": ", err.Error())
		return
	}
	p, err := s.planFor(service, old)
	if err != nil {
		s.fail("failed ", dir, ": ", err.Error())
		return
	}
	if s.Adopt && len(p.edited) > 0 {
		s.adopt(p)
		return
	}
	for _, name := range p.edited {
		s.fail("edited ", dir, "/", name, ": not by conf2dir, so it stays")
	}
	if !p.empty() {
		word := "changed "
		if old == nil {
			word = "new "
		}
		s.say(word, dir)
		if s.DryRun {
			if text := p.diffs(); text != "" {
				s.say(strings.TrimSuffix(text, "\n"))
			}
		} else if err := p.execute(); err != nil {
			s.fail("failed ", dir, ": ", err.Error())
			return
		}
	}
	if !s.DryRun {
		if err := s.link(dir); err != nil {
			s.fail("failed ", dir, ": ", err.Error())
		}
		s.plans = append(s.plans, p)
	}
	if s.DryRun || !s.Apply {
		s.advise(p)
	}
}

// adopt gives a directory to who has changed it.
func (s *syncer) adopt(p *plan) {
	s.say("adopted ", p.service.Dir, ": it is yours")
	if s.DryRun {
		return
	}
	if err := os.Remove(filepath.Join(p.path, manifestName)); err != nil {
		s.fail("failed ", p.service.Dir, ": ", err.Error())
	}
}

// gone are the directories made from this configuration for jobs that it has no more,
// those that an earlier run has begun to retire included.
func (s *syncer) gone(wanted map[string]bool) (dirs []string, err error) {
	entries, err := os.ReadDir(s.Out)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name := e.Name()
		if !e.IsDir() || wanted[name] || name[0] == '.' && !strings.HasPrefix(name, retired) {
			continue
		}
		if m := readManifest(filepath.Join(s.Out, name)); m != nil && m.source == s.Source {
			dirs = append(dirs, name)
		}
	}
	return dirs, nil
}
