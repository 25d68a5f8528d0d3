package svc

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Step says which part of an operation failed.
type Step uint8

// The steps, in the order in which svstat takes them.
const (
	StepDir        Step = iota + 1 // entering the service directory
	StepState                      // finding the name of the state directory
	StepDown                       // looking for the down file
	StepOK                         // opening ok
	StepOpenStatus                 // opening status
	StepReadStatus                 // reading status
	StepControl                    // opening control
	StepWrite                      // writing to control
	StepWait                       // waiting
)

// String is the step as a phrase that a path can follow, as in "unable to
// open".
func (s Step) String() string {
	switch s {
	case StepDir:
		return "unable to enter"
	case StepState:
		return "unable to name state directory of"
	case StepDown:
		return "unable to stat"
	case StepOK, StepOpenStatus, StepControl:
		return "unable to open"
	case StepReadStatus:
		return "unable to read"
	case StepWrite:
		return "unable to write"
	case StepWait:
		return "unable to wait for"
	}
	return "unable to use"
}

// ErrNotRunning says that a service has been supervised but is not any more.
// It is found by errors.Is in errors with StepOK and StepControl.
var ErrNotRunning = errors.New("supervise not running")

// ErrTimeout says that the deadline of Wait has passed.
var ErrTimeout = errors.New("timed out")

// Error is the error of all functions of this package.
type Error struct {
	Step Step
	// Path is as given for StepDir and StepState. Else it is relative to the
	// service directory, or absolute if the state directory is.
	Path string
	// Err is a syscall.Errno, status.ErrFormat or ErrTimeout.
	Err error
}

// Error is the step, the path and the reason.
func (e *Error) Error() string {
	return e.Step.String() + " " + e.Path + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Is makes ENXIO, a FIFO without a reader, ErrNotRunning.
func (e *Error) Is(target error) bool {
	return target == ErrNotRunning && e.Err == unix.ENXIO && (e.Step == StepOK || e.Step == StepControl)
}

// dead reports whether err from opening ok means that there is no supervisor.
func dead(err error) bool {
	return errors.Is(err, ErrNotRunning) || errors.Is(err, unix.ENOENT)
}
