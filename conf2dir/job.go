package conf2dir

import (
	"slices"
	"strconv"
	"strings"
)

// File is a configuration.
type File struct {
	Name    string
	Jobs    []*Job // as they stand in the file
	Listen  []Address
	Report  []Address
	Remarks []Complaint // what is allowed and probably not meant
}

// Job is a job. Strings that were not given are empty: no value can be.
type Job struct {
	At Pos // of the word job

	Name string
	Cmd  []string // program and arguments; empty if there is no cmd
	Dir  string
	In   string
	Out  string
	Err  string
	User string
	Env  []string // NAME=VALUE, as they stand in the file

	Order   int
	Nice    int
	HasNice bool
	CPU     CPUSet
	Limits  []Limit // as they stand in the file
	Bounce  int     // seconds; 0 is never
	Depends []string

	Disable, Wait, Once bool

	Options []Option
}

// Option says where an option stands.
type Option struct {
	Word string // name, cmd, ...
	At   Pos
}

// Syslog is the value of in, out and err that stands for the log, as no value does.
const Syslog = "syslog"

// Logged tells whether a value of out or err leads to the log.
func Logged(out string) bool { return out == "" || out == Syslog }

// Address is an address to listen on or to report to.
type Address struct {
	At    Pos
	Spec  string // as written
	Host  string
	Port  uint16
	Iface string
}

// Clone is a copy that shares nothing with j.
func (j *Job) Clone() *Job {
	c := *j
	c.Cmd, c.Env, c.Depends = slices.Clone(j.Cmd), slices.Clone(j.Env), slices.Clone(j.Depends)
	c.Limits, c.Options, c.CPU = slices.Clone(j.Limits), slices.Clone(j.Options), slices.Clone(j.CPU)
	return &c
}

// Same tells whether two jobs are defined alike: whether one that was started as the
// other may go on. Where they stand does not count, nor does the order of options; the
// order of several env, ulimit and depends does (pmtr.md, section 3.9). The names
// count, too. Fingerprint is not compared.
func (j *Job) Same(other *Job) bool { return j.Definition() == other.Definition() }

// Definition is all that Same compares, as text. No two definitions have the same.
func (j *Job) Definition() string {
	b := make([]byte, 0, 256)
	one := func(key string, values ...string) {
		b = append(b, key...)
		for _, v := range values {
			b = strconv.AppendQuote(append(b, ' '), v)
		}
		b = append(b, '\n')
	}
	one("name", j.Name)
	one("cmd", j.Cmd...)
	one("files", j.Dir, j.In, j.Out, j.Err)
	one("user", j.User)
	one("env", j.Env...)
	one("order", strconv.Itoa(j.Order))
	if j.HasNice {
		one("nice", strconv.Itoa(j.Nice))
	}
	one("cpu", j.CPU.String())
	for _, l := range j.Limits {
		one("ulimit", string(l.Flag), l.ValueString())
	}
	one("bounce", strconv.Itoa(j.Bounce))
	one("depends", j.Depends...)
	for _, f := range [...]struct {
		word string
		set  bool
	}{{"disable", j.Disable}, {"wait", j.Wait}, {"once", j.Once}} {
		if f.set {
			one(f.word)
		}
	}
	return string(b)
}

// Lookup is the value of the job's last env of that name.
func (j *Job) Lookup(name string) (value string, ok bool) {
	for _, e := range slices.Backward(j.Env) {
		if n, v, _ := strings.Cut(e, "="); n == name {
			return v, true
		}
	}
	return "", false
}

// Job is the first job of a name, or nil.
func (f *File) Job(name string) *Job {
	for _, j := range f.Jobs {
		if j.Name == name {
			return j
		}
	}
	return nil
}

// StartOrder is the jobs in the order in which they are started: those with the same
// order as they stand in the file.
func (f *File) StartOrder() []*Job {
	jobs := slices.Clone(f.Jobs)
	slices.SortStableFunc(jobs, func(a, b *Job) int { return a.Order - b.Order })
	return jobs
}

// Settings calls option for all that pmtr-launch is told of the job, but for its directory and
// its environment.
func (j *Job) Settings(option func(letter, value string)) {
	if j.HasNice {
		option("-n", strconv.Itoa(j.Nice))
	}
	if !j.CPU.Empty() {
		option("-c", j.CPU.Mask())
	}
	for _, l := range j.Limits {
		option("-l", string(l.Flag)+"="+l.ValueString())
	}
	if j.User != "" {
		option("-u", j.User)
	}
	for _, f := range [...]struct{ letter, path string }{{"-i", j.In}, {"-o", j.Out}, {"-r", j.Err}} {
		if !Logged(f.path) {
			option(f.letter, f.path)
		}
	}
}
