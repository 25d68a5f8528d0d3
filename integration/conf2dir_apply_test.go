package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestConf2dirApply: running services follow the configuration, and only those that it
// has changed.
func TestConf2dirApply(t *testing.T) {
	t.Parallel()
	everyForm(t, allForms, func(t *testing.T, h *host) {
		if err := os.WriteFile(filepath.Join(h.work, "job"), []byte("#!/bin/sh\necho $$ $(date +%s.%N) $COLOUR >>\"$1\"\nexec sleep 1000\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		h.args = append(h.args, "--log", "files")
		job := func(name string, options ...string) string {
			return "job {\nname " + name + "\ndir WORK\ncmd ./job " + name + "\n" + strings.Join(options, "\n") + "\n}\n"
		}
		configure := func(want, text string) {
			t.Helper()
			r := h.configure(text, "--apply")
			if got := strings.ReplaceAll(r.stdout, h.path("scan")+"/", ""); r.code != 0 || got != want {
				t.Fatalf("%v\nwant %q", r, want)
			}
		}
		ends := func(s start) {
			t.Helper()
			if ended, err := endOf(s.pid, patience); !ended || err != nil {
				t.Fatalf("process %d does not end: %v", s.pid, err)
			}
		}
		configure("new a\nnew b\n", job("a", "env COLOUR=red")+job("b"))
		h.scan()
		a, b := h.time("a", 1)[0], h.time("b", 1)[0]

		configure("", job("a", "env COLOUR=red")+job("b"))
		configure("changed a\n  svc -t a\n", job("a", "env COLOUR=blue")+job("b"))
		ends(a)
		if lines := h.lines("a", 2); !strings.HasSuffix(lines[1], " blue") {
			t.Errorf("%q", lines)
		}
		a = h.time("a", 2)[1]
		// The variables of before go at the next run, and that is all.
		configure("changed a\n", job("a", "env COLOUR=blue")+job("b"))
		configure("", job("a", "env COLOUR=blue")+job("b"))
		if envs, err := filepath.Glob(h.path("scan/a/env.*")); len(envs) != 1 || err != nil {
			t.Errorf("%v, %v", envs, err)
		}
		configure("changed b\n  svc -d b\n", job("a", "env COLOUR=blue")+job("b", "disable"))
		ends(b)
		configure("changed b\n  svc -u b\n", job("a", "env COLOUR=blue")+job("b"))
		b = h.time("b", 2)[1]

		// Without --apply nobody is told, but what to do is said.
		r := h.configure(job("a", "env COLOUR=green") + job("b"))
		if want := "changed a\n  svc -t " + h.path("scan/a") + "\n"; r.stdout != want || r.code != 0 {
			t.Error(r)
		}
		if r = h.configure(job("b")); !strings.HasPrefix(r.stdout, "unwanted a: it is supervised; with --apply it is ended and removed\n") || r.code != 1 {
			t.Error(r)
		}
		r = h.configure(job("b"), "--apply")
		retired := h.path("scan/.retired.a")
		if r.code != 0 || r.stdout != "retired a: "+retired+" stays, with files that are not conf2dir's: log\n" {
			t.Error(r)
		}
		ends(a)
		if _, err := os.Lstat(h.path("scan/a")); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		// What it has logged is kept, and nothing else.
		if names, err := filepath.Glob(retired + "/*"); err != nil || len(names) != 1 {
			t.Error(names, err)
		}
		if names, err := filepath.Glob(retired + "/log/*"); err != nil || len(names) != 1 || filepath.Base(names[0]) != "main" {
			t.Error(names, err)
		}
		for _, p := range h.left() {
			if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", p.pid)); err == nil && strings.Contains(cwd, "(deleted)") {
				t.Errorf("left behind: %v", p)
			}
		}
		configure("new a\n", job("b")+job("a"))
		h.time("a", 3)
		if lines := h.lines("b", 2); len(lines) != 2 {
			t.Errorf("b was started %d times", len(lines))
		}
		if ended, err := endOf(b.pid, 0); ended || err != nil {
			t.Error("b is gone", err)
		}
		// What runs once and is done does so again when it is another.
		once := func(argument string) string {
			return "job {\nname once\ncmd /bin/sh -c \"echo $$ >>$0\" " + h.work + "/once " + argument + "\nonce\n}\n"
		}
		configure("new once\n", job("b")+job("a")+once("1"))
		h.time("once", 1)
		r = h.configure(job("b")+job("a")+once("2"), "--apply") // it may still be ending
		said := strings.NewReplacer(h.path("scan")+"/", "", "  svc -ut ", "  svc -o ", "  svc -t "+h.path("scan/once\n"), "").Replace(r.stdout)
		if r.code != 0 || said != "changed once\n  svc -o once\n" {
			t.Error(r)
		}
		h.time("once", 2)
		configure("", job("b")+job("a")+once("2"))
	})
}

// TestConf2dirStubborn: a process that does not obey TERM is killed ten seconds later,
// in a restart and when its job is gone.
func TestConf2dirStubborn(t *testing.T) {
	t.Parallel()
	if os.Getenv("UPKEEP_CONF_SLOW") != "1" {
		t.Skip("takes 25 seconds; UPKEEP_CONF_SLOW=1 runs it")
	}
	everyForm(t, portableForms, func(t *testing.T, h *host) {
		if err := os.WriteFile(filepath.Join(h.work, "job"), []byte("#!/bin/sh\ntrap '' TERM\necho $$ $(date +%s.%N) >>a\nexec sleep 1000\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		const job = "job {\nname a\ndir WORK\ncmd ./job\n}\n"
		h.mustConfigure(job)
		h.scan()
		h.time("a", 1)
		for n, text := range []string{strings.Replace(job, "./job", "./job 2", 1), ""} {
			begin := time.Now()
			r := h.configure(text, "--apply")
			if took := time.Since(begin).Seconds(); r.code != 0 || took < 9 || took > 40 {
				t.Errorf("%v after %v seconds", r, took)
			}
			if n == 0 {
				h.time("a", 2)
			}
		}
	})
}

// TestConf2dirKilled kills conf2dir at any instant: no service directory is ever seen
// half made, and the next run finishes the work.
func TestConf2dirKilled(t *testing.T) {
	t.Parallel()
	kills := 20
	if n, err := strconv.Atoi(os.Getenv("UPKEEP_CONF_KILLS")); err == nil {
		kills = n
	}
	h := newHost(t, "native")
	program := ours(t, "conf2dir")
	envs := regexp.MustCompile(`(?m)^  -e (env\.[0-9a-f]+) \\$`)
	for i := range kills {
		var text strings.Builder
		for n := range 12 {
			if (n+i)%5 != 0 { // jobs come and go
				fmt.Fprintf(&text, "job {\nname j%d\ncmd /bin/x %d\nenv A=%d\nnice %d\n}\n", n, i, i, i%19)
			}
		}
		h.make(tree{"pmtr.conf": text.String()})
		cmd := exec.Command(program, append(append([]string(nil), h.args...), h.conf, h.path("scan"))...)
		h.furnish(cmd)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.IntN(60_000)) * time.Microsecond) // the instant is the experiment
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		entries, err := os.ReadDir(h.path("scan"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name()[0] == '.' {
				continue
			}
			run, err := os.ReadFile(h.path("scan", e.Name(), "run"))
			if err != nil || !strings.HasPrefix(string(run), "#!/bin/sh\n# conf2dir 1 ") || !strings.HasSuffix(string(run), "\n") {
				t.Fatalf("%s: %q, %v", e.Name(), run, err)
			}
			m := envs.FindSubmatch(run)
			st, err := os.Stat(h.path("scan", e.Name(), "run"))
			if m == nil || err != nil || st.Mode() != 0o755 {
				t.Fatalf("%s: %q, %v", e.Name(), run, st)
			}
			value, err := os.ReadFile(h.path("scan", e.Name(), string(m[1]), "A"))
			if want := regexp.MustCompile(`/bin/x (\d+)\n`).FindSubmatch(run); err != nil || want == nil || string(value) != string(want[1])+"\n" {
				t.Fatalf("%s: %q, %v; %s", e.Name(), value, err, run)
			}
		}
	}
	for n := range 2 {
		r := h.run(program, append(append([]string(nil), h.args...), h.conf, h.path("scan"))...)
		if r.code != 0 || r.stderr != "" || n == 1 && r.stdout != "" {
			t.Error(r)
		}
	}
	var names []string
	entries, err := os.ReadDir(h.path("scan"))
	for _, e := range entries {
		names = append(names, e.Name())
		if below, _ := filepath.Glob(h.path("scan", e.Name(), ".new.*")); strings.HasPrefix(e.Name(), ".new.") {
			names = append(names, below...)
		}
	}
	if err != nil || len(names) != 1+strings.Count(h.read("pmtr.conf"), "job {") {
		t.Errorf("%v, %v", names, err)
	}
}

// TestConf2dirWatch: --watch follows the file as it is written, replaced and broken.
func TestConf2dirWatch(t *testing.T) {
	t.Parallel()
	h := newHost(t, "native")
	h.make(tree{"pmtr.conf": "job {\nname a\ncmd /bin/x\n}\n"})
	p := h.start(ours(t, "conf2dir"), append(h.args, "--watch", h.conf, h.path("scan"))...)
	hear := func(line string) {
		t.Helper()
		waitFile(t, p.stdout, func(c string) bool { return strings.HasSuffix(c, line) })
	}
	hear("new a\n")
	h.make(tree{"pmtr.conf": "job {\nname b\ncmd /bin/x\n}\n"}) // by a rename
	hear("new b\nretired a\n")
	if err := os.WriteFile(h.conf, []byte("job {\nname b\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	waitFile(t, p.stderr, func(c string) bool {
		return c == "conf2dir: fatal: parse failed: error in "+h.conf+" line 3 \n"
	})
	if err := os.WriteFile(h.conf, []byte("job {\nname b\ncmd /bin/x\n}\njob {\nname c\ncmd /bin/x\n}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	hear("new c\n")
	p.signal(15)
	if code := p.wait(); code != -1 {
		t.Errorf("exit %d", code)
	}
}

// TestConf2dirProgram: exit codes and messages.
func TestConf2dirProgram(t *testing.T) {
	t.Parallel()
	h := newHost(t, "native")
	h.args = nil
	const good = "job {\nname a\ncmd /bin/x\n}\n"
	program := ours(t, "conf2dir")
	for _, c := range []struct {
		args, conf, stderr string
		code               int
	}{
		{"--check CONF", good, "", 0},
		{"--check CONF", "job {\n", "conf2dir: fatal: parse failed: error in CONF line 2 \n", 1},
		{"--check CONF", "job {\nname a\n}\n", "conf2dir: warning: CONF line 1: job a: has no cmd and is not started\n", 1},
		{"--check NONE", good, "conf2dir: fatal: can't open NONE: No such file or directory\n", 1},
		{"CONF SCAN", "job {\nname a\nnice x\n}\n", "conf2dir: fatal: parse failed: non-numeric nice parameter\n", 1},
		{"CONF SCAN", "job {\nname a\n}\n", "conf2dir: warning: CONF line 1: job a: has no cmd and is not started\n", 1},
		{"CONF NONE", good, "conf2dir: fatal: unable to update NONE: file does not exist\n", 111},
		{"--for daemontools CONF SCAN", good, "conf2dir: warning: CONF: daemontools has no finish: a job that exits with status 33 is started again\n", 0},
		{"--for s6 CONF SCAN", good, "", 0},
	} {
		h.make(tree{"pmtr.conf": c.conf})
		fill := strings.NewReplacer("CONF", h.conf, "SCAN", h.path("scan"), "NONE", h.path("none"))
		r := h.run(program, strings.Fields(fill.Replace(c.args))...)
		if r.code != c.code || r.stderr != fill.Replace(c.stderr) {
			t.Errorf("%s %q: %v", c.args, c.conf, r)
		}
	}
	for _, args := range []string{"", "x", "--for", "--for x a b", "--log x a b", "a b c", "--check a b", "--nonsense a b", "--start rel a b", "--watch --dry-run a b", "--apply=1 a b"} {
		if r := h.run(program, strings.Fields(args)...); r.code != 100 || !strings.HasPrefix(r.stderr, "conf2dir: usage: conf2dir ") {
			t.Errorf("%s: %v", args, r)
		}
	}
	if _, err := os.Stat(h.path("none")); err == nil {
		t.Error("a missing file was made")
	}
}
