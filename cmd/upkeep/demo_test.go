package main

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is for what happens within a few seconds unless the machine is very
// busy. Nothing waits for it unless something is wrong.
const patience = time.Minute

// services are those of the tree.
var services = []string{"clock", "clock/log", "flaky", "sleeper", "spare"}

// process is a demo that runs.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	tmp    string // where it makes its directory
	mark   string // an entry of the environment of all its processes
	out    *os.File
	errors bytes.Buffer
}

// start runs the demo. theirs is its standard output, which is read from ours;
// on a terminal it is everything.
func start(t *testing.T, ours, theirs *os.File, terminal bool, args ...string) *process {
	t.Helper()
	p := &process{t: t, tmp: t.TempDir(), out: ours}
	p.mark = "TMPDIR=" + p.tmp
	p.cmd = &exec.Cmd{
		Path:   "/proc/self/exe",
		Args:   append([]string{"upkeep", "demo"}, args...),
		Env:    []string{asUpkeep, p.mark, "PATH=/usr/bin:/bin"},
		Stdout: theirs, Stderr: &p.errors,
	}
	if terminal {
		p.cmd.Stdin, p.cmd.Stderr = theirs, theirs
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	}
	p.check(ours.SetReadDeadline(time.Now().Add(patience)))
	p.check(p.cmd.Start())
	p.check(theirs.Close())
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			p.kill() // or else Wait waits for the end of standard error
			_ = p.cmd.Wait()
		}
		p.kill()
	})
	return p
}

func (p *process) check(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// startPiped runs the demo with a pipe as its output.
func startPiped(t *testing.T, args ...string) *process {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return start(t, r, w, false, args...)
}

// left is the processes of the demo, by pid.
func (p *process) left() map[int]string {
	all := map[int]string{}
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range paths {
		env, _ := os.ReadFile(path) // empty for one that is over
		if !slices.Contains(strings.Split(string(env), "\x00"), p.mark) {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		line, _ := os.ReadFile(filepath.Dir(path) + "/cmdline")
		all[pid] = strings.ReplaceAll(string(line), "\x00", " ")
	}
	return all
}

// ends waits for the end, after which nothing may be left.
func (p *process) ends(code int) {
	p.t.Helper()
	late := time.AfterFunc(patience, func() {
		_ = p.cmd.Process.Kill()
		p.kill()
	})
	defer late.Stop()
	_ = p.cmd.Wait() // the code says it
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("exit %d, want %d; stderr %q", got, code, &p.errors)
	}
	if left := p.left(); len(left) > 0 {
		p.t.Errorf("still running: %q", slices.Collect(maps.Values(left)))
	}
	if entries, err := os.ReadDir(p.tmp); len(entries) > 0 || err != nil {
		p.t.Errorf("in the temporary directory: %v, %v", entries, err)
	}
}

// dir is the directory of the demo.
func (p *process) dir() string {
	p.t.Helper()
	found, _ := filepath.Glob(p.tmp + "/upkeep-demo-*")
	if len(found) != 1 {
		p.t.Fatalf("directories of the demo: %q", found)
	}
	return found[0]
}

// kill kills what is left.
func (p *process) kill() {
	for pid := range p.left() {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

// openLog opens the log of clock, which can be read also after its removal.
func (p *process) openLog() *os.File {
	p.t.Helper()
	log, err := os.Open(p.dir() + "/service/clock/log/main/current")
	p.check(err)
	p.t.Cleanup(func() { log.Close() })
	return log
}

// checkLog is for after the end: clock was stopped by TERM, and the log service
// read what it wrote then, so it stopped later.
func (p *process) checkLog(log *os.File) {
	p.t.Helper()
	kept, err := io.ReadAll(log)
	if !regexp.MustCompile(`^(\d\d:\d\d:\d\d\n)+stopped\n$`).Match(kept) {
		p.t.Errorf("the log has %q, %v", kept, err)
	}
}

func removed(dir string) string { return "Everything is down, and " + dir + " is removed." }

// TestDemoLines has the demo write into a pipe, and ends it by TERM.
func TestDemoLines(t *testing.T) {
	t.Parallel()
	p := startPiped(t)
	var lines []string
	headings := 0
	seen := map[string]bool{} // "SERVICE STATE WISH"
	last := map[string]string{}
	var log *os.File
	dir := ""
	// The end of the file also tells that no service holds it open.
	s := bufio.NewScanner(p.out)
	for s.Scan() {
		line := s.Text()
		lines = append(lines, line)
		f := strings.Fields(line)
		if len(f) != 6 || !slices.Contains(services, f[0]) {
			if strings.HasPrefix(line, "SERVICE ") {
				headings++
			}
			continue
		}
		seen[f[0]+" "+f[1]+" "+f[5]] = true
		last[f[0]] = f[1]
		if log == nil && f[0] == "flaky" && f[1] == "up" && f[4] != "0" {
			dir = p.dir()
			log = p.openLog()
			p.check(p.cmd.Process.Signal(unix.SIGTERM))
		}
	}
	p.check(s.Err())
	p.ends(0)
	if p.errors.Len() > 0 {
		t.Errorf("stderr %q", &p.errors)
	}
	if dir == "" {
		t.Fatalf("flaky was not restarted:\n%s", strings.Join(lines, "\n"))
	}
	if want := "svscan supervises the services in " + dir + "/service."; lines[0] != want {
		t.Errorf("first line %q, want %q", lines[0], want)
	}
	if got := lines[len(lines)-1]; got != removed(dir) {
		t.Errorf("last line %q, want %q", got, removed(dir))
	}
	if headings != 1 {
		t.Errorf("%d headings", headings)
	}
	for _, want := range []string{"clock up up", "clock/log up up", "flaky up up", "sleeper up up", "spare down down"} {
		if !seen[want] {
			t.Errorf("%q is missing", want)
		}
	}
	for _, service := range services {
		if last[service] != "gone" {
			t.Errorf("%s is %s at the end", service, last[service])
		}
	}
	p.checkLog(log)
	if t.Failed() {
		t.Log(strings.Join(lines, "\n"))
	}
}

// TestDemoLimit also has the stop come in the middle of the first scan.
func TestDemoLimit(t *testing.T) {
	t.Parallel()
	for _, seconds := range []string{"0", "1"} {
		t.Run(seconds, func(t *testing.T) {
			t.Parallel()
			p := startPiped(t, "-t", seconds)
			out, err := io.ReadAll(p.out)
			p.check(err)
			p.ends(0)
			if !bytes.Contains(out, []byte("\nEverything is down, and "+p.tmp)) || p.errors.Len() > 0 {
				t.Errorf("stdout %q, stderr %q", out, &p.errors)
			}
		})
	}
}

// TestDemoUnread: who reads the output goes away.
func TestDemoUnread(t *testing.T) {
	t.Parallel()
	p := startPiped(t)
	var b [1]byte
	_, err := p.out.Read(b[:])
	p.check(err)
	p.check(p.out.Close())
	p.ends(111)
	if got := p.errors.String(); got != "upkeep: fatal: unable to write: broken pipe\n" {
		t.Errorf("stderr %q", got)
	}
}

// TestDemoNowhere: there is no place for the tree.
func TestDemoNowhere(t *testing.T) {
	t.Parallel()
	cmd := exec.Cmd{
		Path: "/proc/self/exe", Args: []string{"upkeep", "demo"},
		Env: []string{asUpkeep, "TMPDIR=" + t.TempDir() + "/nowhere"},
	}
	out, err := cmd.CombinedOutput()
	const want = "upkeep: fatal: unable to make a temporary directory: file does not exist\n"
	if cmd.ProcessState.ExitCode() != 111 || string(out) != want {
		t.Errorf("%v, %q", err, out)
	}
}
