package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"upkeep/conf2dir"
)

// site is a directory with a configuration and what is made of it.
type site struct {
	t    *testing.T
	out  string
	o    Options
	form conf2dir.Form
	said []string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, out: t.TempDir()}
	s.o = Options{Source: "/etc/pmtr.conf", Out: s.out, Say: func(line string) { s.said = append(s.said, line) }}
	return s
}

// sync has jobs: each is options, "|" between them, and has a cmd.
func (s *site) sync(jobs ...string) bool {
	s.t.Helper()
	text := ""
	for _, j := range jobs {
		text += "job {\nname " + strings.ReplaceAll(j, "|", "\n") + "\ncmd /bin/x\n}\n"
	}
	f, complaint := conf2dir.Parse("/etc/pmtr.conf", text)
	if complaint != nil {
		s.t.Fatal(complaint)
	}
	services, _ := conf2dir.Compile(f, conf2dir.Options{Form: s.form, Log: conf2dir.LogFiles})
	s.said = nil
	s.o.Form = s.form
	ok, err := Sync(services, s.o)
	if err != nil {
		s.t.Fatal(err)
	}
	return ok
}

func (s *site) want(inStep bool, ok bool, said ...string) {
	s.t.Helper()
	if inStep != ok || !slices.Equal(s.said, said) {
		s.t.Errorf("in step: %v; said %q\nwant %v, %q", inStep, s.said, ok, said)
	}
}

func (s *site) path(name string) string { return filepath.Join(s.out, name) }

func (s *site) write(name, text string) {
	s.t.Helper()
	err := os.MkdirAll(filepath.Dir(s.path(name)), 0o755)
	if err == nil {
		err = os.WriteFile(s.path(name), []byte(text), 0o644)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) read(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(s.path(name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

func (s *site) there(name string) bool {
	_, err := os.Lstat(s.path(name))
	return err == nil
}

// picture is all there is, with inodes and times.
func (s *site) picture() string {
	s.t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(s.out, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %d %o %d %d %d\n", path, st.Ino, st.Mode, st.Size, st.Mtim.Nano(), st.Ctim.Nano())
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return b.String()
}

func TestSync(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.write("theirs/run", "#!/bin/sh\n")
	s.want(s.sync("a|env X=1", "b|disable"), true, "new a", "new b")
	first := s.picture()
	s.want(s.sync("a|env X=1", "b|disable"), true)
	if again := s.picture(); again != first {
		t.Errorf("a second run changes\n%s\n%s", first, again)
	}
	// Places and the order of options do not count.
	s.want(s.sync("a|env X=1 # remark\n\n", "b|disable\n"), true)
	if again := s.picture(); again != first {
		t.Errorf("remarks change\n%s\n%s", first, again)
	}
	if !s.there("b/down") || s.there("a/down") {
		t.Error("down")
	}
	var st unix.Stat_t
	var dir unix.Stat_t
	if err := errors.Join(unix.Stat(s.path("a"), &dir), unix.Stat(s.path("a/log"), &st)); err != nil {
		t.Fatal(err)
	}
	s.want(s.sync("a|env X=2|nice 3", "b|disable"), true, "changed a")
	if err := unix.Stat(s.path("a"), &st); err != nil || st.Ino != dir.Ino {
		t.Error("the directory is another")
	}
	envs, err := filepath.Glob(s.path("a/env.*/X"))
	if err != nil || len(envs) != 1 {
		t.Error(envs, err) // nobody runs, so the old ones are not in use
	}
	// A job is gone; one comes.
	s.want(s.sync("c", "b|disable"), true, "new c", "retired a")
	if s.there("a") || s.there(".retired.a") || s.read("theirs/run") != "#!/bin/sh\n" {
		t.Error("not the right directories are gone")
	}
	s.want(s.sync(), true, "retired b", "retired c")
	names, err := os.ReadDir(s.out)
	if err != nil || len(names) != 2 { // theirs, and the lock
		t.Error(names, err)
	}
}

func TestForeign(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.write("a/run", "mine")
	s.want(s.sync("a", "b"), false, "failed a: the directory is there and not made from /etc/pmtr.conf", "new b")
	// Nor what was made from another configuration.
	other := s.o.Source
	s.o.Source = "/etc/other.conf"
	s.want(s.sync("b", "c"), false, "failed b: the directory is there and not made from /etc/other.conf", "new c")
	s.o.Source = other
	s.want(s.sync("a", "b"), false, "failed a: the directory is there and not made from /etc/pmtr.conf")
	if s.read("a/run") != "mine" || !s.there("c/run") {
		t.Error("a directory of somebody else was touched")
	}
	// Files that were added belong to who did.
	s.write("b/run.local", "mine")
	s.write("b/env.local/X", "mine")
	s.want(s.sync("b|nice 5"), true, "changed b")
	s.sync()
	if s.read(".retired.b/run.local") != "mine" || s.read(".retired.b/env.local/X") != "mine" || s.there(".retired.b/run") {
		t.Errorf("%q", s.said)
	}
	if len(s.said) != 1 || !strings.Contains(s.said[0], "stays, with files that are not conf2dir's: env.local") {
		t.Errorf("%q", s.said)
	}
	s.want(s.sync(), true) // and now it is theirs
	// A link or a file in the way.
	if err := os.Symlink("nowhere", s.path("l")); err != nil {
		t.Fatal(err)
	}
	s.want(s.sync("l"), false, "failed l: the directory is there and not made from /etc/pmtr.conf")
}

func TestEdited(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.sync("a|nice 1")
	ours := s.read("a/run")
	s.write("a/run", "mine\n")
	if err := os.Chmod(s.path("a/run"), 0o755); err != nil {
		t.Fatal(err)
	}
	const edited = "edited a/run: not by conf2dir, so it stays"
	s.want(s.sync("a|nice 1"), false, edited, "changed a")
	if s.read("a/run") != "mine\n" || s.read("a/run.new") != ours {
		t.Error("not aside")
	}
	before := s.picture()
	s.want(s.sync("a|nice 1"), false, edited)
	if s.picture() != before {
		t.Error("a second run changes something")
	}
	s.want(s.sync("a|nice 2"), false, edited, "changed a")
	if !strings.Contains(s.read("a/run.new"), "-n 2") || s.read("a/run") != "mine\n" {
		t.Error("not aside")
	}
	// Taking ours ends it.
	if err := os.Rename(s.path("a/run.new"), s.path("a/run")); err != nil {
		t.Fatal(err)
	}
	s.want(s.sync("a|nice 2"), true, "changed a")
	s.want(s.sync("a|nice 2"), true)
	// So does force, which takes the file aside away as well.
	s.write("a/run", "mine again\n")
	s.sync("a|nice 2")
	s.o.Force = true
	s.want(s.sync("a|nice 2"), true, "changed a")
	if s.there("a/run.new") || !strings.Contains(s.read("a/run"), "-n 2") {
		t.Error("force")
	}
	s.o.Force = false
	// A file of ours that is gone comes back; one with another mode stays.
	if err := errors.Join(os.Remove(s.path("a/rank")), os.Chmod(s.path("a/run"), 0o600)); err != nil {
		t.Fatal(err)
	}
	s.want(s.sync("a|nice 2"), false, edited, "changed a")
	if st, err := os.Stat(s.path("a/run")); err != nil || st.Mode() != 0o600 || !s.there("a/rank") || s.there("a/run.new") {
		t.Error(st, err)
	}
	// An edited file that is not wanted any more stays.
	if err := os.Chmod(s.path("a/run"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.sync("a|nice 2|bounce every 5s")
	s.write("a/bounce", "7\n")
	s.want(s.sync("a|nice 2"), false, "edited a/bounce: not by conf2dir, so it stays", "changed a")
	s.want(s.sync("a|nice 2"), true)
	if s.read("a/bounce") != "7\n" {
		t.Error("bounce is gone")
	}
	// Adopted.
	s.write("a/run", "mine\n")
	s.o.Adopt = true
	s.want(s.sync("a|nice 2"), true, "adopted a: it is yours")
	s.o.Adopt = false
	s.want(s.sync(), true)
	if s.read("a/run") != "mine\n" {
		t.Error("an adopted directory was touched")
	}
}

func TestDown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.sync("a|disable", "b")
	if err := os.Remove(s.path("a/down")); err != nil {
		t.Fatal(err)
	}
	s.write("b/down", "")
	s.want(s.sync("a|disable", "b"), true)
	s.want(s.sync("a|disable|nice 1", "b|nice 1"), true, "changed a", "changed b")
	if s.there("a/down") || !s.there("b/down") {
		t.Error("an administrator's decision is not respected")
	}
	s.want(s.sync("a", "b|disable"), true, "changed a", "  svc -u "+s.path("a"), "changed b", "  svc -d "+s.path("b"))
	s.want(s.sync("a|disable", "b"), true, "changed a", "  svc -d "+s.path("a"), "changed b", "  svc -u "+s.path("b"))
	if !s.there("a/down") || s.there("b/down") {
		t.Error("a change is not obeyed")
	}
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.sync("a|nice 1", "b")
	before := s.picture()
	s.o.DryRun = true
	if !s.sync("a|nice 2|bounce every 5s", "c") || s.picture() != before {
		t.Error("something changed")
	}
	text := strings.Join(s.said, "\n")
	for _, want := range []string{
		"changed a\n--- /dev/null\n+++ " + s.path("a/bounce") + "\n@@ -0,0 +1,1 @@\n+5\n--- " + s.path("a/run") + "\n+++ " + s.path("a/run") + "\n@@ -1,5 +1,5 @@\n #!/bin/sh\n-# conf2dir 1 ",
		"\n-  -n 1 \\\n+  -n 2 \\\n", "new c\n", "retired b\nchanged a\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.sync("a|nice 1")
	manifest := s.read("a/.conf2dir")
	s.write(".new.b.123/.conf2dir", strings.ReplaceAll(manifest, "job a", "job b"))
	s.write(".new.b.123/run", "half")
	s.write(".new.c.123/run", "not ours")
	s.write(".new.d.123", "not ours")
	if err := os.Mkdir(s.path(".new.e.5"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.write("a/.new.run5831", "half")
	s.write("a/.new.mine5831", "not ours")
	if err := os.Rename(s.path("a"), s.path(".retired.z")); err != nil {
		t.Fatal(err)
	}
	s.sync("a|nice 1")
	s.write("a/.new.run5831", "half")
	s.write("a/.new.mine", "not ours")
	s.sync("a|nice 1")
	for name, want := range map[string]bool{
		".new.b.123": false, ".new.c.123/run": true, ".new.d.123": true, ".new.e.5": false, "a/.new.run5831": false, "a/.new.mine": true,
		".retired.z": true, ".retired.z/run": false, ".retired.z/.new.mine5831": true,
	} {
		if s.there(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
	// A run that ended before the manifest was written: run is the new one already.
	s.sync("a|nice 2")
	s.write("a/.conf2dir", manifest)
	s.want(s.sync("a|nice 2"), true, "changed a")
	s.want(s.sync("a|nice 2"), true)
}

func TestLocked(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	unlock, err := lock(s.out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Sync(nil, s.o); !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
	unlock()
	s.want(s.sync(), true)
}

func TestLink(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.o.Link = t.TempDir()
	if err := os.Symlink("/elsewhere", filepath.Join(s.o.Link, "b")); err != nil {
		t.Fatal(err)
	}
	s.want(s.sync("a", "b"), false, "new a", "new b", "failed b: "+filepath.Join(s.o.Link, "b")+" is there and not ours")
	if to, err := os.Readlink(filepath.Join(s.o.Link, "a")); to != s.path("a") {
		t.Error(to, err)
	}
	s.sync()
	names, err := os.ReadDir(s.o.Link)
	if err != nil || len(names) != 1 || names[0].Name() != "b" {
		t.Error(names, err)
	}
}

func TestManifest(t *testing.T) {
	t.Parallel()
	m := &manifest{
		source: "/etc/a b.conf", job: "a\xff", definition: "12", disabled: true, pending: true, process: 7, dirs: []string{"env.1", "log"},
		files: map[string]stamp{"run": {"ab", 0o755}, "env.1/X": {"cd", 0o600}}, coming: map[string]stamp{"run": {"12", 0o755}}, stale: map[string]stamp{"env.0/X": {"ef", 0o600}},
	}
	if again := parseManifest(m.text()); again == nil || again.text() != m.text() {
		t.Errorf("%+v\n%s", again, m.text())
	}
	for _, text := range []string{"", "version 1\n", "version 2\nsource x\n", "source x\n", "version 1\nsource x", "version 1\nsource x\nfile ../x sha256:1 0644\n",
		"version 1\nsource x\nfile /x sha256:1 0644\n", "version 1\nsource x\nfile . sha256:1 0644\n", "version 1\nsource x\nstale x sha256:1 9\n",
		"version 1\nsource x\nfile x md5:1 0644\n", "version 1\nsource x\ndir ..\n", "version 1\nsource x\ndir a/../..\n"} {
		if m := parseManifest(text); m != nil {
			t.Errorf("%q: %+v", text, m)
		}
	}
}

func FuzzManifest(f *testing.F) {
	f.Add("version 1\nsource /x\njob a\ndefinition sha256:0\ndisabled\npending\ndir env\nfile run sha256:12 0755\nstale env/X sha256:4 0600\n")
	f.Fuzz(func(t *testing.T, text string) {
		m := parseManifest(text)
		if m == nil {
			return
		}
		for _, files := range []map[string]stamp{m.files, m.stale} {
			for name := range files {
				if !inside(name) {
					t.Errorf("%q", name)
				}
			}
		}
		if again := parseManifest(m.text()); again == nil || again.text() != m.text() {
			t.Errorf("%q", m.text())
		}
	})
}

func TestDiff(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ a, b, want string }{
		{"", "", ""},
		{"x\n", "x\n", ""},
		{"", "a\nb\n", "@@ -0,0 +1,2 @@\n+a\n+b\n"},
		{"a\n", "", "@@ -1,1 +0,0 @@\n-a\n"},
		{"a\nb\nc\n", "a\nX\nc\n", "@@ -1,3 +1,3 @@\n a\n-b\n+X\n c\n"},
		{"a", "a\n", "@@ -1,1 +1,1 @@\n-a\n\\ No newline at end of file\n+a\n"},
		{"1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n", "X\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\nY\n",
			"@@ -1,4 +1,4 @@\n-1\n+X\n 2\n 3\n 4\n@@ -9,4 +9,4 @@\n 9\n 10\n 11\n-12\n+Y\n"},
	} {
		want := c.want
		if want != "" {
			want = "--- a\n+++ b\n" + want
		}
		if got := Diff("a", "b", c.a, c.b); got != want {
			t.Errorf("%q %q:\n%s", c.a, c.b, got)
		}
	}
}

// Watch calls at once, after a write and a replacement, also behind links, and not for
// other files.
func TestWatch(t *testing.T) {
	t.Parallel()
	dir, other := t.TempDir(), t.TempDir()
	path := filepath.Join(dir, "conf")
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(os.WriteFile(filepath.Join(other, "real"), []byte("1"), 0o600))
	check(os.Symlink(filepath.Join(other, "real"), path))
	calls := make(chan string)
	done := errors.New("done")
	ended := make(chan error, 1)
	go func() {
		ended <- Watch(path, func() error {
			b, _ := os.ReadFile(path)
			calls <- string(b)
			if string(b) == "end" {
				return done
			}
			return nil
		})
	}()
	next := func(want string) {
		t.Helper()
		if got := <-calls; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	next("1")
	check(os.WriteFile(filepath.Join(dir, "beside"), []byte("x"), 0o600))
	check(os.WriteFile(filepath.Join(other, "real"), []byte("2"), 0o600))
	next("2")
	check(os.WriteFile(filepath.Join(other, "real.new"), []byte("3"), 0o600))
	check(os.Rename(filepath.Join(other, "real.new"), filepath.Join(other, "real")))
	next("3")
	check(os.Remove(path))
	next("")
	check(os.WriteFile(path, []byte("4"), 0o600))
	next("4")
	check(os.WriteFile(filepath.Join(other, "real"), []byte("x"), 0o600)) // the link is gone
	check(os.WriteFile(path, []byte("end"), 0o600))
	next("end")
	if err := <-ended; err != done {
		t.Error(err)
	}
	if err := Watch(filepath.Join(dir, "none", "x"), func() error { return done }); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
