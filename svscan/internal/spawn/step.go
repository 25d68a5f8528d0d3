package spawn

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Steps are what a process does before it executes its program, in this order.
type Steps struct {
	Dir     *byte // becomes the working directory, from Request.Dir
	Nice    int
	HasNice bool
	CPUs    *unix.CPUSet
	Limits  []Limit
	Files   [3]*byte // become standard input, output and error; the last two are appended to
}

// Limit is a resource and its limits.
type Limit struct {
	Resource int
	Rlimit   unix.Rlimit
}

// Step is one of them, or the execution of the program.
type Step uint8

// The steps.
const (
	StepExec Step = iota
	StepDir
	StepNice
	StepCPUs
	StepLimits
	StepInput
	StepOutput
	StepErrors
)

// StepError is why a process did not get to its program.
type StepError struct {
	Step Step
	Err  syscall.Errno
}

func (e *StepError) Error() string { return e.Err.Error() }

// Unwrap is the error of the system call.
func (e *StepError) Unwrap() error { return e.Err }
