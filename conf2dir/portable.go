package conf2dir

import (
	"strconv"
	"strings"
)

// The portable form of pmtr.md, section 8.2: a chain of programs that each exec the
// next, so that the job's process is the service's.

// pauseScript is a sleep that does not outlive the script. A signal ends both.
const pauseScript = `c2d_pause() {
  sleep "$1" &
  trap 'kill $!; exit 255' TERM INT HUP QUIT
  wait $!
  trap - TERM INT HUP QUIT
}
`

// scannerScript finds out who supervises the supervisor, and since when: a wait job
// counts as done in the life of a scanner.
const scannerScript = `c2d_s=$(cat "/proc/$PPID/stat")
set -- ${c2d_s##*) }
c2d_me=$PPID-${20} c2d_p=$2
c2d_s=$(cat "/proc/$c2d_p/stat")
set -- ${c2d_s##*) }
c2d_id=$c2d_p-${20}
`

// doneDir is where wait jobs leave word that they are done.
const doneDir = "../.pmtr/done"

func (b *builder) portable() {
	j := b.Job
	if b.Form == S6 {
		b.number("timeout-kill", killAfter*1000)
	}
	var r strings.Builder
	r.WriteString(b.header() + "umask 000\nexec </dev/null 2>&1\n")
	r.WriteString("c2d_dir=$PWD c2d_env= c2d_run=\n" +
		"[ ! -d env.local ] || c2d_env=$c2d_dir/env.local\n" +
		"[ ! -x run.local ] || c2d_run=$c2d_dir/run.local\n")
	r.WriteString(pauseScript)
	watched := j.Wait && b.Form == Daemontools // it has no finish
	if b.gate != "" || watched {
		r.WriteString(scannerScript)
	}
	if b.gate != "" {
		r.WriteString("if [ \"$(cat .gate 2>/dev/null)\" != \"$c2d_me\" ]; then\n" +
			"  until [ \"$(cat " + doneDir + "/" + b.gate + " 2>/dev/null)\" = \"$c2d_id\" ]; do c2d_pause 1; done\n" +
			"  echo \"$c2d_me\" >.gate\n" +
			"fi\n")
	}
	if j.Once {
		// daemontools hears of it only after a second, and this must not have ended
		// before.
		r.WriteString("printf o >supervise/control\nc2d_pause 2\n")
	} else {
		r.WriteString("c2d_now=$(date +%s)\n" +
			"c2d_last=$(cat .started 2>/dev/null) || c2d_last=0\n" +
			"[ \"$((c2d_now - c2d_last))\" -ge " + strconv.Itoa(b.bounceQuick()) + " ] || [ \"$c2d_last\" -gt \"$c2d_now\" ] || c2d_pause " +
			strconv.Itoa(quick) + "\n" +
			"date +%s >.started\n")
	}
	if watched {
		// Somebody who is no child of the job waits for its end.
		r.WriteString("( (exec >/dev/null 2>&1\n" +
			"  while kill -0 $$; do sleep 1; done\n" +
			indent(b.doneScript()) + ") & )\n")
	}
	if j.User != "" {
		r.WriteString("c2d_gid=$(id -g -- " + Quote(j.User) + ")")
		if strings.Trim(j.User, "0123456789") == "" {
			r.WriteString(" && [ \"$(id -un -- " + Quote(j.User) + ")\" = " + Quote(j.User) + " ]")
		}
		r.WriteString(" || { echo unknown user: " + Quote(j.User) + "; exit 255; }\n")
	}
	r.WriteString("cd " + Quote(cdPath(j.WorkDir(b.Start))) + " || exit 255\n")
	r.WriteString("exec" + b.chain() + "\n")
	b.file("run", 0o755, r.String())
	b.finish()
}

// cdPath is a path that cd takes for one.
func cdPath(path string) string {
	if !strings.HasPrefix(path, "/") {
		return "./" + path
	}
	return path
}

// indent puts two blanks before each line.
func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  ") + "\n"
}

// doneScript says that a wait job is done.
func (b *builder) doneScript() string {
	return "mkdir -p " + doneDir + " && echo \"$c2d_id\" >" + doneDir + "/." + b.Dir + " && mv " +
		doneDir + "/." + b.Dir + " " + doneDir + "/" + b.Dir + "\n"
}

// finish makes what runs after each end.
func (b *builder) finish() {
	if b.Form == Daemontools {
		return
	}
	text := b.title("") + "c2d_status=$1\n"
	if b.Job.Wait {
		text += scannerScript + b.doneScript()
	}
	text += "[ \"$c2d_status\" = " + strconv.Itoa(permanent) + " ] || exit 0\n"
	if b.Form == Runit {
		text += "printf d >supervise/control\nsleep 1\n"
	} else {
		text += "exit 125\n"
	}
	b.file("finish", 0o755, text)
}

// envdir is the program of the form that reads variables from files.
func (f Form) envdir() string {
	switch f {
	case Runit:
		return "chpst -e"
	case S6:
		return "s6-envdir"
	}
	return "envdir"
}

// chain is the programs on the way to the job's, and that.
func (b *builder) chain() string {
	j := b.Job
	var c strings.Builder
	link := func(text string) {
		if text != "" {
			c.WriteString(" \\\n  " + text)
		}
	}
	if b.hash != "" {
		link(b.Form.envdir() + " \"$c2d_dir/" + b.hash + "\"")
	}
	link("${c2d_env:+" + b.Form.envdir() + " \"$c2d_env\"}")
	if j.HasNice {
		link("nice -n \"$((" + strconv.Itoa(j.Nice) + " - $(nice)))\"")
	}
	if !j.CPU.Empty() {
		link("taskset " + j.CPU.Mask())
	}
	if len(j.Limits) > 0 {
		text := "prlimit"
		for _, l := range j.Limits {
			text += limitOption(l)
		}
		link(text)
	}
	if j.User != "" {
		link("setpriv " + Quote("--reuid="+j.User) + " --regid=\"$c2d_gid\" --init-groups")
	}
	link(b.files())
	if j.Bounce > 0 {
		link("timeout --foreground -k " + strconv.Itoa(killAfter) + " " + strconv.Itoa(j.Bounce))
	}
	if late := append(b.envs, b.late...); len(late) > 0 {
		link("env --" + words(late))
	}
	link("${c2d_run:+\"$c2d_run\"}" + words(append([]string{program(j.Cmd)}, j.Cmd[1:]...)))
	return c.String()
}

// files opens in, out and err, as the user and relative to the job's directory.
func (b *builder) files() string {
	j := b.Job
	opens, paths := "", []string(nil)
	for _, f := range [...]struct{ operator, path string }{{"<", j.In}, {">>", j.Out}, {"2>>", j.Err}} {
		if !Logged(f.path) {
			paths = append(paths, f.path)
			opens += " " + f.operator + "\"$" + strconv.Itoa(len(paths)) + "\""
		}
	}
	if len(paths) == 0 {
		return ""
	}
	n := strconv.Itoa(len(paths))
	return "sh -c 'umask 022; command exec" + opens + " || exit 255; umask 0; shift " + n + "; exec \"$@\"'" +
		words(append([]string{j.Name}, paths...))
}

// dependencies adds the service that restarts a job when a file changes.
func (c *compiler) dependencies(j *Job, dir string) {
	s := Service{Dir: c.taken.take(dir + "+depends"), For: dir}
	b := &builder{compiler: c, Service: &s}
	control := func(commands string) string {
		if c.Form == Daemontools {
			return "svc -" + commands + " ../" + dir
		}
		var all []string
		for _, command := range commands {
			if c.Form == S6 {
				all = append(all, "s6-svc -"+string(command)+" ../"+dir)
			} else {
				all = append(all, "sv "+string(command)+" ../"+dir+" >/dev/null")
			}
		}
		return strings.Join(all, "; ")
	}
	change := control("t")
	if j.Once {
		change = control("tu") // run makes it once again
	}
	paths := j.DependPaths(c.Start)
	body := "exec </dev/null 2>&1\n" + pauseScript +
		"c2d_look() {\n" +
		"  for c2d_f in" + words(paths) + "; do\n" +
		"    [ -r \"$c2d_f\" ] && [ ! -d \"$c2d_f\" ] || { printf 'gone %s\\n' \"$c2d_f\"; return; }\n" +
		"  done\n" +
		"  for c2d_f in" + words(paths) + "; do\n" +
		"    [ ! -f \"$c2d_f\" ] || cksum <\"$c2d_f\"\n" +
		"  done\n" +
		"}\n" +
		"c2d_gone() {\n" +
		"  printf '%s\\n' " + Quote("job "+j.Name+": can't open dependency ") + "\"${1#gone }\"\n" +
		"  " + control("d") + "\n" +
		"}\n" +
		"c2d_last=$(c2d_look)\n" +
		"case $c2d_last in gone*) c2d_gone \"$c2d_last\" ;; esac\n" +
		"while c2d_pause 2; do\n" +
		"  c2d_now=$(c2d_look)\n" +
		"  [ \"$c2d_now\" != \"$c2d_last\" ] || continue\n" +
		"  case $c2d_now,$c2d_last in\n" +
		"  gone*) c2d_gone \"$c2d_now\" ;;\n" +
		"  *,gone*) " + control("u") + " ;;\n" +
		"  *) " + change + " ;;\n" +
		"  esac\n" +
		"  c2d_last=$c2d_now\n" +
		"done\n"
	s.Definition = Digest(body)
	s.Job = j
	text := b.header()
	s.Job = nil
	b.file("run", 0o755, text+body)
	c.services = append(c.services, s)
}
