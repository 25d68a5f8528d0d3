package integration

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

// Scripts of the services of these tests.
const (
	faultSleeper = "#!/bin/sh\nexec sleep 1000\n"
	faultCat     = "#!/bin/sh\nexec cat\n"
	faultTracer  = "#!/bin/sh\nexec tracer\n"
)

// faultRetry is the scanner's interval for what has to be tried again; longer
// than it by what a busy machine may add.
const faultRetry = 5*time.Second + 500*time.Millisecond

// faultQuiet is more than the time for which the scanner puts off what is not
// urgent.
const faultQuiet = 200 * time.Millisecond

// faultScene is a scanner of ours with a service, and its log, that have no part
// in the fault: whatever happens, they must stay as they are. The scan directory
// is service below the root of the site.
//
// When the test ends, the scanner must have said exactly what the test expects,
// each line once, and must stop in order.
type faultScene struct {
	*site
	scanner *process
	args    []string // for svscan, before the directory
	lines   []string // what the scanner has to have said by now
	pids    []uint32 // of the bystanders
	crashed bool     // the scanner was killed, and another has taken over
	view    string   // where the scanner's files are seen from here; see sees
	apart   string   // the state directory, if there is one
}

// newFaultScene makes the tree and starts the scanner.
func newFaultScene(t *testing.T, files tree, launch ...string) *faultScene {
	t.Helper()
	f := prepareFault(t, files)
	f.begin(launch...)
	return f
}

// prepareFault makes the tree only.
func prepareFault(t *testing.T, files tree) *faultScene {
	t.Helper()
	f := &faultScene{site: newSite(t, tree{
		"service/bystander/run!":     faultSleeper,
		"service/bystander/log/run!": faultCat,
	})}
	f.make(files)
	return f
}

// begin starts the scanner, with the words of launch in front of its name, and
// waits for the bystanders.
func (f *faultScene) begin(launch ...string) {
	f.t.Helper()
	f.beginAlone(launch...)
	for _, name := range []string{"bystander", "bystander/log"} {
		f.pids = append(f.pids, f.wait(name, up).PID)
	}
}

// beginAlone is begin without bystanders, who are no concern of the test.
func (f *faultScene) beginAlone(launch ...string) {
	f.t.Helper()
	words := append(slices.Clone(launch), ours(f.t, "svscan"))
	words = append(append(words, f.args...), f.path("service"))
	f.scanner = f.start(words[0], words[1:]...)
	f.t.Cleanup(f.check) // which comes before the site's own
	if launch != nil {
		// What follows is for the scanner, not for what leads to it.
		f.until("the scanner runs", func() bool {
			r, ok := lookAt(f.scanner.pid)
			return ok && strings.HasPrefix(r.command, words[len(launch)])
		})
	}
}

// sees makes the tree be looked at as the scanner sees it, in its own mount
// namespace.
func (f *faultScene) sees() { f.view = "/proc/" + strconv.Itoa(f.scanner.pid) + "/root" }

// dir is the path of a service directory, or of something in one.
func (f *faultScene) dir(elem ...string) string {
	return f.view + f.path(append([]string{"service"}, elem...)...)
}

// keepApart has the scanner keep its state in a directory beside the definitions.
func (f *faultScene) keepApart() {
	f.make(tree{"state/": ""})
	f.apart = f.path("state")
	f.args = append(f.args, "--state", f.apart)
}

// state is where the state directory of a service is, once it is there.
func (f *faultScene) state(name string) string {
	f.t.Helper()
	if f.apart == "" {
		return f.dir(name)
	}
	path := f.apart
	for part := range strings.SplitSeq(name, "/") {
		next := filepath.Join(path, part)
		waitDir(f.t, path, func() bool { _, err := os.Stat(next); return err == nil })
		path = next
	}
	return path
}

// wait waits until a condition holds of a service.
func (f *faultScene) wait(name string, c condition) status.Record {
	f.t.Helper()
	return waitStatus(f.t, f.state(name), c)
}

// tell sends control bytes to a service.
func (f *faultScene) tell(name, commands string) {
	f.t.Helper()
	if err := f.control(f.state(name), commands); err != nil {
		f.t.Fatal(err)
	}
}

// kill ends the process of a service by force and returns its pid.
func (f *faultScene) kill(name string) uint32 {
	f.t.Helper()
	pid := f.wait(name, up).PID
	f.signal(pid, syscall.SIGKILL)
	return pid
}

func (f *faultScene) signal(pid uint32, sig syscall.Signal) {
	f.t.Helper()
	if err := syscall.Kill(int(pid), sig); err != nil {
		f.t.Fatalf("process %d: %v", pid, err)
	}
}

// says waits until the scanner has said something, which is expected of it once.
func (f *faultScene) says(line string) {
	f.t.Helper()
	f.lines = append(f.lines, line)
	waitFile(f.t, f.scanner.stderr, func(c string) bool { return strings.Contains("\n"+c, "\n"+line+"\n") })
}

// saysOneOf waits until the scanner says one of the lines, and expects that one.
func (f *faultScene) saysOneOf(lines ...string) {
	f.t.Helper()
	f.until("it says one of "+strings.Join(lines, ", "), func() bool {
		for _, line := range lines {
			if strings.Contains("\n"+f.scanner.said(), "\n"+line+"\n") {
				f.lines = append(f.lines, line)
				return true
			}
		}
		return false
	})
}

// attempts waits until a service whose start fails was tried n times more, and
// returns its last record.
func (f *faultScene) attempts(name string, n int) (r status.Record) {
	f.t.Helper()
	r = f.wait(name, down)
	for range n {
		last := r.Since
		r = f.wait(name, func(r status.Record, alive bool) bool { return down(r, alive) && r.Since != last })
	}
	return r
}

// until waits for what nobody gives notice of.
func (f *faultScene) until(what string, cond func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatalf("it does not happen that %s; the scanner said %q", what, f.scanner.said())
		}
	}
}

// pass lets time pass in which something must not happen. It ends early only
// with the scanner.
func (f *faultScene) pass(d time.Duration) {
	f.t.Helper()
	if f.scanner.endsWithin(d) {
		f.t.Fatalf("the scanner has ended: %v; it said %q", f.scanner.cmd.ProcessState, f.scanner.said())
	}
}

// children are the processes of the services.
func (f *faultScene) children() (pids []int) {
	for _, r := range f.left() {
		if r.ppid == f.scanner.pid && r.state != 'Z' {
			pids = append(pids, r.pid)
		}
	}
	return pids
}

// check is the end of a scene.
func (f *faultScene) check() {
	f.t.Helper()
	if f.scanner.alive() {
		for _, pid := range f.pids {
			if r, ok := lookAt(int(pid)); !ok || r.ppid != f.scanner.pid && !f.crashed || r.state == 'Z' {
				f.t.Errorf("bystander %d did not outlive the fault: %v", pid, r)
			}
		}
		f.scanner.stop()
	}
	if code := f.scanner.wait(); code != 0 {
		f.t.Errorf("the scanner ended with %d", code)
	}
	said := strings.Split(f.scanner.said(), "\n")
	said = said[:len(said)-1]
	if len(said) > 100 {
		said = append(said[:100], "...") // a crash
	}
	// A shell whose script goes away between its exec and its open says so itself.
	said = slices.DeleteFunc(said, func(line string) bool {
		return strings.HasPrefix(line, "sh: ") || strings.HasPrefix(line, "/bin/sh: ")
	})
	slices.Sort(f.lines)
	sorted := slices.Clone(said)
	for i, line := range sorted {
		// Of a directory that is gone, any of the three may be missed first.
		sorted[i] = faultGone.ReplaceAllString(line, "$1/status$2")
	}
	slices.Sort(sorted)
	if !slices.Equal(sorted, f.lines) {
		f.t.Errorf("the scanner said\n%s\nexpected is\n%s", strings.Join(said, "\n"), strings.Join(f.lines, "\n"))
	}
	for _, bug := range []string{"panic", "internal error", "goroutine "} {
		if strings.Contains(f.scanner.said(), bug) {
			f.t.Errorf("the scanner speaks of a bug: %q", bug)
		}
	}
}

var faultGone = regexp.MustCompile(`^(supervise: warning: unable to write .*/supervise)/(?:pid|stat)(: file does not exist)$`)

// needRoot skips a test of what only root can do.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can do this")
	}
}

// faultUser is who runs a scanner without the rights of root.
const faultUser = 65534

// giveTo hands the site to a user, and returns the words which launch the
// scanner as that user; nothing happens if the test is not run by root.
func (f *faultScene) giveTo(uid int) (launch []string) {
	f.t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	err := filepath.WalkDir(f.root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, uid)
	})
	if err != nil {
		f.t.Fatal(err)
	}
	for _, dir := range []string{filepath.Dir(f.root), workshop} {
		if err := os.Chmod(dir, 0o755); err != nil {
			f.t.Fatal(err)
		}
	}
	id := strconv.Itoa(uid)
	return []string{"/usr/bin/setpriv", "--reuid=" + id, "--regid=" + id, "--clear-groups"}
}

// faultTime is the instant of a stamp.
func faultTime(s status.Stamp) time.Time { return time.Unix(s.Sec, int64(s.Nsec)) }

// tries waits until a file has been opened n times more.
func (f *faultScene) tries(path string, n int) {
	f.t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		f.t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_OPEN); err != nil {
		f.t.Fatal(err)
	}
	var buf [unix.SizeofInotifyEvent]byte // for one event without a name
	for range n {
		if !readable(fd, patience) {
			f.t.Fatalf("%s is not tried again", path)
		}
		if _, err := unix.Read(fd, buf[:]); err != nil {
			f.t.Fatal(err)
		}
	}
}

// runs waits until a service has executed sleep, with another pid than the last
// one, and returns the new one. It does not rely on the status.
func (f *faultScene) runs(name string, last uint32) (pid uint32) {
	f.t.Helper()
	st, err := os.Stat(f.dir(name))
	if err != nil {
		f.t.Fatal(err)
	}
	f.until(name+" runs", func() bool {
		for _, child := range f.children() {
			cwd, err := os.Stat("/proc/" + strconv.Itoa(child) + "/cwd")
			command, _ := lookAt(child)
			if err == nil && os.SameFile(st, cwd) && uint32(child) != last && strings.HasPrefix(command.command, "sleep") {
				pid = uint32(child)
				return true
			}
		}
		return false
	})
	return pid
}
