// Package integration runs the programs of the suite as an operator does: real
// processes, real service directories, and the real programs of daemontools,
// runit and s6 beside them.
//
// The harness, for all tests of this package:
//
//	s := newSite(t, tree{"www/run!": "#!/bin/sh\nexec sleep 1000\n"})
//	scanner := s.svscan(ours(t, "svscan"), s.root)
//	waitStatus(t, s.path("www"), up)
//	got := s.run(peer(t, "svstat"), "www") // stdout, stderr, exit code
//	scanner.stop()
//
// A site is a directory tree and everything that runs in it. When its test ends,
// what is still running is stopped in order; a process that is left over after
// that fails the test and is killed.
package integration

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/integration/shipped"
)

// patience is for what happens within a second or two unless the machine is
// very busy. Nothing waits for it unless something is wrong.
const patience = time.Minute

// parallel is how many tests run at the same time. They wait for the pauses of
// services much more than they compute, so there may be more than processors.
const parallel = 12

// update has golden files rewritten.
var update = flag.Bool("update", false, "rewrite golden files")

// workshop is where the programs are built; removed after the last test.
var workshop string

func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) { // this process is a service of some test
	case "tracer":
		tracer(os.Args[1:])
	case "scribe":
		scribe(os.Args[1:])
	case "keeper":
		keeper()
	case "refuse":
		refuse(os.Args[1:])
	case "answerer":
		answerer()
	case "speaker":
		speaker(os.Args[1:])
	case "herald":
		herald(os.Args[1:])
	}
	code, err := work(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func work(m *testing.M) (code int, err error) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", strconv.Itoa(parallel)); err != nil {
			return 1, err
		}
	}
	// A signal that was ignored where the tests were started, as by nohup, would
	// be ignored by all that they start.
	for _, s := range []syscall.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGPIPE} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	// Orphans become our children: none gets out of sight. They are waited for
	// by pid, since os/exec waits for its own.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 1, fmt.Errorf("unable to become subreaper: %w", err)
	}
	if workshop, err = os.MkdirTemp("", "upkeep-integration-"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(workshop)
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	for _, name := range []string{"tracer", "scribe", "keeper", "refuse", "answerer", "speaker", "herald"} {
		if err := os.Symlink(self, filepath.Join(workshop, name)); err != nil {
			return 1, err
		}
	}
	return m.Run(), buryOrphans()
}

// build makes the program of the suite with its links, and the tracer, once per
// run of the tests.
var build = sync.OnceValues(func() (bin string, err error) {
	bin = filepath.Join(workshop, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return "", err
	}
	program := filepath.Join(bin, "upkeep")
	if raceEnabled {
		c := exec.Command("go", "build", "-trimpath", "-race", "-o", program, "../cmd/upkeep")
		c.Env = append(os.Environ(), "CGO_ENABLED=1")
		if out, err := c.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w\n%s", c, err, out)
		}
	} else if err := shipped.Build(context.Background(), program); err != nil {
		return "", err
	}
	if out, err := exec.Command(program, "--link", bin).CombinedOutput(); err != nil {
		return "", fmt.Errorf("--link: %w\n%s", err, out)
	}
	return bin, nil
})

// ours is the path of a program of the suite.
func ours(t testing.TB, name string) string {
	t.Helper()
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(bin, name)
}

// peer is the path of a real program. The test is skipped where it is not
// installed, or fails if UPKEEP_REQUIRE=1 says that it must be.
func peer(t testing.TB, name string) string {
	t.Helper()
	path := "/usr/bin/" + name
	if unix.Access(path, unix.X_OK) == nil {
		return path
	}
	pkg := "daemontools"
	switch {
	case strings.HasPrefix(name, "s6-"):
		pkg = "s6"
	case slices.Contains([]string{"sv", "runsv", "runsvdir", "svlogd", "chpst"}, name):
		pkg = "runit"
	}
	missing(t, path+" is missing; install the package "+pkg)
	return ""
}

// missing skips a test, or fails it where everything that can be installed must be there.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("UPKEEP_REQUIRE") == "1" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// tree maps slash-separated paths to contents. The last byte of a path may say
// what is to be made: "run!" an executable file, "link@" a symbolic link to the
// content, "dir/" a directory. Missing parents are made.
type tree map[string]string

// site is a tree, the environment of programs that run in it, and these
// programs.
type site struct {
	t    testing.TB
	root string   // the tree, and the programs' working directory
	env  []string // later entries win
	mark string   // environment entry that all processes of the site have

	outputs   string // a directory for captured output
	processes []*process
}

var sites atomic.Int64

// newSite makes a tree in a new directory.
func newSite(t testing.TB, files tree) *site {
	t.Helper()
	s := &site{t: t, root: t.TempDir(), outputs: t.TempDir()}
	s.mark = fmt.Sprintf("UPKEEP_TEST=%d-%d", os.Getpid(), sites.Add(1))
	s.env = []string{s.mark, "PATH=/usr/bin:/bin:" + workshop}
	if raceEnabled {
		// The runtime would spend a second at each exit, lest reports are lost.
		s.env = append(s.env, "GORACE=atexit_sleep_ms=0")
	}
	t.Cleanup(s.close)
	s.make(files)
	return s
}

// setenv gives a variable to the programs started from now on.
func (s *site) setenv(name, value string) { s.env = append(s.env, name+"="+value) }

// path is the absolute path of an entry of the tree.
func (s *site) path(elem ...string) string {
	return filepath.Join(append([]string{s.root}, elem...)...)
}

// make adds to the tree. Files appear whole: scripts may be replaced while they
// are in use.
func (s *site) make(files tree) {
	s.t.Helper()
	for name, content := range files {
		if err := s.makeOne(name, content); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *site) makeOne(name, content string) error {
	path, mode := s.path(strings.TrimRight(name, "!@")), os.FileMode(0o644)
	if strings.HasSuffix(name, "/") {
		return os.MkdirAll(path, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	switch name[len(name)-1] {
	case '@':
		return os.Symlink(content, path)
	case '!':
		mode = 0o755
	}
	f, err := os.CreateTemp(s.outputs, "new")
	if err != nil {
		return err
	}
	_, werr := f.WriteString(content)
	return errors.Join(werr, f.Chmod(mode), f.Close(), os.Rename(f.Name(), path))
}

// remove removes entries of the tree.
func (s *site) remove(names ...string) {
	s.t.Helper()
	for _, name := range names {
		if err := os.RemoveAll(s.path(name)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// read is the content of a file of the tree.
func (s *site) read(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(s.path(name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// close stops what still runs, the youngest first, and sees to it that nothing
// is left.
func (s *site) close() {
	for _, p := range slices.Backward(s.processes) {
		p.stop()
		p.inspect()
	}
	s.sweep()
}
