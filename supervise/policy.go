package supervise

import (
	"syscall"
	"time"
)

// Dialect is the system whose habits a service follows where they conflict.
type Dialect uint8

// The dialects. Common is what lets the clients of daemontools and of runit
// both work on one tree.
const (
	Common Dialect = iota
	Daemontools
	Encore
	Runit
	S6
	Dialects
)

// String is the name used with --dialect.
func (d Dialect) String() string {
	switch d {
	case Daemontools:
		return "daemontools"
	case Encore:
		return "encore"
	case Runit:
		return "runit"
	case S6:
		return "s6"
	}
	return "common"
}

// ParseDialect reads a name as String writes it.
func ParseDialect(name string) (Dialect, bool) {
	for d := Common; d < Dialects; d++ {
		if d.String() == name {
			return d, true
		}
	}
	return Common, false
}

// RestartRule says from when the pause before a restart counts.
type RestartRule uint8

// The rules.
const (
	// AfterStart: Pause after the last start, so a process that lived longer is
	// restarted at once (daemontools; pmtr with 10 s).
	AfterStart RestartRule = iota
	// FullIfShort: a whole Pause when the process lived less than one (runit).
	FullIfShort
	// AfterReady: Pause after it became ready, or after its end when it never
	// did (s6).
	AfterReady
)

// Letters is a set of control bytes.
type Letters uint8

// The sets, to be combined.
const (
	LettersDaemontools Letters = 1 << iota // u d o x p c h a i t k
	LettersMore                            // q 1 2: runit, encore and s6
	LettersEncore                          // w
	LettersS6                              // r b y D U O Q P C K
	LettersNoExit                          // without x
	LettersLog                             // L l: encore
)

// Policy is everything in which the dialects differ, and what single service
// directories may have otherwise. The machine branches on these fields and never on a
// dialect's name.
type Policy struct {
	Dialect Dialect
	Letters Letters

	FinishScript     bool // run finish after every end of run
	StartStopScripts bool // encore's start and stop
	ControlScripts   bool // runit's control/
	RunOptional      bool // encore: without run the service is "started"

	Rule    RestartRule
	Pause   time.Duration
	UpCuts  bool // u does not wait for the end of the pause (s6)
	DeafFor time.Duration

	ExitStops       bool // x also stops the process (runit)
	ExitYields      bool // u, d and o withdraw it (runit)
	RemovedStops    bool // so does the removal of the directory (runsvdir)
	OnceIsDown      bool // the status shows once as want down
	ExitIsDown      bool // and want exit as well
	PauseWhenDown   bool // p and c set the flag without a process, too (runit)
	FinishKeepsTime bool // the status shows run's start while finish runs
	ShowFirst       bool // publish the state before the first start, too (encore, s6)
	AnnounceDeaths  bool // publish a death also when a start follows at once
	Session         bool // each process leads a session (encore, s6)

	// Permanent is the exit code that ends restarting: of finish if PermanentOf
	// is ScriptFinish (s6: 125), of run if it is ScriptRun (encore: 100).
	Permanent   int
	PermanentOf Script
	// PermanentRun is an exit code of run that does so in any dialect; -1: none.
	PermanentRun int

	// Who lived for less than MinUptime is started again RestartDelay after its end.
	MinUptime, RestartDelay time.Duration
	// More than Strikes ends of run within StrikesIn, counted from the first of them, end
	// restarting. 0: there is no limit, or none of time.
	Strikes   int
	StrikesIn time.Duration

	Bounce time.Duration // the age at which run is ended and started anew; 0: none

	StopSignal    syscall.Signal // for d, and the first step of a shutdown
	ReloadSignal  syscall.Signal // for l; 0: that is no letter
	KillAfter     time.Duration  // from a stop to KILL; 0: never
	ShutdownAfter time.Duration  // the same for a shutdown where KillAfter is 0
	DrainFor      time.Duration  // what a log service gets to read to the end; 0: no end
	FinishFor     time.Duration  // from the start of finish to KILL; 0: never
	ReadyFor      time.Duration  // from the start to readiness, or run is started anew; 0: for ever
	WatchdogFor   time.Duration  // the most between two signs of life of what is started from now on; 0: none are due
	UnfitPause    time.Duration  // until run is tried again that could not be executed, which then is no death (s6); 0: it is one
	Tally         int            // as many deaths are on record (s6)
}

const (
	// onePause is the field's shortest distance between two starts.
	onePause = time.Second
	// shutdownAfter is what container runtimes and init scripts grant.
	shutdownAfter = 10 * time.Second
	// killAgain is how often KILL is repeated (s6).
	killAgain = 5 * time.Second
	// forkRetry is the first pause after the kernel refused a process; it
	// doubles up to forkRetryMax, runit's constant pause.
	forkRetry    = time.Second
	forkRetryMax = 5 * time.Second
)

// Within fits the patience of a shutdown into what all of it may take: of that, five
// eighths are for TERM to be obeyed, or for a log service to read to the end. See
// EvDeadline for the rest.
func (p *Policy) Within(whole time.Duration) {
	p.ShutdownAfter = whole / 8 * 5
	p.DrainFor = p.ShutdownAfter
}

// ForLogs is the policy of log services where that of services is p. Runit's have
// neither finish nor control scripts, and x means nothing to them (runit.md, sections 1.1 and 1.7);
// when their directory is gone they are left to read to the end.
func (p Policy) ForLogs() Policy {
	if p.Dialect == Runit {
		p.FinishScript, p.ControlScripts, p.RemovedStops = false, false, false
		p.Letters |= LettersNoExit
	}
	return p
}

// PolicyFor is the policy of a dialect, without what single service directories
// say.
func PolicyFor(d Dialect) Policy {
	p := Policy{
		Dialect: d, Letters: LettersDaemontools | LettersMore,
		Rule: AfterStart, Pause: onePause,
		Permanent: -1, PermanentRun: -1, StopSignal: syscall.SIGTERM,
		ShutdownAfter: shutdownAfter, DrainFor: shutdownAfter,
	}
	switch d {
	case Common:
		p.Letters |= LettersEncore
		p.FinishScript, p.ControlScripts, p.FinishKeepsTime = true, true, true
	case Daemontools:
		p.Letters = LettersDaemontools
	case Encore:
		p.Letters |= LettersEncore | LettersLog
		p.StartStopScripts, p.RunOptional = true, true
		p.Permanent, p.PermanentOf = 100, ScriptRun
		p.DeafFor = onePause
		p.AnnounceDeaths, p.ShowFirst, p.Session = true, true, true
	case Runit:
		p.FinishScript, p.ControlScripts, p.FinishKeepsTime = true, true, true
		p.Rule = FullIfShort
		p.ExitStops, p.ExitYields, p.RemovedStops = true, true, true
		p.OnceIsDown, p.ExitIsDown, p.PauseWhenDown = true, true, true
		p.AnnounceDeaths = true
	case S6:
		p.Letters |= LettersS6
		p.FinishScript = true
		p.Rule, p.UpCuts = AfterReady, true
		p.OnceIsDown, p.AnnounceDeaths, p.ShowFirst, p.Session = true, true, true, true
		p.UnfitPause, p.Tally = 10*time.Second, 100
		p.ReloadSignal = syscall.SIGHUP
		p.Permanent, p.PermanentOf = 125, ScriptFinish
		p.FinishFor = 5 * time.Second
	}
	return p
}
