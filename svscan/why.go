package svscan

import (
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
	"upkeep/supervise/servicedir"
	"upkeep/supervise/status"
)

// describe is the state in a word, with the pid, the deaths, or the reason
// (openrc.md, section 11.3).
func (u *unit) describe() string {
	n := u.is()
	m := &n.state
	word := stateWord(m, u.saysReady())
	switch {
	case runs(m):
		return word + " " + strconv.Itoa(int(m.PID))
	case word == stateBackoff:
		return word + " " + strconv.FormatUint(uint64(m.Deaths), 10)
	case word == stateFailed:
		return word + " " + endText(m.Last)
	}
	return word
}

// endText is how a process has ended, in words.
func endText(st supervise.WaitStatus) string {
	switch {
	case st == supervise.UnknownEnd:
		return "ended while nobody looked"
	case st.Signalled():
		name := strings.TrimPrefix(unix.SignalName(unix.Signal(st.Signal())), "SIG")
		return "killed by signal " + strconv.Itoa(st.Signal()) + " (" + name + ")"
	}
	return "exited with " + strconv.Itoa(st.Code())
}

// unfitText says why run could not be executed.
func (u *unit) unfitText() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	text := "run could not be executed"
	if u.ext != nil && u.ext.unfit != nil {
		text += ": " + u.ext.unfit.Error()
	}
	return text
}

// why says in words why a service does not run, or how it does.
func (s *Scanner) why(name string, u *unit, fault string) outcome {
	if u == nil {
		return outcome{DoneUnknown, name + " is not supervised: " + s.whyNot(name, fault)}
	}
	n := u.is()
	m := &n.state
	since := time.Since(time.Unix(0, m.Since)).Round(time.Second).String()
	text := name
	word := stateWord(m, u.saysReady())
	switch word {
	case stateUp, stateReady:
		text += " runs, pid " + strconv.Itoa(int(m.PID)) + ", for " + since
		if word == stateReady {
			text += ", and is ready"
		}
		if m.Paused {
			text += ", but is paused"
		}
		if m.Mood == supervise.MoodReloading {
			text += ", and reloads"
		}
	case stateStarting:
		text += " is starting"
		if m.PID != 0 {
			text += ": pid " + strconv.Itoa(int(m.PID)) + " runs for " + since + ", and has not said that it is ready"
		}
	case stateStopping:
		text += " is stopping"
		if m.Phase == supervise.PhaseFinishing {
			text += ": finish runs"
		} else if m.Missed {
			text += ": it gave no sign of life and was aborted"
		} else if m.Mood == supervise.MoodLeaving {
			text += ", as it says"
		}
	case stateHeld:
		text += " is held"
		if m.Needy {
			text += ": " + u.missingNeeds()
		} else if m.Facts.Lacking {
			text += ": a file that it depends on cannot be read"
		}
	case stateFailed:
		text += " has failed for good: " + endText(m.Last) + ", " + since + " ago; start it to try again"
	case stateBackoff:
		if m.Unfit {
			text += " cannot be started: " + u.unfitText()
		} else if m.Deaths > 0 {
			text += " is to be started again: " + endText(m.Last) + ", death number " + strconv.FormatUint(uint64(m.Deaths), 10)
		} else {
			text += " is to be started"
		}
		if left := m.Due - u.Now().Mono; m.Waiting && left > 0 {
			text += "; next attempt in " + left.Round(100*time.Millisecond).String()
		}
	default:
		text += " is down for " + since + ": "
		switch {
		case m.Deaths == 0 && servicedir.Facts(u.dir.FD).Down:
			text += "a file named down keeps it from being started"
		case m.Want == status.WantOnce:
			text += "it was to run once, and " + endText(m.Last)
		case m.Unfit:
			text += u.unfitText()
		default:
			text += "it was told so"
		}
	}
	if n.says != "" {
		text += "; it says: " + n.says
	}
	if n.main != 0 {
		text += "; its main process is " + strconv.Itoa(int(n.main))
	}
	return outcome{DoneOK, text}
}

// whyNot is why a name is nobody's.
func (s *Scanner) whyNot(name, fault string) string {
	if fault != "" {
		return fault
	}
	path := s.k.config.Dir + "/" + name
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	switch {
	case strings.HasPrefix(name, "."):
		return "names with a dot are passed over"
	case err != nil && unix.Lstat(path, &st) == nil:
		return "its link leads nowhere: " + err.Error()
	case err != nil:
		return err.Error()
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return "it is not a directory"
	case strings.HasSuffix(name, "/log"):
		return "its service has no log service"
	}
	return "it was not looked at yet"
}
