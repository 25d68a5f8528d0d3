package pmtr

import (
	"strings"
	"time"

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

// spec is how a job is started: what needs nothing but its output led to the log, without
// the launcher.
func spec(j *conf2dir.Job, p *supervise.Policy) *svscan.JobSpec {
	s := &svscan.JobSpec{Once: j.Once, Env: variables(j.Env), Policy: p}
	args := launching(j)
	if args != nil {
		s.Path, s.Args = launcher, append(append(args, "--"), j.Cmd...)
		return s
	}
	s.Path, s.Args = j.Cmd[0], j.Cmd
	if strings.IndexByte(s.Path, '/') < 0 {
		s.Path = "./" + s.Path // nothing is looked for in PATH
	}
	return s
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
