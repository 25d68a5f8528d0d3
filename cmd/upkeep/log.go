package main

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/internal/clock"
	"upkeep/logview"
)

const logUsage = "upkeep log [-f] [-n lines] [--since time] service ..."

// logLines is how many lines are shown without -n and --since.
const logLines = 50

// showLog is upkeep log [-f] [-n LINES] [--since TIME] SERVICE...: it shows the logs of
// services, or log directories, merged by their time stamps, in local time. A SERVICE
// without a slash that is not there is looked for in $SVDIR, /service and /etc/service.
// With -f it goes on with what comes, until INT or TERM. Exit: 0; 111 when some log could
// not be read; 100 for wrong usage.
func showLog(env *cli.Env, args []string) int {
	time.Local = cli.Local(env) // which the runtime takes for UTC if it is a rule
	p := printer{env: env, terminal: isTerminal(env.Stdout)}
	if v, _ := env.Getenv("NO_COLOR"); v == "" {
		p.coloured = p.terminal
	}
	follow, last, given, since := false, logLines, false, time.Time{}
	operands := args[1:]
	value := func(attached string) (string, bool) {
		if attached != "" {
			return attached, true
		}
		if len(operands) == 0 {
			return "", false
		}
		v := operands[0]
		operands = operands[1:]
		return v, true
	}
	for len(operands) > 0 && len(operands[0]) > 1 && operands[0][0] == '-' {
		word := operands[0]
		operands = operands[1:]
		if word == "--" {
			break
		}
		var text string
		var err error
		ok := true
		switch {
		case word == "-f":
			follow = true
		case strings.HasPrefix(word, "-n"):
			if text, ok = value(word[2:]); ok {
				given = true
				if last, err = strconv.Atoi(text); err != nil || last < 0 {
					ok = false
				}
			}
		case word == "--since", strings.HasPrefix(word, "--since="):
			if text, ok = value(strings.TrimPrefix(word[len("--since"):], "=")); ok {
				since, err = logview.ParseSince(text, time.Now())
				ok = err == nil
			}
		default:
			ok = false
		}
		if !ok {
			return env.Usage("upkeep", logUsage)
		}
	}
	if len(operands) == 0 {
		return env.Usage("upkeep", logUsage)
	}
	if !given && !since.IsZero() {
		last = -1
	}
	code := 0
	var logs []*logview.Log
	for _, name := range operands {
		l, err := logview.Find(servicePath(env, name))
		if err != nil {
			code = env.Fatal("upkeep", "unable to show the log of "+name, cause(err))
			continue
		}
		logs = append(logs, l)
		p.width = max(p.width, utf8.RuneCountInString(l.Name))
	}
	if len(logs) == 0 {
		return code
	}
	p.logs = logs
	v, err := logview.Open(logs, last, since)
	if err != nil {
		return env.Fatal("upkeep", "unable to read logs", cause(err))
	}
	defer v.Close()
	err = v.All(!follow, p.print)
	if p.flush(); follow && err == nil && p.err == nil {
		p.live = true
		err = v.Follow(nil, p.print)
	}
	if err != nil {
		return env.Fatal("upkeep", "unable to read logs", cause(err))
	}
	if p.flush(); p.err != nil && p.err != unix.EPIPE {
		return env.Fatal("upkeep", "unable to write", p.err)
	}
	return code
}

// cause is what is wrong, without what was being done.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// servicePath is where a service is.
func servicePath(env *cli.Env, name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	if _, err := os.Stat(name); err == nil {
		return name
	}
	dirs := []string{"/service", "/etc/service"}
	if d, _ := env.Getenv("SVDIR"); d != "" {
		dirs = append([]string{d}, dirs...)
	}
	for _, dir := range dirs {
		if _, err := os.Stat(dir + "/" + name); err == nil {
			return dir + "/" + name
		}
	}
	return name
}

func isTerminal(fd cli.FD) bool {
	_, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
	return err == nil
}

// printer writes lines for people.
type printer struct {
	env      *cli.Env
	logs     []*logview.Log
	width    int // of names
	terminal bool
	coloured bool
	live     bool // who reads is to have each line at once
	buf      []byte
	err      error
}

// colours are those of names, in turn.
var colours = [...]string{"\x1b[36m", "\x1b[33m", "\x1b[32m", "\x1b[35m", "\x1b[34m", "\x1b[31m"}

const (
	dim   = "\x1b[2m"
	plain = "\x1b[0m"
)

func (p *printer) print(l logview.Line) bool {
	if l.Stamped {
		p.colour(dim)
		at := l.At.Local()
		p.buf = clock.Fraction(clock.Append(p.buf, at, ' '), at, 6)
		p.colour(plain)
		p.buf = append(p.buf, ' ')
	}
	if len(p.logs) > 1 {
		for i, log := range p.logs {
			if log == l.Log {
				p.colour(colours[i%len(colours)])
			}
		}
		p.buf = append(p.buf, l.Log.Name...)
		for range p.width - utf8.RuneCountInString(l.Log.Name) {
			p.buf = append(p.buf, ' ')
		}
		p.colour(plain)
		p.buf = append(p.buf, ' ')
	}
	if p.terminal {
		p.buf = appendVisible(p.buf, l.Text)
	} else {
		p.buf = append(p.buf, l.Text...)
	}
	p.buf = append(p.buf, '\n')
	if p.live || len(p.buf) > 32<<10 {
		p.flush()
	}
	return p.err == nil
}

func (p *printer) colour(code string) {
	if p.coloured {
		p.buf = append(p.buf, code...)
	}
}

// appendVisible appends text with its control characters made visible: a log is no
// reason for a terminal to obey.
func appendVisible(b, text []byte) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && n == 1:
			b = append(b, "\\x"...)
			b = strconv.AppendUint(b, uint64(text[0]), 16)
		case r < ' ' && r != '\t':
			b = append(b, '^', byte(r)+'@')
		case r == 0x7f:
			b = append(b, "^?"...)
		case r >= 0x80 && r < 0xa0:
			b = append(b, "\\x"...)
			b = strconv.AppendUint(b, uint64(r), 16)
		default:
			b = append(b, text[:n]...)
		}
		text = text[n:]
	}
	return b
}

// flush writes what there is.
func (p *printer) flush() {
	if p.err == nil && len(p.buf) > 0 {
		_, p.err = p.env.Stdout.Write(p.buf)
	}
	p.buf = p.buf[:0]
}
