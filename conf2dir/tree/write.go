package tree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// staging is before the names of what is not complete yet. All scanners pass over
// names with a dot.
const staging = ".new."

// put writes a file that appears whole, with its mode, or not at all.
func put(path, data string, mode uint32) error {
	stage := filepath.Join(filepath.Dir(path), staging+filepath.Base(path))
	f, err := os.OpenFile(stage, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(data)
	if err == nil {
		err = f.Chmod(fs.FileMode(mode))
	}
	if err == nil {
		err = f.Sync() // or the name could survive a power failure, and not the text
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(stage, path)
	}
	if err != nil {
		_ = os.Remove(stage)
	}
	return err
}

// flush has the names in a directory survive a power failure.
func flush(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return nil
}

// execute does what is planned.
func (p *plan) execute() error {
	if p.old == nil {
		return p.create()
	}
	manifest := filepath.Join(p.path, manifestName)
	if len(p.writes)+len(p.removes) > 0 {
		if err := put(manifest, p.intent().text(), manifestMode); err != nil {
			return err
		}
	}
	for _, w := range p.writes {
		if err := w.to(p.path); err != nil {
			return err
		}
	}
	for _, name := range p.removes {
		if err := os.Remove(filepath.Join(p.path, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	wanted := map[string]bool{}
	for _, d := range p.next.dirs {
		wanted[d] = true
	}
	for i := len(p.old.dirs) - 1; i >= 0; i-- {
		if d := p.old.dirs[i]; !wanted[d] {
			_ = os.Remove(filepath.Join(p.path, d)) // what somebody put there stays
		}
	}
	if err := put(manifest, p.next.text(), manifestMode); err != nil {
		return err
	}
	return flush(p.path)
}

func (w *write) to(dir string) error {
	path := filepath.Join(dir, w.Path)
	if !w.Dir {
		return put(path, w.Data, w.Mode)
	}
	err := os.Mkdir(path, fs.FileMode(w.Mode))
	if err == nil {
		err = os.Chmod(path, fs.FileMode(w.Mode))
	}
	return err
}

// create makes a directory beside its place and renames it.
func (p *plan) create() error {
	out := filepath.Dir(p.path)
	stage := filepath.Join(out, staging+p.service.Dir+"."+strconv.Itoa(os.Getpid()))
	err := os.Mkdir(stage, 0o755)
	if err == nil {
		err = os.Chmod(stage, 0o755)
	}
	if err == nil {
		// First, so that what is interrupted is known to be ours.
		err = put(filepath.Join(stage, manifestName), p.next.text(), manifestMode)
	}
	dirs := []string{stage}
	for _, w := range p.writes {
		if err == nil {
			err = w.to(stage)
		}
		if w.Dir {
			dirs = append(dirs, filepath.Join(stage, w.Path))
		}
	}
	for _, d := range dirs {
		if err == nil {
			err = flush(d)
		}
	}
	if err == nil {
		err = unix.Renameat2(unix.AT_FDCWD, stage, unix.AT_FDCWD, p.path, unix.RENAME_NOREPLACE)
		if err == unix.EINVAL || err == unix.ENOSYS { // the file system cannot
			err = unix.Rename(stage, p.path)
		}
	}
	if err != nil {
		_ = demolish(stage)
		return err
	}
	return flush(out)
}

// sweep removes what an interrupted run has left half made.
func (s *syncer) sweep() error {
	entries, err := os.ReadDir(s.Out)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(s.Out, e.Name())
		if !e.IsDir() {
			continue
		}
		m := readManifest(path)
		switch {
		case m != nil && m.source == s.Source && !strings.HasPrefix(e.Name(), staging):
			sweepFiles(path, m)
		case strings.HasPrefix(e.Name(), retired):
			_ = os.Remove(path) // if there is nothing in it
		case !strings.HasPrefix(e.Name(), staging):
		case m != nil:
			if err := demolish(path); err != nil {
				return err
			}
		default:
			sweepFiles(path, &manifest{}) // it has no more yet than half a manifest
			_ = os.Remove(path)
		}
	}
	return nil
}

// demolish removes a directory, last of all what says that it is ours.
func demolish(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != manifestName {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(dir)
}

// sweepFiles removes files from a directory that were to be renamed to ours.
func sweepFiles(path string, m *manifest) {
	for _, d := range append([]string{"."}, m.dirs...) {
		entries, _ := os.ReadDir(filepath.Join(path, d))
		for _, e := range entries {
			name, ok := strings.CutPrefix(e.Name(), staging)
			if !ok || !e.Type().IsRegular() {
				continue
			}
			name = filepath.Join(d, strings.TrimRight(name, "0123456789"))
			if name == manifestName || slices.Contains(m.names(), name) {
				_ = os.Remove(filepath.Join(path, d, e.Name()))
			}
		}
	}
}

// link has a name in the directory Link lead to a service directory.
func (s *syncer) link(dir string) error {
	if s.Link == "" {
		return nil
	}
	target, err := filepath.Abs(filepath.Join(s.Out, dir))
	if err != nil {
		return err
	}
	path := filepath.Join(s.Link, dir)
	now, err := os.Readlink(path)
	switch {
	case err == nil && now == target:
		return nil
	case err == nil || !errors.Is(err, fs.ErrNotExist):
		return errors.New(path + " is there and not ours")
	}
	stage := filepath.Join(s.Link, staging+dir)
	_ = os.Remove(stage)
	if err := os.Symlink(target, stage); err != nil {
		return err
	}
	return os.Rename(stage, path)
}

// unlink ends a link.
func (s *syncer) unlink(dir string) {
	if s.Link == "" {
		return
	}
	path := filepath.Join(s.Link, dir)
	target, err := filepath.Abs(filepath.Join(s.Out, dir))
	if now, err2 := os.Readlink(path); err == nil && err2 == nil && now == target {
		_ = os.Remove(path)
	}
}

// scanDir is the directory that the scanner looks at.
func (s *syncer) scanDir() string {
	if s.Link != "" {
		return s.Link
	}
	return s.Out
}

// rescan tells s6-svscan to look at its directory; other scanners do so by themselves.
func (s *syncer) rescan(commands string) {
	path := filepath.Join(s.scanDir(), ".s6-svscan/control")
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	_, _ = unix.Write(fd, []byte(commands))
}
