package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// namespaceWords launch a program as PID 1 of a namespace of its own, with its own
// mounts, as a container runtime does.
var namespaceWords = sync.OnceValues(func() ([]string, error) {
	words := []string{"/usr/bin/unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"}
	if os.Geteuid() != 0 {
		words = append(words, "--user", "--map-root-user")
	}
	out, err := exec.Command(words[0], append(words[1:], "/bin/true")...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("unable to make a pid namespace: %w: %s", err, out)
	}
	return words, err
})

// inNamespace starts svscan as PID 1 with options. prepare is a shell command that
// runs before it, in its namespaces, and launch are words in front of its name.
func inNamespace(t *testing.T, s *site, prepare string, launch []string, options ...string) *container {
	t.Helper()
	words, err := namespaceWords()
	if err != nil {
		missing(t, err.Error())
	}
	c := &container{site: s}
	words = append(append([]string{}, words...), "/bin/sh", "-ec", prepare+"\nexec \"$@\"", "sh")
	words = append(append(append(words, launch...), ours(t, "svscan")), options...)
	c.scanner = s.start(words[0], append(words[1:], s.path("service"))...)
	c.scanner.quit = func() error { return unix.Kill(c.first(), unix.SIGTERM) }
	return c
}

// first waits for svscan to be PID 1 and is its pid as seen from here.
func (c *container) first() int {
	c.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if pid := c.child(c.scanner.pid, "svscan"); pid != 0 {
			return pid
		}
		if !c.scanner.alive() {
			break
		}
	}
	c.t.Fatalf("there is no svscan; it said %q", c.scanner.said())
	return 0
}

// child is the child of a process that has executed a program, or 0. It may hide its
// environment from us, so it is not known by that.
func (c *container) child(parent int, name string) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", parent, parent))
	if err != nil {
		return 0
	}
	for _, word := range strings.Fields(string(b)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			continue
		}
		if r, ok := lookAt(pid); ok && r.state != 'Z' && r.program() == name {
			return pid
		}
	}
	return 0
}

// signalFirst sends a signal to PID 1, once that handles signals.
func (c *container) signalFirst(sig unix.Signal) {
	c.t.Helper()
	c.scanner.expected = true
	if err := unix.Kill(c.first(), sig); err != nil {
		c.t.Fatal(err)
	}
}

// zombies are the dead children of a process that it has not reaped.
func zombies(parent int) (n int) {
	for _, r := range search("") {
		if r.ppid == parent && r.state == 'Z' {
			n++
		}
	}
	return n
}

// TestPID1Orphans: thousands of orphans come to PID 1 and are reaped while services
// end and are restarted: each exit code of theirs arrives, in order, and no zombie
// stays.
func TestPID1Orphans(t *testing.T) {
	t.Parallel()
	const restarting, littering = 50, 4
	orphans := 10000
	if raceEnabled {
		orphans = 2000
	}
	files := tree{}
	for i := range restarting {
		name := fmt.Sprintf("service/exits%d/", i)
		files[name+"n"] = "0\n"
		files[name+"run!"] = "#!/bin/sh\nread n <n\nn=$(((n+1)%200))\necho $n >n\necho $n 0 >>starts\nexit $n\n"
		files[name+"finish!"] = "#!/bin/sh\necho $* >>ends\n"
	}
	for i := range littering {
		files[fmt.Sprintf("service/litter%d/run!", i)] = fmt.Sprintf(
			"#!/bin/sh\ni=0\nwhile [ $i -lt %d ]; do (:&); i=$((i+1)); [ $((i%%500)) != 0 ] || sleep 0.5; done\n: >../../ready-litter%d\nexec sleep 1000\n", orphans/littering, i)
	}
	c := inNamespace(t, newSite(t, files), "", nil)
	for i := range littering {
		c.ready(fmt.Sprintf("litter%d", i))
	}
	for i := range restarting {
		waitLines(t, c.path(fmt.Sprintf("service/exits%d/ends", i)), 2)
	}
	pid := c.first()
	for deadline := time.Now().Add(patience); zombies(pid) > 0 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if n := zombies(pid); n > 0 {
		t.Errorf("%d zombies", n)
	}
	c.signalFirst(unix.SIGTERM)
	c.ends(0)
	deaths := 0
	for i := range restarting {
		starts := strings.Split(c.read(fmt.Sprintf("service/exits%d/starts", i)), "\n")
		ends := strings.Split(c.read(fmt.Sprintf("service/exits%d/ends", i)), "\n")
		starts, ends = starts[:len(starts)-1], ends[:len(ends)-1]
		for j, end := range ends {
			switch {
			case j == len(ends)-1 && end == "-1 15": // the stop came in between
			case j >= len(starts) || end != starts[j]:
				t.Fatalf("service %d: run ended with %q, finish was told %q", i, starts, ends)
			}
		}
		if len(ends) < len(starts) {
			t.Errorf("service %d: %d starts, %d ends", i, len(starts), len(ends))
		}
		deaths += len(ends)
	}
	t.Logf("%d orphans, %d ends of services", orphans, deaths)
}

// TestPID1Signals: those that mean nothing to a scanner do nothing to PID 1, and no
// service hears of them.
func TestPID1Signals(t *testing.T) {
	t.Parallel()
	s := newSite(t, tree{"service/web/run!": faultTracer})
	c := inNamespace(t, s, "", nil)
	waitFile(t, c.path("service/web/trace"), something)
	for sig := unix.Signal(1); sig < 32; sig++ {
		switch sig {
		case unix.SIGTERM, unix.SIGINT, unix.SIGUSR2, unix.SIGKILL, unix.SIGSTOP, // which mean something
			unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL: // a fault of its own is none to hide
			continue
		}
		c.signalFirst(sig)
	}
	c.signalFirst(34) // SIGRTMIN
	probe(c)          // they have all been taken before the directory was looked at again
	c.signalFirst(unix.SIGTERM)
	c.ends(0)
	if got := c.read("service/web/trace"); got != "start\nSIGTERM\n" {
		t.Errorf("the service saw %q", got)
	}
}

// TestPID1Confined: a read-only root and /proc/sys, a user that nobody knows, and no
// standard descriptors are no obstacle.
func TestPID1Confined(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name    string
		prepare string
		launch  []string
	}{
		{"root", "", nil},
		{"nobody in particular", "", []string{"/usr/bin/setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "--no-new-privs"}},
		{"no standard input", "", []string{"/bin/sh", "-c", "exec \"$@\" <&-", "sh"}},
		{"no standard descriptors", "", []string{"/bin/sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"}},
		{"an init in front", "", []string{"/bin/sh", "-c", "trap 'kill -TERM $!' TERM\n\"$@\" & wait; wait; exit $?", "init"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			needRoot(t)
			s := newSite(t, tree{
				"service/web/run!":           "#!/bin/sh\necho started\necho up >>../../run/up\nexec sleep 1000\n",
				"service/web/log/run!":       "#!/bin/sh\nexec cat >>../../../run/log\n",
				"service/web/finish!":        "#!/bin/sh\necho $* >>../../run/end\n",
				"service/web/supervise@":     "../../run/web",
				"service/web/log/supervise@": "../../../run/web-log",
				"run/":                       "",
			})
			for _, dir := range []string{filepath.Dir(s.root), workshop} {
				if err := os.Chmod(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			c := inNamespace(t, s, "mount --bind "+s.root+" "+s.root+"\n"+
				"mount -o remount,ro,bind "+s.root+"\n"+
				"mount -t tmpfs -o mode=777 tmpfs "+s.path("run")+"\n"+
				"mount --bind /proc/sys /proc/sys\nmount -o remount,ro,bind /proc/sys\n"+
				"mount -o remount,ro,bind /\n"+x.prepare, x.launch)
			name := "svscan"
			if x.launch != nil && x.launch[len(x.launch)-1] == "init" {
				name = "sh"
			}
			var pid int
			for deadline := time.Now().Add(patience); pid == 0; time.Sleep(5 * time.Millisecond) {
				pid = c.child(c.scanner.pid, name)
				if time.Now().After(deadline) || !c.scanner.alive() {
					t.Fatalf("it does not start; it said %q", c.scanner.said())
				}
			}
			view := fmt.Sprintf("/proc/%d/root", pid)
			for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
				if b, err := os.ReadFile(view + c.path("run/log")); err == nil && string(b) == "started\n" {
					break
				}
				if time.Now().After(deadline) || !c.scanner.alive() {
					t.Fatalf("the service is not started; svscan said %q", c.scanner.said())
				}
			}
			waitStatus(t, view+c.path("service/web"), up)
			c.scanner.expected = true
			if err := unix.Kill(pid, unix.SIGTERM); err != nil {
				t.Fatal(err)
			}
			c.ends(0)
		})
	}
}
