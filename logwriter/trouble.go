package logwriter

import "syscall"

// Step is what could not be done.
type Step byte

// The steps. Each program has its own words for them.
const (
	StepOpenDir       Step = iota // open the log directory
	StepLock                      // lock it
	StepStat                      // look at File
	StepAppend                    // open File to append to it
	StepWrite                     // write to File
	StepSync                      // have File written to disk
	StepCreate                    // make File
	StepMode                      // set the mode of File
	StepRename                    // rename File to To
	StepLink                      // link to File
	StepRemove                    // remove File
	StepReadDir                   // list the log directory
	StepRead                      // open File to read it
	StepFork                      // start the processor
	StepWait                      // wait for the processor
	StepCrashed                   // the processor was killed
	StepFailed                    // the processor failed; there is no Err
	StepStatus                    // write the status file File
	StepOpenStatus                // open the status file File
	StepMissingStatus             // create the status file File
	StepEnterDir                  // enter the log directory
)

// Trouble is a step that failed. In Open it is final; in all others the step is
// tried again when Host.Trouble returns.
type Trouble struct {
	Step     Step
	Dir      string // the log directory as it was named, "" for status files
	File, To string // names in Dir
	Err      error
}

// Error is for logs of programs that have no words of their own.
func (t *Trouble) Error() string {
	s := "log directory " + t.Dir
	if t.Dir == "" {
		s = "status file"
	}
	if t.File != "" {
		s += ": " + t.File
	}
	if t.Err != nil {
		s += ": " + t.Err.Error()
	}
	return s
}

func (t *Trouble) Unwrap() error { return t.Err }

// Processor is a command that works on a file that has been filled.
type Processor struct {
	Command string // for /bin/sh -c
	// Dir is the descriptor of its working directory.
	Dir int
	// Descriptors of the parent, all close-on-exec, which are 0, 1, 4 and 5 in
	// the processor. Its 2 is that of the parent.
	Stdin, Stdout, State, NewState int
}

// Host is what the writer needs of the program around it. All are called by the
// goroutine that writes.
type Host struct {
	// Trouble is told of each failed attempt. It says so, waits, and returns for
	// the next attempt.
	Trouble func(Trouble)
	// Process runs a processor to its end. step is StepFork or StepWait if that
	// failed.
	Process func(Processor) (status syscall.WaitStatus, step Step, err error)
	// Alert takes lines for standard error.
	Alert func([]byte)

	// Directories of svlogd need these two, and not Process.

	// Start starts a processor. What is returned gets its status when it has ended.
	Start func(Processor) (<-chan syscall.WaitStatus, error)
	// Note is told what happens to files.
	Note func(Note)
}
