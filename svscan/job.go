package svscan

import (
	"errors"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
	"upkeep/svscan/internal/pump"
	"upkeep/svscan/internal/reap"
	"upkeep/svscan/internal/spawn"
	"upkeep/svscan/internal/watch"
)

// Jobs supervises processes that have no service directory. What they are is the caller's to
// say, and nothing is written anywhere: whoever comes after us knows nothing of them.
type Jobs struct {
	k      *kernel
	config JobsConfig
	cwd    int // where jobs are started
	null   int
	output *pump.Pump
	first  *time.Timer // the first of some changes of files is told of no later than that
	last   *time.Timer // the last no earlier

	mu      sync.Mutex
	streams []*jobOutput // by token
	free    []uint32
	reading sync.Mutex // streams are read
	buffer  [outputRead]byte
}

// JobsConfig is what a personality wants of Jobs. Its functions are called one at a time,
// but for Output, and may block.
type JobsConfig struct {
	Report func(Report)
	// Heard is told what becomes of a job, in order.
	Heard func(*Job, JobEvent)
	// Output gets whole lines that a job has written, each with its end, and what does not fit or
	// has no end with one that is added. It is called by one goroutine, and must not keep text.
	Output func(j *Job, pid int32, text []byte)
	// Changed is told that a watched file may be another.
	Changed func()
}

// JobSpec is what a job is.
type JobSpec struct {
	Path string   // is executed, from the directory that we were started in
	Args []string // as its arguments, from argv[0] on
	Env  []string // NAME=VALUE, besides our variables that have other names
	Down bool     // it is not to run
	Once bool
	// Policy is shared and not written to.
	Policy *supervise.Policy
	JobSettings
}

// JobSettings is what a job does, in this order, before it executes its program. The zero value
// is nothing. Any other is for where PreparesJobs is true.
type JobSettings struct {
	Dir     string
	Nice    int
	HasNice bool
	CPUs    *unix.CPUSet
	Limits  []JobLimit
	Files   [3]string // standard input, output and error; the last two are appended to
}

// JobLimit is a limit, soft and hard.
type JobLimit struct {
	Resource int
	Value    uint64
}

// PreparesJobs tells whether jobs can have settings.
const PreparesJobs = spawn.Prepares

// JobStep is what a job could not do: one of its settings, or JobStepExec.
type JobStep = spawn.Step

// The steps.
const (
	JobStepExec   = spawn.StepExec
	JobStepDir    = spawn.StepDir
	JobStepNice   = spawn.StepNice
	JobStepCPUs   = spawn.StepCPUs
	JobStepLimits = spawn.StepLimits
	JobStepInput  = spawn.StepInput // and the other files behind it
)

// JobEvent is something that happened to a job.
type JobEvent struct {
	Kind   JobEventKind
	PID    int32
	Status supervise.WaitStatus
	Signal syscall.Signal
	Age    time.Duration // of a process that has ended
	Step   JobStep
	Err    error
}

// JobEventKind says what.
type JobEventKind uint8

// The kinds. Which fields count depends on them.
const (
	JobStarted  JobEventKind = iota // as PID
	JobEnded                        // PID, with Status
	JobFailed                       // it could not be executed: Step and Err
	JobDelayed                      // it is not sure when it will be started
	JobSignaled                     // Signal was sent to PID
	JobGone                         // nothing is left of it, and no event follows
)

// Job is one of Jobs: a supervise.Service without a service directory.
type Job struct {
	supervise.Service
	jobs   *Jobs
	timers *timers
	name   string

	ending  sync.Mutex // of signals and ends; taken before mu
	mu      sync.Mutex
	program *spawn.Program
	steps   *spawn.Steps
	pipes   [2][2]int // of the start under way
	begun   time.Time
	pid     int32
	closed  bool
	fault   syscall.Errno // why it could not be started, as it was reported
}

// jobsFiles is the owner of all files that are watched.
const jobsFiles = 1<<32 - 1

const (
	// filesSettle is how long after a change of a file it is told of: it may be one of several,
	// or a part of one; but no longer than filesPatience.
	filesSettle   = 30 * time.Millisecond
	filesPatience = 500 * time.Millisecond
	// outputRead is how much of a stream is read at a time, and the longest line.
	outputRead = 8 << 10
)

// NewJobs brings up what jobs share. As with New there is no way back.
func NewJobs(c JobsConfig) (*Jobs, error) {
	// The heap is small and grows once: no collection in the middle of it.
	debug.SetGCPercent(400)
	k, err := newKernel(Config{Dialect: supervise.Daemontools, Report: c.Report, jobs: true})
	if err != nil {
		return nil, err
	}
	s := &Jobs{k: k, config: c}
	k.jobs = s
	if s.cwd, err = unix.Open(".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return nil, err
	}
	if s.null, err = unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return nil, err
	}
	if s.output, err = pump.New(); err != nil {
		return nil, err
	}
	go s.output.Run(s.deliver) // until the process ends
	return s, nil
}

// Settle gives back what only the start of many jobs needed.
func (s *Jobs) Settle() {
	debug.SetGCPercent(50)
	trim()
}

// Watch has Changed called for changes of these files, in place of those before. If it
// returns false, some cannot be watched and have to be looked at now and then.
func (s *Jobs) Watch(paths []string) bool {
	files := s.k.watchFiles(true)
	if files == nil || files.Set(jobsFiles, paths) != nil {
		return false
	}
	for _, path := range paths {
		if watch.Remote(path) {
			return false
		}
	}
	return true
}

// fileChanged is the pump's.
func (s *Jobs) fileChanged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.first = time.AfterFunc(filesPatience, s.settled)
		s.last = time.AfterFunc(filesSettle, s.settled)
		return
	}
	s.last.Reset(filesSettle)
}

func (s *Jobs) settled() {
	s.mu.Lock()
	news := s.last != nil
	if news {
		s.first.Stop()
		s.last.Stop()
		s.first, s.last = nil, nil
	}
	s.mu.Unlock()
	if news {
		s.k.reports.do(s.config.Changed)
	}
}

// Add makes a job and starts it unless it is down.
func (s *Jobs) Add(name string, spec *JobSpec) (*Job, error) {
	j := &Job{jobs: s, name: name}
	if err := j.define(spec); err != nil {
		return nil, err
	}
	j.Init(j, spec.Policy)
	j.RunLazily()
	j.Post(supervise.Event{Kind: supervise.EvBoot, Facts: j.facts(spec), At: j.Now()})
	return j, nil
}

func (j *Job) define(spec *JobSpec) error {
	p, err := spawn.NewProgram(spec.Path, spec.Args...)
	if err == nil {
		err = j.jobs.k.spawner.With(p, spec.Env)
	}
	var steps *spawn.Steps
	if err == nil {
		steps, err = spec.steps()
	}
	if err != nil {
		return err
	}
	j.mu.Lock()
	j.program, j.steps = p, steps
	j.mu.Unlock()
	return nil
}

// steps is nil for no settings.
func (x *JobSettings) steps() (*spawn.Steps, error) {
	s := &spawn.Steps{Nice: x.Nice, HasNice: x.HasNice, CPUs: x.CPUs}
	some := x.HasNice || x.CPUs != nil
	for _, l := range x.Limits {
		s.Limits = append(s.Limits, spawn.Limit{Resource: l.Resource, Rlimit: unix.Rlimit{Cur: l.Value, Max: l.Value}})
		some = true
	}
	for i, path := range [...]string{x.Dir, x.Files[0], x.Files[1], x.Files[2]} {
		if path == "" {
			continue
		}
		p, err := syscall.BytePtrFromString(path)
		if err != nil {
			return nil, err
		}
		if some = true; i == 0 {
			s.Dir = p
		} else {
			s.Files[i-1] = p
		}
	}
	if !some {
		return nil, nil
	}
	return s, nil
}

func (j *Job) facts(spec *JobSpec) supervise.Facts {
	return supervise.Facts{Down: spec.Down, Once: spec.Once}
}

// Redefine has the job be another from now on: what runs is ended first.
func (j *Job) Redefine(spec *JobSpec) error {
	if err := j.define(spec); err != nil {
		return err
	}
	j.SetPolicy(spec.Policy)
	j.Post(supervise.Event{Kind: supervise.EvRedefined, Facts: j.facts(spec), At: j.Now()})
	return nil
}

// Control is a control byte, as for a service with a directory.
func (j *Job) Control(letter byte) {
	j.Post(supervise.Event{Kind: supervise.EvControl, Byte: letter, At: j.Now()})
}

// Remove ends the job for good.
func (j *Job) Remove() { j.Post(supervise.Event{Kind: supervise.EvShutdown, At: j.Now()}) }

// Hurry kills what Remove has not ended.
func (j *Job) Hurry() { j.Post(supervise.Event{Kind: supervise.EvDeadline, At: j.Now()}) }

func (j *Job) tell(ev JobEvent) {
	j.jobs.k.reports.do(func() { j.jobs.config.Heard(j, ev) })
}

// Now implements supervise.Port.
func (j *Job) Now() supervise.Instant { return j.jobs.k.now() }

// ReadControl implements supervise.Port.
func (j *Job) ReadControl() (byte, bool) { return 0, false }

// LogControl implements supervise.Port.
func (j *Job) LogControl(supervise.Event) {}

// Spawn implements supervise.Port.
func (j *Job) Spawn(supervise.Script, uint32, supervise.WaitStatus) {
	j.mu.Lock()
	r := &spawn.Request{Owner: j, Program: j.program, Dir: j.jobs.cwd, Stdin: j.jobs.null, Stdout: -1, Stderr: -1, Notify: -1, Journal: -1, Steps: j.steps}
	for i := range j.pipes {
		if err := unix.Pipe2(j.pipes[i][:], unix.O_CLOEXEC); err != nil {
			for ; i > 0; i-- {
				unix.Close(j.pipes[i-1][0])
				unix.Close(j.pipes[i-1][1])
			}
			j.mu.Unlock()
			j.notStarted(err, false, time.Now())
			return
		}
	}
	r.Stdout = j.pipes[0][1]
	r.Notify, r.At = j.pipes[1][1], 2
	j.mu.Unlock()
	j.jobs.k.spawner.Spawn(r)
}

// Started implements spawn.Owner. Its Proceed is the service's.
func (j *Job) Started(pid int32, at time.Time) {
	j.mu.Lock()
	j.pid, j.begun, j.fault = pid, at, 0
	for _, p := range j.pipes {
		unix.Close(p[1])
		j.jobs.listen(&jobOutput{job: j, pid: pid, fd: p[0]})
	}
	// Who hears of it may order what this process is to obey, and of nothing later first.
	j.Append(supervise.Event{Kind: supervise.EvStarted, PID: pid, At: j.jobs.k.instant(at)})
	j.tell(JobEvent{Kind: JobStarted, PID: pid})
	j.mu.Unlock()
}

// StartFailed implements spawn.Owner.
func (j *Job) StartFailed(err error, exec bool, at time.Time) {
	for _, p := range j.pipes {
		unix.Close(p[0])
		unix.Close(p[1])
	}
	j.notStarted(err, exec, at)
}

func (j *Job) notStarted(err error, exec bool, at time.Time) {
	ev := supervise.Event{Kind: supervise.EvStartFailed, Exec: exec, At: j.jobs.k.instant(at)}
	var told JobEvent
	if exec {
		ev.Status = supervise.Exited(exitFatal)
		told = JobEvent{Kind: JobFailed, Err: err}
		if e, ok := err.(*spawn.StepError); ok {
			told.Step = e.Step
		}
	}
	var errno syscall.Errno
	errors.As(err, &errno)
	j.mu.Lock()
	delayed := !exec && j.fault != errno
	j.fault = errno
	j.Post(ev) // before anybody hears of it
	if exec {
		j.tell(told)
	}
	j.mu.Unlock()
	if delayed {
		j.jobs.k.report(Warning, j.Name(), "fork for", j.Name(), err)
		j.tell(JobEvent{Kind: JobDelayed})
	}
}

// Slow implements spawn.Owner.
func (j *Job) Slow() {
	j.jobs.k.report(Warning, j.Name(), "starting "+j.Name()+" takes long", "", nil)
	j.tell(JobEvent{Kind: JobDelayed})
	j.Post(supervise.Event{Kind: supervise.EvSlow, At: j.Now()})
}

// Died implements reap.Owner.
func (j *Job) Died(pid int32, status uint32) {
	now := time.Now()
	st := supervise.WaitStatus(status)
	j.ending.Lock()
	j.mu.Lock()
	j.pid = 0
	over := j.closed
	age := now.Sub(j.begun)
	if !over {
		j.Append(supervise.Event{Kind: supervise.EvDied, PID: pid, Status: st, At: j.jobs.k.instant(now)})
	}
	j.tell(JobEvent{Kind: JobEnded, PID: pid, Status: st, Age: age})
	j.mu.Unlock()
	j.ending.Unlock()
	if over {
		j.tell(JobEvent{Kind: JobGone})
		return
	}
	j.Proceed()
}

// Name is what reports call the job.
func (j *Job) Name() string { return j.name }

// Signal implements supervise.Port.
func (j *Job) Signal(pid int32, sig syscall.Signal, group bool) {
	if inject != nil {
		inject(j.name, "signal")
	}
	j.ending.Lock() // nobody hears of what came of it first
	defer j.ending.Unlock()
	err := j.jobs.k.table.Signal(pid, sig, group)
	switch {
	case err == nil:
		j.tell(JobEvent{Kind: JobSignaled, PID: pid, Signal: sig})
	case err != unix.ESRCH:
		j.jobs.k.report(Warning, j.Name(), "signal", j.Name(), err)
	}
}

// Arm implements supervise.Port.
func (j *Job) Arm(t supervise.Timer, after time.Duration) {
	arm(&j.timers, &j.Service, j.jobs.k, t, after)
}

// Disarm implements supervise.Port.
func (j *Job) Disarm(t supervise.Timer) { j.timers.disarm(t) }

// Announce implements supervise.Port.
func (j *Job) Announce(*supervise.Machine) {}

// Emit implements supervise.Port.
func (j *Job) Emit(supervise.Change, *supervise.Machine) {}

// Consult implements supervise.Port.
func (j *Job) Consult(byte) {
	j.Post(supervise.Event{Kind: supervise.EvConsulted, At: j.Now()})
}

// MarkDown implements supervise.Port.
func (j *Job) MarkDown(bool) {}

// Panicked implements supervise.Port. What runs is killed, and the job is gone with it.
func (j *Job) Panicked(reason any) {
	j.jobs.k.report(Warning, j.Name(), panicText(reason)+" (in "+j.Name()+")", "", nil)
	j.jobs.k.table.Kill(func(o reap.Owner) bool { return o == reap.Owner(j) })
}

// Closed implements supervise.Port.
func (j *Job) Closed() {
	j.timers.disarmAll()
	j.mu.Lock()
	j.closed = true
	lives := j.pid != 0
	j.mu.Unlock()
	if !lives {
		j.tell(JobEvent{Kind: JobGone})
	}
}

// jobOutput is an output of a process.
type jobOutput struct {
	job   *Job
	pid   int32
	fd    int
	begun []byte // a line that has not ended
}

// listen has a stream read.
func (s *Jobs) listen(o *jobOutput) {
	_ = unix.SetNonblock(o.fd, true)
	s.mu.Lock()
	token := uint32(len(s.streams))
	if n := len(s.free); n > 0 {
		token = s.free[n-1]
		s.free = s.free[:n-1]
		s.streams[token] = o
	} else {
		s.streams = append(s.streams, o)
	}
	s.mu.Unlock()
	if err := s.output.Once(o.fd, uint64(token)); err != nil {
		s.k.report(Warning, o.job.Name(), "read", "what "+o.job.Name()+" writes", err)
		s.drop(token)
	}
}

// drop ends a stream.
func (s *Jobs) drop(token uint32) {
	s.mu.Lock()
	o := s.streams[token]
	s.streams[token] = nil
	s.free = append(s.free, token)
	s.mu.Unlock()
	unix.Close(o.fd)
}

// deliver is for the pump of streams, which may wait for whoever reads what is made of them.
func (s *Jobs) deliver(token uint64) {
	s.reading.Lock()
	defer s.reading.Unlock()
	s.mu.Lock()
	o := s.streams[token]
	s.mu.Unlock()
	if o == nil {
		return
	}
	if more, _ := s.read(o); !more {
		s.drop(uint32(token))
	} else if err := s.output.Once(o.fd, token); err != nil {
		s.k.report(Warning, o.job.Name(), "read", "what "+o.job.Name()+" writes", err)
		s.drop(uint32(token))
	}
}

// read passes on what there is of a stream; more is false at its end.
func (s *Jobs) read(o *jobOutput) (more, some bool) {
	b := s.buffer[:]
	kept := copy(b, o.begun)
	n, err := unix.Read(o.fd, b[kept:])
	if err == unix.EINTR || err == unix.EAGAIN {
		return true, false
	}
	if n <= 0 {
		if kept > 0 {
			s.config.Output(o.job, o.pid, append(o.begun, '\n'))
		}
		return false, false
	}
	b = b[:kept+n]
	end := len(b)
	for end > 0 && b[end-1] != '\n' {
		end--
	}
	if end > 0 {
		s.config.Output(o.job, o.pid, b[:end])
	}
	if rest := b[end:]; len(rest) == outputRead {
		s.config.Output(o.job, o.pid, append(rest[:len(rest):len(rest)], '\n'))
		o.begun = nil
	} else if len(rest) > 0 {
		o.begun = append(o.begun[:0], rest...)
	} else {
		o.begun = nil
	}
	return true, true
}

// Drain passes on what is left of all output, for those who end.
func (s *Jobs) Drain() {
	s.reading.Lock()
	defer s.reading.Unlock()
	for token := range s.streams {
		o := s.streams[token]
		if o == nil {
			continue
		}
		for more, some := true, true; more && some; {
			more, some = s.read(o)
		}
		s.streams[token] = nil
	}
}
