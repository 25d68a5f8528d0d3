package integration

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// container is a scanner that is started for a purpose, as in a container.
type container struct {
	*site
	scanner *process
}

// newContainer starts svscan with options on the directory service of a site.
func newContainer(t *testing.T, files tree, options ...string) *container {
	t.Helper()
	c := &container{site: newSite(t, files)}
	c.scanner = c.svscan(ours(t, "svscan"), append(options, c.path("service"))...)
	return c
}

// ends waits until the scanner exits with code, having said lines.
func (c *container) ends(code int, lines ...string) {
	c.t.Helper()
	if got := c.scanner.wait(); got != code {
		c.t.Errorf("the scanner ended with %d, not %d", got, code)
	}
	if got := c.scanner.said(); got != strings.Join(append(lines, ""), "\n") {
		c.t.Errorf("the scanner said\n%sexpected is\n%s", got, strings.Join(lines, "\n"))
	}
}

// open lets who reads from a FIFO see its end.
func (c *container) open(fifo string) {
	c.t.Helper()
	f, err := os.OpenFile(c.path(fifo), os.O_WRONLY, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	f.Close()
}

// TestMainEnds: whatever ends the run of main, the others are stopped in order, and
// the exit code tells how it ended.
func TestMainEnds(t *testing.T) {
	t.Parallel()
	const (
		waits  = "#!/bin/sh\necho $$ >../../pid\nread line <../../go; exit 17\n"
		starts = "#!/bin/sh\necho started >>../../starts\nexec sleep 1000\n"
	)
	for _, x := range []struct {
		name string
		code int
		end  func(c *container)
	}{
		{"exit", 17, func(c *container) { c.open("go") }},
		{"svc -t", 143, func(c *container) { _ = c.control("service/web", "t") }},
		{"svc -d", 143, func(c *container) { _ = c.control("service/web", "d") }},
		{"svc -dx", 143, func(c *container) { _ = c.control("service/web", "dx") }},
		{"KILL", 137, func(c *container) {
			pid, _ := strconv.Atoi(strings.TrimSpace(c.read("pid")))
			_ = unix.Kill(pid, unix.SIGKILL)
		}},
		{"TERM to the scanner", 143, func(c *container) { c.scanner.signal(unix.SIGTERM) }},
		{"INT to the scanner", 143, func(c *container) { c.scanner.signal(unix.SIGINT) }},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, tree{
				"service/web/run!":       waits,
				"service/web/finish!":    "#!/bin/sh\necho $1 $2 >../../end\n",
				"service/web/log/run!":   "#!/bin/sh\ncat >../../../log; echo over >>../../../log\n",
				"service/other/run!":     starts,
				"service/other/log/run!": faultCat,
			})
			if err := unix.Mkfifo(s.path("go"), 0o600); err != nil {
				t.Fatal(err)
			}
			c := &container{site: s}
			c.scanner = c.svscan(ours(t, "svscan"), "--main", "web", c.path("service"))
			waitStatus(t, c.path("service/web"), up)
			waitStatus(t, c.path("service/other"), up)
			waitStatus(t, c.path("service/other/log"), up)
			waitFile(t, c.path("pid"), something)
			waitFile(t, c.path("starts"), something)
			x.end(c)
			c.ends(x.code)
			want := "-1 " + strconv.Itoa(x.code-128)
			if x.code < 128 {
				want = strconv.Itoa(x.code) + " 0"
			}
			if got := strings.TrimSpace(c.read("end")); got != want {
				t.Errorf("finish was told %q, not %q", got, want)
			}
			if got := c.read("log"); !strings.HasSuffix(got, "over\n") {
				t.Errorf("the log service did not see the end: %q", got)
			}
			if got := strings.Count(c.read("starts"), "started"); got != 1 {
				t.Errorf("the other service was started %d times", got)
			}
		})
	}
}

// TestMainCode: what main returns after TERM is the exit code, also if finish fails.
func TestMainCode(t *testing.T) {
	t.Parallel()
	c := newContainer(t, tree{
		"service/web/run!":    "#!/bin/sh\ntrap 'exit 3' TERM\n: >../../ready\nwhile :; do sleep 0.02; done\n",
		"service/web/finish!": "#!/bin/sh\nexit 5\n",
	}, "--main=web")
	waitDir(t, c.root, func() bool { _, err := os.Stat(c.path("ready")); return err == nil })
	c.scanner.signal(unix.SIGTERM)
	c.ends(3)
}

// TestMainCannotStart: 111 is what a shell says as well.
func TestMainCannotStart(t *testing.T) {
	t.Parallel()
	c := newContainer(t, tree{
		"service/web/run!":   "#!/no/such/interpreter\n",
		"service/other/run!": faultSleeper,
	}, "--main", "web")
	c.ends(111, "supervise: fatal: unable to start web/run: file does not exist")
}

// TestMainMissing: there is no main, and nothing of what was started is left.
func TestMainMissing(t *testing.T) {
	t.Parallel()
	c := newContainer(t, tree{
		"service/other/run!":     faultSleeper,
		"service/other/log/run!": faultCat,
		"service/web":            "a file",
	}, "--main", "web")
	c.ends(111, "svscan: fatal: unable to find main service web: file does not exist")
}

// TestMainDown: a main that never runs does not end; without it a stop is a success.
func TestMainDown(t *testing.T) {
	t.Parallel()
	c := newContainer(t, tree{"service/web/run!": faultSleeper, "service/web/down": ""}, "--main", "web")
	waitStatus(t, c.path("service/web"), down)
	c.scanner.signal(unix.SIGTERM)
	c.ends(0)

	c = newContainer(t, tree{"service/web/run!": "#!/bin/sh\nexit 9\n", "service/web/down": ""}, "--main", "web")
	waitStatus(t, c.path("service/web"), down)
	if err := c.control("service/web", "o"); err != nil {
		t.Fatal(err)
	}
	c.ends(9)
}

// TestMainReplaced: main is who has the name.
func TestMainReplaced(t *testing.T) {
	t.Parallel()
	c := newContainer(t, tree{"service/web/run!": faultSleeper}, "--main", "web")
	first := waitStatus(t, c.path("service/web"), up)
	if err := os.Rename(c.path("service/web"), c.path("service/old")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(c.path("go"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.make(tree{"service/new/run!": "#!/bin/sh\nread line <../../go; exit 4\n"})
	waitStatus(t, c.path("service/new"), up)
	if err := os.Rename(c.path("service/new"), c.path("service/web")); err != nil {
		t.Fatal(err)
	}
	c.scanner.signal(unix.SIGHUP) // the scan after it knows the names
	probe(c)
	if err := unix.Kill(int(first.PID), unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitStatus(t, c.path("service/old"), upAnew(first.PID))
	c.open("go")
	c.ends(4)
}

// probe waits until the scanner has scanned what is there now.
func probe(c *container) {
	c.t.Helper()
	name := fmt.Sprintf("service/probe%d", len(c.left()))
	c.make(tree{name + "/run!": faultSleeper})
	waitStatus(c.t, c.path(name), up)
}
