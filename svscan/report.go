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
	lane lane.Lane[said, struct{}]
}

// said is a report, or the wish to know when those before it are over.
type said struct {
	Report
	over chan<- struct{}
}

// lastWords is what reports get to be written when the process leaves.
const lastWords = time.Second

func newReporter(to func(Report)) *reporter {
	r := &reporter{}
	r.lane = lane.Lane[said, struct{}]{
		Work: func(_ struct{}, x said) {
			if x.over != nil {
				close(x.over)
				return
			}
			to(x.Report)
		},
		Begin: func() struct{} { return struct{}{} },
		// A second writer would not get further than the first.
		Limit: time.Hour,
	}
	r.lane.Start()
	return r
}

func (r *reporter) post(rep Report) {
	r.lane.Post(lane.Urgent, &lane.Node[said]{Job: said{Report: rep}})
}

// flush waits until all reports are written, but not for ever.
func (r *reporter) flush() {
	over := make(chan struct{})
	r.lane.Post(lane.Urgent, &lane.Node[said]{Job: said{over: over}})
	timer := time.NewTimer(lastWords)
	defer timer.Stop()
	select {
	case <-over:
	case <-timer.C:
	}
}
