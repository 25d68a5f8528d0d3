package tree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"upkeep/conf2dir"
)

// plan is what there is to do for one service directory.
type plan struct {
	service *conf2dir.Service
	path    string
	old     *manifest // nil for a new directory
	next    *manifest
	present map[string]stamp // files of ours as they are
	writes  []write          // in the order in which they are done
	removes []string         // files
	edited  []string         // files that somebody else has changed
	restart bool             // what runs is of an older definition
	up      bool             // it was disabled
	down    bool             // it is disabled now
}

// write is a file that is to be, or a directory.
type write struct {
	conf2dir.Entry
	before  string
	existed bool
}

func (p *plan) empty() bool {
	return p.old != nil && len(p.writes)+len(p.removes) == 0 && p.old.text() == p.next.text()
}

// found is what is at the place of a file.
type found struct {
	exists, regular bool
	data            string
	stamp           stamp
}

func look(path string) (f found, err error) {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	f.exists, f.regular = true, st.Mode().IsRegular()
	if !f.regular {
		return f, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return f, err
	}
	f.data = string(text)
	f.stamp = stamp{conf2dir.Digest(f.data), uint32(st.Mode().Perm())}
	return f, nil
}

// planFor compares a service with its directory, which is made if old is nil.
func (s *syncer) planFor(service *conf2dir.Service, old *manifest) (*plan, error) {
	p := &plan{service: service, path: filepath.Join(s.Out, service.Dir), old: old}
	p.present, p.next = map[string]stamp{}, newManifest()
	p.next.source, p.next.job = s.Source, service.For
	p.next.definition, p.next.disabled = service.Definition, service.Disabled()
	if service.Job != nil {
		p.next.job = service.Job.Name
	}
	var last []write
	for _, e := range service.Entries {
		if e.Dir {
			p.next.dirs = append(p.next.dirs, e.Path)
			if _, err := os.Lstat(filepath.Join(p.path, e.Path)); errors.Is(err, fs.ErrNotExist) {
				p.writes = append(p.writes, write{Entry: e})
			}
			continue
		}
		if e.Path == conf2dir.Down {
			if old == nil {
				p.writes = append(p.writes, write{Entry: e})
			}
			continue
		}
		w, err := s.planFile(p, e)
		if err != nil {
			return nil, err
		}
		if e.Path == "run" {
			last = append(last, w...) // which is when the new definition counts
		} else {
			p.writes = append(p.writes, w...)
		}
	}
	p.writes = append(p.writes, last...)
	if old == nil {
		return p, nil
	}
	p.planDown()
	p.restart = old.definition != service.Definition && !p.up && !service.Disabled()
	p.next.pending = !service.Disabled() && !p.up && s.isPending(p)
	return p, s.planRemovals(p)
}

// isPending tells whether a process runs that will be, or is, of an older definition.
func (s *syncer) isPending(p *plan) bool {
	if !p.restart && !p.old.pending {
		return false
	}
	r := s.open(p.path)
	if r == nil {
		return false
	}
	defer r.Close()
	if !p.restart {
		p.next.process = p.old.process
		return r.stale(p)
	}
	if record, err := r.Status(r.layout); err == nil && p.once() {
		p.next.process = record.PID
	}
	return true
}

// planFile decides on one file.
func (s *syncer) planFile(p *plan, e conf2dir.Entry) ([]write, error) {
	want := stamp{conf2dir.Digest(e.Data), e.Mode}
	p.next.files[e.Path] = want
	f, err := look(filepath.Join(p.path, e.Path))
	if err != nil {
		return nil, err
	}
	w := []write{{e, f.data, f.exists}}
	ours := p.old != nil && f.regular && p.old.ours(e.Path, f.stamp)
	if ours {
		p.present[e.Path] = f.stamp
	}
	switch {
	case !f.exists:
		return w, nil
	case f.regular && f.stamp == want:
		return nil, nil
	case ours, f.regular && s.Force:
		return w, nil
	case f.regular && f.stamp.digest == want.digest:
		p.edited = append(p.edited, e.Path) // only its mode
		return nil, nil
	}
	p.edited = append(p.edited, e.Path)
	aside := e
	aside.Path += ".new"
	return s.planFile(p, aside)
}

// planDown obeys a change of disable. An administrator's down, or its absence, stays as
// long as the configuration says the same.
func (p *plan) planDown() {
	if p.old.disabled == p.next.disabled {
		return
	}
	_, err := os.Lstat(filepath.Join(p.path, conf2dir.Down))
	switch {
	case p.next.disabled:
		p.down = true
		if err != nil {
			p.writes = append(p.writes, write{Entry: conf2dir.Entry{Path: conf2dir.Down, Mode: 0o644}})
		}
	default:
		p.up = true
		if err == nil {
			p.removes = append(p.removes, conf2dir.Down)
		}
	}
}

// planRemovals decides on the files that are not wanted any more. Variables of the
// process that runs stay until it has been restarted.
func (s *syncer) planRemovals(p *plan) error {
	for _, name := range p.old.names() {
		if _, wanted := p.next.files[name]; wanted {
			continue
		}
		f, err := look(filepath.Join(p.path, name))
		ours := f.regular && p.old.ours(name, f.stamp)
		switch {
		case err != nil:
			return err
		case !f.exists:
		case !ours && !s.Force:
			p.edited = append(p.edited, name)
		case ours && strings.HasPrefix(name, "env.") && p.next.pending:
			p.present[name], p.next.stale[name] = f.stamp, f.stamp
		default:
			p.present[name] = f.stamp
			p.removes = append(p.removes, name)
		}
	}
	for _, d := range p.old.dirs {
		keep := false
		for name := range p.next.stale {
			keep = keep || strings.HasPrefix(name, d+"/")
		}
		for _, other := range p.next.dirs {
			keep = keep && other != d
		}
		if keep {
			p.next.dirs = append(p.next.dirs, d)
		}
	}
	return nil
}

// intent is the manifest while the plan is carried out.
func (p *plan) intent() *manifest {
	m := *p.next
	m.files, m.coming = p.present, map[string]stamp{}
	for _, w := range p.writes {
		if s, ok := p.next.files[w.Path]; ok {
			m.coming[w.Path] = s
		}
	}
	for _, d := range p.old.dirs {
		if !slices.Contains(m.dirs, d) {
			m.dirs = append(slices.Clip(m.dirs), d)
		}
	}
	// Until run is the new one, the definition is the old one.
	m.definition, m.disabled, m.pending, m.process = p.old.definition, p.old.disabled, p.old.pending, p.old.process
	return &m
}

// diffs are unified diffs of all that would be changed.
func (p *plan) diffs() string {
	var b strings.Builder
	for _, w := range p.writes {
		path := filepath.Join(p.path, w.Path)
		switch {
		case w.Dir:
		case w.existed:
			b.WriteString(Diff(path, path, w.before, w.Data))
		case w.Data == "":
			b.WriteString("new " + path + ", empty\n")
		default:
			b.WriteString(Diff("", path, "", w.Data))
		}
	}
	for _, name := range p.removes {
		path := filepath.Join(p.path, name)
		if f, err := look(path); err == nil && f.data != "" {
			b.WriteString(Diff(path, "", f.data, ""))
		} else {
			b.WriteString("removed " + path + "\n")
		}
	}
	return b.String()
}
