package integration

import (
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

	conf "upkeep/conf2dir/tree"
	"upkeep/supervise/status"
)

// cast says whose programs play the parts of a scene.
type cast struct {
	name           string
	client, server func(testing.TB, string) string
	dialect        string
	s6             bool // with the layouts of s6
	// look, if set, is called at each wait for the service directory dir.
	look func(t testing.TB, dir string)
}

// playScenes plays the scenes in a folder of testdata/interop with each cast. A
// scene is an archive: a story, the service directories, and the transcript, in
// which lines that begin with "$ " are clients to run, those with "> " are other
// steps (scene.step), and what follows them is what there is to see. With
// -update, the first cast, the real programs on both sides, writes it; all casts
// have to live up to it, the first one, too.
//
// A scene waits until things have settled before it goes on: the real supervise
// is deaf for a second after each start, ours is not.
func playScenes(t *testing.T, folder string, casts []cast, skip func(scene string, c cast) bool) {
	paths, err := filepath.Glob("testdata/interop/" + folder + "/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatal("no scenes", err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".txtar")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if *update {
				a := readArchive(t, path)
				*transcriptOf(t, a) = play(t, casts[0], a)
				a.write(t, path)
				return
			}
			for _, c := range casts {
				if skip(name, c) {
					continue
				}
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					a := readArchive(t, path)
					if want, got := *transcriptOf(t, a), play(t, c, a); got != want {
						t.Errorf("the transcript differs (- %s, + this cast):\n%s", folder, diff(want, got))
					}
				})
			}
		})
	}
}

func transcriptOf(t testing.TB, a *archive) *string {
	t.Helper()
	transcript, ok := a.file("transcript")
	if !ok {
		t.Fatal("the scene has no transcript")
	}
	return transcript
}

// scene is one transcript being played.
type scene struct {
	t           testing.TB
	cast        cast
	site        *site
	transcript  strings.Builder
	supervisors map[string]*process // by directory
	services    map[string]uint32   // their pids when last waited for
	read        map[string]int      // lines of files
	s6          s6Scene
}

func play(t testing.TB, c cast, a *archive) string {
	t.Helper()
	c.server(t, "supervise") // if it is missing, find out before anything runs
	files := tree{}
	for _, f := range a.files {
		if f.name != "transcript" {
			files[f.name] = strings.TrimSuffix(f.content, "\n") + "\n"
			if strings.HasSuffix(f.name, "@") {
				files[f.name] = strings.TrimSpace(f.content)
			}
		}
	}
	v := &scene{
		t: t, cast: c, site: newSite(t, files),
		supervisors: map[string]*process{}, services: map[string]uint32{}, read: map[string]int{},
	}
	if c.dialect != "" {
		v.site.setenv("UPKEEP_DIALECT", c.dialect)
	}
	v.site.setenv("SVDIR", v.site.path("scan"))
	defer v.closeS6()
	for line := range strings.Lines(*transcriptOf(t, a)) {
		line = strings.TrimSuffix(line, "\n")
		if client, ok := strings.CutPrefix(line, "$ "); ok {
			v.say(line)
			v.client(strings.Fields(client))
		} else if step, ok := strings.CutPrefix(line, "> "); ok {
			v.say(line)
			v.step(strings.Fields(step))
		}
	}
	return v.transcript.String()
}

var (
	pids    = regexp.MustCompile(`\(pid \d+\)`)
	seconds = regexp.MustCompile(`\b\d+( seconds|s\b)`)
	// What sv says behind kill: is how things are right after it has sent the k.
	killed = regexp.MustCompile(`^kill: (?:run|down): ([^:]*): .*`)
)

// say adds lines to the transcript, without what is different each time.
func (v *scene) say(lines ...string) {
	for _, line := range lines {
		line = strings.ReplaceAll(line, v.site.root, "ROOT")
		line = pids.ReplaceAllString(line, "(pid N)")
		line = seconds.ReplaceAllString(line, "N$1")
		line = killed.ReplaceAllString(line, "kill: $1")
		if v.cast.s6 {
			line = labels.ReplaceAllString(line, "@LABEL")
		}
		v.transcript.WriteString(line + "\n")
	}
}

// sayText adds what a program wrote, with a mark in front of each line.
func (v *scene) sayText(mark, text string) {
	for line := range strings.Lines(text) {
		v.say(mark + strings.TrimSuffix(line, "\n"))
	}
}

// client runs a client to its end, or a supervisor that cannot begin. What it
// writes to standard error is marked with "!", and an exit code is shown if it
// is not 0.
func (v *scene) client(words []string) {
	v.t.Helper()
	for i, w := range words {
		words[i] = strings.ReplaceAll(strings.Trim(w, "'"), "ROOT", v.site.root)
	}
	program := v.cast.client
	if name, ok := strings.CutPrefix(words[0], "init.d/"); ok {
		v.initScript(name, words[1:])
		return
	}
	switch words[0] {
	case "supervise", "svscan", "s6-supervise", "s6-svscan":
		program = v.cast.server
	}
	v.sayResult(v.site.run(program(v.t, words[0]), words[1:]...))
}

// initScript runs sv by a link of another name.
func (v *scene) initScript(name string, args []string) {
	v.t.Helper()
	link := v.site.path("init.d", name)
	if _, err := os.Lstat(link); err != nil {
		v.site.make(tree{"init.d/" + name + "@": v.cast.client(v.t, "sv")})
	}
	v.sayResult(v.site.run(link, args...))
}

func (v *scene) sayResult(r result) {
	v.sayText("", r.stdout)
	v.sayText("! ", r.stderr)
	if r.code != 0 {
		v.say("exit " + strconv.Itoa(r.code))
	}
}

// step is everything in a scene that is no client.
func (v *scene) step(words []string) {
	v.t.Helper()
	verb, args := words[0], words[1:]
	switch verb {
	case "supervise": // DIR: start a supervisor
		v.supervisors[args[0]] = v.site.supervise(v.cast.server(v.t, verb), args...)
	case "svscan": // DIR: start a scanner
		v.supervisors[args[0]] = v.site.svscan(v.cast.server(v.t, verb), args...)
	case "wait": // DIR CONDITION
		v.wait(args[0], args[1])
	case "aged": // DIR: wait until the status is not of this second any more
		r := waitStatus(v.t, v.site.path(args[0]), supervised)
		time.Sleep(time.Until(time.Unix(r.Since.Sec+1, 0)))
	case "holds": // FILE TEXT...: wait until it holds this line
		want := strings.Join(args[1:], " ") + "\n"
		waitFile(v.t, v.site.path(args[0]), func(c string) bool { return c == want })
		if dir, ok := strings.CutSuffix(args[0], "/stat"); ok {
			v.statusSays(dir, want)
		}
	case "read": // FILE [N]: wait for N more lines, or see how many there are
		v.lines(args[0], args[1:])
	case "kill": // DIR SIGNAL: signal a service behind its supervisor's back
		v.signal(int(v.record(args[0], "up", up).PID), args[1])
	case "signal": // DIR SIGNAL: signal its supervisor
		v.supervisors[args[0]].signal(unix.SignalNum("SIG" + args[1]))
	case "control": // DIR BYTES: write to the FIFO without a client
		if err := v.site.control(args[0], args[1]); err != nil {
			v.t.Fatal(err)
		}
	case "frozen": // DIR: wait until the service is stopped by SIGSTOP
		waitFrozen(v.t, int(v.record(args[0], "up", up).PID))
	case "orphan": // DIR: see that the service outlived its supervisor, and end it
		v.orphan(args[0])
	case "write": // FILE [LINE ...]
		v.site.make(tree{args[0]: strings.Join(args[1:], "\n") + "\n"})
	case "rename": // FROM TO
		if err := os.Rename(v.site.path(args[0]), v.site.path(args[1])); err != nil {
			v.t.Fatal(err)
		}
	case "remove": // FILE
		v.site.remove(args...)
	case "hear": // DIR N: wait until its supervisor has said N things
		v.hear(args[0], args[1])
	case "said": // DIR: what its supervisor said, each thing once
		v.say(v.said(args[0])...)
	case "exit": // DIR: wait until its supervisor ends
		code := v.supervisors[args[0]].wait()
		v.say(v.said(args[0])...)
		v.say("exit " + strconv.Itoa(code))
	default:
		if !v.cast.s6 || !v.s6Step(verb, args) {
			v.t.Fatalf("there is no step %q", verb)
		}
	}
}

// statusSays waits until status in a state directory says the same as stat, which runsv
// writes first.
func (v *scene) statusSays(dir, stat string) {
	v.t.Helper()
	waitFile(v.t, v.site.path(dir, "status"), func(c string) bool {
		r, err := status.Decode([]byte(c), status.Runit)
		return err == nil && string(r.AppendStat(nil, strings.Contains(stat, "want exit"))) == stat
	})
}

func (v *scene) wait(dir, name string) {
	v.t.Helper()
	stopping := func(r status.Record, alive bool) bool { return up(r, alive) && r.Want == status.WantDown }
	off := func(r status.Record, alive bool) bool { return down(r, alive) && r.Want == status.WantDown }
	wanted := func(r status.Record, alive bool) bool { return up(r, alive) && r.Want == status.WantUp }
	once := func(r status.Record, alive bool) bool { return up(r, alive) && r.Want == status.WantOnce }
	conditions := map[string]condition{
		"up": up, "down": down, "paused": paused, "running": running, "stopping": stopping, "off": off, "once": once, "wanted": wanted,
		"abandoned": abandoned, "again": upAnew(v.services[dir]),
	}
	c, ok := conditions[name]
	if !ok && !v.cast.s6 {
		v.t.Fatalf("there is no condition %q", name)
	}
	path := v.site.path(dir)
	v.services[dir] = v.record(dir, name, c).PID
	if v.cast.look != nil {
		v.cast.look(v.t, path)
	}
}

func (v *scene) lines(file string, count []string) {
	v.t.Helper()
	n := 0
	if len(count) > 0 {
		n, _ = strconv.Atoi(count[0])
	}
	from := v.read[file]
	lines := waitLines(v.t, v.site.path(file), from+n)
	if n == 0 {
		n = len(lines) - from
	}
	v.say(lines[from : from+n]...)
	v.read[file] = from + n
}

func (v *scene) signal(pid int, name string) {
	v.t.Helper()
	if err := syscall.Kill(pid, unix.SignalNum("SIG"+name)); err != nil {
		v.t.Fatal(err)
	}
}

func (v *scene) orphan(dir string) {
	v.t.Helper()
	pid := int(v.services[dir])
	if p, ok := lookAt(pid); !ok || p.state == 'Z' {
		v.say("is dead")
		return
	}
	v.say("is alive")
	if err := kill(pid); err != nil {
		v.t.Fatal(err)
	}
}

// said is what a supervisor has said. What daemontools says each second, and
// ours once, is only there once.
func (v *scene) said(dir string) (lines []string) {
	v.t.Helper()
	for line := range strings.Lines(v.supervisors[dir].said()) {
		if line = "! " + strings.TrimSuffix(line, "\n"); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return lines
}

func (v *scene) hear(dir, count string) {
	v.t.Helper()
	n, _ := strconv.Atoi(count)
	if !waitDir(v.t, v.site.outputs, func() bool { return len(v.said(dir)) >= n }) {
		v.t.Fatalf("%s has said no more than %q", dir, v.said(dir))
	}
	v.say(v.said(dir)[n-1])
}

// diff shows where two transcripts differ.
func diff(want, got string) string { return conf.Diff("wanted", "got", want, got) }
