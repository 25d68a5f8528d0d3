package integration

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

// stateScene is a scanner of ours with its state apart from the definitions: those
// are below service, the state is below run. When the test ends, the scanner must
// have said exactly what is expected.
type stateScene struct {
	*site
	scanner *process
	flags   []string
	launch  []string // words in front of the scanner's
	lines   []string // what it has to have said
}

func newStateScene(t *testing.T, files tree, flags ...string) *stateScene {
	t.Helper()
	v := &stateScene{site: newSite(t, tree{"run/": "", "service/": ""}), flags: flags}
	v.make(files)
	return v
}

// begin starts the scanner, or another one.
func (v *stateScene) begin() {
	v.t.Helper()
	words := append(append([]string(nil), v.launch...), ours(v.t, "svscan"), "--state", v.path("run"))
	words = append(append(words, v.flags...), v.path("service"))
	v.scanner = v.svscan(words[0], words[1:]...)
	v.scanner.finish = func() error { return nil }
	p := v.scanner
	v.t.Cleanup(func() {
		if p != v.scanner {
			return
		}
		p.stop()
		want := strings.Join(append(v.lines, ""), "\n")
		if said := p.said(); said != want {
			v.t.Errorf("the scanner said\n%s\nexpected is\n%s", said, want)
		}
	})
}

// crash kills the scanner and starts another.
func (v *stateScene) crash(meanwhile func()) {
	v.t.Helper()
	v.kill()
	if meanwhile != nil {
		meanwhile()
	}
	v.begin()
}

func (v *stateScene) kill() {
	v.t.Helper()
	v.scanner.signal(unix.SIGKILL)
	v.scanner.wait()
	v.scanner.stopped = true
}

// says waits until the scanner has said a line.
func (v *stateScene) says(line string) {
	v.t.Helper()
	v.lines = append(v.lines, line)
	waitFile(v.t, v.scanner.stderr, func(c string) bool { return strings.Contains("\n"+c, "\n"+line+"\n") })
}

// exists waits until there is, or is no more, an entry of the state directory.
func (v *stateScene) exists(name string, want bool) {
	v.t.Helper()
	path := v.path("run", name)
	dir := filepath.Dir(path)
	if !waitDir(v.t, dir, func() bool { _, err := os.Stat(path); return (err == nil) == want }) {
		v.t.Fatalf("%s: there it should be: %v; the scanner said %q", path, want, v.scanner.said())
	}
}

// wait waits until a condition holds of a service.
func (v *stateScene) wait(name string, c condition) status.Record {
	v.t.Helper()
	for i, part := range strings.Split(name, "/") {
		v.exists(strings.Join(strings.Split(name, "/")[:i], "/")+"/"+part, true)
	}
	return waitStatus(v.t, v.path("run", name), c)
}

func (v *stateScene) tell(name, commands string) {
	v.t.Helper()
	if err := v.control(v.path("run", name), commands); err != nil {
		v.t.Fatal(err)
	}
}

// look is all that is below a directory: names, kinds, sizes and times.
func (v *stateScene) look(dir string) string {
	v.t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(v.path(dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err == nil {
			fmt.Fprintln(&b, path, st.Mode(), st.Size(), st.ModTime())
		}
		return err
	})
	if err != nil {
		v.t.Fatal(err)
	}
	return b.String()
}

// keepsDefinitions fails the test if anything was written below service.
func (v *stateScene) keepsDefinitions(during func()) {
	v.t.Helper()
	before := v.look("service")
	during()
	if after := v.look("service"); after != before {
		v.t.Errorf("the definitions were\n%s\nand are\n%s", before, after)
	}
}

// seal makes directories read-only file systems, in the mount namespace of this thread.
func (v *stateScene) seal(names ...string) {
	v.t.Helper()
	for _, name := range names {
		dir := v.path(name)
		if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
			v.t.Fatal(err)
		}
		v.t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		if err := unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			v.t.Fatal(err)
		}
	}
}

var stateTree = tree{
	"service/web/run!":     "#!/bin/sh\nexec sleep 1000\n",
	"service/web/check!":   "#!/bin/sh\nexec test -e ./data\n",
	"service/web/data":     "",
	"service/web/log/run!": faultCat,
	"service/idle/run!":    faultSleeper,
	"service/idle/down":    "",
	"sv/linked/run!":       faultSleeper,
	"service/linked@":      "../sv/linked",
}

// TestState: the clients of all systems work on the state directory while the
// definitions are on a read-only file system, also if the scanner is not root's.
func TestState(t *testing.T) {
	t.Parallel()
	for _, uid := range []int{0, faultUser} {
		t.Run("uid "+strconv.Itoa(uid), func(t *testing.T) {
			t.Parallel()
			needRoot(t)
			for _, name := range []string{"svc", "svstat", "svok", "sv", "s6-svok"} {
				peer(t, name)
			}
			ours(t, "svscan")
			v := newStateScene(t, stateTree)
			for _, dir := range []string{filepath.Dir(v.root), workshop} {
				if err := os.Chmod(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if uid != 0 {
				id := strconv.Itoa(uid)
				if err := os.Chown(v.path("run"), uid, uid); err != nil {
					t.Fatal(err)
				}
				v.launch = []string{"/usr/bin/setpriv", "--reuid=" + id, "--regid=" + id, "--clear-groups"}
			}
			if err := enterPrivateWorld(); err != nil {
				missing(t, "this needs namespaces: "+err.Error())
			}
			v.seal("service", "sv")
			if err := os.WriteFile(v.path("service/new"), nil, 0o644); err != unix.EROFS && !strings.Contains(fmt.Sprint(err), "read-only") {
				t.Fatalf("it is not read-only: %v", err)
			}
			v.keepsDefinitions(v.clients)
		})
	}
}

// as runs a client with the words that launch the scanner.
func (v *stateScene) as(path string, args ...string) result {
	v.t.Helper()
	words := append(append([]string(nil), v.launch...), append([]string{path}, args...)...)
	return v.run(words[0], words[1:]...)
}

// clients has all clients do what they can.
func (v *stateScene) clients() {
	v.t.Helper()
	v.begin()
	web, logger := v.wait("web", up), v.wait("web/log", up)
	v.wait("idle", down)
	v.wait("linked", up)
	v.setenv("SVDIR", v.path("run"))
	dir := v.path("run")
	expect := func(want, path string, args ...string) {
		v.t.Helper()
		r := v.as(path, args...)
		if !regexp.MustCompile("^(?:"+want+")$").MatchString(r.stdout) || r.code != 0 || r.stderr != "" {
			v.t.Errorf("%s %q: %v, expected is %s", path, args, r, want)
		}
	}
	for _, find := range []func(testing.TB, string) string{peer, ours} {
		expect("web: up \\(pid "+fmt.Sprint(web.PID)+"\\) \\d+ seconds\n", "/usr/bin/env", "-C", dir, find(v.t, "svstat"), "web")
		expect(".*/idle: down \\d+ seconds\n", find(v.t, "svstat"), dir+"/idle")
		expect(".*/log: up \\(pid "+fmt.Sprint(logger.PID)+"\\) \\d+ seconds\n", find(v.t, "svstat"), dir+"/web/log")
		expect("", find(v.t, "svok"), dir+"/idle")
		expect("", find(v.t, "svok"), dir+"/web/log")
		pid := v.wait("linked", up).PID
		expect("", find(v.t, "svc"), "-t", dir+"/linked")
		v.wait("linked", upAnew(pid))
		expect("", find(v.t, "svc"), "-u", dir+"/idle")
		v.wait("idle", up)
		expect(".*/idle: up \\(pid \\d+\\) \\d+ seconds, normally down\n", find(v.t, "svstat"), dir+"/idle")
		expect("", find(v.t, "svc"), "-d", dir+"/idle")
		v.wait("idle", down)
	}
	sv := peer(v.t, "sv")
	expect(`run: web: \(pid \d+\) \d+s; run: log: \(pid \d+\) \d+s\n`, sv, "status", "web")
	expect(`down: idle: \d+s\n`, sv, "status", "idle")
	expect(`ok: run: web: \(pid \d+\) \d+s\n`, sv, "check", "web") // by the script
	expect(`ok: down: idle: .*\n`, sv, "stop", "idle")
	expect(`ok: run: idle: .*normally down\n`, sv, "start", "idle")
	expect("", peer(v.t, "s6-svok"), dir+"/web")
	v.wait("web", unchanged(web))
	v.scanner.stop()
	if r := v.as(peer(v.t, "svok"), dir+"/web"); r.code != 100 {
		v.t.Errorf("after the end: %v", r)
	}
}

// TestStateS6: so do the clients of s6 in their dialect, whose letters for the file
// down cannot be obeyed.
func TestStateS6(t *testing.T) {
	t.Parallel()
	needRoot(t)
	stat, svc := peer(t, "s6-svstat"), peer(t, "s6-svc")
	ours(t, "svscan")
	v := newStateScene(t, stateTree, "--dialect", "s6")
	if err := enterPrivateWorld(); err != nil {
		missing(t, "this needs namespaces: "+err.Error())
	}
	v.seal("service")
	v.begin()
	web := v.wait("web", supervised)
	v.wait("idle", supervised)
	waitFile(t, v.path("run/web/supervise/status"), func(c string) bool { return len(c) == 35 })
	for name, want := range map[string]string{"web": `^up \(pid \d+`, "idle": `^down `} {
		if r := v.run(stat, v.path("run", name)); r.code != 0 || !regexp.MustCompile(want).MatchString(r.stdout) {
			t.Errorf("%s: %v (status %v)", name, r, web)
		}
	}
	if r := v.run(svc, "-D", v.path("run/web")); r.code != 0 {
		t.Error(r)
	}
	v.says("supervise: warning: unable to change web/down: read-only file system")
}

// TestStateLink: a definition whose supervise is a link says itself where its state is,
// and clients work on both paths.
func TestStateLink(t *testing.T) {
	t.Parallel()
	v := newStateScene(t, tree{
		"states/kept/":            "",
		"service/kept/run!":       faultSleeper,
		"service/kept/supervise@": "../../states/kept",
		"service/new/run!":        faultSleeper,
		"service/new/supervise@":  "../../states/new", // which is not there
		"service/new/log/run!":    faultCat,
		"service/plain/run!":      faultSleeper,
	})
	v.keepsDefinitions(func() {
		v.begin()
		for _, name := range []string{"kept", "new"} {
			r := v.wait(name, up)
			for _, dir := range []string{"run/" + name, "service/" + name} {
				if now := waitStatus(t, v.path(dir), supervised); now.PID != r.PID {
					t.Errorf("%s: pid %d, not %d", dir, now.PID, r.PID)
				}
			}
			if _, err := os.Stat(v.path("states", name, "lock")); err != nil {
				t.Error(err)
			}
		}
		v.wait("new/log", up)
		was := v.wait("new", up)
		v.crash(nil)
		v.wait("new", unchanged(was))
		v.wait("plain", up)
	})
	// The link comes and goes while nobody looks.
	v.scanner.stop()
	v.remove("service/new/supervise")
	v.make(tree{"service/plain/supervise@": "../../states/plain"})
	v.begin()
	v.wait("new", up)
	v.wait("plain", up)
	waitStatus(t, v.path("service/plain"), up)
	if _, err := os.Lstat(v.path("service/new/supervise")); err == nil {
		t.Error("it was made in the definition")
	}
	if st, err := os.Lstat(v.path("run/new/supervise")); err != nil || !st.IsDir() {
		t.Errorf("%v, %v", st, err)
	}
}

// TestStateRemoved: what the scanner made for a service goes with it, and nothing else.
func TestStateRemoved(t *testing.T) {
	t.Parallel()
	v := newStateScene(t, tree{
		"service/web/run!":     faultSleeper,
		"service/web/log/run!": faultCat,
		"service/half/run!":    faultSleeper,
		"service/theirs/run!":  faultSleeper,
		"run/theirs/precious":  "",
		"run/other":            "",
	})
	v.begin()
	v.says("svscan: warning: unable to link " + v.path("run/theirs") + ": file already exists")
	v.wait("web/log", up)
	v.wait("web", up)
	v.wait("half", up)
	v.make(tree{"run/half/precious": ""})

	// Gone, it goes on and is reached by its name.
	v.remove("service/web")
	v.wait("web", up)
	v.tell("web", "dx")
	v.exists("web", false)

	v.remove("service/half", "service/theirs")
	v.scanner.signal(unix.SIGHUP)
	v.exists("half", false)
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		left, err := filepath.Glob(v.path("run/.services/*/*"))
		if err == nil && len(left) == 1 && filepath.Base(left[0]) == "precious" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("left are %q, %v", left, err)
		}
	}
	for _, name := range []string{"run/theirs/precious", "run/other"} {
		if _, err := os.Stat(v.path(name)); err != nil {
			t.Error(err)
		}
	}
	// What was removed while nobody looked is cleared away as well.
	v.make(tree{"service/late/run!": faultSleeper})
	v.wait("late", up)
	v.scanner.stop()
	v.exists("late", true)
	v.remove("service/late")
	v.lines = nil
	v.begin()
	v.exists("late", false)
}

// TestStateLogRemoved: so does the state of a log service alone.
func TestStateLogRemoved(t *testing.T) {
	t.Parallel()
	v := newStateScene(t, tree{"service/web/run!": faultSleeper})
	v.begin()
	web := v.wait("web", up)
	v.make(tree{"service/web/log/run!": faultCat})
	v.wait("web/log", up)
	v.remove("service/web/log")
	v.tell("web/log", "dx")
	v.exists("web/log", false)
	v.wait("web", unchanged(web))
}

// TestStateRenamed: the state stays with a directory, whatever its name.
func TestStateRenamed(t *testing.T) {
	t.Parallel()
	v := newStateScene(t, tree{
		"service/a/run!":     faultSleeper,
		"service/a/log/run!": faultCat,
		"service/b/run!":     faultSleeper,
		"service/b/down":     "",
		"new/run!":           faultSleeper,
	})
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(v.path(from), v.path(to)); err != nil {
			t.Fatal(err)
		}
	}
	v.begin()
	a, logger := v.wait("a", up), v.wait("a/log", up)
	v.wait("b", down)

	rename("service/a", "service/c")
	v.wait("c", unchanged(a))
	v.exists("a", false)
	waitDir(t, v.path("run/c"), func() bool { l, _ := os.Readlink(v.path("run/c/run")); return l == v.path("service/c/run") })

	// Two change names.
	swap := func() {
		t.Helper()
		if err := unix.Renameat2(unix.AT_FDCWD, v.path("service/b"), unix.AT_FDCWD, v.path("service/c"), unix.RENAME_EXCHANGE); err != nil {
			t.Fatal(err)
		}
	}
	follows := func(name string, pid uint32) {
		t.Helper()
		ok := waitDir(t, v.path("run"), func() bool {
			r, err := awaitStatus(v.path("run", name), supervised)
			return err == nil && r.PID == pid
		})
		if !ok {
			t.Fatalf("%s does not lead to process %d", name, pid)
		}
	}
	swap()
	follows("b", a.PID)
	follows("c", 0)
	v.crash(swap)
	follows("c", a.PID)
	v.wait("c", unchanged(a))
	v.wait("c/log", unchanged(logger))
	v.wait("b", down)
	v.crash(func() { rename("service/c", "service/d") })
	v.wait("d", unchanged(a))
	v.exists("c", false)

	// Another takes its place; the old one goes on until it is told otherwise.
	rename("service/d", "old")
	rename("new", "service/d")
	ok := waitDir(t, v.path("run"), func() bool {
		r, err := awaitStatus(v.path("run/d"), up)
		return err == nil && r.PID != a.PID
	})
	if !ok {
		t.Fatal("the new one is not there")
	}
	if _, ok := lookAt(int(a.PID)); !ok {
		t.Error("the old one has ended")
	}
	d := v.wait("d", up)
	v.scanner.signal(unix.SIGHUP)
	waitEnd(t, int(a.PID))
	waitEnd(t, int(logger.PID))
	v.wait("d", unchanged(d))
}

// TestStateTwoNames: a directory with two names is one service with one of them.
func TestStateTwoNames(t *testing.T) {
	t.Parallel()
	v := newStateScene(t, tree{"service/a/run!": "#!/bin/sh\necho $$ >>../../starts\nexec sleep 1000\n", "service/b@": "a"})
	v.begin()
	waitLines(t, v.path("starts"), 1)
	count := func() int {
		n := 0
		for _, name := range []string{"a", "b"} {
			if _, err := os.Lstat(v.path("run", name)); err == nil {
				n++
			}
		}
		return n
	}
	if !waitDir(t, v.path("run"), func() bool { return count() == 1 }) {
		t.Errorf("%d names", count())
	}
	v.remove("service/b")
	a := v.wait("a", up)
	if n := len(waitLines(t, v.path("starts"), 1)); n != 1 || count() != 1 {
		t.Errorf("%d starts, %d names", n, count())
	}
	v.wait("a", unchanged(a))
}

// TestStateCrash: a new scanner with the same state directory takes over all that the
// killed one left behind, and no line is lost.
func TestStateCrash(t *testing.T) {
	t.Parallel()
	v := newStateScene(t, tree{
		"service/web/run!": "#!/bin/sh\necho $$ >>../../starts\n" +
			"i=0; while :; do echo $i; i=$((i+1)); sleep 0.005; done\n",
		"service/web/log/run!": "#!/bin/sh\nexec cat >>../../../lines\n",
		"service/down/run!":    faultSleeper,
		"service/dead/run!":    faultSleeper,
		"service/gone/run!":    faultSleeper,
	})
	v.begin()
	web, logger, gone := v.wait("web", up), v.wait("web/log", up), v.wait("gone", up)
	v.wait("down", up)
	v.tell("down", "d")
	was := v.wait("down", down)
	for range 3 {
		dead := v.wait("dead", up)
		v.crash(func() {
			if err := unix.Kill(int(dead.PID), unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			waitLines(t, v.path("lines"), len(waitLines(t, v.path("lines"), 0))+20)
		})
		v.wait("web", unchanged(web))
		v.wait("web/log", unchanged(logger))
		v.wait("down", unchanged(was))
		v.wait("dead", upAnew(dead.PID))
	}
	// The pipe was recovered.
	if err := unix.Kill(int(logger.PID), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	v.wait("web/log", upAnew(logger.PID))
	waitLines(t, v.path("lines"), len(waitLines(t, v.path("lines"), 0))+20)
	v.wait("web", unchanged(web))
	if n := len(waitLines(t, v.path("starts"), 1)); n != 1 {
		t.Errorf("%d starts", n)
	}
	// Of a directory that is away there is still the state, by which its process is
	// found when it comes back.
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(v.path(from), v.path(to)); err != nil {
			t.Fatal(err)
		}
	}
	v.crash(func() { move("service/gone", "away") })
	v.wait("dead", up)
	v.crash(nil)
	v.wait("dead", up)
	move("away", "service/back")
	v.wait("back", unchanged(gone))
	v.scanner.stop()
	for i, line := range waitLines(t, v.path("lines"), 1) {
		if n, err := strconv.Atoi(line); err != nil || n < i-1 || n > i+1 { // but what the killed logger held
			t.Fatalf("line %d is %q", i, line)
		}
	}
}

// TestStateRivals: nobody else's service is started a second time.
func TestStateRivals(t *testing.T) {
	t.Parallel()
	const refused = "supervise: fatal: unable to acquire sv/supervise/lock: temporary failure"
	scene := func(t *testing.T) *stateScene {
		v := newStateScene(t, traced("service/sv"))
		v.make(tree{"service/other/run!": faultSleeper})
		return v
	}
	for _, r := range rivals {
		t.Run("after "+r.name, func(t *testing.T) {
			t.Parallel()
			v := scene(t)
			theirs := v.supervise(peer(t, r.name), v.path("service/sv"))
			waitLines(t, v.path("service/sv/trace"), 1)
			v.begin()
			v.says(refused)
			v.wait("other", up)
			theirs.stop()
			if trace := waitLines(t, v.path("service/sv/trace"), 3); strings.Join(trace, " ") != "start SIGTERM start" {
				t.Errorf("the service saw %q", trace)
			}
			v.wait("sv", up)
		})
		t.Run("before "+r.name, func(t *testing.T) {
			t.Parallel()
			v := scene(t)
			// As a supervisor leaves it.
			v.make(tree{"service/sv/supervise/lock": ""})
			v.begin()
			v.wait("sv", up)
			got := v.run("/usr/bin/env", "-C", v.path("service"), peer(t, r.name), "sv")
			if got.code != r.code || got.stderr != r.words {
				t.Errorf("%s: %v", r.name, got)
			}
			if trace := waitLines(t, v.path("service/sv/trace"), 1); len(trace) != 1 {
				t.Errorf("the service saw %q", trace)
			}
		})
	}
	for name, flags := range map[string][]string{"another state": {"--state", "run2"}, "no state": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := scene(t)
			if flags == nil {
				v.make(tree{"service/sv/supervise/lock": "", "service/other/supervise/lock": ""})
			}
			v.begin()
			sv := v.wait("sv", up)
			v.wait("other", up)
			second := v.svscan(ours(t, "svscan"), append(flags, v.path("service"))...)
			waitFile(t, second.stderr, func(c string) bool {
				return strings.Contains(c, refused+"\n") && strings.Contains(c, strings.Replace(refused, "sv/", "other/", 1)+"\n")
			})
			v.wait("sv", unchanged(sv))
			second.finish = func() error { return nil }
			second.stop()
		})
		t.Run("after "+name, func(t *testing.T) {
			t.Parallel()
			v := scene(t)
			first := v.svscan(ours(t, "svscan"), append(flags, v.path("service"))...)
			waitLines(t, v.path("service/sv/trace"), 1)
			if flags == nil {
				waitStatus(t, v.path("service/sv"), up)
				waitStatus(t, v.path("service/other"), up)
			}
			v.begin()
			waitFile(t, v.scanner.stderr, func(c string) bool { return strings.Count(c, "\n") == 2 })
			v.lines = strings.Split(strings.TrimSuffix(v.scanner.said(), "\n"), "\n")
			for _, line := range v.lines {
				if line != refused && line != strings.Replace(refused, "sv/", "other/", 1) {
					t.Errorf("it says %q", line)
				}
			}
			first.finish = func() error { return nil }
			first.stop()
			v.wait("sv", up)
			v.wait("other", up)
			if trace := waitLines(t, v.path("service/sv/trace"), 3); strings.Join(trace, " ") != "start SIGTERM start" {
				t.Errorf("the service saw %q", trace)
			}
		})
	}
}

// TestStateElsewhere: what a killed scanner without --state left behind is not started
// beside it.
func TestStateElsewhere(t *testing.T) {
	t.Parallel()
	v := newStateScene(t, tree{"service/web/run!": faultSleeper})
	first := v.svscan(ours(t, "svscan"), v.path("service"))
	web := waitStatus(t, v.path("service/web"), up)
	first.signal(unix.SIGKILL)
	first.wait()
	first.stopped = true
	v.begin()
	v.says(fmt.Sprintf("supervise: fatal: unable to supervise web: process %d of a scanner with its state in the definition still runs", web.PID))
	if err := unix.Kill(int(web.PID), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	v.wait("web", upAnew(web.PID))
}

// TestStateRefused: a directory in which nothing can be made, and wrong usage.
func TestStateRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t, tree{"service/": "", "file": "", "full/.services": ""})
	scan := s.path("service")
	usage := "svscan: usage: svscan [--dialect daemontools|encore|runit|s6] [--state dir] [--cgroups] [--main name] [--deadline seconds] [--anchor] [dir]\n"
	for _, c := range []struct {
		args []string
		want result
	}{
		{[]string{"--state"}, result{"", usage, 100}},
		{[]string{"--state", ""}, result{"", usage, 100}},
		{[]string{"--state=", scan}, result{"", usage, 100}},
		{[]string{"--state", "file", scan}, result{"", "svscan: fatal: unable to create directory file: not a directory\n", 111}},
		{[]string{"--state", "file/below", scan}, result{"", "svscan: fatal: unable to create directory file/below: not a directory\n", 111}},
		{[]string{"--state", "full", scan}, result{"", "svscan: fatal: unable to write in directory full: not a directory\n", 111}},
		{[]string{"--state=/proc", scan}, result{"", "svscan: fatal: unable to write in directory /proc: access denied\n", 111}},
		{[]string{"--state", "service", scan}, result{"", "svscan: fatal: unable to keep state in service: it is the scan directory\n", 111}},
	} {
		if c.args[0] == "--state=/proc" && os.Geteuid() == 0 {
			// Root may write there, but nothing can be made.
			c.want.stderr = "svscan: fatal: unable to write in directory /proc: file does not exist\n"
		}
		if got := s.run(ours(t, "svscan"), c.args...); got != c.want {
			t.Errorf("%q\n got %v\nwant %v", c.args, got, c.want)
		}
	}
	if r := s.run(ours(t, "supervise"), "--state", "run", scan); r.code != 100 {
		t.Errorf("supervise: %v", r)
	}
}

// TestStateMade: the directory and its parent are made.
func TestStateMade(t *testing.T) {
	t.Parallel()
	s := newSite(t, tree{"service/web/run!": faultSleeper, "run/": ""})
	p := s.svscan(ours(t, "svscan"), "--state=run/deep/upkeep", s.path("service"))
	p.finish = func() error { return nil }
	for _, dir := range []string{"run", "run/deep", "run/deep/upkeep"} {
		if !waitDir(t, s.path(dir), func() bool { n, err := os.ReadDir(s.path(dir)); return err == nil && len(n) > 0 }) {
			t.Fatalf("nothing in %s", dir)
		}
	}
	waitDir(t, s.path("run/deep/upkeep"), func() bool { _, err := os.Stat(s.path("run/deep/upkeep/web")); return err == nil })
	waitStatus(t, s.path("run/deep/upkeep/web"), up)
	if st, err := os.Stat(s.path("run/deep/upkeep")); err != nil || st.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", st, err)
	}
}

// TestStateDescriptors: the state takes one descriptor more a service; one of its own,
// and another that has the lock, are there in any case.
func TestStateDescriptors(t *testing.T) {
	t.Parallel()
	const n = 20
	v := newStateScene(t, tree{})
	for i := range n {
		v.make(tree{fmt.Sprintf("service/s%d/run!", i): faultSleeper})
	}
	v.begin()
	for i := range n {
		v.wait(fmt.Sprintf("s%d", i), up)
	}
	dir, count := fmt.Sprintf("/proc/%d/fd/", v.scanner.pid), 0
	for deadline := time.Now().Add(patience); count != 5*n+2; time.Sleep(5 * time.Millisecond) {
		count = 0
		fds, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range fds {
			if to, err := os.Readlink(dir + fd.Name()); err == nil && strings.HasPrefix(to, v.root+"/") {
				count++
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors for %d services", count, n)
		}
	}
}
