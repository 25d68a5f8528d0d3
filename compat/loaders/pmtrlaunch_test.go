package loaders

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"upkeep/compat/cli/clitest"
)

// launched runs pmtr-launch in a directory that nobody may enter and write to.
func launched(t *testing.T, nobody bool, args ...string) (r clitest.Result, dir string) {
	t.Helper()
	dir, err := os.MkdirTemp(scratch, "launch")
	if err == nil {
		err = os.Chmod(dir, 0o777)
	}
	if err == nil {
		err = os.MkdirAll(dir+"/vars", 0o700)
	}
	if err == nil {
		err = os.WriteFile(dir+"/vars/A", []byte("from file\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "DIR", dir)
	}
	cmd := clitest.Cmd{Dir: dir, Env: []string{"PATH=/usr/bin:/bin", "A=before"}, Nobody: nobody}
	cmd.Args = append([]string{"pmtr-launch"}, args...)
	r = clitest.At(t, program(t), cmd)
	pid := regexp.MustCompile(`pmtr\[\d+\]`)
	r.Stderr = strings.ReplaceAll(pid.ReplaceAllString(r.Stderr, "pmtr[N]"), dir, "DIR")
	r.Stdout = strings.ReplaceAll(r.Stdout, dir, "DIR")
	return r, dir
}

func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can change users")
	}
}

func TestPmtrLaunchFailures(t *testing.T) {
	t.Parallel()
	asRoot(t)
	const (
		badDir   = "-d DIR/none"
		badCPU   = "-c 0x8000000000000000000000000000000000000000000000000000000000"
		badLimit = "-l n=99999999999999"
		badUser  = "-u nosuchuser"
		badIn    = "-i DIR/none"
		badOut   = "-o DIR/none/out"
		badErr   = "-r DIR/none/err"
	)
	all := []string{badErr, badOut, badIn, badUser, badLimit, badCPU, badDir} // the reverse of the order of the steps
	for i, want := range []string{
		"can't open/dup DIR/none/err: No such file or directory",
		"can't open/dup DIR/none/out: No such file or directory",
		"can't open/dup DIR/none: No such file or directory",
		"unknown user: nosuchuser",
		"can't setrlimit: Operation not permitted",
		"can't set cpu affinity: Invalid argument",
		"can't chdir DIR/none: No such file or directory",
	} {
		t.Run(all[i], func(t *testing.T) {
			t.Parallel()
			args := strings.Fields(strings.Join(all[:i+1], " ") + " ./none")
			if r, _ := launched(t, false, args...); r.Code != 255 || r.Stderr != "pmtr[N]: "+want+"\n" {
				t.Errorf("%v: %v", args, r)
			}
		})
	}
	for _, c := range []struct {
		args, stderr string
		nobody       bool
	}{
		{args: "none", stderr: "can't exec none: No such file or directory"},
		{args: "-d / bin", stderr: "can't exec bin: Permission denied"},
		{args: "sh", stderr: "can't exec sh: No such file or directory"}, // PATH does not count
		{args: "-n -5 /bin/true", stderr: "can't setpriority: Permission denied", nobody: true},
		{args: "-u nobody /bin/true", stderr: "can't initgroups nobody: Operation not permitted", nobody: true},
		{args: "-u root /bin/true", stderr: "can't setgid root: Operation not permitted", nobody: true},
		{args: "-l c=99 -l c=100 /bin/true", stderr: "can't setrlimit: Operation not permitted", nobody: true},
		{args: "-u 0 /bin/true", stderr: "unknown user: 0"}, // numbers are not understood
		{args: "-e DIR/none /bin/true", stderr: "can't read environment DIR/none: No such file or directory"},
		{args: "-l n=3 /bin/true", stderr: "can't open/dup /dev/null: Too many open files"},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			if r, _ := launched(t, c.nobody, strings.Fields(c.args)...); r.Code != 255 || r.Stderr != "pmtr[N]: "+c.stderr+"\n" {
				t.Error(r)
			}
		})
	}
	for _, args := range []string{"", "-x", "-d", "-n x true", "-c 5 true", "-c 0x true", "-c 0xg true", "-l n true", "-l nn=1 true",
		"-l z=1 true", "-l n=k true", "-E x true", "-E =x true"} {
		t.Run("usage "+args, func(t *testing.T) {
			t.Parallel()
			if r, _ := launched(t, false, strings.Fields(args)...); r.Code != 100 || !strings.Contains(r.Stderr, "pmtr-launch: usage: pmtr-launch") {
				t.Error(r)
			}
		})
	}
}

// The program finds all that was asked for, and nothing else changed.
func TestPmtrLaunch(t *testing.T) {
	t.Parallel()
	asRoot(t)
	for _, c := range []struct {
		name string
		args []string
		want string // standard output
	}{
		{"nothing", []string{"/bin/sh", "-c", `umask; pwd; readlink /proc/self/fd/0; echo $A; id -u; nice; ulimit -n -c | tail -0; echo $0 "$@"`, "zero", "a b"},
			"0000\nDIR\n/dev/null\nbefore\n0\n0\nzero a b\n"},
		{"dir", []string{"-d", "/usr", "bin/env"}, "PATH=/usr/bin:/bin\nA=before\n"},
		{"argv0", []string{"-d", "/bin", "sh", "-c", "echo $0"}, "sh\n"},
		{"env", []string{"-E", "B=x=y", "-e", "DIR/vars", "-E", "B=", "-E", "C=\x01'\"\xff", "/usr/bin/env"},
			"PATH=/usr/bin:/bin\nA=from file\nB=\nC=\x01'\"\xff\n"},
		{"relative env", []string{"-d", "/", "-e", "vars", "/usr/bin/env"}, "PATH=/usr/bin:/bin\nA=from file\n"},
		{"nice", []string{"-n", "7", "/usr/bin/nice"}, "7\n"},
		{"nice below", []string{"-n", "-3", "/usr/bin/nice"}, "-3\n"},
		{"cpu", []string{"-c", "0x1", "/bin/grep", "Cpus_allowed_list", "/proc/self/status"}, "Cpus_allowed_list:\t0\n"},
		{"limits", []string{"-l", "n=77", "-l", "c=unlimited", "-l", "s=8000000", "-l", "v=5000000000", "/bin/grep", "-E", "^Max (open files|core|stack|address)", "/proc/self/limits"},
			"Max stack size            8000000              8000000              bytes     \n" +
				"Max core file size        unlimited            unlimited            bytes     \n" +
				"Max open files            77                   77                   files     \n" +
				"Max address space         5000000000           5000000000           bytes     \n"},
		// Of a user who has no other process, in this test or beside it.
		{"small limits", []string{"-l", "v=20000000", "-l", "d=1000000", "-l", "u=1", "-l", "n=4", "-l", "i=0", "-u", "games", "/bin/echo", "ok"}, "ok\n"},
		{"all limits", []string{"-l", "e=0", "-l", "f=6", "-l", "i=7", "-l", "l=8", "-l", "m=9", "-l", "q=10", "-l", "r=0", "-l", "t=12", "-l", "u=13",
			"/bin/sh", "-c", `while read -r l; do case $l in *file\ size*|*pending*|*locked*|*resident*|*msgq*|*priority*|*cpu*|*processes*) echo $l; esac; done </proc/self/limits`},
			"Max cpu time 12 12 seconds\nMax file size 6 6 bytes\nMax core file size CORE\nMax resident set 9 9 bytes\nMax processes 13 13 processes\n" +
				"Max locked memory 8 8 bytes\nMax pending signals 7 7 signals\nMax msgqueue size 10 10 bytes\nMax nice priority 0 0\nMax realtime priority 0 0\n"},
		{"user", []string{"-u", "nobody", "/usr/bin/id"}, "uid=65534(nobody) gid=65534(nogroup) groups=65534(nogroup)\n"},
		{"no variables for a user", []string{"-u", "nobody", "/usr/bin/env"}, "PATH=/usr/bin:/bin\nA=before\n"},
		{"in", []string{"-d", "DIR/vars", "-i", "A", "/bin/cat"}, "from file\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, _ := launched(t, false, c.args...)
			out := regexp.MustCompile(`(Max core file size) .*`).ReplaceAllString(r.Stdout, "$1 CORE")
			if c.name == "limits" {
				out = r.Stdout
			}
			if r.Code != 0 || out != c.want || r.Stderr != "" {
				t.Errorf("%v\nwant %q", r, c.want)
			}
		})
	}
}

// Files are opened as the user, relative to dir, appended to, and have mode 0644.
func TestPmtrLaunchFiles(t *testing.T) {
	t.Parallel()
	asRoot(t)
	for range 2 {
		r, dir := launched(t, false, "-d", "DIR", "-u", "nobody", "-o", "out", "-r", "err", "/bin/sh", "-c", "echo o; echo e >&2")
		if r.Code != 0 || r.Stdout+r.Stderr != "" {
			t.Error(r)
		}
		for name, want := range map[string]string{"out": "o\n", "err": "e\n"} {
			path := filepath.Join(dir, name)
			b, err := os.ReadFile(path)
			st, err2 := os.Stat(path)
			if err != nil || err2 != nil || string(b) != want || st.Mode() != 0o644 {
				t.Errorf("%s: %q, %v, %v", name, b, st, err)
			}
		}
	}
	// A second run appends; both into one file.
	_, dir := launched(t, false, "-o", "both", "-r", "/dev/stdout", "/bin/sh", "-c", "echo o; echo e >&2")
	b, err := os.ReadFile(dir + "/both")
	if err != nil || string(b) != "o\ne\n" {
		t.Errorf("%q, %v", b, err)
	}
	clitest.At(t, program(t), clitest.Cmd{Dir: dir, Args: []string{"pmtr-launch", "-o", "both", "/bin/echo", "more"}})
	if b, err = os.ReadFile(dir + "/both"); string(b) != "o\ne\nmore\n" {
		t.Errorf("%q, %v", b, err)
	}
	// What cannot be executed is told to the log and to the job's own file.
	r, dir := launched(t, false, "-r", "err", "./none")
	b, err = os.ReadFile(dir + "/err")
	const want = "can't exec ./none: No such file or directory\n"
	if r.Code != 255 || r.Stderr != "pmtr[N]: "+want || err != nil || !strings.HasSuffix(string(b), want) {
		t.Errorf("%v, %q, %v", r, b, err)
	}
}

// What pmtr uses is not ignored, whatever was before, and nothing is blocked.
func TestPmtrLaunchSignals(t *testing.T) {
	t.Parallel()
	cmd := clitest.Cmd{Dir: scratch, Env: []string{"PATH=/usr/bin:/bin"}}
	cmd.Args = []string{"sh", "-c", "trap '' HUP INT QUIT TERM USR1 ALRM IO CHLD\nexec " + program(t) +
		" pmtr-launch /bin/sed -n '/^Sig[BI]/p;/^SigCgt/p' /proc/self/status"}
	r := clitest.At(t, "/bin/sh", cmd)
	if r.Stdout != "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\n" {
		t.Error(r)
	}
}
