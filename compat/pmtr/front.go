package pmtr

import (
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/conf2dir"
	"upkeep/supervise"
	"upkeep/svscan"
)

const (
	// grace is how long jobs may take to end when all of pmtr does.
	grace = 8 * time.Second
	// pollEvery is for file systems that cannot be watched.
	pollEvery = 5 * time.Second
	// settleAfter is when a start counts as over.
	settleAfter = 2 * time.Second
)

// front is the live pmtr. All of it belongs to one goroutine, run; others post.
type front struct {
	log     *journal
	conf    string
	start   string // the directory in which it was started
	verbose int
	jobs    *svscan.Jobs
	posts   chan func()

	list    []*job // in start order
	leaving []*job // whose definitions are gone
	queue   []*job // still to be started, or to become what they are
	gate    *job   // whom the queue waits for: until it is started or, if that waits, has ended
	begun   bool   // it has a process since
	sockets *sockets
	paths   []string // that are watched
	seen    string   // the state of these, where they are polled
	policy  *supervise.Policy

	stopping bool
	over     bool
	tick     *time.Timer // of reports and polls
	settle   *time.Timer
	polled   bool
	due      time.Time // of the next report
}

// job is a job of the configuration, and what has become of it.
type job struct {
	*conf2dir.Job
	print   string // of what it depends on
	enabled bool
	live    *svscan.Job // nil until it is first started
	pid     int32
	last    time.Time // of the last start
	done    bool      // it is not started again
	killed  bool      // its process was, which has been said
}

// definition is what a job is taken by for another.
func (j *job) definition() string {
	return j.Definition() + j.print + strconv.FormatBool(j.enabled)
}

// newFront makes a front end that has nothing to do yet.
func newFront(o *options) (*front, error) {
	f := &front{
		log: o.log, conf: o.conf, verbose: o.verbose, posts: make(chan func()), sockets: new(sockets),
		policy: policy(0),
	}
	var err error
	f.jobs, err = svscan.NewJobs(svscan.JobsConfig{
		Report: func(r svscan.Report) { f.log.say(errs, reportText(r)) },
		Heard:  func(live *svscan.Job, ev svscan.JobEvent) { f.post(func() { f.heard(live, ev) }) },
		Output: func(live *svscan.Job, pid int32, text []byte) { f.log.output(live.Name(), int(pid), text) },
		Changed: func() {
			f.post(f.reload)
		},
	})
	if err == nil {
		f.start, err = os.Getwd()
	}
	return f, err
}

// post has something done by run.
func (f *front) post(do func()) { f.posts <- do }

func reportText(r svscan.Report) string {
	text := r.Verb
	if r.Object != "" {
		text = "unable to " + r.Verb + " " + r.Object
	}
	if r.Err != nil {
		text += ": " + cli.Strerror(r.Err)
	}
	return text
}

// run is pmtr from its first start of jobs to the end.
func (f *front) run(file *conf2dir.File, signals <-chan os.Signal) {
	f.log.say(info, "pmtr: starting")
	f.adopt(file)
	f.report()
	f.settle = time.AfterFunc(settleAfter, f.jobs.Settle)
	f.schedule()
	for !f.over {
		select {
		case sig := <-signals:
			n, _ := sig.(syscall.Signal)
			if n == unix.SIGHUP {
				f.reload()
			} else {
				f.shutdown(n)
			}
		case do := <-f.posts:
			do()
		}
	}
	f.jobs.Drain()
}

// shutdown ends all jobs, and then pmtr.
func (f *front) shutdown(sig syscall.Signal) {
	if f.stopping {
		return
	}
	f.stopping = true
	f.log.say(info, "pmtr: exiting on signal ", strconv.Itoa(int(sig)))
	f.queue, f.gate = nil, nil
	for _, j := range f.all() {
		if j.live != nil {
			j.live.Remove()
		}
	}
	time.AfterFunc(grace, func() {
		f.post(func() {
			for _, j := range f.all() {
				if j.live != nil {
					j.live.Hurry()
				}
			}
		})
	})
	f.finish()
}

// all is every job that may still have a process.
func (f *front) all() []*job { return append(append([]*job(nil), f.list...), f.leaving...) }

// finish ends a shutdown once nothing is left.
func (f *front) finish() {
	f.over = f.stopping
	for _, j := range f.all() {
		f.over = f.over && j.live == nil
	}
}

// heard is what becomes of a job.
func (f *front) heard(live *svscan.Job, ev svscan.JobEvent) {
	var j *job
	for _, one := range f.all() {
		if one.live == live {
			j = one
		}
	}
	if j == nil {
		return
	}
	name := j.Name + " [" + strconv.Itoa(int(ev.PID)) + "]"
	switch ev.Kind {
	case svscan.JobStarted:
		j.pid, j.last, j.killed = ev.PID, time.Now(), false
		f.log.say(info, "started job ", name)
		if f.gate == j && j.Wait && !f.begun {
			f.begun = true
			f.log.say(info, "pausing for job ", j.Name, " to finish")
		}
		f.pass(j)
	case svscan.JobDelayed:
		f.pass(j)
	case svscan.JobFailed:
		j.last = time.Now()
		f.log.say(errs, failure(j.Job, ev.Step), ": ", cli.Strerror(ev.Err))
		f.ended(j, svscan.JobEvent{})
	case svscan.JobEnded:
		j.pid = 0
		if f.gate != j || !f.begun { // else it is said below
			end := "status " + strconv.Itoa(ev.Status.Code())
			if ev.Status.Signalled() {
				end = "signal " + strconv.Itoa(ev.Status.Signal())
			}
			f.log.say(info, "job ", name, " exited after ", strconv.Itoa(int(ev.Age/time.Second)), " sec: exit ", end)
		}
		f.ended(j, ev)
	case svscan.JobSignaled:
		switch {
		case ev.Signal == unix.SIGTERM:
			f.log.say(info, "sending SIGTERM to job ", name)
		case ev.Signal == unix.SIGKILL && !j.killed:
			j.killed = true
			f.log.say(info, "sending SIGKILL to job ", name)
		}
	case svscan.JobGone:
		f.gone(j)
	}
}

// pass lets the others start after a job that only had to be started.
func (f *front) pass(j *job) {
	if f.gate == j && !j.Wait {
		f.gate = nil
		f.proceed()
	}
}

// ended is the end of a process, or of an attempt to start one.
func (f *front) ended(j *job, ev svscan.JobEvent) {
	j.done = j.Once || ev.Status.Code() == permanent
	if f.gate == j && ev.PID == 0 {
		f.pass(j)
	}
	if f.gate == j && (f.begun || ev.PID == 0) {
		f.log.say(info, "job ", j.Name, " finished")
		f.gate = nil
		f.proceed()
	}
}

// gone is that nothing is left of a job.
func (f *front) gone(j *job) {
	j.live = nil
	f.leaving = slices.DeleteFunc(f.leaving, func(one *job) bool { return one == j })
	f.finish()
	if !f.stopping && slices.Contains(f.list, j) && j.enabled { // an internal error, of which more was said
		f.enqueue(j)
	}
}

// enqueue has a job become what its definition says when it is its turn.
func (f *front) enqueue(j *job) {
	blocked := f.gate != nil && f.gate.Wait
	for _, one := range f.queue {
		blocked = blocked || one.Wait && one.enabled
	}
	if blocked && j.live != nil {
		j.live.Control('d') // what is not the job any more ends now
	}
	f.queue = append(f.queue, j)
	f.proceed()
}

// proceed starts jobs up to one that has to be waited for.
func (f *front) proceed() {
	for f.gate == nil && len(f.queue) > 0 && !f.stopping {
		j := f.queue[0]
		f.queue = f.queue[1:]
		running := j.pid != 0 // and has to end first
		if f.begin(j) && (j.Wait || !running) {
			f.gate, f.begun = j, false
		}
	}
}

// begin starts a job, has it be another, or has it end. It is true if there will be a
// process.
func (f *front) begin(j *job) bool {
	if !j.enabled {
		if j.live != nil {
			j.live.Control('d')
		}
		return false
	}
	p := f.policy
	if j.Bounce > 0 {
		p = policy(j.Bounce)
	}
	j.done = false
	var err error
	if j.live == nil {
		j.live, err = f.jobs.Add(j.Name, spec(j.Job, p))
	} else {
		err = j.live.Redefine(spec(j.Job, p))
	}
	if err != nil {
		f.log.say(errs, "can't exec ", j.Cmd[0], ": ", cli.Strerror(err))
	}
	return err == nil
}

// reload reads the configuration again (pmtr.md, section 3.9).
func (f *front) reload() {
	if f.stopping {
		return
	}
	f.log.say(info, "rescanning job configuration")
	f.watch(f.paths) // before it is read, so that no change is lost
	file, complaint := f.read()
	if file == nil {
		f.log.say(crit, "FAILED to parse ", f.conf)
		f.log.say(crit, "ERROR: ", complaint)
		f.log.say(crit, "NOTE: using PREVIOUS job config")
		return
	}
	f.adopt(file)
	f.schedule()
	f.settle.Reset(settleAfter)
}

// read reads the configuration and makes its sockets, or complains.
func (f *front) read() (file *conf2dir.File, complaint string) {
	text, err := conf2dir.ReadFile(f.conf)
	if err != nil {
		f.log.say(errs, err.Error())
		return nil, ""
	}
	file, wrong := conf2dir.Parse(f.conf, text)
	if wrong != nil {
		return nil, wrong.Text
	}
	s, complaint := openSockets(file, f.sockets, &resolver{f.jobs})
	if s == nil {
		return nil, complaint
	}
	remark(f.log, file)
	old := f.sockets
	f.sockets = s
	old.closeBut(s)
	for _, o := range s.listen {
		if !slices.Contains(old.listen, o) {
			go o.receive(func(text string) { // until it is closed
				f.post(func() { obey(f.log, f.verbose > 0, text, f.set) })
			})
		}
	}
	return file, ""
}

// remark says what is allowed in a configuration and probably not meant.
func remark(log *journal, file *conf2dir.File) {
	for _, r := range file.Remarks {
		place := file.Name
		if r.Line > 0 {
			place += " line " + strconv.Itoa(r.Line)
		}
		log.say(warning, place, ": ", r.Text)
	}
}

// adopt makes the jobs what a configuration says: first those that are gone are told to end,
// then the others are started in their order, but for those that are as they were.
func (f *front) adopt(file *conf2dir.File) {
	old := f.list
	f.list = nil
	f.paths = f.paths[:0]
	for _, def := range file.StartOrder() {
		def.Options = nil // where they stood is of no use any more
		j := &job{Job: def, enabled: !def.Disable && len(def.Cmd) > 0}
		f.list = append(f.list, j)
		if j.enabled {
			f.paths = append(f.paths, def.DependPaths(f.start)...)
		}
	}
	f.watch(f.paths)
	var changed []*job
	for i, j := range f.list {
		if j.enabled {
			var err error
			if j.print, err = j.Fingerprint(f.start); err != nil {
				f.complainOfDepends(err)
				j.enabled = false
			}
		}
		was := take(old, j.Name)
		if was == nil {
			changed = append(changed, j)
			continue
		}
		waits := slices.Contains(f.queue, was)
		if was.definition() == j.definition() && !waits {
			was.Job = j.Job // another place in the file
			f.list[i] = was
			continue
		}
		same := *was
		*was = *j
		was.live, was.pid, was.last, was.done = same.live, same.pid, same.last, same.done
		f.list[i] = was
		changed = append(changed, was)
	}
	f.queue, f.seen = nil, f.state()
	for _, j := range old {
		if j != nil {
			f.drop(j)
		}
	}
	if slices.Contains(changed, f.gate) {
		f.gate = nil
	}
	for _, j := range changed {
		f.enqueue(j)
	}
}

// take is the first job of a name, which it takes from the list.
func take(list []*job, name string) *job {
	for i, j := range list {
		if j != nil && j.Name == name {
			list[i] = nil
			return j
		}
	}
	return nil
}

// drop ends a job that is not in the configuration any more.
func (f *front) drop(j *job) {
	if f.gate == j {
		f.gate = nil
	}
	if j.live == nil {
		return
	}
	gone := *j.Job
	gone.Name += "(deleted)"
	j.Job = &gone
	f.leaving = append(f.leaving, j)
	j.live.Remove()
}

func (f *front) complainOfDepends(err error) {
	if e, ok := err.(*conf2dir.DependError); ok {
		f.log.say(errs, e.Err.Error())
	}
	f.log.say(errs, err.Error())
}

// watch has changes of the configuration and of other files be heard of.
func (f *front) watch(depends []string) {
	conf := f.conf
	if conf[0] != '/' {
		conf = f.start + "/" + conf
	}
	polled := !f.jobs.Watch(append([]string{conf}, depends...))
	if polled && !f.polled {
		f.log.say(info, "inotify-based dependency monitoring disabled") // what has changed is looked for
	}
	f.polled = polled
}

// state is what the watched files are, where that has to be asked for.
func (f *front) state() string {
	if !f.polled {
		return ""
	}
	var b []byte
	for _, path := range append([]string{f.conf}, f.paths...) {
		var st unix.Stat_t
		_ = unix.Stat(path, &st)
		for _, n := range [...]int64{int64(st.Ino), st.Size, st.Mtim.Sec, int64(st.Mtim.Nsec)} {
			b = append(strconv.AppendInt(b, n, 10), ' ')
		}
	}
	return string(b)
}

// schedule has what is due now and then be done.
func (f *front) schedule() {
	after := time.Duration(-1)
	if len(f.sockets.report) > 0 {
		after = max(time.Until(f.due), 0)
	}
	if f.polled && (after < 0 || after > pollEvery) {
		after = pollEvery
	}
	switch {
	case f.tick == nil && after >= 0:
		f.tick = time.AfterFunc(after, func() { f.post(f.ticked) })
	case after >= 0:
		f.tick.Reset(after)
	case f.tick != nil:
		f.tick.Stop()
	}
}

func (f *front) ticked() {
	if f.polled && !f.stopping && f.state() != f.seen {
		f.reload()
	}
	if !time.Now().Before(f.due) {
		f.report()
	}
	f.schedule()
}

// set enables or disables a job.
func (f *front) set(o order) {
	if f.stopping {
		return
	}
	for _, j := range f.list {
		if j.Name != o.job {
			continue
		}
		if j.enabled == o.enable || o.enable && len(j.Cmd) == 0 {
			return
		}
		j.enabled = o.enable
		switch {
		case !o.enable:
			f.log.say(info, "disabling ", j.Name)
			f.disable(j)
		case slices.Contains(f.queue, j):
			f.log.say(info, "enabling ", j.Name)
		default:
			f.log.say(info, "enabling ", j.Name)
			f.enable(j)
		}
		if len(f.sockets.report) > 0 {
			f.due = time.Now().Add(soon)
			f.schedule()
		}
		return
	}
	f.log.say(info, "control msg for unknown job ", printable(o.job))
}

// soon is when a change is reported.
const soon = 200 * time.Millisecond

func (f *front) disable(j *job) {
	if j.live != nil {
		j.live.Control('d')
	}
	if f.gate == j && !f.begun {
		f.gate = nil
		f.proceed()
	}
}

func (f *front) enable(j *job) {
	j.done = false
	if j.live == nil {
		f.begin(j)
		return
	}
	letter := byte('u')
	if j.Once {
		letter = 'o'
	}
	j.live.Control(letter)
}

// report tells all who want to know.
func (f *front) report() {
	f.due = time.Now().Add(reportEvery)
	if len(f.sockets.report) > 0 {
		f.sockets.send(f.log, f.appendReport(nil))
	}
}

func (f *front) appendReport(b []byte) []byte {
	b = f.sockets.appendHost(b)
	for _, j := range f.list {
		if j.done && j.pid == 0 {
			continue
		}
		line := reportLine{name: j.Name, enabled: j.enabled, pid: int(j.pid), last: j.last}
		if len(j.Cmd) > 0 {
			line.program = j.Cmd[0]
		}
		b = line.append(b)
	}
	return b
}
