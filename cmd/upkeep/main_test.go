package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"upkeep/compat/cli"
)

// asUpkeep in the environment makes the test binary the program.
const asUpkeep = "UPKEEP_TEST_MAIN=1"

func TestMain(m *testing.M) {
	if slices.Contains(os.Environ(), asUpkeep) {
		// Not os.Exit: in a test binary it prints a warning if coverage is
		// measured, and takes a second if races are looked for.
		syscall.Exit(run(cli.System(), os.Args))
	}
	os.Exit(m.Run())
}

// inside runs the program in this process.
func inside(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var files [2]*os.File
	for i := range files {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	env := cli.System()
	env.Stdout, env.Stderr = cli.FD(files[0].Fd()), cli.FD(files[1].Fd())
	code = run(env, args)
	var text [2]string
	for i, f := range files {
		b, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		text[i] = string(b)
	}
	return code, text[0], text[1]
}

func TestDispatch(t *testing.T) {
	t.Parallel()
	const (
		usage     = "upkeep: usage: upkeep --list | --link dir | demo | upgrade [dir] | log service ... | start|stop|... name ... | program [argument ...]\n"
		demoUsage = "upkeep: usage: " + demoSyntax + "\n"
		svokUsage = "svok: usage: svok dir\n"
	)
	for _, c := range []struct {
		args   string
		stderr string
	}{
		{"", usage},
		{"upkeep", usage},
		{"upkeep upkeep", usage},
		{"upkeep nonsense", usage},
		{"upkeep --nonsense", usage},
		{"upkeep --link", usage},
		{"upkeep --link a b", usage},
		{"svok", svokUsage},
		{"/some/where/svok", svokUsage},
		{"upkeep svok", svokUsage},
		{"./anything svok", svokUsage},
		{"upkeep /some/where/svok", usage}, // a name, not a path
		{"upkeep demo x", demoUsage},
		{"upkeep demo -t", "demo: option requires an argument -- t\n" + demoUsage},
		{"upkeep demo -t -1", demoUsage},
		{"upkeep demo -x", "demo: illegal option -- x\n" + demoUsage},
	} {
		code, stdout, stderr := inside(t, strings.Fields(c.args)...)
		if code != 100 || stdout != "" || stderr != c.stderr {
			t.Errorf("%s: exit %d, stdout %q, stderr %q; want 100, nothing and %q", c.args, code, stdout, stderr, c.stderr)
		}
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := inside(t, "upkeep", "--list")
	names := strings.Fields(stdout)
	if code != 0 || stderr != "" || len(names) != len(applets) {
		t.Fatalf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("not sorted, or not unique: %q", names)
	}
	for _, name := range names {
		if find(name) == nil {
			t.Errorf("%s is not found", name)
		}
	}
}

func TestLink(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink("/nowhere/upkeep", filepath.Join(dir, "svc")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time over the links of the first
		if code, stdout, stderr := inside(t, "upkeep", "--link", dir); code != 0 || stdout+stderr != "" {
			t.Fatalf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
		}
		for _, a := range applets {
			if to, err := os.Readlink(filepath.Join(dir, a.name)); to != self {
				t.Errorf("%s links to %q, %v", a.name, to, err)
			}
		}
	}
	if entries, err := os.ReadDir(dir); len(entries) != len(applets) {
		t.Errorf("%d links, %v", len(entries), err)
	}

	link := exec.Command(filepath.Join(dir, "svok"))
	link.Env = []string{asUpkeep}
	out, err := link.CombinedOutput()
	exit, _ := errors.AsType[*exec.ExitError](err)
	if exit == nil || exit.ExitCode() != 100 || string(out) != "svok: usage: svok dir\n" {
		t.Errorf("%s: %v, %q", link, err, out)
	}
}

func TestLinkKeepsFiles(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "svok")
	if err := os.WriteFile(file, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := inside(t, "upkeep", "--link", filepath.Dir(file))
	if want := "upkeep: fatal: unable to link " + file + ": file already exists\n"; code != 111 || stderr != want {
		t.Errorf("exit %d, stderr %q, want %q", code, stderr, want)
	}
	if b, err := os.ReadFile(file); string(b) != "mine" {
		t.Errorf("now it is %q, %v", b, err)
	}
}
