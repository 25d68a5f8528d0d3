package integration

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// live is a pmtr in the foreground.
type live struct {
	*site
	*process
}

// newLive starts pmtr -F with a configuration, in which WORK is the directory work.
func newLive(t *testing.T, conf string, options ...string) *live {
	t.Helper()
	l := &live{site: newSite(t, tree{"work/": ""})}
	l.configure(conf)
	l.process = l.start(ours(t, "pmtr"), append([]string{"-F", "-c", l.path("pmtr.conf")}, options...)...)
	l.says("pmtr: starting", 1)
	return l
}

// configure saves a configuration.
func (l *live) configure(conf string) {
	l.t.Helper()
	l.make(tree{"pmtr.conf": strings.ReplaceAll(conf, "WORK", l.path("work"))})
}

// says waits for the nth entry of the log that matches, and returns what its groups did.
func (l *live) says(pattern string, n int) []string {
	l.t.Helper()
	r := regexp.MustCompile(`(?m)^pmtr\[\d+\]: ` + pattern + `$`)
	var found [][]string
	waitFile(l.t, l.process.stderr, func(text string) bool {
		found = r.FindAllStringSubmatch(text, -1)
		return len(found) >= n
	})
	return found[n-1]
}

// started waits for the nth start of a job, and returns the pid.
func (l *live) started(name string, n int) int {
	l.t.Helper()
	pid, err := strconv.Atoi(l.says(`started job `+name+` \[(\d+)\]`, n)[1])
	if err != nil {
		l.t.Fatal(err)
	}
	return pid
}

// starts is how often a job has been started so far.
func (l *live) starts(name string) int {
	return strings.Count(l.said(), ": started job "+name+" [")
}

// reloaded waits for the nth time that the configuration has been read again.
func (l *live) reloaded(n int) {
	l.t.Helper()
	l.says("rescanning job configuration", n)
}

// inOrder fails the test if entries do not follow each other.
func (l *live) inOrder(entries ...string) {
	l.t.Helper()
	text, rest := l.said(), ""
	rest = text
	for _, e := range entries {
		_, after, ok := strings.Cut(rest, e)
		if !ok {
			l.t.Errorf("there is no %q after those before it in\n%s", e, text)
			return
		}
		rest = after
	}
}

func job(name, rest string) string { return "job {\n name " + name + "\n " + rest + "\n}\n" }

// shell is the cmd of a job.
func shell(script string) string { return `cmd /bin/sh -c "` + script + `"` }

// since is when a process was started, in the kernel's clock ticks.
func since(t *testing.T, pid int) int {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	ticks, err := strconv.Atoi(fields[19])
	if err != nil {
		t.Fatal(err)
	}
	return ticks
}

// TestPmtrCommandLine: pmtr.md, sections 1 and 2.7, with what is to be instead of bugs 1, 2
// and 12.
func TestPmtrCommandLine(t *testing.T) {
	t.Parallel()
	s := newSite(t, tree{
		"good":   job("a", "cmd /bin/true"),
		"broken": job("a", "cmd /bin/true") + "job {\n name b\n",
		"empty":  "\n# nothing\n",
		"nocmd":  job("a", "once"),
		"needs":  job("a", "cmd /bin/true\n depends {\n missing\n}"),
		"lo":     "report to udp://239.0.0.1:5@lo\n",
		"gone":   "report to udp://239.0.0.1:5@no-such\n",
		"long":   "report to udp://239.0.0.1:5@0123456789abcdef\n",
		"bind":   "\n\nlisten on udp://203.0.113.1:5\n",
		"lookup": "\n\nlisten on udp://no.such.host.invalid:5\n",
		"pid":    "1\n",
	})
	pmtr := ours(t, "pmtr")
	for _, x := range []struct {
		args []string
		code int
		says string // on standard error
	}{
		{[]string{"-h"}, 255, "usage: pmtr [options]\n"},
		{[]string{"-Z"}, 255, "usage: pmtr [options]\n"},
		{[]string{"-s", "x"}, 255, "usage: pmtr [options]\n"},
		{[]string{"-c"}, 255, "usage: pmtr [options]\n"},
		{[]string{"-t", "-c", "good"}, 0, ""},
		{[]string{"-tc", "good"}, 0, ""},
		{[]string{"-tIvFc", "good"}, 0, ""},
		{[]string{"-t", "operand", "-c", "good"}, 0, ""},
		{[]string{"-c", "broken", "-c", "good", "-t"}, 0, ""},
		{[]string{"-t", "-c", "empty"}, 0, ""},
		{[]string{"-t", "-p", "pid", "-c", "good"}, 0, ""},
		{[]string{"-t", "-c", "broken"}, 1, "parse failed: error in broken line 7 \n"},
		{[]string{"-t", "-c", "none"}, 1, "can't open none: No such file or directory\n"},
		{[]string{"-t", "-c", "nocmd"}, 1, "has no cmd"},
		{[]string{"-t", "-c", "needs"}, 0, "job a: can't open dependency missing\n"},
		{[]string{"-F", "-c", "broken"}, 1, "parse failed: error in broken line 7 \n"},
		{[]string{"-t", "-c", "lo"}, 0, ""},
		{[]string{"-F", "-c", "lo"}, 1, "parse failed: lo does not multicast\n at line 1\n"},
		{[]string{"-F", "-c", "gone"}, 1, "parse failed: ioctl: No such device\n at line 1\n"},
		{[]string{"-F", "-c", "long"}, 1, "parse failed: interface too long\n at line 1\n"},
		{[]string{"-F", "-c", "bind"}, 1, "parse failed: can't bind to udp://203.0.113.1:5: Cannot assign requested address\n"},
		{[]string{"-F", "-c", "lookup"}, 1, "parse failed: lookup [no.such.host.invalid]: Unknown host (at line 3)\n"},
		{[]string{"-F", "-c", "no/where"}, 1, "can't create no/where: No such file or directory\n"},
		{[]string{"-F", "-p", "no/where", "-c", "good"}, 1, "can't open no/where: No such file or directory\n"},
		{[]string{"-c", "broken"}, 1, "parse failed: error in broken line 7 \n"},
	} {
		got := s.run(pmtr, x.args...)
		if got.code != x.code || got.stdout != "" || !strings.Contains(got.stderr, x.says) || x.says == "" && got.stderr != "" {
			t.Errorf("pmtr %q: %v; want exit %d, %q", x.args, got, x.code, x.says)
		}
	}
	if s.read("pid") != "1\n" {
		t.Error("-t has touched the pidfile")
	}
	if _, err := os.Stat(s.path("none")); err == nil {
		t.Error("-t has made the configuration")
	}
}

// TestPmtrRuns: most facts of pmtr.md, section 5.1, which the tests of pmtr check.
func TestPmtrRuns(t *testing.T) {
	t.Parallel()
	note := func(n string) string { return shell("echo "+n+" >>WORK/order") + "\n out /dev/null\n once\n" }
	l := newLive(t, job("third", note("3")+"order 3")+job("first", note("1")+"order -1")+job("second", note("2")+"order 2")+
		job("off", shell("echo >>WORK/off")+"\n disable")+
		job("one", "cmd /bin/sleep 61")+job("two", "cmd /bin/sleep 62\n in /dev/null\n order 7up")+
		job("place", "dir WORK\n cmd /bin/sh -c \"pwd >here; echo $A-$B-$PATH >>here; umask >>here; exec sleep 60\"\n env A=1\n env B=2 \n env A=x=y\n out out\n err err")+
		job("files", "dir WORK\n cmd /bin/sh -c \"cat; echo oops >&2; exec sleep 60\"\n in files.in\n out files.out\n err files.err")+
		job("setup", "order 9\n wait\n"+shell("sleep 1; echo setup >>WORK/order; exec sleep 1"))+
		job("later", "order 10\n once\n"+shell("echo later >>WORK/order"))+
		job("quits", "once\n"+shell("exit 33")), "-p", "pid")
	if got := l.read("pid"); got != strconv.Itoa(l.pid)+"\n" {
		t.Errorf("the pidfile says %q, pmtr is %d", got, l.pid)
	}
	l.says(`job setup finished`, 1)
	l.started("later", 1)
	if got := waitLines(t, l.path("work/order"), 5); got[3] != "setup" || got[4] != "later" {
		t.Errorf("jobs ran in the order %q", got)
	}
	l.inOrder("started job first [", "started job one [", "started job second [", "started job third [",
		"started job two [", "started job setup [", "pausing for job setup to finish", "job setup finished", "started job later [")
	work := l.path("work")
	waitFile(t, l.path("work/here"), func(text string) bool { return strings.Count(text, "\n") == 3 })
	if got, want := l.read("work/here"), work+"\nx=y-2-/usr/bin:/bin:"+workshop+"\n0000\n"; got != want {
		t.Errorf("the job found %q, want %q", got, want)
	}
	for _, pid := range []int{l.started("one", 1), l.started("place", 1)} {
		waitProgram(t, pid, "sleep")
		if a, b := session(t, pid), session(t, l.pid); a != b {
			t.Errorf("a job is in session and group %v, pmtr in %v", a, b)
		}
		names, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		if err != nil || len(names) != 3 {
			t.Errorf("a job has the descriptors %v, %v", names, err)
		}
	}
	if strings.Contains(l.said(), "started job off") {
		t.Error("a job with disable was started")
	}
	if _, err := os.Stat(l.path("work/files.out")); err == nil {
		t.Error("a job was started whose input is missing")
	}
	l.says(`can't open/dup files.in: No such file or directory`, 1)
	one := l.started("one", 1)
	l.signal(unix.SIGTERM)
	if code := l.wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if _, ok := lookAt(one); ok {
		t.Error("a job is left")
	}
	if _, err := os.Stat(l.path("pid")); err == nil {
		t.Error("the pidfile is left")
	}
	l.inOrder("pmtr: exiting on signal 15\n", "sending SIGTERM to job one [", "job one ["+strconv.Itoa(one)+"] exited after ")
	l.says(`job place \[\d+\] exited after \d+ sec: exit signal 15`, 1)
	if n := l.starts("setup"); n != 1 {
		t.Errorf("a short job was started %d times within seconds", n)
	}
}

// session is the session and the group of a process.
func session(t *testing.T, pid int) [2]int {
	t.Helper()
	sid, err1 := unix.Getsid(pid)
	pgid, err2 := unix.Getpgid(pid)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return [2]int{sid, pgid}
}

// TestPmtrTenSeconds: the end of a job of less than ten seconds delays its next start by ten
// seconds, but for one that bounce has ended. An older one is started at once. After status 33, or
// with once, there is no other start.
func TestPmtrTenSeconds(t *testing.T) {
	t.Parallel()
	l := newLive(t, job("old", "cmd /bin/sleep 600")+job("young", "cmd /bin/sleep 600")+
		job("quits", shell("exit 33"))+job("once", "cmd /bin/false\n once")+
		job("bounced", "cmd /bin/sleep 600\n bounce every 3s")+job("oncebounced", "cmd /bin/sleep 600\n once\n bounce every 1s")+
		job("setup", "cmd /bin/true\n wait"))
	young := l.started("young", 1)
	first := since(t, young)
	if err := unix.Kill(young, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	l.says(`job young \[\d+\] exited after 0 sec: exit signal 9`, 1)
	second := since(t, l.started("young", 2))
	if hundredths := second - first; hundredths < 900 || hundredths > 4000 {
		t.Errorf("a young job was started again after %d hundredths of a second", hundredths)
	}
	// By now the other one is old enough.
	old := l.started("old", 1)
	if err := unix.Kill(old, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	died := l.says(`job old \[\d+\] exited after (\d+) sec: exit signal 9`, 1)
	if age, _ := strconv.Atoi(died[1]); age < 10 {
		t.Errorf("it was %d seconds old", age)
	}
	again := since(t, l.started("old", 2))
	if hundredths := again - second; hundredths > 800 {
		t.Errorf("an old job was started again after %d hundredths of a second", hundredths)
	}
	l.started("setup", 2)
	if l.starts("quits") != 1 || l.starts("once") != 1 || l.starts("oncebounced") != 1 {
		t.Errorf("a job was started that should not be:\n%s", l.said())
	}
	l.says(`job oncebounced \[\d+\] exited after 1 sec: exit signal 15`, 1)
	if l.started("bounced", 3); strings.Count(l.said(), "to job bounced [") < 2 {
		t.Errorf("bounce:\n%s", l.said())
	}
}

// TestPmtrReload: what is saved is obeyed at once.
func TestPmtrReload(t *testing.T) {
	t.Parallel()
	const same = "cmd /bin/sleep 600\n once"
	keeps, goes := job("keeps", same), job("goes", "cmd /bin/sleep 600")
	short := func(arg string) string { return job("short", "cmd /bin/echo "+arg+"\n once") }
	young := func(seconds string) string { return job("young", "cmd /bin/sleep "+seconds) }
	l := newLive(t, keeps+goes+short("one")+young("601")+job("failing", "cmd /bin/false"))
	keep, go1 := l.started("keeps", 1), l.started("goes", 1)
	l.says(`echo\[\d+\]: one|short\[\d+\]: one`, 1)
	l.says(`job failing \[\d+\] exited after 0 sec: exit status 1`, 1)
	first := since(t, l.started("young", 1))

	// Added, gone, changed, and waiting; in another order, with a remark.
	l.configure("# new\n" + young("602") + short("two") + job("added", "cmd /bin/sleep 600") + keeps +
		job("failing", shell("exit 2")))
	l.reloaded(1)
	l.started("added", 1)
	l.started("short", 2)
	l.says(`sending SIGTERM to job goes\(deleted\) \[`+strconv.Itoa(go1)+`\]`, 1)
	l.says(`job goes\(deleted\) \[\d+\] exited after \d+ sec: exit signal 15`, 1)
	l.says(`sending SIGTERM to job young \[\d+\]`, 1)
	l.says(`job failing \[\d+\] exited after 0 sec: exit status 2`, 1) // a new definition has no history
	l.inOrder("sending SIGTERM to job goes(deleted)", "started job added [")

	// Broken: nothing changes.
	broken := strings.Replace(keeps, "name", "nane", 1)
	l.configure(broken)
	l.says(`FAILED to parse `+l.path("pmtr.conf"), 1)
	l.says(`ERROR: error in `+l.path("pmtr.conf")+` line 2 `, 1)
	l.says(`NOTE: using PREVIOUS job config`, 1)
	// Gone, and there again.
	l.remove("pmtr.conf")
	l.says(`can't open `+l.path("pmtr.conf")+`: No such file or directory`, 1)
	// In place, and only touched.
	nice := strings.Replace(young("602"), "cmd", "nice 1\n cmd", 1)
	l.configure(nice + short("two") + job("added", "cmd /bin/sleep 600") + keeps)
	l.reloaded(4)
	l.process.signal(unix.SIGHUP)
	l.reloaded(5)
	now := time.Now()
	if err := os.Chtimes(l.path("pmtr.conf"), now, now); err != nil {
		t.Fatal(err)
	}
	l.reloaded(6)
	added := l.started("added", 1)
	f, err := os.OpenFile(l.path("pmtr.conf"), os.O_WRONLY|os.O_TRUNC, 0)
	if err == nil {
		_, err = f.WriteString(keeps + nice)
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	l.says(`job added\(deleted\) \[`+strconv.Itoa(added)+`\] exited after \d+ sec: exit signal 15`, 1)
	if r, ok := lookAt(keep); !ok || l.starts("keeps") != 1 {
		t.Errorf("a job that was not changed is %v:\n%s", r, l.said())
	}
	if l.starts("short") != 2 {
		t.Errorf("a job that has run once ran again:\n%s", l.said())
	}
	// What was ended young waits for its ten seconds, unless it was changed meanwhile.
	if hundredths := since(t, l.started("young", 2)) - first; hundredths > 900 {
		t.Errorf("a job that was changed while it waited was started after %d hundredths", hundredths)
	}
	waitFile(t, fmt.Sprintf("/proc/%d/stat", l.started("young", 2)), func(stat string) bool {
		return strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])[16] == "1"
	})
}

// TestPmtrEdited: a job whose definition is another while it runs is ended and, the one that
// runs once as well, started with the new one after ten seconds if it was young.
func TestPmtrEdited(t *testing.T) {
	t.Parallel()
	conf := func(n string) string {
		return job("once", "once\n"+shell("exec sleep 60"+n)) + job("more", "cmd /bin/sleep 60"+n)
	}
	l := newLive(t, conf("1"))
	first := since(t, l.started("more", 1))
	l.started("once", 1)
	l.configure(conf("2"))
	second := since(t, l.started("more", 2))
	if hundredths := second - first; hundredths < 900 {
		t.Errorf("a young job was started again after %d hundredths of a second", hundredths)
	}
	waitProgram(t, l.started("once", 2), "sleep")
	if r, _ := lookAt(l.started("once", 2)); r.command != "sleep 602" {
		t.Errorf("%q runs", r.command)
	}
}

// TestPmtrDepends: the content of what a job depends on is a part of its definition.
func TestPmtrDepends(t *testing.T) {
	t.Parallel()
	l := &live{site: newSite(t, tree{"work/a": "1\n", "work/b": ""})}
	l.configure(job("web", "once\n cmd /bin/true\n dir WORK\n depends {\n a ./b\n }") + job("other", "cmd /bin/sleep 600") +
		job("lacks", "once\n cmd /bin/true\n depends {\n WORK/c\n }") + job("runs", "cmd /bin/sleep 600\n depends {\n WORK/b\n }"))
	l.process = l.start(ours(t, "pmtr"), "-F", "-c", "pmtr.conf")
	l.says(`can't open `+l.path("work/c")+`: No such file or directory`, 1)
	l.says(`job lacks: can't open dependency `+l.path("work/c"), 1)
	l.says(`job web \[\d+\] exited after 0 sec: exit status 0`, 1)
	now := time.Now()
	if err := os.Chtimes(l.path("work/a"), now, now); err != nil {
		t.Fatal(err)
	}
	l.reloaded(1)
	l.make(tree{"work/a": "1\n"})
	l.reloaded(2)
	l.make(tree{"work/a": "2\n"})
	l.reloaded(3)
	l.started("web", 2)
	l.make(tree{"work/c": "there\n"})
	l.started("lacks", 1)
	l.remove("work/b")
	l.says(`sending SIGTERM to job runs \[\d+\]`, 1)
	l.says(`job runs \[\d+\] exited after \d+ sec: exit signal 15`, 1)
	l.make(tree{"work/b": "more\n"})
	l.started("web", 3)
	l.started("runs", 2) // a new definition has no history
	if l.starts("web") != 3 || l.starts("other") != 1 || l.starts("lacks") != 1 {
		t.Errorf("wrong starts:\n%s", l.said())
	}
}

// TestPmtrWaitLive: pmtr is not deaf while it waits for a job.
func TestPmtrWaitLive(t *testing.T) {
	t.Parallel()
	long := job("long", "wait\n cmd /bin/sleep 600")
	l := newLive(t, long+job("after", "cmd /bin/sleep 600"))
	l.says("pausing for job long to finish", 1)
	l.configure(long + job("after", "cmd /bin/sleep 601") + job("more", "cmd /bin/sleep 600"))
	l.reloaded(1)
	if l.starts("after")+l.starts("more") != 0 {
		t.Errorf("jobs were started:\n%s", l.said())
	}
	l.configure(job("after", "cmd /bin/sleep 601"))
	l.started("after", 1)
	l.says(`job long\(deleted\) \[\d+\] exited after \d+ sec: exit signal 15`, 1)
	l.configure(job("after", "cmd /bin/sleep 601") + long + job("more", "cmd /bin/sleep 600"))
	pid := l.started("long", 2)
	l.says("pausing for job long to finish", 2)
	l.signal(unix.SIGINT)
	if code := l.wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
	l.says("pmtr: exiting on signal 2", 1)
	l.says(`sending SIGTERM to job long \[`+strconv.Itoa(pid)+`\]`, 1)
	if l.starts("more") != 0 {
		t.Errorf("a job was started in a shutdown:\n%s", l.said())
	}
}

// TestPmtrStubborn: a job that does not obey TERM is killed in the end.
func TestPmtrStubborn(t *testing.T) {
	t.Parallel()
	l := newLive(t, job("stubborn", shell("trap '' TERM; echo ready; while :; do sleep 1; done"))+job("obedient", "cmd /bin/sleep 600"))
	l.says(`dash\[\d+\]: ready|sh\[\d+\]: ready`, 1)
	l.process.signal(unix.SIGUSR2) // means nothing
	l.process.signal(unix.SIGTERM)
	l.says(`job obedient \[\d+\] exited after \d+ sec: exit signal 15`, 1)
	if code := l.wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
	l.inOrder("pmtr: exiting on signal 15", "sending SIGTERM to job stubborn", "job obedient [", "sending SIGKILL to job stubborn", "job stubborn [", "exit signal 9")
}

// TestPmtrSettings: what a job is given before its program, without the launcher and, for a
// user, with it.
func TestPmtrSettings(t *testing.T) {
	t.Parallel()
	needRoot(t)
	script := shell("pwd; nice; umask; ulimit -n; ulimit -Hc; grep Cpus_allowed: /proc/self/status; id -un; echo $A; cat; readlink /proc/self/fd/0; " +
		"ls /proc/self/fd | wc -l; grep -E 'Sig(Blk|Ign)' /proc/self/status; echo last; echo error >&2; exec sleep 600")
	settings := "\n env A=b\n dir WORK\n nice 7\n cpu 0\n ulimit -n 77\n ulimit -c 0\n in in\n"
	l := &live{site: newSite(t, tree{"work/in": "input\n", "work/": ""})}
	if err := os.Chmod(l.path("work"), 0o777); err != nil {
		t.Fatal(err)
	}
	l.configure(job("direct", script+settings+" out direct\n err direct.err") + job("launched", script+settings+" user root\n out launched\n err launched.err"))
	l.process = l.start(ours(t, "pmtr"), "-F", "-c", "pmtr.conf")
	want := l.path("work") + "\n7\n0000\n77\n0\n"
	for _, name := range []string{"direct", "launched"} {
		got := waitFile(t, l.path("work", name), func(text string) bool { return strings.HasSuffix(text, "last\n") })
		if !strings.HasPrefix(got, want) || !regexp.MustCompile(`\nCpus_allowed:\t0*(?:,0+)*1\nroot\nb\ninput\n`+l.path("work/in")+`\n4\nSigBlk:\t0+\nSigIgn:\t0+\n`).MatchString(got) {
			t.Errorf("%s: %q", name, got)
		}
		waitFile(t, l.path("work", name+".err"), func(text string) bool { return text == "error\n" })
		if st, err := os.Stat(l.path("work", name)); err != nil || st.Mode() != 0o644 {
			t.Errorf("%v, %v", st.Mode(), err)
		}
	}
}

// TestPmtrOutput: what jobs write is in the log, line by line.
func TestPmtrOutput(t *testing.T) {
	t.Parallel()
	l := newLive(t, job("lines", "out syslog\n once\n"+shell("printf 'one\\n\\ntw'; sleep 0.3; printf 'o\\a\\tx\\n'; echo error >&2; printf end; exec sleep 600"))+
		job("long", "once\n"+shell("head -c 20000 /dev/zero | tr '\\0' x; exec sleep 600"))+
		job("nothing", "cmd /no/such/program")+job("plain", "cmd sleep 5")+
		job("badlimit", "cmd /bin/true\n ulimit -n 99999999999")+job("baduser", "cmd /bin/true\n user nobody-of-that-name")+
		job("baddir", "cmd /bin/true\n dir /no/such")+job("cpu", "cmd /bin/true\n cpu 1000")+job("badout", "cmd /bin/true\n dir WORK\n out no/dir\n nice 1")+
		job("toerr", "cmd /no/such/other\n err WORK/err\n user root"))
	sh := `\w+\[` + strconv.Itoa(l.started("lines", 1)) + `\]: `
	l.says(sh+"one", 1)
	l.says(sh+`two\?\tx`, 1)
	l.says(sh+"error", 1)
	l.says(`\w+\[\d+\]: `+strings.Repeat("x", 8192), 2)
	for _, text := range []string{
		"can't exec /no/such/program: No such file or directory",
		"can't exec sleep: No such file or directory",
		"can't setrlimit: (?:Operation not permitted|Invalid argument)",
		"unknown user: nobody-of-that-name",
		"can't chdir /no/such: No such file or directory",
		"can't set cpu affinity: Invalid argument",
		"can't open/dup no/dir: No such file or directory",
		"can't exec /no/such/other: No such file or directory",
	} {
		l.says(text, 1)
	}
	waitFile(t, l.path("work/err"), func(text string) bool {
		return strings.Contains(text, "can't exec /no/such/other: No such file or directory")
	})
	l.says(`job baduser \[\d+\] exited after 0 sec: exit status 255`, 1)
	l.process.signal(unix.SIGTERM)
	l.wait()
	l.says(`\w+\[\d+\]: end`, 1) // an unfinished line
}

// TestPmtrUDP: control and reports.
func TestPmtrUDP(t *testing.T) {
	t.Parallel()
	reports, control := endpoints(t)
	udp := "report to udp://" + strings.Replace(reports.LocalAddr().String(), "127.0.0.1", "localhost", 1) +
		"\nlisten on udp://" + control + "\n"
	jobs := job("web", "cmd /bin/sleep 600") + job("batch", "cmd /bin/sleep 600\n disable") + job("gone", "cmd /bin/true\n once")
	l := newLive(t, udp+jobs, "-v")
	report := func(lines string) { awaitReport(t, reports, `\n`+lines, func() {}) }
	send := func(text string) { sendUDP(t, control, text) }
	web := l.started("web", 1)
	l.says(`job gone \[\d+\] exited after 0 sec: exit status 0`, 1)
	send("")
	l.says("invalid control msg", 1)
	send("  disable web enable\tbatch nobody\n")
	l.says(`received \[  disable web enable\tbatch nobody\?\]`, 1)
	l.says("disabling web", 1)
	l.says("enabling batch", 1)
	l.says("control msg for unknown job nobody", 1)
	l.says(`sending SIGTERM to job web \[`+strconv.Itoa(web)+`\]`, 1)
	batch := l.started("batch", 1)
	report(`web d \d+ 0 /bin/sleep\nbatch e \d+ ` + strconv.Itoa(batch) + ` /bin/sleep\n`)
	send("web")
	l.says("invalid control msg", 2)
	send("enable web") // which is young
	l.says("enabling web", 1)
	report(`web e \d+ 0 /bin/sleep\nbatch e \d+ ` + strconv.Itoa(batch) + ` /bin/sleep\n`)

	// A broken configuration leaves all as it is, and any other restores what it says.
	l.configure("listen on udp://127.0.0.1:1\nlisten on udp://203.0.113.1:1\n" + jobs)
	l.says("ERROR: can't bind to udp://203.0.113.1:1: Cannot assign requested address", 1)
	send("disable web")
	l.says("disabling web", 2)
	l.configure(udp + jobs + "# more\n")
	l.says(`sending SIGTERM to job batch \[`+strconv.Itoa(batch)+`\]`, 1)
	l.started("web", 2)
	// Off.
	l.configure(jobs + "report to udp://no.such.host.invalid:1\n")
	l.says(`ERROR: lookup \[no.such.host.invalid\]: Unknown host at line \d+`, 1)
	l.configure(jobs)
	for deadline := time.Now().Add(patience); len(udpSockets(t, l.pid)) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("there are sockets that the configuration does not have")
		}
	}
}

// endpoints are where reports go, and an address to listen on.
func endpoints(t *testing.T) (reports net.PacketConn, control string) {
	t.Helper()
	reports, err1 := net.ListenPacket("udp4", "127.0.0.1:0")
	probe, err2 := net.ListenPacket("udp4", "127.0.0.1:0")
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	t.Cleanup(func() { reports.Close() })
	control = probe.LocalAddr().String()
	probe.Close()
	return reports, control
}

// awaitReport waits for a report that matches behind the name of the host. Now and then it asks for one.
func awaitReport(t *testing.T, from net.PacketConn, lines string, ask func()) {
	t.Helper()
	r := regexp.MustCompile(`^report \S+` + lines + `$`)
	b, last := make([]byte, 2000), ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); ask() {
		if err := from.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if n, _, err := from.ReadFrom(b); err == nil {
			last = string(b[:n])
		}
		if r.MatchString(last) {
			return
		}
	}
	t.Fatalf("the last report is %q", last)
}

func sendUDP(t *testing.T, to, text string) {
	t.Helper()
	c, err := net.Dial("udp4", to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// TestPmtrInterface: a report by an interface begins with its address.
func TestPmtrInterface(t *testing.T) {
	t.Parallel()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		addresses, err := i.Addrs()
		if err != nil || i.Flags&net.FlagMulticast == 0 || len(i.Name) > 15 {
			continue
		}
		for _, a := range addresses {
			if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil {
				reports, _ := endpoints(t)
				newLive(t, "report to udp://"+reports.LocalAddr().String()+"@"+i.Name+"\n"+job("web", "cmd /bin/sleep 600"))
				awaitReport(t, reports, ` `+regexp.QuoteMeta(ip.IP.String())+`\nweb e \d+ \d+ /bin/sleep\n`, func() {})
				return
			}
		}
	}
	t.Skip("there is no interface that does multicast")
}

// TestPmtrAgent: what conf2dir makes of listen and report.
func TestPmtrAgent(t *testing.T) {
	t.Parallel()
	reports, control := endpoints(t)
	h := newHost(t, "native")
	h.mustConfigure("listen on udp://" + control + "\nreport to udp://" + reports.LocalAddr().String() + "\n" +
		job("web", "cmd /bin/sleep 600") + job("gone", "cmd /bin/true\n once") + job("off/line", "cmd /bin/sleep 600\n disable"))
	h.scan()
	web := waitStatus(t, h.path("scan/web"), up).PID
	ask := func() { sendUDP(t, control, "nobody") }
	awaitReport(t, reports, fmt.Sprintf(`\nweb e \d+ %d /bin/sleep\noff/line d \d+ 0 /bin/sleep\n`, web), ask)
	sendUDP(t, control, "disable web enable off/line nobody\n")
	waitStatus(t, h.path("scan/web"), down)
	off := waitStatus(t, h.path("scan/off%2Fline"), up).PID
	awaitReport(t, reports, fmt.Sprintf(`\nweb d \d+ 0 /bin/sleep\noff/line e \d+ %d /bin/sleep\n`, off), ask)
	if r := h.mustConfigure(job("web", "cmd /bin/sleep 600"), "--apply"); !strings.Contains(r.stdout, "retired pmtr-udp") {
		t.Error(r)
	}
}

// udpSockets are the sockets of a process, but for that to the system's log.
func udpSockets(t *testing.T, pid int) (found []string) {
	t.Helper()
	udp, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/udp", pid))
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		link, _ := os.Readlink(name)
		if inode, ok := strings.CutPrefix(strings.TrimSuffix(link, "]"), "socket:["); ok && strings.Contains(string(udp), " "+inode+" ") {
			found = append(found, link)
		}
	}
	return found
}

// TestPmtrDaemon: without -F it goes to the background.
func TestPmtrDaemon(t *testing.T) {
	t.Parallel()
	s := newSite(t, tree{"pmtr.conf": job("web", "cmd /bin/sleep 600"), "work/": ""})
	if got := s.run(ours(t, "pmtr"), "-c", "pmtr.conf", "-p", "pid"); got.code != 0 || got.stdout+got.stderr != "" {
		t.Fatal(got)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(s.read("pid")))
	if err != nil {
		t.Fatal(err)
	}
	waitProgram(t, pid, "pmtr")
	if got := session(t, pid); got[0] != pid {
		t.Errorf("pmtr is %d, in session %d", pid, got[0])
	}
	for fd := range 3 {
		if link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd)); link != os.DevNull {
			t.Errorf("descriptor %d is %s, %v", fd, link, err)
		}
	}
	for deadline := time.Now().Add(patience); len(s.left()) < 2; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it has no job")
		}
	}
	if err := unix.Kill(pid, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if !waitDir(t, s.root, func() bool { _, err := os.Stat(s.path("pid")); return err != nil }) {
		t.Error("the pidfile is left")
	}
	waitEnd(t, pid)
}

// TestPmtrFirst: as PID 1 it stays in the foreground, reaps orphans, and passes over signals that
// mean nothing. There is no place that it could write to.
func TestPmtrFirst(t *testing.T) {
	t.Parallel()
	words, err := namespaceWords()
	if err != nil {
		missing(t, err.Error())
	}
	l := &live{site: newSite(t, nil)}
	l.configure(job("web", shell("(sleep 0.1 &); (sleep 0.1 &); echo ready; exec sleep 600")) + job("dir", "dir /\n cmd bin/sleep 600"))
	prepare := "mount --bind / /mnt && mount -o remount,ro,bind /mnt && mount --rbind /proc /mnt/proc && mount --rbind /dev /mnt/dev"
	words = append(append([]string{}, words...), "/bin/sh", "-ec", prepare+"\nexec /usr/sbin/chroot /mnt \"$@\"", "sh")
	l.process = l.start(words[0], append(words[1:], ours(t, "pmtr"), "-c", l.path("pmtr.conf"))...)
	c := &container{site: l.site, scanner: l.process}
	l.says(`\w+\[\d+\]: ready`, 1)
	first := c.child(l.pid, "pmtr")
	l.quit = func() error { return unix.Kill(first, unix.SIGTERM) }
	for _, sig := range []unix.Signal{unix.SIGUSR2, unix.SIGPIPE, unix.SIGALRM, unix.SIGTSTP, unix.SIGABRT, unix.SIGIO, 34} {
		if err := unix.Kill(first, sig); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Kill(first, unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	l.reloaded(1)
	for deadline := time.Now().Add(patience); zombies(first) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("orphans are not reaped")
		}
	}
	l.expected = true
	if err := unix.Kill(first, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := l.wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
	l.says(`job web \[\d+\] exited after \d+ sec: exit signal 15`, 1)
}

// TestPmtrRefused: where the kernel refuses whatever can be done without, edits are seen a little later.
func TestPmtrRefused(t *testing.T) {
	t.Parallel()
	l := &live{site: newSite(t, tree{"work/dep": "1\n"})}
	l.configure(job("web", shell("echo $$; exec sleep 600")))
	l.process = l.start(workshop+"/refuse", "ENOSYS:inotify_init1,ENOSYS:clone3,EPERM:close_range,ENOSYS:pidfd_open,EPERM:prctl,EPERM:madvise,ENOSYS:waitid",
		ours(t, "pmtr"), "-F", "-c", "pmtr.conf")
	l.says("inotify-based dependency monitoring disabled", 1)
	pid := l.started("web", 1)
	l.says(fmt.Sprintf(`\w+\[%d\]: %d`, pid, pid), 1)
	l.configure(job("dep", "once\n cmd /bin/true\n depends {\n WORK/dep\n }"))
	l.says(`job web\(deleted\) \[\d+\] exited after \d+ sec: exit signal 15`, 1)
	l.says(`job dep \[\d+\] exited after 0 sec: exit status 0`, 1)
	l.make(tree{"work/dep": "2\n"})
	l.started("dep", 2)
}

// TestPmtrExample: a capture that is cut into files, a program that works on them, and one that
// prepares the place for both.
func TestPmtrExample(t *testing.T) {
	t.Parallel()
	l := newLive(t, `
# stand-ins: what is written with dd would be tcpdump's
job {
  name prepare
  wait
  once
  cmd /bin/mkdir -p WORK/data/done
}
job {
  name capture
  dir WORK/data
  out /dev/null
  nice -5
  cmd /bin/sh -c "n=0; while :; do n=$((n+1)); echo packet >$n.pcap; sleep 0.1; done"
}
job {
  name compress
  dir WORK/data
  user nobody
  env SUFFIX=gz
  cmd /bin/sh -c "while sleep 0.1; do for f in *.pcap; do echo $f; gzip -c <$f >done/$f.$SUFFIX; done; done"
}
report to udp://127.0.0.1:1
`)
	l.says(`job prepare finished`, 1)
	l.says(`(?:dash|sh)\[\d+\]: 3.pcap`, 1)
	l.inOrder("started job prepare [", "job prepare finished", "started job capture [", "started job compress [")
}
