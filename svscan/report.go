package svscan

import (
	"time"

	"upkeep/svscan/internal/lane"
)

// Class is how bad a report is.
type Class uint8

// The classes.
const (
	Info    Class = iota
	Warning       // something is retried or left out
	Fatal         // for the service named, or for all
)

// Report is one thing the operator should know.
type Report struct {
	Class Class
	// Service is the directory it is about, relative to the scan directory, as
	// in "web" or "web/log"; empty when it is about the scanner.
	Service string
	// Verb and Object say what could not be done ("start", "web/run"), or the
	// whole text if Object is empty.
	Verb   string
	Object string
	Err    error
}

// reporter takes reports off the goroutines that make them: standard error may
// be a pipe that nobody reads.
type reporter struct {
	lane lane.Lane[*func(), *struct{}]
	to   func(Report)
}

func newReporter(to func(Report)) *reporter {
	r := &reporter{to: to}
	r.lane = lane.Lane[*func(), *struct{}]{
		Work:  func(_ *struct{}, f *func()) { (*f)() },
		Begin: func() *struct{} { return nil },
		// A second writer would not get further than the first.
		Limit: time.Hour,
	}
	r.lane.Start()
	return r
}

func (r *reporter) post(rep Report) { r.do(func() { r.to(rep) }) }

func (r *reporter) do(f func()) { r.lane.Post(lane.Urgent, &lane.Node[*func()]{Job: &f}) }

// flush waits until all that was posted is out, but not for a reader that does not
// read.
func (r *reporter) flush() {
	out := make(chan struct{})
	r.do(func() { close(out) })
	select {
	case <-out:
	case <-time.After(flushTime):
	}
}

const flushTime = time.Second
