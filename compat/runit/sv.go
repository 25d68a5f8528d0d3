package runit

import (
	"errors"
	"strings"
	"time"

	"upkeep/compat/cli"
	"upkeep/supervise/status"
	"upkeep/svc"
	"upkeep/svscan"
)

// Exit codes of sv.
const (
	maxTroubles = 99
	svUsage     = 100
	initUsage   = 2 // in the place of an init script
	initDown    = 3
	initUnknown = 4
)

// defaultWait is how many seconds sv waits.
const defaultWait = 7

// Sv is the applet sv: steer services and tell how they are.
//
//	sv [-v] [-w SEC] COMMAND SERVICE...
//
// Under another name it is the init script of the service of that name, and the one
// operand is the command (runit.md, section 3.9).
//
// Exit code: how many services there was trouble with, at most 99; 100 for wrong
// usage. As an init script: 0; 1 for trouble; 2 for wrong usage; for status, 3 if the
// service is down and 4 if that cannot be found out.
func Sv(env *cli.Env, args []string) int {
	name := args[0][strings.LastIndexByte(args[0], '/')+1:]
	s := &sv{env: env, base: serviceDir(env), limit: defaultWait, initScript: name != "sv"}
	if w, ok := env.Getenv("SVWAIT"); ok {
		s.limit = number(w)
	}
	wrong := func() int {
		if s.initScript {
			return usage(env, name, " [-w sec] command", initUsage)
		}
		return usage(env, name, " [-v] [-w sec] command service ...", svUsage)
	}
	options := cli.NewOptions(env, args, "vw:V")
	for c := options.Next(); c != cli.End; c = options.Next() {
		switch c {
		case 'v':
			s.verbose = true
		case 'w':
			s.verbose, s.limit = true, number(options.Arg)
		case 'V':
			_, _ = env.Stderr.WriteString(version)
			return wrong()
		default:
			return wrong()
		}
	}
	operands := options.Args()
	switch {
	case len(operands) == 0:
		return wrong()
	case s.initScript:
		operands = []string{operands[0], name}
	case len(operands) < 2:
		return wrong()
	}
	word := operands[0]
	command, ok := commandOf(word)
	if !ok || s.initScript && command.status && word != "status" {
		return wrong()
	}
	return s.run(command, operands[1:])
}

// sv is one run of sv.
type sv struct {
	env        *cli.Env
	base       string // what names of services are below
	limit      uint64 // of the wait, in seconds
	verbose    bool
	initScript bool

	out      []byte // for standard output
	start    status.Stamp
	now      status.Stamp
	troubles int
	answer   int // exit code of status, in the place of an init script
}

// service is one that sv was told of.
type service struct {
	name string
	path string
	dir  *svc.Dir
	// before is how it was before the command was sent.
	before status.Record
	done   bool
}

func (s *sv) run(c command, names []string) int {
	s.start = status.Now()
	s.now = s.start
	var services []*service
	for _, name := range names {
		x := &service{name: name, path: pathOf(s.base, name)}
		if s.open(x) {
			services = append(services, x)
			if c.letters == "u" {
				awaitSupervisor(x)
			}
			switch {
			case c.status:
				s.tell(x)
			case c.letters != "" && !s.send(x, c.letters):
				x.done = true
			}
		}
		s.spill()
	}
	if !c.status && (c.waits || s.verbose) {
		s.wait(c, services)
	}
	s.flush()
	switch {
	case !s.initScript:
		return min(s.troubles, maxTroubles)
	case c.status && s.answer != 0:
		return s.answer
	}
	return min(s.troubles, 1)
}

// awaitSupervisor has a service that is to be started be met by the scanner of the directory
// that it is in, if that is ours, in case nobody supervises it yet, or only who is about to
// leave: who has just linked it there need not try again.
func awaitSupervisor(x *service) {
	path := strings.TrimRight(x.path, "/")
	i := strings.LastIndexByte(path, '/')
	if i <= 0 || !svscan.AwaitService(path[:i], path[i+1:]) {
		return
	}
	// It is told of when it has its first status, some moments later.
	for begun := time.Now(); x.dir.OK() != nil && time.Since(begun) < time.Second; {
		time.Sleep(time.Millisecond)
	}
}

// pathOf is where a service is (runit.md, section 3.2).
func pathOf(base, name string) string {
	if name == "" || name[0] == '/' || name[0] == '.' || strings.HasSuffix(name, "/") {
		return name
	}
	return base + "/" + name
}

// spill keeps a long list from piling up, flush writes all that there is.
func (s *sv) spill() {
	if len(s.out) > 1024 {
		s.flush()
	}
}

func (s *sv) flush() {
	_, _ = s.env.Stdout.Write(s.out)
	s.out = s.out[:0]
}

func (s *sv) say(words ...string) {
	for _, w := range words {
		s.out = append(s.out, w...)
	}
}

// trouble says what is wrong with a service and counts it.
func (s *sv) trouble(class, name, text string, err error) {
	s.troubles++
	s.say(class, name, ": ", text)
	if err != nil {
		s.say(": ", cli.ErrText(err))
	}
	s.say("\n")
}

// warn is about something in a service directory that is no part of its state.
func (s *sv) warn(text string, err error) {
	s.flush()
	_, _ = s.env.Stderr.WriteString("warning: " + text + ": " + cli.ErrText(err) + "\n")
}

func (s *sv) open(x *service) bool {
	d, err := svc.Open(x.path, svc.StateDir)
	if err != nil {
		s.trouble("fail: ", x.name, "unable to change to service directory", cause(err).Err)
		return false
	}
	x.dir = d
	return true
}

// read is the state of a service. alive is false after a complaint, and for one
// without a supervisor, of which nothing is said.
func (s *sv) read(d *svc.Dir, name string) (r status.Record, alive bool, err error) {
	if err = d.OK(); err == nil {
		if r, err = d.Status(status.Runit); err == nil {
			return r, true, nil
		}
	}
	if errors.Is(err, svc.ErrNotRunning) {
		return r, false, nil
	}
	s.trouble("warning: ", name, fault(err), shown(err))
	return r, false, err
}

// fault is what could not be done, in sv's words.
func fault(err error) string {
	e := cause(err)
	switch e.Step {
	case svc.StepReadStatus:
		if errors.Is(err, status.ErrFormat) {
			return "unable to read " + e.Path + ": bad format"
		}
		return "unable to read " + e.Path
	case svc.StepWrite:
		return "unable to write to " + e.Path
	}
	return "unable to open " + e.Path
}

// shown is the error that is to be said after fault, if any.
func shown(err error) error {
	if errors.Is(err, status.ErrFormat) {
		return nil
	}
	return cause(err).Err
}

const notRunning = "runsv not running"

// look is read for what is about to be controlled or waited for: a dead supervisor
// is trouble, unless it was to leave.
func (s *sv) look(x *service, leaving bool) (r status.Record, ok bool) {
	r, alive, err := s.read(x.dir, x.name)
	switch {
	case err != nil:
		return r, false
	case alive:
		return r, true
	case leaving:
		s.say("ok: ", x.name, ": ", notRunning, "\n")
	default:
		s.trouble("fail: ", x.name, notRunning, nil)
	}
	return r, false
}

// send sends letters to a service, unless they would change nothing. It is false if
// there is nothing to wait for after that.
func (s *sv) send(x *service, letters string) bool {
	r, ok := s.look(x, letters == "x")
	if !ok {
		return false
	}
	x.before = r
	if byte(r.Want) == letters[0] && (letters[0] == 'u' || r.GotTerm) {
		return true
	}
	err := x.dir.Control(letters)
	switch {
	case err == nil:
		return true
	case !errors.Is(err, svc.ErrNotRunning):
		s.trouble("warning: ", x.name, fault(err), shown(err))
	case letters == "x":
		s.say("ok: ", x.name, ": ", notRunning, "\n")
	default:
		s.trouble("fail: ", x.name, notRunning, nil)
	}
	return false
}

// line appends a status line. Nothing is said of a service whose down file cannot be
// looked for, but for that.
func (s *sv) line(d *svc.Dir, path, name string, r status.Record) {
	down, err := d.Down()
	if err != nil {
		s.warn("unable to stat "+path+"/down", cause(err).Err)
		return
	}
	switch r.Process {
	case status.ProcessNone:
		s.say("down: ")
	case status.ProcessFinish:
		s.say("finish: ")
	default:
		s.say("run: ")
	}
	s.say(name, ": ")
	if r.Process != status.ProcessNone {
		s.say("(pid ")
		s.out = status.AppendUint(s.out, uint64(r.PID))
		s.say(") ")
	}
	s.out = status.AppendUint(s.out, uint64(max(s.now.Sec-r.Since.Sec, 0)))
	s.say("s")
	s.out = appendFlags(s.out, r, down)
}

// appendFlags appends what is to be said of a service beside its state and age. down
// says that it has a down file now.
func appendFlags(b []byte, r status.Record, down bool) []byte {
	up := r.PID != 0
	for _, flag := range [...]struct {
		holds bool
		text  string
	}{
		{up && down, ", normally down"},
		{!up && !down, ", normally up"},
		{up && r.Paused, ", paused"},
		{!up && r.Want == status.WantUp, ", want up"},
		{up && r.Want == status.WantDown, ", want down"},
		{up && r.GotTerm, ", got TERM"},
	} {
		if flag.holds {
			b = append(b, flag.text...)
		}
	}
	return b
}

// tell is the status of a service and of its log service. The init script's answer
// is about the service.
func (s *sv) tell(x *service) {
	r, alive, err := s.read(x.dir, x.name)
	switch {
	case err != nil:
		s.answer = initUnknown
		return
	case !alive:
		s.trouble("fail: ", x.name, notRunning, nil)
		s.answer = 1
		return
	case r.PID == 0:
		s.answer = initDown
	}
	s.line(x.dir, x.name, x.name, r)
	s.tellLog(x)
}

func (s *sv) tellLog(x *service) {
	d, err := svc.Open(x.path+"/log", svc.StateDir)
	name := x.name + "/log"
	if err != nil {
		if missing(cause(err).Err) {
			s.say("\n")
			return
		}
		s.say("; ")
		s.trouble("warning: ", name, "unable to change directory", cause(err).Err)
		return
	}
	defer d.Close()
	s.say("; ")
	r, alive, err := s.read(d, name)
	switch {
	case err != nil:
	case !alive:
		s.trouble("fail: ", name, notRunning, nil)
	default:
		s.line(d, name, "log", r)
		s.say("\n")
	}
}
