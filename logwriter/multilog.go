package logwriter

import "strings"

// statusSize is the size of a status file.
const statusSize = 1001

// word is an action of a script that has not been opened.
type word struct {
	op  Op
	arg string // pattern, path
	dir DirConfig
	fn  bool // the pattern is one of fnmatch
}

// Multilog is a script of multilog 0.76 or encore's (daemontools.md, section 10.1).
type Multilog struct {
	// Resume has directories gone on with as they are. Else one that was not closed
	// is put in order as after a crash.
	Resume bool

	stamp func() Stamp // nil for none
	words []word
}

// ParseMultilog knows no errors: other words are ignored. Those of encore's own are
// known if encore is set.
func ParseMultilog(args []string, encore bool) Multilog {
	var s Multilog
	largest, fn := 16777215, false
	if encore {
		largest = 2147483647
	}
	dir := DirConfig{Size: 99999, Margin: 2000, Buffer: 512, Keep: 10, Suffix: "s"}
	for i, a := range args {
		if a == "" {
			continue
		}
		switch rest := a[1:]; a[0] {
		case 't':
			if i == 0 {
				s.stamp = TAI64N
			}
		case 'T':
			if i == 0 && encore {
				s.stamp = Seconds
			}
		case '+':
			s.words = append(s.words, word{op: Select, arg: rest, fn: fn})
		case '-':
			s.words = append(s.words, word{op: Deselect, arg: rest, fn: fn})
		case 'F', 'S':
			fn = encore && a[0] == 'F'
		case 'w':
			if encore && !strings.Contains(rest, "/") {
				dir.Suffix = rest
			}
		case 'e':
			s.words = append(s.words, word{op: Alert})
		case '=':
			s.words = append(s.words, word{op: Keep, arg: rest})
		case 's':
			dir.Size = min(max(number(rest), 4096), largest)
		case 'n':
			dir.Keep = max(number(rest), 2)
		case '!':
			dir.Processor, dir.Process = rest, true
		case '.', '/':
			s.words = append(s.words, word{op: Append, arg: a, dir: dir})
		}
	}
	return s
}

// number is the number that s begins with, 0 for none.
func number(s string) int {
	const most = 1 << 31
	n := 0
	for i := 0; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		n = min(n*10+int(s[i]-'0'), most)
	}
	return n
}

// Open opens the status files, then the directories; their names are relative to the
// directory at. The error is a *Trouble.
func (s Multilog) Open(at int, host *Host) (w *Writer, err error) {
	actions := make([]Action, len(s.words))
	defer func() {
		if err != nil {
			New(Rules{}, actions, host).Drop()
		}
	}()
	for i, w := range s.words {
		actions[i].Op = w.op
		switch w.op {
		case Select, Deselect:
			if actions[i].Pattern = Simple(w.arg); w.fn {
				actions[i].Pattern = Fnmatch(w.arg)
			}
		case Keep:
			if actions[i].Status, err = openStatus(at, w.arg, statusSize); err != nil {
				return nil, err
			}
		}
	}
	for i, w := range s.words {
		if w.op == Append {
			w.dir.Resume = s.Resume
			if actions[i].Dir, err = OpenAt(at, w.arg, w.dir, host); err != nil {
				return nil, err
			}
		}
	}
	rules := Rules{Window: statusSize - 1, Alert: 200, Read: 1024}
	if s.stamp != nil {
		rules.Stamp = s.stamp()
	}
	return New(rules, actions, host), nil
}

// MultilogWarning is what multilog says of a trouble that it tries to get over
// (daemontools.md, section 10.5), without the error.
func MultilogWarning(t Trouble) string {
	file := t.Dir + "/" + t.File
	switch t.Step {
	case StepWrite:
		return "unable to write to " + file
	case StepSync:
		return "unable to write " + file + " to disk"
	case StepCreate:
		return "unable to create " + file
	case StepMode:
		return "unable to set mode of " + file
	case StepStat:
		return "unable to stat " + file
	case StepLink:
		return "unable to link to " + file
	case StepRemove:
		return "unable to remove " + file
	case StepRename:
		return "unable to rename " + t.File + " to " + t.To + " in directory " + t.Dir
	case StepReadDir:
		return "unable to read " + t.Dir
	case StepRead:
		return "unable to read " + file
	case StepOpenDir:
		return "unable to switch to " + t.Dir
	case StepFork:
		return "unable to fork for processor in " + t.Dir
	case StepWait:
		return "wait failed for processor in " + t.Dir
	case StepCrashed:
		return "processor crashed in " + t.Dir
	case StepFailed:
		return "processor failed in " + t.Dir
	case StepStatus:
		return "unable to write " + t.File
	}
	return t.Error()
}

// MultilogFatal is what it says if it cannot begin (section 10.3).
func MultilogFatal(t *Trouble) string {
	switch t.Step {
	case StepOpenDir:
		return "unable to open directory " + t.Dir
	case StepLock:
		return "unable to lock directory " + t.Dir
	case StepAppend:
		return "unable to append to " + t.Dir + "/" + t.File
	case StepMissingStatus:
		return "unable to create " + t.File
	case StepOpenStatus:
		return "unable to write " + t.File
	}
	return MultilogWarning(*t)
}
