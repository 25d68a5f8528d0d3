package watch

import (
	"os"
	"slices"
	"testing"
)

func newFiles(t *testing.T) *Files {
	t.Helper()
	f, err := NewFiles()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// told is who was told since the last time.
func told(f *Files) (owners []uint32) {
	f.Read(func(owner uint32) { owners = append(owners, owner) })
	slices.Sort(owners)
	return slices.Compact(owners)
}

// TestFiles: whatever makes another file, or none, of a path is told to those who watch it,
// and nothing else is.
func TestFiles(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	top := t.TempDir()
	paths := map[uint32][]string{
		1: {top + "/etc/one"}, 2: {top + "/etc/./two", top + "/etc/one"}, 3: {top + "/config/key"},
		4: {top + "/etc/one"},
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) error { return os.WriteFile(top+"/"+name, []byte(text), 0o644) }
	move := func(from, to string) error { return os.Rename(top+"/"+from, top+"/"+to) }
	do(os.MkdirAll(top+"/etc", 0o755))
	do(write("etc/one", "1"))
	// As Kubernetes does it: all links lead through one that is replaced.
	do(os.MkdirAll(top+"/config/..1", 0o755))
	do(os.Mkdir(top+"/config/..2", 0o755))
	do(write("config/..1/key", "a"))
	do(write("config/..2/key", "b"))
	do(os.Symlink("..1", top+"/config/..data"))
	do(os.Symlink("..data/key", top+"/config/key"))
	for owner, list := range paths {
		do(f.Set(owner, list))
	}
	do(f.Set(4, nil))
	for _, step := range []struct {
		name string
		do   func() error
		want []uint32
	}{
		{"written", func() error { return write("etc/one", "2") }, []uint32{1, 2}},
		{"something beside it", func() error { return write("etc/three", "2") }, nil},
		{"it appears", func() error { return write("etc/two", "1") }, []uint32{2}},
		{"it is written", func() error { return write("etc/two", "2") }, []uint32{2}},
		{"renamed over", func() error { return move("etc/three", "etc/one") }, []uint32{1, 2}},
		{"and written", func() error { return write("etc/one", "3") }, []uint32{1, 2}},
		{"removed", func() error { return os.Remove(top + "/etc/one") }, []uint32{1, 2}},
		{"made again", func() error { return write("etc/one", "4") }, []uint32{1, 2}},
		{"the directory goes", func() error { return move("etc", "old") }, []uint32{1, 2}},
		{"what went is written", func() error { return write("old/one", "4") }, nil},
		{"and comes back", func() error { return move("old", "etc") }, []uint32{1, 2}},
		{"and is written", func() error { return write("etc/one", "5") }, []uint32{1, 2}},
		{"the link is set anew", func() error {
			if err := os.Symlink("..2", top+"/config/..new"); err != nil {
				return err
			}
			return move("config/..new", "config/..data")
		}, []uint32{3}},
		{"what it led to is written", func() error { return write("config/..1/key", "c") }, nil},
		{"what it leads to is", func() error { return write("config/..2/key", "c") }, []uint32{3}},
		{"made unreadable", func() error { return os.Chmod(top+"/config/..2/key", 0) }, []uint32{3}},
	} {
		do(step.do())
		got := told(f)
		for _, owner := range got {
			do(f.Set(owner, paths[owner]))
		}
		if !slices.Equal(got, step.want) {
			t.Errorf("%s: %v, want %v", step.name, got, step.want)
		}
		if again := told(f); again != nil {
			t.Errorf("%s: to look wakes %v", step.name, again)
		}
	}
	for owner := range paths {
		do(f.Set(owner, nil))
	}
	if len(f.owners)+len(f.spots)+len(f.watches) > 0 {
		t.Errorf("left over: %v %v %v", f.owners, f.spots, f.watches)
	}
	do(write("etc/one", "6"))
	if got := told(f); got != nil {
		t.Errorf("without watches: %v", got)
	}
}

// TestFilesLoop: links that lead nowhere do no harm.
func TestFilesLoop(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	top := t.TempDir()
	if err := os.Symlink("loop", top+"/loop"); err != nil {
		t.Fatal(err)
	}
	if err := f.Set(1, []string{top + "/loop/x", "/", "/..", "/proc/self/nothing/x"}); err != nil {
		t.Error(err)
	}
}
