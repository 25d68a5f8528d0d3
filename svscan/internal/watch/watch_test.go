package watch

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func expect(t *testing.T, c <-chan string, what string) string {
	t.Helper()
	select {
	case s := <-c:
		return s
	case <-time.After(20 * time.Second):
		t.Fatalf("%s goes unnoticed", what)
		return ""
	}
}

// newTree watches dir; each call of changed becomes a token.
func newTree(t *testing.T, dir string) (*Tree, <-chan string) {
	t.Helper()
	c := make(chan string, 100)
	tree, err := NewTree(dir, func() { c <- "changed" })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tree.Close)
	return tree, c
}

func drain(c <-chan string) {
	for len(c) > 0 {
		<-c
	}
}

func TestTree(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	scan := top + "/scan"
	os.Mkdir(scan, 0o755)
	tree, c := newTree(t, scan)
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"a new directory", func() error { return os.Mkdir(scan+"/a", 0o755) }},
		{"a new link", func() error { return os.Symlink("a", scan+"/b") }},
		{"a link re-pointed", func() error {
			if err := os.Symlink("/", top+"/new"); err != nil {
				return err
			}
			return os.Rename(top+"/new", scan+"/b")
		}},
		{"a rename", func() error { return os.Rename(scan+"/a", scan+"/c") }},
		{"a removal", func() error { return os.Remove(scan + "/c") }},
		{"the scan directory moved away", func() error { return os.Rename(scan, top+"/old") }},
		{"another in its place", func() error { return os.Mkdir(scan, 0o755) }},
	} {
		drain(c)
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		expect(t, c, step.what)
	}
	if err := tree.Again(); err != nil {
		t.Fatal(err)
	}
	drain(c)
	os.Mkdir(scan+"/d", 0o755)
	expect(t, c, "a directory in the new scan directory")
}

func TestTreeRelative(t *testing.T) {
	top := t.TempDir()
	t.Chdir(top)
	os.Mkdir("scan", 0o755)
	for _, dir := range []string{"scan", "./scan/", filepath.Join(top, "scan") + "/."} {
		_, c := newTree(t, dir)
		os.Mkdir(top+"/scan/a", 0o755)
		expect(t, c, "a directory in "+dir)
		os.Remove(top + "/scan/a")
	}
	t.Chdir("scan")
	_, c := newTree(t, ".")
	os.Mkdir("a", 0o755)
	expect(t, c, "a directory in .")
}

// A scan directory that is not there yet is waited for.
func TestTreeMissing(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	_, c := newTree(t, top+"/scan")
	os.Mkdir(top+"/scan", 0o755)
	expect(t, c, "the scan directory")
}

// What happens beside the scan directory wakes nobody.
func TestTreeNeighbours(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	os.Mkdir(top+"/scan", 0o755)
	_, c := newTree(t, top+"/scan")
	drain(c)
	os.WriteFile(top+"/neighbour", []byte("x"), 0o644)
	os.Mkdir(top+"/scan/mark", 0o755)
	expect(t, c, "the mark")
	if n := len(c); n > 0 {
		t.Errorf("%d more", n)
	}
}

func TestDirs(t *testing.T) {
	t.Parallel()
	d, err := NewDirs()
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	top := t.TempDir()
	wds := map[int]string{}
	for _, name := range []string{"a", "b"} {
		os.Mkdir(top+"/"+name, 0o755)
		fd, err := unix.Open(top+"/"+name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		wd, err := d.Add(fd)
		unix.Close(fd) // the watch stays
		if err != nil {
			t.Fatal(err)
		}
		wds[wd] = name
	}
	read := func() (got []string) {
		d.Read(func(wd int, name []byte) { got = append(got, wds[wd]+"/"+string(name)) })
		return got
	}
	f, err := os.Create(top + "/a/run")
	if err != nil {
		t.Fatal(err)
	}
	if got := read(); len(got) != 1 || got[0] != "a/run" {
		t.Errorf("created: %q", got)
	}
	for range 10 {
		f.WriteString("x")
	}
	if got := read(); len(got) != 0 {
		t.Errorf("writing wakes: %q", got)
	}
	f.Close()
	if got := read(); len(got) != 1 || got[0] != "a/run" {
		t.Errorf("closed: %q", got)
	}
	os.Chmod(top+"/a/run", 0o755)
	if got := read(); len(got) != 1 || got[0] != "a/run" {
		t.Errorf("made executable: %q", got)
	}
	os.Rename(top+"/a", top+"/c")
	os.WriteFile(top+"/b/down", nil, 0o644)
	os.Remove(top + "/b/down")
	if got := read(); len(got) != 3 || got[0] != "b/down" || got[2] != "b/down" {
		t.Errorf("b: %q", got)
	}
	os.Mkdir(top+"/c/log", 0o755)
	if got := read(); len(got) != 1 || got[0] != "a/log" {
		t.Errorf("after a rename: %q", got)
	}
	for wd := range wds {
		d.Remove(wd)
	}
	os.Mkdir(top+"/c/more", 0o755)
	if got := read(); len(got) != 0 {
		t.Errorf("after the watches were removed: %q", got)
	}
}

func TestRemote(t *testing.T) {
	t.Parallel()
	if Remote(t.TempDir()) {
		t.Skip("the temporary directory is on a remote file system")
	}
	if Remote("/nonexistent") {
		t.Error("a missing directory is remote")
	}
}
