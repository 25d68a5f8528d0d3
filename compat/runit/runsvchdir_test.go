package runit

import (
	"os"
	"path/filepath"
	"testing"

	"upkeep/compat/cli/clitest"
)

// TestRunsvchdir goes from one directory to others. (The real one knows no RUNSVDIR, so
// these texts were taken from it in /etc/runit/runsvdir.)
func TestRunsvchdir(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, d := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	const prog = "/usr/sbin/runsvchdir"
	for _, c := range []struct {
		args              []string
		want              clitest.Result
		current, previous string
	}{
		{nil, clitest.Result{Stderr: "usage: " + prog + " dir\n\n", Code: 1}, "", ""},
		{[]string{"a"}, clitest.Result{Stderr: prog + ": fatal: unable to stat: current: file does not exist\n", Code: 111}, "", ""},
		{[]string{".x"}, clitest.Result{Stderr: prog + ": fatal: .x: must not start with a dot.\n", Code: 111}, "a", ""},
		{[]string{"nosuch"}, clitest.Result{Stderr: prog + ": fatal: nosuch: file does not exist\n", Code: 111}, "a", ""},
		{[]string{""}, clitest.Result{Stderr: prog + ": fatal: : file does not exist\n", Code: 111}, "a", ""},
		{[]string{"f"}, clitest.Result{Stderr: prog + ": fatal: fnot a directory.\n", Code: 111}, "a", ""},
		{[]string{"a"}, clitest.Result{Stdout: "runsvchdir: a: current.\n"}, "a", ""},
		{[]string{"b"}, clitest.Result{Stdout: "runsvchdir: b: now current.\n"}, "b", "a"},
		{[]string{"a", "more"}, clitest.Result{Stdout: "runsvchdir: a: now current.\n"}, "a", "b"},
		{[]string{dir + "/b"}, clitest.Result{Stdout: "runsvchdir: " + dir + "/b: now current.\n"}, dir + "/b", "a"},
		{[]string{"b"}, clitest.Result{Stdout: "runsvchdir: b: current.\n"}, dir + "/b", "a"},
	} {
		if c.current == "a" && c.previous == "" {
			_ = os.Symlink("a", filepath.Join(dir, "current")) // it may be there
		}
		got := clitest.Ours(t, "runsvchdir", clitest.Cmd{Args: append([]string{prog}, c.args...), Env: []string{"RUNSVDIR=" + dir}})
		if got != c.want {
			t.Errorf("%q: got %v, want %v", c.args, got, c.want)
		}
		for name, want := range map[string]string{"current": c.current, "previous": c.previous, "current.new": ""} {
			if to, _ := os.Readlink(filepath.Join(dir, name)); to != want {
				t.Errorf("%q: %s is %q, want %q", c.args, name, to, want)
			}
		}
	}
}
