package logger

import (
	"time"

	"upkeep/compat/cli"
	"upkeep/logwriter"
)

// s6Word is a word of a script of s6-log that selects or acts, with the settings
// that were in force there.
type s6Word struct {
	op      byte // '+', '-', 'f', '1', '2', '=', or '/' for a directory
	arg     string
	pattern logwriter.Pattern

	tai, iso bool   // which stamps, the label before the date
	prefix   string // behind them
	alert    int    // how much of a line is shown; 0 is all
	status   int    // the size of the status file; 0 is that of the line
	retry    time.Duration
	dir      logwriter.DirConfig
}

// acts tells an action from a selection.
func (w s6Word) acts() bool { return w.op != '+' && w.op != '-' && w.op != 'f' }

// s6Script is a command line of s6-log.
type s6Script struct {
	words []s6Word
	// extra: there were selections behind the last action, which are left out.
	extra bool
}

// checkS6 looks at the first letters. complaint is s6-log's of the first directive
// that it does not know, or of a script that does nothing. extra tells of
// selections behind the last action.
func checkS6(args []string) (extra bool, complaint string) {
	actions := 0
	for _, a := range args {
		if a == "" {
			return false, "unrecognized directive: "
		}
		switch a[0] {
		case '+', '-':
			extra = true
		case 'n', 's', 'S', 'l', 'r', 'E', '^', 'p', '!', '?':
		case 't', 'T', 'f', '1', '2', '=':
			if (len(a) > 1) != (a[0] == '=') {
				return false, "syntax error at directive: " + a
			}
			switch a[0] {
			case 'f':
				extra = true
			case '1', '2', '=':
				actions++
				extra = false
			}
		case '.', '/':
			actions++
			extra = false
		default:
			return false, "unrecognized directive: " + a
		}
	}
	if actions == 0 {
		return false, "no action directive specified"
	}
	return extra, ""
}

// parseS6 reads a script. complaint is what s6-log says of the first directive
// that it does not take.
func parseS6(args []string) (s s6Script, complaint string) {
	if s.extra, complaint = checkS6(args); complaint != "" {
		return s, complaint
	}
	// Settings stay in force, but for the stamps.
	now := s6Word{alert: 200, status: 1001, retry: 2 * time.Second,
		dir: logwriter.DirConfig{Size: 99999, Margin: 2000, Keep: 11, Suffix: "s",
			Leap: logwriter.LeapLead, Fcntl: true}}
	acted := 0 // words up to the last action
	for _, a := range args {
		unknown := "unrecognized directive: " + a
		c, arg := a[0], a[1:]
		var ok bool
		switch c {
		case '+', '-':
			w := s6Word{op: c, arg: arg}
			if w.pattern, ok = compileERE(arg); !ok {
				return s, unknown
			}
			s.words = append(s.words, w)
			continue
		case 'n':
			var n uint64
			n, ok = cli.Number(arg, 1<<32-1)
			now.dir.Keep = int(min(n, 1<<30)) + 1
		case 's':
			var n uint64
			n, ok = cli.Number(arg, 1<<32-1)
			now.dir.Size = int(min(max(n, 4096), 268435455))
		case 'S':
			now.dir.Total, ok = cli.Number(arg, 1<<64-1)
		case 'l':
			var n uint64
			n, ok = cli.Number(arg, 1<<32-1)
			if ok && n > uint64(now.dir.Size)/2 {
				return s, "directive " + a + " conflicts with previous s directive"
			}
			now.dir.Margin = int(n)
		case 'r':
			var n uint64
			n, ok = cli.Number(arg, 1<<31-1)
			now.retry = time.Duration(n) * time.Millisecond
		case 'E':
			var n uint64
			n, ok = cli.Number(arg, 1<<32-1)
			now.alert = int(min(n, 1<<30))
		case '^':
			var n uint64
			n, ok = cli.Number(arg, 1<<32-1)
			now.status = int(min(n, 268435455)) // the original crashes with very large ones
		case 'p':
			now.prefix, ok = arg, true
		case '!', '?':
			now.dir.Processor, now.dir.Process, ok = a, arg != "", true
		case 't':
			now.tai, ok = true, true
		case 'T':
			now.iso, ok = true, true
		case 'f':
			s.words = append(s.words, s6Word{op: c})
			ok = true
		case '1', '2', '=':
			s.act(&now, c, arg)
			acted, ok = len(s.words), true
		case '.', '/':
			s.act(&now, '/', a)
			acted, ok = len(s.words), true
		}
		if !ok {
			return s, unknown
		}
	}
	s.words = s.words[:acted]
	return s, ""
}

// act adds an action, which uses up the stamps.
func (s *s6Script) act(now *s6Word, op byte, arg string) {
	w := *now
	w.op, w.arg = op, arg
	s.words = append(s.words, w)
	now.tai, now.iso = false, false
}
