package pmtr

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/compat/loaders"
	"upkeep/conf2dir"
	"upkeep/supervise"
	"upkeep/svscan"
)

const (
	// quick is the age up to which the end of a job delays its next start by as much.
	quick = 10 * time.Second
	// killAfter is how long a job may take to obey TERM.
	killAfter = 10 * time.Second
	// permanent is the exit status after which a job is not started again.
	permanent = 33
)

// policy is pmtr's (pmtr.md, sections 3.5 to 3.8).
func policy(bounce int) *supervise.Policy {
	p := supervise.PolicyFor(supervise.Daemontools)
	p.Pause = 0
	p.MinUptime, p.RestartDelay = quick, quick
	p.PermanentRun = permanent
	p.KillAfter = killAfter
	p.Bounce = time.Duration(bounce) * time.Second
	return &p
}

// launcher is this program as pmtr-launch.
const launcher = "/proc/self/exe"

// spec is how a job is started: by the launcher where a user has to be looked up, or what is
// to be done before cannot be done without it.
func spec(j *conf2dir.Job, p *supervise.Policy) *svscan.JobSpec {
	s := &svscan.JobSpec{Once: j.Once, Env: variables(j.Env), Policy: p}
	if j.User != "" || !svscan.PreparesJobs {
		if args := launching(j); args != nil {
			s.Path, s.Args = launcher, append(append(args, "--"), j.Cmd...)
			return s
		}
	}
	s.Path, s.Args = j.Cmd[0], j.Cmd
	if strings.IndexByte(s.Path, '/') < 0 {
		s.Path = "./" + s.Path // nothing is looked for in PATH
	}
	s.Dir, s.Nice, s.HasNice = j.Dir, j.Nice, j.HasNice
	if !j.CPU.Empty() {
		s.CPUs = new(unix.CPUSet)
		for cpu := range len(j.CPU) * 64 {
			if j.CPU.Has(cpu) {
				s.CPUs.Set(cpu)
			}
		}
	}
	for _, l := range j.Limits {
		resource, _ := loaders.PmtrResource(l.Flag)
		s.Limits = append(s.Limits, svscan.JobLimit{Resource: resource, Value: l.Value})
	}
	for i, path := range [...]string{j.In, j.Out, j.Err} {
		if !conf2dir.Logged(path) {
			s.Files[i] = path
		}
	}
	return s
}

// failure is what a job could not do, in pmtr's words.
func failure(j *conf2dir.Job, step svscan.JobStep) string {
	switch step {
	case svscan.JobStepExec:
		return "can't exec " + j.Cmd[0]
	case svscan.JobStepDir:
		return "can't chdir " + j.Dir
	case svscan.JobStepNice:
		return "can't setpriority"
	case svscan.JobStepCPUs:
		return "can't set cpu affinity"
	case svscan.JobStepLimits:
		return "can't setrlimit"
	}
	return "can't open/dup " + [...]string{j.In, j.Out, j.Err}[step-svscan.JobStepInput]
}

// launching is a command line of the launcher up to the job's, or nil if none is needed.
func launching(j *conf2dir.Job) (args []string) {
	option := func(letter, value string) {
		if args == nil {
			args = append(args, "pmtr-launch")
		}
		args = append(args, letter, value)
	}
	if j.Dir != "" {
		option("-d", j.Dir)
	}
	j.Settings(option)
	return args
}

// variables is env lines of which the last of a name counts, and none without a name.
func variables(lines []string) (list []string) {
	for i, v := range lines {
		name := v[:strings.IndexByte(v, '=')+1]
		last := name != "="
		for _, later := range lines[i+1:] {
			last = last && !strings.HasPrefix(later, name)
		}
		if last {
			list = append(list, v)
		}
	}
	return list
}
