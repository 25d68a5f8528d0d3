package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// host is a supervision system with the directories of conf2dir below scan/.
type host struct {
	*site
	form string
	work string // a directory that everybody may write to
	conf string
	args []string
}

// newHost makes an empty host. WORK in a configuration is a directory for jobs.
func newHost(t *testing.T, form string) *host {
	t.Helper()
	h := &host{site: newSite(t, tree{"scan/": ""}), form: form}
	// Users of jobs cannot enter the directories of tests.
	var err error
	if h.work, err = os.MkdirTemp("", "conf2dir"); err == nil {
		err = os.Chmod(h.work, 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(h.work) })
	h.conf = h.path("pmtr.conf")
	h.args = []string{"--for", form, "--start", h.work}
	if form == "native" {
		h.args = append(h.args, "--launcher", ours(t, "pmtr-launch"))
	}
	return h
}

// configure writes the configuration and runs conf2dir.
func (h *host) configure(text string, options ...string) result {
	h.t.Helper()
	h.make(tree{"pmtr.conf": strings.ReplaceAll(text, "WORK", h.work)})
	return h.run(ours(h.t, "conf2dir"), append(append(slices.Clone(h.args), options...), h.conf, h.path("scan"))...)
}

func (h *host) mustConfigure(text string, options ...string) result {
	h.t.Helper()
	r := h.configure(text, options...)
	if r.code != 0 {
		h.t.Fatal(r)
	}
	return r
}

// scan starts the scanner of the form.
func (h *host) scan() *process {
	h.t.Helper()
	var p *process
	switch h.form {
	case "native":
		return h.svscan(ours(h.t, "svscan"), h.path("scan"))
	case "daemontools":
		return h.svscan(peer(h.t, "svscan"), h.path("scan"))
	case "runit":
		p = h.start(peer(h.t, "runsvdir"), h.path("scan"))
		p.quit = func() error { return p.cmd.Process.Signal(unix.SIGHUP) }
	case "s6":
		p = h.start(peer(h.t, "s6-svscan"), h.path("scan"))
	}
	p.finish = h.quit
	return p
}

// quit ends what is supervised. s6-supervise has no FIFO ok to be asked by.
func (h *host) quit() error {
	if h.form != "s6" {
		return h.dismiss()
	}
	return nil // s6-svscan has waited for all
}

// peers skips the test where programs are missing that the form needs.
func (h *host) peers() {
	h.t.Helper()
	for _, name := range map[string][]string{
		"native": nil, "daemontools": {"svscan", "envdir", "svc"}, "runit": {"runsvdir", "chpst", "sv"}, "s6": {"s6-svscan", "s6-envdir", "s6-svc"},
	}[h.form] {
		peer(h.t, name)
	}
}

// lines waits for n lines in a file of the jobs.
func (h *host) lines(name string, n int) []string {
	h.t.Helper()
	return waitLines(h.t, filepath.Join(h.work, name), n)
}

func everyForm(t *testing.T, forms []string, test func(t *testing.T, h *host)) {
	for _, form := range forms {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, form)
			h.peers()
			test(t, h)
		})
	}
}

var (
	allForms      = []string{"native", "daemontools", "runit", "s6"}
	portableForms = allForms[1:]
)

// member is a user of this machine and his groups; with more than one, if there is such
// a user.
func member(t *testing.T) (name string, uid, gid int, groups []int) {
	t.Helper()
	read := func(path string) (lines [][]string) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			lines = append(lines, strings.Split(strings.TrimSpace(line), ":"))
		}
		return lines
	}
	group := read("/etc/group")
	for _, u := range read("/etc/passwd") {
		if len(u) < 4 || u[2] == "0" {
			continue
		}
		found := []int{}
		for _, g := range group {
			if len(g) == 4 && (g[2] == u[3] || slices.Contains(strings.Split(g[3], ","), u[0])) {
				n, _ := strconv.Atoi(g[2])
				found = append(found, n)
			}
		}
		if len(found) > len(groups) {
			name, groups = u[0], found
			uid, _ = strconv.Atoi(u[2])
			gid, _ = strconv.Atoi(u[3])
		}
	}
	slices.Sort(groups)
	return name, uid, gid, groups
}

// TestConf2dirJob: a job finds all that its configuration says, under every system, as
// /proc shows it.
func TestConf2dirJob(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can change users")
	}
	user, uid, gid, groups := member(t)
	everyForm(t, allForms, func(t *testing.T, h *host) {
		h.setenv("BEFORE", "stays")
		h.mustConfigure(`job {
  name full/job%x
  cmd /bin/sh -c "umask; echo $$ >>started; exec sleep 1000" $X ` + "`date`" + ` "it's" ""
  dir WORK
  in in
  out out
  err err
  env COLOUR=red
  env COLOUR=a'b"c\$d
  env EMPTY=
  env PATH=/nowhere:/bin
  user ` + user + `
  nice 7
  cpu 0
  ulimit -n 77
  ulimit {
    -v 5000000000
    RLIMIT_CORE 4096
    -u 3000
  }
}
`)
		if err := os.WriteFile(filepath.Join(h.work, "in"), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		h.scan()
		pid, err := strconv.Atoi(h.lines("started", 1)[0])
		if err != nil {
			t.Fatal(err)
		}
		waitProgram(t, pid, "sleep")
		if record := h.status("full%2Fjob%25x"); record != uint32(pid) {
			t.Errorf("the service has process %d, the job %d", record, pid)
		}
		p := facts(t, pid)
		for name, want := range map[string]string{
			"cwd": h.work, "fd/0": h.work + "/in", "fd/1": h.work + "/out", "fd/2": h.work + "/err",
			"Uid": repeat(uid), "Gid": repeat(gid), "Groups": ints(groups), "Umask": "0000", "Cpus_allowed_list": "0",
			"SigBlk": strings.Repeat("0", 16), "SigIgn": strings.Repeat("0", 16), "nice": "7",
			"Max open files": "77 77 files", "Max address space": "5000000000 5000000000 bytes",
			"Max core file size": "4096 4096 bytes", "Max processes": "3000 3000 processes",
			"env COLOUR": `a'b"c\$d`, "env EMPTY": "", "env PATH": "/nowhere:/bin", "env BEFORE": "stays",
		} {
			if got, ok := p[name]; !ok || got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		for _, none := range []string{"env HOME", "env USER", "env SVC_NATIVE", "env c2d_env", "fd/3"} {
			if got, ok := p[none]; ok {
				t.Errorf("%s is there: %q", none, got)
			}
		}
		cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if string(cmdline) != "sleep\x001000\x00" || err != nil {
			t.Errorf("%q, %v", cmdline, err)
		}
		for _, name := range []string{"out", "err"} {
			var st unix.Stat_t
			if err := unix.Stat(filepath.Join(h.work, name), &st); err != nil || st.Mode&0o7777 != 0o644 || int(st.Uid) != uid {
				t.Errorf("%s: mode %o, user %d, %v", name, st.Mode, st.Uid, err)
			}
		}
		if out := h.lines("out", 1); out[0] != "0000" {
			t.Errorf("umask %q", out)
		}
	})
}

func repeat(id int) string { return ints([]int{id, id, id, id}) }

func ints(list []int) string {
	var words []string
	for _, n := range list {
		words = append(words, strconv.Itoa(n))
	}
	return strings.Join(words, " ")
}

// status is the process of a service, in the layout that all but s6 share.
func (h *host) status(dir string) uint32 {
	h.t.Helper()
	if h.form == "s6" {
		out := h.run(peer(h.t, "s6-svstat"), "-o", "pid", h.path("scan", dir))
		pid, err := strconv.ParseUint(strings.TrimSpace(out.stdout), 10, 32)
		if err != nil {
			h.t.Fatal(out)
		}
		return uint32(pid)
	}
	return waitStatus(h.t, h.path("scan", dir), up).PID
}

// waitProgram waits until a process has become a program; nothing tells of that.
func waitProgram(t *testing.T, pid int, name string) {
	t.Helper()
	var comm []byte
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		comm, _ = os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if string(comm) == name+"\n" {
			return
		}
	}
	t.Fatalf("process %d is %q and does not become %s", pid, comm, name)
}

// facts is what /proc says of a process.
func facts(t *testing.T, pid int) map[string]string {
	t.Helper()
	f := map[string]string{}
	at := func(name string) string { return fmt.Sprintf("/proc/%d/%s", pid, name) }
	read := func(name string) string {
		b, err := os.ReadFile(at(name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for line := range strings.Lines(read("status")) {
		key, value, _ := strings.Cut(line, ":")
		f[key] = strings.Join(strings.Fields(value), " ")
	}
	for line := range strings.Lines(read("limits")) {
		const column = 26
		if len(line) > column {
			f[strings.TrimSpace(line[:column])] = strings.Join(strings.Fields(line[column:]), " ")
		}
	}
	for e := range strings.SplitSeq(strings.TrimSuffix(read("environ"), "\x00"), "\x00") {
		key, value, _ := strings.Cut(e, "=")
		f["env "+key] = value
	}
	stat := read("stat")
	f["nice"] = strings.Fields(stat[strings.LastIndexByte(stat, ')'):])[17]
	for _, link := range []string{"cwd", "fd/0", "fd/1", "fd/2", "fd/3"} {
		if to, err := os.Readlink(at(link)); err == nil {
			f[link] = to
		}
	}
	return f
}

// TestConf2dirRules: once, status 33, bounce, wait, depends, disable and the pause of
// ten seconds under the real systems.
func TestConf2dirRules(t *testing.T) {
	t.Parallel()
	everyForm(t, allForms, func(t *testing.T, h *host) {
		for name, text := range map[string]string{
			"job": "#!/bin/sh\necho $$ $(date +%s.%N) >>\"$1\"\nshift\nexec \"$@\"\n", "watched": "one\n",
		} {
			if err := os.WriteFile(filepath.Join(h.work, name), []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		job := func(name, program string, options ...string) string {
			return "job {\nname " + name + "\ncmd ./job " + name + " " + program + "\ndir WORK\n" + strings.Join(options, "\n") + "\n}\n"
		}
		h.mustConfigure(job("setup", "/bin/sleep 1", "wait", "once", "order -1") + job("again", "/bin/sleep 0.2", "wait", "order -1") + job("plain", "/bin/sleep 1000") + job("once", "/bin/true", "once") +
			job("permanent", "/bin/sh -c \"exit 33\"") + job("bounce", "/bin/sleep 1000", "bounce every 2s") + job("depends", "/bin/sleep 1000", "depends {\nwatched\n}") +
			job("disabled", "/bin/true", "disable") + job("quick", "/bin/true"))
		h.scan()

		setup, plain := h.time("setup", 1)[0], h.time("plain", 1)[0]
		if gap := plain.when - setup.when; gap < 1.2 || gap > 9 {
			t.Errorf("after %v seconds of the wait job", gap)
		}
		if again := h.time("again", 1)[0]; again.when-setup.when < 1 || plain.when-again.when < 0.2 {
			t.Errorf("two wait jobs and another: %v", []start{setup, again, plain})
		}
		// Killed when it is old, it is there again at once; when it is young, after a
		// pause of ten seconds, of which this sees the beginning.
		quick := h.time("quick", 1)[0]
		if h.form != "native" { // whose scanner knows better, and does not show the pause
			h.make(tree{"scan/plain/.started": strconv.FormatInt(time.Now().Unix()-20, 10) + "\n"})
			if err := kill(plain.pid); err != nil {
				t.Error(err)
			}
			again := h.time("plain", 2)[1]
			if gap := again.when - plain.when; gap > 8 {
				t.Errorf("an old job is back after %v seconds", gap)
			}
			h.pauses("quick")
		}

		first := h.time("depends", 1)[0]
		if err := os.WriteFile(filepath.Join(h.work, "watched"), []byte("two\n"), 0o644); err != nil {
			t.Error(err)
		}
		bounces := h.time("bounce", 3)
		for i, b := range bounces[1:] {
			// Of two seconds, by the clock of scripts that a busy machine lets begin late.
			if gap := b.when - bounces[i].when; gap < 1 || gap > 8 {
				t.Errorf("bounce after %v seconds", gap)
			}
		}
		if n := len(h.time("once", 1)); n != 1 {
			t.Errorf("%d runs of once", n)
		}
		if n := len(h.time("permanent", 1)); n != 1 && h.form != "daemontools" {
			t.Errorf("%d runs of a job that ended with 33", n)
		}
		if n := len(h.time("setup", 1)); n != 1 {
			t.Errorf("%d runs of setup", n)
		}
		if n := len(h.time("quick", 1)); n != 1 && h.time("quick", 2)[1].when-quick.when < 9 {
			t.Errorf("%d runs of quick", n)
		}
		if _, err := os.Stat(filepath.Join(h.work, "disabled")); err == nil {
			t.Error("a disabled job ran")
		}
		// Its first process is told to end; the next waits like any other.
		if ended, err := endOf(first.pid, patience); !ended || err != nil {
			t.Errorf("the change of a file is not noticed: %v; %v", err, h.left())
		}
		if os.Getenv("UPKEEP_CONF_SLOW") != "1" {
			return
		}
		for _, name := range []string{"quick", "depends"} {
			runs := h.time(name, 2)
			if gap := runs[1].when - runs[0].when; gap < 9 || gap > 16 {
				t.Errorf("%s: %v seconds between two starts", name, gap)
			}
		}
	})
}

// start is a start of a job.
type start struct {
	pid  int
	when float64
}

// time waits for n starts of a job.
func (h *host) time(name string, n int) (starts []start) {
	h.t.Helper()
	for _, line := range h.lines(name, n) {
		pid, when, _ := strings.Cut(line, " ")
		var s start
		s.pid, _ = strconv.Atoi(pid)
		s.when, _ = strconv.ParseFloat(when, 64)
		starts = append(starts, s)
	}
	return starts
}

// pauses waits until the process of a service does nothing but sleep for ten seconds.
func (h *host) pauses(dir string) {
	h.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		for _, r := range h.left() {
			if cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", r.pid)); err == nil && string(cmdline) == "sleep\x0010\x00" {
				if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", r.pid)); err == nil && cwd == h.path("scan", dir) {
					return
				}
			}
		}
	}
	h.t.Errorf("%s does not pause", dir)
}

// TestConf2dirHooks: what the administrator adds has a meaning, output reaches the log,
// and so does why a job cannot be started.
func TestConf2dirHooks(t *testing.T) {
	t.Parallel()
	everyForm(t, allForms, func(t *testing.T, h *host) {
		h.args = append(h.args, "--log", "files")
		h.mustConfigure("job {\nname a\ncmd /bin/sh -c \"echo said $LOCAL; echo bad >&2; exec sleep 1000\"\nenv LOCAL=no\n}\n" +
			"job {\nname b\ncmd /bin/none\n}\n")
		h.make(tree{
			"scan/a/env.local/LOCAL": "yes\n", "scan/a/run.local!": "#!/bin/sh\necho local $# \"$1\" in $PWD\nexec \"$@\"\n",
		})
		h.scan()
		// multilog and svlogd make the directory or find it; what is in it comes later.
		log := func(name string) string {
			t.Helper()
			waitDir(t, h.path("scan", name, "log"), func() bool { _, err := os.Stat(h.path("scan", name, "log/main")); return err == nil })
			want := "bad"
			if name == "b" {
				want = "/bin/none"
			}
			return waitFile(t, h.path("scan", name, "log/main/current"), func(c string) bool { return strings.Contains(c, want) })
		}
		said := log("a")
		for _, want := range []string{"local 3 /bin/sh in " + h.work, "said yes", "bad"} {
			if !strings.Contains(said, want) {
				t.Errorf("%q is missing in %q", want, said)
			}
		}
		if said := log("b"); h.form == "native" && !strings.Contains(said, "]: can't exec /bin/none: No such file or directory\n") {
			t.Errorf("%q", said)
		}
	})
}

// TestConf2dirDepends: a job is down while a file that it depends on is gone.
func TestConf2dirDepends(t *testing.T) {
	t.Parallel()
	everyForm(t, allForms, func(t *testing.T, h *host) {
		watched := filepath.Join(h.work, "it's")
		if err := os.WriteFile(watched, []byte("one\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(h.work, "job"), []byte("#!/bin/sh\necho $$ 0 >>a\nexec sleep 1000\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		h.mustConfigure("job {\nname a\ndir WORK\ncmd ./job\ndepends {\nit's\n}\n}\n", "--log", "scanner")
		p := h.scan()
		first := h.time("a", 1)[0]
		if err := os.Remove(watched); err != nil {
			t.Fatal(err)
		}
		if ended, err := endOf(first.pid, patience); !ended || err != nil {
			t.Fatalf("the job goes on without the file: %v", err)
		}
		complaint := "job a: can't open dependency " + watched + "\n"
		said := p.stdout
		if h.form == "native" {
			complaint, said = "unable to read "+watched+", which a depends on: file does not exist\n", p.stderr
		}
		waitFile(t, said, func(c string) bool { return strings.Contains(c, complaint) })
		h.make(tree{"scan/a/.started": "1\n"})
		if err := os.WriteFile(watched, []byte("one\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		h.time("a", 2)
	})
}
