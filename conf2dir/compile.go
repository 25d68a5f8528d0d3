package conf2dir

import (
	"slices"
	"strconv"
	"strings"
)

// Form says for whom service directories are made.
type Form uint8

// The forms. Native ones have files that only svscan of this suite obeys; the others
// run under the supervisor they are named for, with its tools and those of coreutils
// and util-linux.
const (
	Native Form = iota
	Daemontools
	Runit
	S6
)

// ParseForm reads the name of a form.
func ParseForm(name string) (f Form, ok bool) {
	for f = Native; f <= S6; f++ {
		if f.String() == name {
			return f, true
		}
	}
	return 0, false
}

// String is the form's name.
func (f Form) String() string { return [...]string{"native", "daemontools", "runit", "s6"}[f] }

// Log says where the output of jobs goes that is in no file.
type Log uint8

// To the standard output of the scanner; to the system's log; to a directory log/main
// in each service directory.
const (
	LogScanner Log = iota
	LogSyslog
	LogFiles
)

// ParseLog reads the name of a Log.
func ParseLog(name string) (l Log, ok bool) {
	i := slices.Index(logNames(), name)
	return Log(max(i, 0)), i >= 0
}

func logNames() []string { return []string{"scanner", "syslog", "files"} }

// Options says how to compile.
type Options struct {
	Form  Form
	Log   Log
	Start string // the directory in which pmtr is started; "" is /
	// Launcher is the program that a native service directory runs: "" is
	// pmtr-launch, which is found by PATH.
	Launcher string
}

// Service is a service directory that is to be.
type Service struct {
	Dir string // its name
	Job *Job   // nil for a service that only helps a job
	For string // that job's directory
	// Definition is the digest of what would need a restart if it were otherwise.
	Definition string
	Entries    []Entry // parents before children
	// Keep is for a job that cannot be started: what there is of it stays.
	Keep bool
}

// Disabled tells whether the service is not to be started.
func (s *Service) Disabled() bool { return s.Job != nil && s.Job.Disable }

// Entry is a file in a service directory, or a directory.
type Entry struct {
	Path string
	Dir  bool
	Mode uint32
	Data string
}

// Down is the file that keeps a service from being started.
const Down = "down"

// Compile makes the service directories of a configuration, in start order. Remarks
// are on what a form cannot do.
func Compile(f *File, o Options) (services []Service, remarks []Complaint) {
	if o.Start == "" {
		o.Start = "/"
	}
	if o.Launcher == "" {
		o.Launcher = "pmtr-launch"
	}
	c := compiler{File: f, Options: o, taken: names{}}
	index, dirs := map[*Job]int{}, map[*Job]string{}
	for i, j := range f.Jobs {
		index[j], dirs[j] = i+1, c.taken.take(dirName(j.Name))
	}
	gate := ""
	for _, j := range f.StartOrder() {
		if len(j.Cmd) == 0 {
			// Parse has said so.
			c.services = append(c.services, Service{Dir: dirs[j], Job: j, For: dirs[j], Keep: true})
			continue
		}
		c.service(j, dirs[j], index[j], gate)
		if j.Wait && !j.Disable {
			gate = dirs[j]
		}
	}
	if c.Form == Native && len(c.Listen)+len(c.Report) > 0 {
		c.agent(dirs)
	}
	c.remark()
	return c.services, c.remarks
}

// agent adds the service that does what listen and report say for the others.
func (c *compiler) agent(dirs map[*Job]string) {
	conf, jobs := "", ""
	for _, a := range c.Listen {
		conf += "listen on " + a.Spec + "\n"
	}
	for _, a := range c.Report {
		conf += "report to " + a.Spec + "\n"
	}
	for _, j := range c.StartOrder() {
		if len(j.Cmd) > 0 {
			jobs += dirs[j] + " " + j.Name + " " + j.Cmd[0]
			if j.Once {
				jobs += " once"
			}
			jobs += "\n"
		}
	}
	program := "pmtr-udp"
	if dir, ok := strings.CutSuffix(c.Launcher, "pmtr-launch"); ok {
		program = dir + program
	}
	s := Service{Dir: c.taken.take("pmtr-udp"), For: "pmtr-udp"}
	s.Definition = Digest(conf + jobs)
	b := &builder{compiler: c, Service: &s}
	b.file("udp.conf", 0o644, conf)
	b.file("jobs", 0o644, jobs)
	b.file("run", 0o755, "#!/bin/sh\n# conf2dir 1 "+s.Definition[:8]+" (generated)\n"+
		"exec 2>&1\nexec "+Quote(program)+" -s \"${PMTR_UDP_DIR:-..}\" udp.conf jobs\n")
	c.services = append(c.services, s)
}

type compiler struct {
	*File
	Options
	taken    names
	services []Service
	remarks  []Complaint
}

func (c *compiler) warn(line int, text string) {
	c.remarks = append(c.remarks, Complaint{c.Name, line, text})
}

// remark tells what the form cannot do.
func (c *compiler) remark() {
	if len(c.Listen)+len(c.Report) > 0 && c.Form != Native {
		var first Address
		for _, a := range append(slices.Clone(c.Listen), c.Report...) {
			if first.Spec == "" || a.At.Line < first.At.Line {
				first = a
			}
		}
		c.warn(first.At.Line, "listen and report are not for service directories")
	}
	if c.Form == Daemontools && len(c.services) > 0 {
		c.warn(0, "daemontools has no finish: a job that exits with status 33 is started again")
	}
	const most = 1000
	if n := len(c.services); c.Form != Native && n > most {
		c.warn(0, strconv.Itoa(n)+" services are more than the scanner takes, which is "+strconv.Itoa(most))
	}
}

// service adds the service of a job, and that of what it depends on.
func (c *compiler) service(j *Job, dir string, index int, gate string) {
	s := Service{Dir: dir, Job: j, For: dir}
	s.Definition = Digest(j.Definition() + "form " + c.Form.String() + " log " + logNames()[c.Log] +
		" start " + strconv.Quote(c.Start) + " launcher " + strconv.Quote(c.Launcher) + " version 1\n")
	b := &builder{compiler: c, Service: &s, gate: gate}
	if j.Disable {
		b.file(Down, 0o644, "")
	}
	if dir != j.Name {
		b.file("pmtr-name", 0o644, j.Name+"\n")
	}
	b.environment()
	if c.Form == Native {
		b.native(index)
	} else {
		b.portable()
	}
	b.log()
	c.services = append(c.services, s)
	if len(j.Depends) > 0 && !j.Disable && c.Form != Native {
		c.dependencies(j, dir)
	}
}

// builder makes one service.
type builder struct {
	*compiler
	*Service
	gate string // the directory of the wait job before this one
	envs []string
	// In the environment from the beginning these would change the tools on the way
	// to the program.
	late []string
	hash string
}

func (b *builder) file(path string, mode uint32, data string) {
	b.Entries = append(b.Entries, Entry{Path: path, Mode: mode, Data: data})
}

func (b *builder) dir(path string, mode uint32) {
	b.Entries = append(b.Entries, Entry{Path: path, Dir: true, Mode: mode})
}

// number adds a file with a number in it.
func (b *builder) number(path string, n int) { b.file(path, 0o644, strconv.Itoa(n)+"\n") }

// environment makes the directory with the job's variables, each in a file. It has
// another name whenever they are others.
func (b *builder) environment() {
	var entries []Entry
	text, seen := "", map[string]bool{}
	for _, e := range b.Job.Env {
		name, _, _ := strings.Cut(e, "=")
		if name == "" || seen[name] {
			continue
		}
		seen[name] = true
		value, _ := b.Job.Lookup(name)
		switch {
		case !fileName(name):
			b.envs = append(b.envs, name+"="+value)
		case b.Form != Native && delicate(name):
			b.late = append(b.late, name+"="+value)
		default:
			// An empty file would take the variable away.
			entries = append(entries, Entry{Path: name, Mode: 0o600, Data: value + "\n"})
			text += name + "=" + value + "\n"
		}
	}
	if len(entries) == 0 {
		return
	}
	b.hash = "env." + Digest(text)[:8]
	b.dir(b.hash, 0o700)
	for _, e := range entries {
		e.Path = b.hash + "/" + e.Path
		b.Entries = append(b.Entries, e)
	}
}

// fileName tells whether a variable may be a file's name wherever.
func fileName(name string) bool {
	if name[0] == '.' || len(name) > longestName {
		return false
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || c == '/' {
			return false
		}
	}
	return true
}

// delicate tells whether a variable means something to shells, coreutils or the
// dynamic linker.
func delicate(name string) bool {
	switch name {
	case "PATH", "IFS", "ENV", "BASH_ENV", "SHELLOPTS", "PS4", "CDPATH", "POSIXLY_CORRECT", "GCONV_PATH",
		"GLIBC_TUNABLES", "LOCPATH", "PWD", "UPKEEP_DIALECT":
		return true
	}
	return strings.HasPrefix(name, "LD_") || strings.HasPrefix(name, "MALLOC_")
}

// header is the beginning of a run script.
func (b *builder) header() string { return b.title(b.Definition[:8] + " ") }

// title is the beginning of a script. What it begins with should change only as often
// as the script.
func (b *builder) title(digest string) string {
	return "#!/bin/sh\n# conf2dir 1 " + digest + printable(b.Job.Name) + " " + printable(b.Name) +
		" (generated; local changes go to run.local)\n"
}

// printable is text for a remark in a script.
func printable(text string) string {
	var out []byte
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == 0x7f {
			out = append(out, '?')
		} else {
			out = append(out, c)
		}
	}
	return string(out)
}

// program is the path of the program, which pmtr does not look for in PATH.
func program(cmd []string) string {
	if strings.IndexByte(cmd[0], '/') < 0 {
		return "./" + cmd[0]
	}
	return cmd[0]
}

// log makes the log service, if anything goes there.
func (b *builder) log() {
	j := b.Job
	if b.Log == LogScanner || !Logged(j.Out) && !Logged(j.Err) {
		return
	}
	b.dir("log", 0o755)
	run := ""
	switch {
	case b.Log == LogSyslog:
		run = "exec logger -t " + Quote(j.Name) + " -p daemon.info\n"
	case b.Form == Runit:
		b.dir("log/main", 0o755)
		run = "exec svlogd -tt ./main\n"
	case b.Form == S6:
		run = "exec s6-log t ./main\n"
	default:
		run = "exec multilog t ./main\n"
		if b.Form == Native {
			b.file("log/multilog", 0o644, "t ./main\n")
		}
	}
	b.file("log/run", 0o755, b.title("")+"[ ! -x ./run.local ] || exec ./run.local\n"+run)
}

// killAfter is how long a job may take to end, in seconds, and quick is the age up to
// which its end delays its next start for as long.
const (
	killAfter = 10
	quick     = 10
)

// permanent is the exit status after which a job is not started again.
const permanent = 33

// native makes what svscan of this suite and the launcher need.
func (b *builder) native(index int) {
	j := b.Job
	b.number("timeout-kill", killAfter*1000)
	b.number("min-uptime", quick)
	b.number("restart-delay", quick)
	b.number("permanent-status", permanent)
	place := strconv.Itoa(index)
	b.file("rank", 0o644, strconv.Itoa(j.Order)+" "+strings.Repeat("0", max(4-len(place), 0))+place+"\n")
	if j.Once {
		b.file("once", 0o644, "")
	}
	if j.Wait {
		b.file("wait", 0o644, "")
	}
	if j.Bounce > 0 {
		b.number("bounce", j.Bounce)
	}
	if len(j.Depends) > 0 {
		b.file("depends", 0o644, strings.Join(j.DependPaths(b.Start), "\n")+"\n")
	}
	b.file("run", 0o755, b.header()+"exec 2>&1\n"+
		"c2d_env= c2d_run=\n"+
		"[ ! -d env.local ] || c2d_env=env.local\n"+
		"[ ! -x run.local ] || c2d_run=$PWD/run.local\n"+
		"exec "+Quote(b.Launcher)+b.launch()+"\n")
}

// launch is the arguments of the launcher.
func (b *builder) launch() string {
	j := b.Job
	var a strings.Builder
	option := func(letter, value string) { a.WriteString(" \\\n  " + letter + " " + Quote(value)) }
	if b.hash != "" {
		option("-e", b.hash)
	}
	for _, e := range b.envs {
		option("-E", e)
	}
	a.WriteString(" \\\n  ${c2d_env:+-e \"$c2d_env\"}")
	option("-d", j.WorkDir(b.Start))
	j.Settings(option)
	a.WriteString(" \\\n  -- ${c2d_run:+\"$c2d_run\"}" + words(j.Cmd))
	return a.String()
}

// Quote is a word for a shell that stands for exactly these bytes.
func Quote(word string) string {
	plain := word != ""
	for i := range len(word) {
		c := word[i]
		plain = plain && ('A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' ||
			strings.IndexByte("_-+@:,./=", c) >= 0)
	}
	if plain {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// words is words for a shell, each after a blank.
func words(list []string) string {
	var b strings.Builder
	for _, w := range list {
		b.WriteString(" " + Quote(w))
	}
	return b.String()
}

// limitOption is the option of prlimit for a limit.
func limitOption(l Limit) string {
	value := l.ValueString()
	return " --" + strings.ToLower(l.Resource()) + "=" + value + ":" + value
}

// bounceQuick is the age below which an end delays the next start: a job that bounce
// has ended is not to wait.
func (b *builder) bounceQuick() int {
	if b.Job.Bounce > 0 {
		return min(quick, b.Job.Bounce)
	}
	return quick
}
