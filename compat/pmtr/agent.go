package pmtr

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/conf2dir"
	"upkeep/supervise/status"
	"upkeep/svc"
)

const agentSyntax = "pmtr-udp [-v] [-s dir] conf jobs"

// agent is pmtr's UDP for service directories.
type agent struct {
	log     *journal
	verbose bool
	dir     string // where the services are
	jobs    []agentJob
	sockets *sockets
}

// agentJob is a job, which is a service.
type agentJob struct {
	dir, name, program string
	once               bool
}

// Agent is pmtr-udp [-v] [-s DIR] CONF JOBS: what listen and report in a pmtr.conf are, for
// the service directories that conf2dir has made of it. CONF has these two, JOBS a line
// "DIRECTORY NAME PROGRAM", with "once" behind it for a job that runs once, for each job. enable and
// disable are svc -u and -d; what they have done lasts until the service is told otherwise. The
// directories, or their states, are in DIR, or beside the working directory.
//
// Exit: 1 if it could not begin, 100 for wrong usage.
func Agent(env *cli.Env, args []string) int {
	a := &agent{log: newJournal(env), dir: ".."}
	list := cli.NewOptions(env, args, "vs:")
	for letter := list.Next(); letter != cli.End; letter = list.Next() {
		switch letter {
		case 'v':
			a.verbose = true
		case 's':
			a.dir = list.Arg
		default:
			return env.Usage("pmtr-udp", agentSyntax)
		}
	}
	files := list.Args()
	if len(files) != 2 {
		return env.Usage("pmtr-udp", agentSyntax)
	}
	if complaint := a.begin(files[0], files[1]); complaint != "" {
		a.log.say(errs, complaint)
		return exitFailed
	}
	orders := make(chan string)
	for _, s := range a.sockets.listen {
		go s.receive(func(text string) { orders <- text }) // until the process ends
	}
	var tick <-chan time.Time
	if len(a.sockets.report) > 0 {
		tick = time.Tick(reportEvery)
		a.report()
	}
	for {
		select {
		case text := <-orders:
			obey(a.log, a.verbose, text, a.set)
			a.report()
		case <-tick:
			a.report()
		}
	}
}

func (a *agent) begin(conf, jobs string) (complaint string) {
	text, err := conf2dir.ReadFile(conf)
	if err != nil {
		return err.Error()
	}
	file, wrong := conf2dir.Parse(conf, text)
	if wrong != nil {
		return wrong.Text
	}
	if text, err = conf2dir.ReadFile(jobs); err != nil {
		return err.Error()
	}
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) >= 3 {
			a.jobs = append(a.jobs, agentJob{f[0], f[1], f[2], len(f) > 3 && f[3] == "once"})
		}
	}
	a.sockets, complaint = openSockets(file, new(sockets), new(resolver))
	return complaint
}

func (a *agent) open(j *agentJob) (*svc.Dir, error) { return svc.Open(a.dir+"/"+j.dir, "") }

// set enables or disables a job.
func (a *agent) set(o order) {
	for i := range a.jobs {
		j := &a.jobs[i]
		if j.name != o.job {
			continue
		}
		d, err := a.open(j)
		if err == nil {
			defer d.Close()
			var r status.Record
			if r, err = d.Status(status.Daemontools); err == nil && (r.Want != status.WantDown) != o.enable {
				word, command := "disabling ", "d"
				if o.enable {
					word, command = "enabling ", "u"
					if j.once {
						command = "o"
					}
				}
				a.log.say(info, word, j.name)
				err = d.Control(command)
			}
		}
		if err != nil {
			a.log.say(errs, "can't control ", j.name, ": ", cli.Strerror(err))
		}
		return
	}
	a.log.say(info, "control msg for unknown job ", printable(o.job))
}

// report tells all who want to know.
func (a *agent) report() {
	if len(a.sockets.report) == 0 {
		return
	}
	b := a.sockets.appendHost(nil)
	for i := range a.jobs {
		j := &a.jobs[i]
		line := reportLine{name: j.name, program: j.program}
		if d, err := a.open(j); err == nil {
			r, err := d.Status(status.Daemontools)
			d.Close()
			if err == nil {
				line.enabled, line.pid = r.Want != status.WantDown, int(r.PID)
				line.last = time.Unix(r.Since.Sec, int64(r.Since.Nsec))
				if j.once && line.enabled && line.pid == 0 {
					continue // it has run
				}
			}
		}
		b = line.append(b)
	}
	a.sockets.send(a.log, b)
}

// reportLine is what a report has to say of a job.
type reportLine struct {
	name, program string
	enabled       bool
	pid           int
	last          time.Time
}

// appendHost is the first line of a report.
func (s *sockets) appendHost(b []byte) []byte {
	var host unix.Utsname
	_ = unix.Uname(&host) // which cannot fail
	b = append(append(b, "report "...), unix.ByteSliceToString(host.Nodename[:])...)
	for i := len(s.report) - 1; i >= 0; i-- {
		if from := s.report[i].from; from != "" {
			b = append(append(b, ' '), from...)
			break
		}
	}
	return append(b, '\n')
}

// append adds the line.
func (l *reportLine) append(b []byte) []byte {
	state, age := " d ", int64(0)
	if l.enabled {
		state = " e "
	}
	if !l.last.IsZero() {
		age = max(int64(time.Since(l.last)/time.Second), 0)
	}
	b = append(append(b, l.name...), state...)
	b = append(strconv.AppendInt(b, age, 10), ' ')
	b = append(strconv.AppendInt(b, int64(l.pid), 10), ' ')
	return append(append(b, l.program...), '\n')
}

// send sends a report to all. That nobody listens is nothing to speak of.
func (s *sockets) send(log *journal, b []byte) {
	for _, to := range s.report {
		n, err := to.file.Write(b)
		switch {
		case errors.Is(err, unix.ECONNREFUSED):
		case err != nil:
			log.say(info, "write error: ", cli.Strerror(err))
		case n < len(b):
			log.say(info, "incomplete write ", strconv.Itoa(n), "/", strconv.Itoa(len(b)))
		}
	}
}
