package svscan

import (
	"os"
	"runtime"
	"time"

	"upkeep/supervise"
	"upkeep/supervise/servicedir"
	"upkeep/svscan/internal/anchor"
	"upkeep/svscan/internal/handoff"
)

// The anchor is a parent that outlives the scanner: package anchor.

// Anchored tells whether this process was started by an anchor.
func Anchored() bool {
	_, _, ok := anchor.FromEnv()
	return ok
}

// Anchor is an anchor for this program as a scanner with args, its name included. It
// returns what to exit with. An error has not been reported.
func Anchor(args []string, report func(Report)) (code int, err error) {
	runtime.GOMAXPROCS(1) // it has nothing to do at the same time
	reserveThreads(anchorThreads)
	return anchor.Run(anchor.Config{
		Program: programPath(), Args: args, Settled: trim,
		Warn: func(text string, err error) { report(Report{Class: Warning, Verb: text, Err: err}) },
	})
}

// anchorThreads is what an anchor gets along with: see keepThreads.
const anchorThreads = 8

// anchorToken is the pump's token for the socket to the anchor.
const anchorToken = 16 << 32

// anchorPatience is how long an anchor may take to tell of a death.
const anchorPatience = time.Second

// first tells that the end of all this is the end of the pid namespace.
func (k *kernel) first() bool {
	return os.Getpid() == 1 || k.anchor != nil && k.anchor.PID == 1
}

// hearAnchor is the pump's: the anchor has something to say, or is no more.
func (k *kernel) hearAnchor() {
	if k.anchor.Read() {
		k.report(Warning, "", "the anchor is gone: after a crash nobody would start svscan again", "", nil)
	}
}

// statusOf is how the process of a mark ended that is not there any more.
func (k *kernel) statusOf(m *servicedir.Mark) (supervise.WaitStatus, bool) {
	d, ok := k.anchor.Take(m.PID(), anchorPatience, func(d anchor.Death) bool {
		return handoff.Identified(m, d.Start, d.Handle)
	})
	return supervise.WaitStatus(d.Status), ok
}

// endOf is how a stranger ended. The anchor knows for certain; without one it is found
// out if that is possible.
func (k *kernel) endOf(p *handoff.Process) (supervise.WaitStatus, bool) {
	d, ok := k.anchor.Take(p.PID, anchorPatience, func(d anchor.Death) bool { return p.Is(d.Start, d.Handle) })
	if ok {
		return supervise.WaitStatus(d.Status), true
	}
	return p.Status()
}

// tellStopping tells the anchor that everything is being stopped, and what main ended
// with.
func (s *Scanner) tellStopping() {
	code := -1
	if s.ending.known {
		code = s.ending.code
	}
	s.k.anchor.Stopping(code)
}
