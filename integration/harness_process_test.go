package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/svc"
)

// result is what a program that ran to its end shows.
type result struct {
	stdout, stderr string
	code           int // -1 for death by a signal
}

func (r result) String() string {
	return fmt.Sprintf("exit %d, stdout %q, stderr %q", r.code, r.stdout, r.stderr)
}

// run runs a program to its end.
func (s *site) run(path string, args ...string) result {
	s.t.Helper()
	return s.runFor(patience, path, args...)
}

// runFor is run for a program that does many things.
func (s *site) runFor(limit time.Duration, path string, args ...string) result {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	s.furnish(cmd)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &stdout, &stderr, patience/2
	err := cmd.Run()
	if ctx.Err() != nil {
		s.t.Fatalf("%s did not end; stdout %q, stderr %q", cmd, &stdout, &stderr)
	}
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

func (s *site) furnish(cmd *exec.Cmd) {
	cmd.Args[0] = filepath.Base(cmd.Path)
	cmd.Dir, cmd.Env = s.root, s.env
}

// process is a program that runs in the background. What it prints goes to
// files, which its services inherit.
type process struct {
	site           *site
	cmd            *exec.Cmd
	pid            int
	stdout, stderr string        // paths of what it prints
	ended          chan struct{} // closed when it has been waited for
	// quit asks it to end, and finish ends what it leaves behind; see stop.
	quit, finish func() error
	stopped      bool
	expected     bool // its end is no surprise
}

// start starts a program in the background. Its way to end is TERM.
func (s *site) start(path string, args ...string) *process {
	s.t.Helper()
	p := &process{site: s, cmd: exec.Command(path, args...), ended: make(chan struct{})}
	s.furnish(p.cmd)
	prefix := filepath.Join(s.outputs, fmt.Sprintf("%s-%d.", filepath.Base(path), len(s.processes)))
	p.stdout, p.stderr = prefix+"stdout", prefix+"stderr"
	stdout, err1 := os.OpenFile(p.stdout, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	stderr, err2 := os.OpenFile(p.stderr, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err := errors.Join(err1, err2); err != nil {
		s.t.Fatal(err)
	}
	defer stdout.Close()
	defer stderr.Close()
	p.cmd.Stdout, p.cmd.Stderr = stdout, stderr
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	p.pid = p.cmd.Process.Pid
	p.quit = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.finish = func() error { return nil }
	go func() { // ends with the process, which stop ends at the latest
		_ = p.cmd.Wait() // of interest is only the exit code
		close(p.ended)
	}()
	s.processes = append(s.processes, p)
	return p
}

// svscan starts a scanner, ours or daemontools'. Ours stops its services when it
// gets TERM; those of daemontools have to be told one by one.
func (s *site) svscan(path string, args ...string) *process {
	s.t.Helper()
	p := s.start(path, args...)
	p.finish = s.dismiss
	return p
}

// supervise starts a supervisor of one service, ours or daemontools'. It is
// stopped by svc -dx.
func (s *site) supervise(path string, args ...string) *process {
	s.t.Helper()
	p := s.start(path, args...)
	p.quit = func() error { return s.control(args[len(args)-1], "dx") }
	return p
}

// control writes to the control FIFO of a service directory of the site. That
// nobody supervises it is no error: it may be over by now.
func (s *site) control(dir, commands string) error {
	if !filepath.IsAbs(dir) {
		dir = s.path(dir)
	}
	d, err := svc.Open(dir, svc.StateDir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Control(commands); err != nil && !errors.Is(err, svc.ErrNotRunning) && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

// dismiss tells all supervisors of the site to stop their services and leave,
// and waits until they have.
func (s *site) dismiss() error {
	var dirs []string
	for _, pattern := range []string{"*/supervise", "*/*/supervise", "*/*/*/supervise"} {
		found, err := filepath.Glob(s.path(pattern))
		if err != nil {
			return err
		}
		dirs = append(dirs, found...)
	}
	var all error
	for _, dir := range dirs {
		all = errors.Join(all, s.control(filepath.Dir(dir), "dx"))
	}
	for _, dir := range dirs {
		_, err := awaitStatus(filepath.Dir(dir), abandoned)
		all = errors.Join(all, err)
	}
	return all
}

// signal sends a signal to the process itself.
func (p *process) signal(sig syscall.Signal) {
	p.site.t.Helper()
	p.expected = true
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.site.t.Fatalf("%s: %v", p.cmd, err)
	}
}

// alive tells whether the process has not been seen to end.
func (p *process) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// wait waits for the end of the process and returns its exit code, or -1 for
// death by a signal.
func (p *process) wait() int {
	p.site.t.Helper()
	p.expected = true
	if !p.endsWithin(patience) {
		p.site.t.Fatalf("%s does not end; it said %q", p.cmd, p.said())
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) endsWithin(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.ended:
		return true
	case <-timer.C:
		return false
	}
}

// said is what the process and its services have written to standard error.
func (p *process) said() string {
	b, err := os.ReadFile(p.stderr)
	if err != nil {
		p.site.t.Error(err)
	}
	return string(b)
}

// stop ends the process in order, with all its services, and by force if that
// takes too long, which is an error. A second stop does nothing.
func (p *process) stop() {
	p.site.t.Helper()
	if p.stopped {
		return
	}
	p.stopped = true
	if p.alive() {
		if err := p.quit(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			p.site.t.Errorf("%s: %v", p.cmd, err)
		}
		if !p.endsWithin(patience) {
			p.site.t.Errorf("%s does not stop; it said %q", p.cmd, p.said())
			_ = p.cmd.Process.Kill()
			<-p.ended
		}
	} else if !p.expected {
		p.site.t.Errorf("%s ended by itself with %v; it said:\n%.2000s", p.cmd, p.cmd.ProcessState, p.said())
	}
	if err := p.finish(); err != nil {
		p.site.t.Errorf("after %s: %v", p.cmd, err)
	}
}

// inspect looks for the marks of bugs in what a program of ours said.
func (p *process) inspect() {
	for _, bug := range []string{"DATA RACE", "panic:", "fatal error:", "internal error"} {
		if said := p.said(); strings.Contains(said, bug) {
			p.site.t.Errorf("%s has a bug:\n%.5000s", p.cmd, said)
			return
		}
	}
}
