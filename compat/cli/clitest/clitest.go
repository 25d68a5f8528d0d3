// Package clitest runs applets as programs and compares them with the programs
// they stand in for. A test binary that uses it is itself the program: Main
// makes it run an applet when it is told to by the environment.
package clitest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"strings"
	"syscall"
	"testing"

	"upkeep/compat/cli"
)

// appletEnv names the applet which the test binary is to run.
const appletEnv = "UPKEEP_TEST_APPLET"

// Main is the body of TestMain.
func Main(m *testing.M, applets map[string]cli.Applet) {
	if name, ok := os.LookupEnv(appletEnv); ok {
		// Not os.Exit: in a test binary it prints a warning if coverage is
		// measured, and takes a second if races are looked for.
		syscall.Exit(applets[name](cli.System(), os.Args))
	}
	os.Exit(m.Run())
}

// Cmd is one run of a program.
type Cmd struct {
	Args []string // with the name of the program
	Dir  string
	Env  []string // the environment is empty but for these
	// Nobody has the program run without the rights of root.
	Nobody bool
	// Stdout and Stderr replace what is captured otherwise.
	Stdout, Stderr *os.File
}

// Result is what a run shows.
type Result struct {
	Stdout, Stderr string
	Code           int // -1 for death by a signal
}

func (r Result) String() string {
	return fmt.Sprintf("exit %d, stdout %q, stderr %q", r.Code, r.Stdout, r.Stderr)
}

// Ours runs an applet of Main.
func Ours(t testing.TB, applet string, c Cmd) Result {
	t.Helper()
	c.Env = append([]string{appletEnv + "=" + applet}, c.Env...)
	// Not by its path: without root's rights the directory of the test binary
	// cannot be entered.
	return run(t, "/proc/self/exe", c)
}

// Real runs the program Args[0] as installed on this machine. pkg is the
// package that has it. The test is skipped if it is missing, or fails if
// UPKEEP_REQUIRE=1 says that it must be there.
func Real(t testing.TB, pkg string, c Cmd) Result {
	t.Helper()
	return run(t, Find(t, pkg, path.Base(c.Args[0])), c)
}

// At runs the program at a path, whatever Args[0] calls it.
func At(t testing.TB, exe string, c Cmd) Result {
	t.Helper()
	return run(t, exe, c)
}

// Find is the path of a program of the package pkg; see Real.
func Find(t testing.TB, pkg, program string) string {
	t.Helper()
	p, err := exec.LookPath(program)
	if err == nil {
		return p
	}
	if os.Getenv("UPKEEP_REQUIRE") == "1" {
		t.Fatalf("%v; install the package %s", err, pkg)
	}
	t.Skipf("%v; install the package %s to compare with it", err, pkg)
	return ""
}

func run(t testing.TB, exe string, c Cmd) Result {
	t.Helper()
	var stdout, stderr strings.Builder
	cmd := exec.Cmd{Path: exe, Args: c.Args, Dir: c.Dir, Env: c.Env, Stdout: &stdout, Stderr: &stderr}
	if cmd.Env == nil {
		cmd.Env = []string{}
	}
	if c.Stdout != nil {
		cmd.Stdout = c.Stdout
	}
	if c.Stderr != nil {
		cmd.Stderr = c.Stderr
	}
	if c.Nobody && os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return Result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}
