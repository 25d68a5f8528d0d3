package servicedir

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func newStore(t *testing.T) (*Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run", "upkeep")
	s, err := OpenStore(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, path
}

// definition makes a service directory with some files, and returns its key.
func definition(t *testing.T, files ...string) (path, key string) {
	t.Helper()
	path = t.TempDir()
	for _, name := range files {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(path, name)), 0o755), os.WriteFile(filepath.Join(path, name), nil, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	fd := openFD(t, path)
	defer unix.Close(fd)
	key, err := Key(fd)
	if err != nil {
		t.Fatal(err)
	}
	return path, key
}

func (s *Store) mustOpen(t *testing.T, path, key string) *Dir {
	t.Helper()
	d, _, err := s.Open(openFD(t, path), key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close(); d.FD, d.Home, d.Theirs, d.Lock, d.Control, d.OK = -1, -1, -1, -1, -1, -1 })
	return d
}

func entries(t *testing.T, path string) []string {
	t.Helper()
	list, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func TestStoreOpen(t *testing.T) {
	t.Parallel()
	s, dir := newStore(t)
	path, key := definition(t, "run", "log/run")
	d := s.mustOpen(t, path, key)
	if err := d.WriteStatus([]byte("first")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Show(); err != nil {
		t.Fatal(err)
	}
	logKey := LogKey(key)
	s.mustOpen(t, path+"/log", logKey)
	if got := entries(t, path); len(got) != 2 {
		t.Errorf("the definition has %q", got)
	}
	for _, name := range []string{"/supervise/status", "/supervise/ok", "/log/supervise/lock"} {
		if _, err := os.Stat(dir + "/.services/" + key + name); err != nil {
			t.Error(err)
		}
	}
	if d.Home == d.FD || d.Theirs != -1 {
		t.Errorf("%+v", d)
	}
	if err := d.WriteStatus([]byte("again")); err != nil {
		t.Error(err)
	}
	if r, err := d.MendFIFOs(); err != nil || r != (Remade{}) {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestStoreExcludes: nobody else gets the definition, with whatever state directory.
func TestStoreExcludes(t *testing.T) {
	t.Parallel()
	a, _ := newStore(t)
	b, dir := newStore(t)
	path, key := definition(t, "run")
	fd := openFD(t, path)
	d, _, err := a.Open(fd, key)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(open func() (*Dir, Remade, error)) {
		t.Helper()
		_, _, err := open()
		var step *StepError
		if !errors.As(err, &step) || step.Err != unix.EAGAIN || step.Verb != "acquire" || step.File != "supervise/lock" {
			t.Errorf("%v", err)
		}
	}
	other := openFD(t, path)
	for range 2 { // a refusal leaves no lock behind
		refused(func() (*Dir, Remade, error) { return b.Open(other, key) })
	}
	if got := entries(t, dir+"/.services"); len(got) != 0 {
		t.Errorf("it has made %q", got)
	}
	d.Close()

	// A lock file in the definition counts as well.
	if err := os.MkdirAll(path+"/supervise", 0o755); err != nil {
		t.Fatal(err)
	}
	e := mustOpen(t, path)
	refused(func() (*Dir, Remade, error) { return b.Open(other, key) })
	e.Close()
	e.FD, e.Home, e.Lock, e.Control, e.OK = -1, -1, -1, -1, -1
	f, _, err := b.Open(other, key)
	if err != nil {
		t.Fatal(err)
	}
	refused(func() (*Dir, Remade, error) { return Open(openFD(t, path)) })
	f.Close()
	mustOpen(t, path)
}

// TestStoreJournal: the journal is found by the directory, whatever its name.
func TestStoreJournal(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	path, key := definition(t, "run")
	fd := openFD(t, path)
	d, _, err := s.Open(fd, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Recall(testWorld); err != nil {
		t.Fatal(err)
	}
	writeMark(t, d, someMark())
	d.Close()
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	fd = openFD(t, path+".moved")
	defer unix.Close(fd)
	if now, err := Key(fd); err != nil || now != key {
		t.Errorf("the key is %q, was %q", now, key)
	}
	if j := s.Peek(fd, key, testWorld); j == nil || j.Mark != someMark() {
		t.Errorf("%+v", j)
	}
	if marks := s.Left(key, testWorld); len(marks) != 1 || marks[0] != someMark() {
		t.Errorf("%+v", marks)
	}
	otherBoot := testWorld
	otherBoot.Boot[0]++
	if marks := s.Left(key, otherBoot); marks != nil {
		t.Errorf("%+v", marks)
	}
	path2, _ := definition(t)
	fd2 := openFD(t, path2)
	defer unix.Close(fd2)
	if j := s.Peek(fd2, key, testWorld); j != nil {
		t.Errorf("of another directory: %+v", j)
	}
	var none *Store
	if j := none.Peek(fd, "", testWorld); j != nil {
		t.Errorf("in the definition: %+v", j)
	}
}

func TestStoreMirror(t *testing.T) {
	t.Parallel()
	s, dir := newStore(t)
	path, key := definition(t, "run", "data", ".hidden", "log/run")
	d := s.mustOpen(t, path, key)
	home := dir + "/.services/" + key
	want := func(names ...string) {
		t.Helper()
		if err := s.Mirror(d.FD, key); err != nil {
			t.Fatal(err)
		}
		got := entries(t, home)
		if len(got) != len(names) {
			t.Fatalf("%q, want %q", got, names)
		}
		for i, name := range names {
			if got[i] != name {
				t.Errorf("%q, want %q", got, names)
			}
			if target, err := os.Readlink(home + "/" + name); err == nil && target != path+"/"+name {
				t.Errorf("%s leads to %s", name, target)
			}
		}
	}
	want("check", "data", "down", "run", "supervise")
	if err := os.Remove(path + "/data"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(home+"/finish", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+"/finish", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	want("check", "down", "finish", "run", "supervise")
	if st, err := os.Lstat(home + "/finish"); err != nil || !st.Mode().IsRegular() {
		t.Errorf("the file of somebody else's: %v, %v", st, err)
	}
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	path += ".moved"
	want("check", "down", "finish", "run", "supervise")

	s.Remove(key)
	if got := entries(t, home); len(got) != 5 {
		t.Errorf("removed while its lock was held: %q", got)
	}
	d.Close()
	d.FD, d.Home, d.Lock, d.Control = -1, -1, -1, -1
	s.Remove(key)
	if got := entries(t, home); len(got) != 1 || got[0] != "finish" {
		t.Errorf("left is %q", got)
	}
	if err := os.Remove(home + "/finish"); err != nil {
		t.Fatal(err)
	}
	s.Remove(key)
	if got := entries(t, dir+"/.services"); len(got) != 0 {
		t.Errorf("left is %q", got)
	}
}

func TestStoreNames(t *testing.T) {
	t.Parallel()
	s, dir := newStore(t)
	const a, b = "1-2-3", "4-5-6"
	for name, make := range map[string]func(path string) error{
		"file": func(p string) error { return os.WriteFile(p, nil, 0o644) },
		"dir":  func(p string) error { return os.Mkdir(p, 0o755) },
		"link": func(p string) error { return os.Symlink("/etc", p) },
		"odd":  func(p string) error { return os.Symlink(".services/../etc", p) },
	} {
		if err := make(dir + "/" + name); err != nil {
			t.Fatal(err)
		}
		if err := s.Link(name, a); err != unix.EEXIST {
			t.Errorf("%s: %v", name, err)
		}
		s.Unlink(name, a)
		if _, err := os.Lstat(dir + "/" + name); err != nil {
			t.Error(err)
		}
	}
	for _, key := range []string{a, a, b} {
		if err := s.Link("web", key); err != nil || s.Linked("web") != key {
			t.Errorf("%v, %q", err, s.Linked("web"))
		}
	}
	s.Unlink("web", a)
	if names := s.Names(); len(names) != 1 || names["web"] != b {
		t.Errorf("%v", names)
	}
	s.Unlink("web", b)
	s.Unlink("", b)
	if names := s.Names(); len(names) != 0 {
		t.Errorf("%v", names)
	}
}

func TestOpenStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/file", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir+"/taken", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", dir+"/taken/.services"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file", "file/below", "taken"} {
		if _, err := OpenStore(dir + "/" + name); !errors.Is(err, unix.ENOTDIR) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	for _, key := range []string{"1-2-3", "fe00-98808e-c4856899", "", "--", "1-2-3/log", "../.."} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if _, ok := parseKey(key); ok {
			for _, c := range key {
				if c == '/' || c == '.' {
					t.Errorf("%q is a path", key)
				}
			}
		}
	})
}
