package cgroup

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestParseOwn(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0::/\n": "/",
		"4:memory:/old\n0::/system.slice/x.service\n": "/system.slice/x.service",
		"0::/with blank:and colon\n":                  "/with blank:and colon",
		"4:memory:/old\n":                             "",
		"0::/../outside\n":                            "",
		"0::/..\n":                                    "",
		"0::/a/../b\n":                                "",
		"0::/removed (deleted)\n":                     "",
		"0::relative\n":                               "",
		"":                                            "",
		"\n\n0:name=0::/x:/y\n1:cpu:/\n0::/last/line/": "",
	} {
		got, ok := parseOwn([]byte(text))
		if ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q, %v", text, got, ok)
		}
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	const mounts = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw
32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
41 31 0:31 / /sys/fs/cgroup/uni\040fied rw,relatime shared:4 - cgroup2 cgroup2 rw
42 31 0:31 /a /mnt/part rw - cgroup2 none rw
43 31 0:31 /ab /mnt/other rw - cgroup2 none rw
44 31 0:31 /../x /mnt/outside rw - cgroup2 none rw
broken line
45 31 - cgroup2
`
	for name, want := range map[string][]string{
		"/":    {"/sys/fs/cgroup/uni fied"},
		"/a":   {"/sys/fs/cgroup/uni fied/a", "/mnt/part"},
		"/a/b": {"/sys/fs/cgroup/uni fied/a/b", "/mnt/part/b"},
		"/ab":  {"/sys/fs/cgroup/uni fied/ab", "/mnt/other"},
	} {
		if got := places([]byte(mounts), name); !slices.Equal(got, want) {
			t.Errorf("%s: %q, expected are %q", name, got, want)
		}
	}
}

func FuzzPlaces(f *testing.F) {
	f.Add([]byte("41 31 0:31 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"), []byte("0::/x\n"))
	f.Fuzz(func(t *testing.T, mounts, own []byte) {
		name, ok := parseOwn(own)
		if ok && name[0] != '/' {
			t.Errorf("%q", name)
		}
		places(mounts, name)
		parsePopulated(own)
	})
}

// Names are different for different directories, and never a path, or too long.
func FuzzLeaf(f *testing.F) {
	f.Add("web", "web/log", uint64(1), uint64(2))
	f.Add("..", ".", uint64(1), uint64(1))
	f.Add(strings.Repeat("/", 300), "a%2f", uint64(1<<63), uint64(1<<64-1))
	b := new(Base)
	f.Fuzz(func(t *testing.T, one, other string, dev, ino uint64) {
		names := []string{b.Leaf(one, dev, ino).Name, b.Leaf(other, dev, ino+1).Name, b.Leaf(one, dev+1, ino).Name}
		for i, n := range names {
			if len(n) > 255 || strings.ContainsAny(n, "/\n\x00") || !strings.HasPrefix(n, prefix) || n == Supervisor {
				t.Errorf("%q", n)
			}
			if slices.Index(names, n) != i {
				t.Errorf("%q twice", n)
			}
		}
	})
}

func TestParsePopulated(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"populated 1\nfrozen 0\n": true, "frozen 1\npopulated 0\n": false, "frozen 0\npopulated 1\n": true, "": false, "populated 10\n": false,
	} {
		if got := parsePopulated([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// fake is a directory in place of the hierarchy, for what needs no kernel.
func fake(t *testing.T) *Base {
	t.Helper()
	b, err := At(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(b.FD) })
	return b
}

func TestRenamed(t *testing.T) {
	t.Parallel()
	b := fake(t)
	old := b.Leaf("old", 10, 20)
	for _, l := range []*Leaf{old, b.Leaf("other", 10, 2), b.Leaf("other", 1, 20)} {
		if err := l.Make(); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.Renamed(10, 20); got == nil || *got != *old {
		t.Errorf("%v", got)
	}
	if got := b.Renamed(0, 20); got != nil {
		t.Errorf("%v", got)
	}
	if err := old.Make(); err != nil {
		t.Error(err)
	}
	if err := old.Remove(); err != nil || old.Exists() {
		t.Error(err)
	}
	if err := old.Remove(); err != nil {
		t.Error(err)
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	b := fake(t)
	l := b.Leaf("web", 1, 2)
	if err := l.Make(); err != nil {
		t.Fatal(err)
	}
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(b.Path, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("cgroup.controllers", "cpu io memory\n")
	write("cgroup.subtree_control", "cpu io\n")
	write(l.Name+"/cpu.max", "")
	if err := l.Limit("cpu.max", "1000 2000\n\n"); err != nil {
		t.Error(err)
	}
	if got := b.read(l.Name + "/cpu.max"); got != "1000 2000" {
		t.Errorf("%q", got)
	}
	if err := l.Limit("pids.max", "10"); err != ErrController {
		t.Error(err)
	}
	if err := l.Limit("io.weight", "10"); err != unix.ENOENT {
		t.Error(err)
	}
}

func TestReadLimit(t *testing.T) {
	t.Parallel()
	b := fake(t)
	for content, want := range map[string]error{
		"10\n": nil, "10\n\n": nil, "max": nil, "": unix.EINVAL, "\n": unix.EINVAL, " \t\n": unix.EINVAL,
		strings.Repeat("x", 4097): unix.E2BIG, strings.Repeat("x", 4096): nil,
	} {
		if err := os.WriteFile(b.Path+"/pids.max", []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		value, ok, err := ReadLimit(b.FD, "pids.max")
		if !ok || err != want || err == nil && value != strings.TrimRight(content, "\n") {
			t.Errorf("%.20q: %.20q, %v, %v", content, value, ok, err)
		}
	}
	if _, ok, err := ReadLimit(b.FD, "pids.min"); ok || err != nil {
		t.Error(ok, err)
	}
	if err := os.Mkdir(b.Path+"/cpu.max", 0o755); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := ReadLimit(b.FD, "cpu.max"); !ok || err != unix.EISDIR {
		t.Error(ok, err)
	}
}

// populated makes a leaf in the real hierarchy, with processes in it and below it
// that fork, and one that is stopped.
func populated(t *testing.T) *Leaf {
	t.Helper()
	b, err := Own()
	if err != nil {
		t.Skip("no cgroup of our own: ", err)
	}
	t.Cleanup(func() { unix.Close(b.FD) })
	l := b.Leaf(t.Name(), uint64(os.Getpid()), 0)
	if err := l.Make(); err != nil {
		t.Skip("no cgroup can be made here: ", err)
	}
	below := &Leaf{b, l.Name + "/below"}
	if err := below.Make(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `
		echo 0 >"$0/cgroup.procs"
		(echo 0 >"$0/below/cgroup.procs"; while :; do /bin/true; done) &
		sleep 1000 & kill -STOP $!
		for i in 1 2 3 4 5; do while :; do /bin/true; done & done
		echo ready
		wait`, filepath.Join(b.Path, l.Name))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = b.write(l.Name+"/cgroup.kill", "1")
		_ = cmd.Wait()
		empties(t, l)
		if err := l.Remove(); err != nil {
			t.Error(err)
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatal(line, err)
	}
	return l
}

// empties waits until a leaf is empty, and tells how often it heard of it.
func empties(t *testing.T, l *Leaf) {
	t.Helper()
	killed(t, l, func() error { return nil })
}

func killed(t *testing.T, l *Leaf, kill func() error) {
	t.Helper()
	fd, err := l.Events()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for Populated(fd) {
		if err := kill(); err != nil {
			t.Fatal(err)
		}
		if !Populated(fd) {
			break
		}
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}
		if n, err := unix.Poll(p, int(20*time.Second/time.Millisecond)); n == 0 || err != nil && err != unix.EINTR {
			t.Fatalf("it is not empty: %v; %v are in it", err, l.pids())
		}
	}
}

func TestKill(t *testing.T) {
	t.Parallel()
	l := populated(t)
	if !l.Populated() {
		t.Error("nobody is there")
	}
	killed(t, l, l.Kill)
	if l.Populated() || len(l.pids()) > 0 {
		t.Error("somebody is left: ", l.pids())
	}
}

// TestKillEach: the same without cgroup.kill, at any moment.
func TestKillEach(t *testing.T) {
	t.Parallel()
	for i := range 5 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			l := populated(t)
			killed(t, l, l.killEach)
			l.Thaw()
			if got := l.Base.read(l.Name + "/cgroup.freeze"); got != "0\n" {
				t.Errorf("it stays frozen: %q", got)
			}
		})
	}
}
