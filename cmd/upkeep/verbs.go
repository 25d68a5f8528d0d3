package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/internal/clock"
	"upkeep/supervise/servicedir"
	"upkeep/svscan"
)

const verbsUsage = "upkeep [-s scandir] start|stop|restart|once|add|remove|reload|state|why|status|events|graph|ping [option ...] [name ...]"

// verbs are the words of the command line, and what svscan calls them.
var verbs = [...][2]string{
	{"start", "start"}, {"up", "start"}, {"stop", "stop"}, {"down", "stop"}, {"restart", "restart"}, {"once", "once"},
	{"add", "add"}, {"remove", "remove"}, {"reload", "reload"}, {"state", "state"}, {"why", "why"},
}

// The usual limits: what operators wait for without looking at the clock.
const (
	usualStart  = 30 * time.Second
	usualStop   = 60 * time.Second
	usualSettle = 500 * time.Millisecond
)

// manager is one call of upkeep VERB: requests to the svscan of a directory, that are
// answered when they are done. Exit: 0; 1 the service has ended, or could not be
// executed, before the goal; 2 the time was over; 3 nobody supervises it; 4 the directory
// cannot be used; 100 wrong usage; 111 something temporary (openrc.md, section 11.3).
type manager struct {
	env      *cli.Env
	dir      string // the scan directory, or "" to look for it
	verb     string
	goal     string
	timeout  time.Duration // -1: the usual one
	settle   time.Duration
	kill     time.Duration
	signal   int
	schedule []step
	down     bool
	undo     bool
	json     bool
	follow   bool
}

// manage is described with manager. ok is false if it is none of its words.
func manage(env *cli.Env, args []string) (code int, ok bool) {
	m := &manager{env: env, goal: svscan.GoalAuto, timeout: -1, settle: usualSettle}
	if len(args) > 2 && args[0] == "-s" {
		m.dir, args = args[1], args[2:]
	}
	if len(args) == 0 {
		return 0, false
	}
	word := args[0]
	for _, v := range verbs {
		if v[0] == word {
			m.verb = v[1]
		}
	}
	switch word {
	case "status", "events", "graph", "ping":
		m.verb = word
	}
	if m.verb == "" {
		return 0, false
	}
	names, ok := m.options(args[1:])
	if !ok {
		return env.Usage("upkeep", verbsUsage), true
	}
	switch m.verb {
	case "ping":
		return m.ping(), true
	case "status":
		return m.status(names), true
	case "events":
		return m.events(), true
	case "graph":
		return m.graph(), true
	case "add":
		return m.add(names), true
	}
	if len(names) == 0 {
		return env.Usage("upkeep", verbsUsage), true
	}
	for _, name := range names {
		code = max(code, m.do(name, ""))
	}
	return code, true
}

// options reads options and names, in any order; "--" ends the options.
func (m *manager) options(args []string) (names []string, ok bool) {
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		if word == "--" {
			return append(names, args...), true
		}
		if len(word) < 2 || word[0] != '-' {
			names = append(names, word)
			continue
		}
		name, value, attached := strings.Cut(word, "=")
		switch name {
		case "--wait":
			m.goal = svscan.GoalAuto
			if attached {
				m.goal = value
			}
			continue
		case "--down":
			m.down = true
			continue
		case "--undo":
			m.undo = true
			continue
		case "--json":
			m.json = true
			continue
		case "-f":
			m.follow = true
			continue
		}
		if !attached {
			if len(args) == 0 {
				return nil, false
			}
			value, args = args[0], args[1:]
		}
		if !m.option(name, value) {
			return nil, false
		}
	}
	switch m.goal {
	case svscan.GoalCheck, svscan.GoalNone, svscan.GoalUp, svscan.GoalReady, svscan.GoalEnd, svscan.GoalAuto:
		return names, true
	}
	return nil, false
}

func (m *manager) option(name, value string) (ok bool) {
	switch name {
	case "-s":
		m.dir, ok = value, true
	case "-t":
		m.timeout, ok = duration(value, time.Second)
	case "--timeout":
		m.timeout, ok = duration(value, time.Millisecond)
	case "--settle":
		m.settle, ok = duration(value, time.Millisecond)
	case "--kill-after":
		m.kill, ok = duration(value, time.Millisecond)
	case "--signal":
		m.signal = servicedir.SignalNumber(value)
		ok = m.signal > 0
	case "--schedule":
		m.schedule, ok = parseSchedule(value)
	}
	return ok
}

// duration reads a number of units, or one with a unit of its own.
func duration(text string, unit time.Duration) (time.Duration, bool) {
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(n) * unit, true
	}
	return clock.Span(text)
}

// step of a schedule for stopping: a signal, or else a time to wait.
type step struct {
	signal int
	wait   time.Duration
}

// forever is the wait of a step that has no end.
const forever = 1<<63 - 1

// parseSchedule reads what start-stop-daemon takes as --retry (openrc.md, section 12).
func parseSchedule(text string) (list []step, ok bool) {
	items := strings.Split(text, "/")
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return []step{{signal: int(unix.SIGTERM)}, {wait: time.Duration(n) * time.Second}}, true
	}
	for i, item := range items {
		name, dashed := strings.CutPrefix(item, "-")
		n, err := strconv.ParseUint(name, 10, 31)
		switch signal := servicedir.SignalNumber(name); {
		case item == "forever":
			list = append(list, step{wait: forever})
		case err == nil && i > 0 && !dashed:
			list = append(list, step{wait: time.Duration(n) * time.Second})
		case signal > 0:
			list = append(list, step{signal: signal})
		case err == nil && 0 < n && n < 65:
			list = append(list, step{signal: int(n)})
		default:
			return nil, false
		}
	}
	return list, true
}

// scanDir is the scan directory of a name, and the name in it. A name may be a path.
func (m *manager) scanDir(name string) (dir, service string) {
	path, log := strings.CutSuffix(strings.TrimRight(name, "/"), "/log")
	suffix := ""
	if log {
		suffix = "/log"
	}
	if m.dir != "" {
		return m.dir, path + suffix
	}
	if strings.Contains(path, "/") {
		return filepath.Dir(path), filepath.Base(path) + suffix
	}
	return m.anyDir(), path + suffix
}

// anyDir is the scan directory where none was given: the first of the usual ones in which
// there is a scanner.
func (m *manager) anyDir() string {
	if m.dir != "" {
		return m.dir
	}
	if dir, ok := m.env.Getenv("UPKEEP_SCANDIR"); ok && dir != "" {
		return dir
	}
	for _, dir := range []string{".", "/service", "/etc/service", "/run/service", "/var/service"} {
		if unix.Access(dir+"/"+svscan.HomeSocket, unix.F_OK) == nil {
			return dir
		}
	}
	return "."
}

// do has a verb done for a name, and says what is wrong.
func (m *manager) do(name, definition string) int {
	dir, service := m.scanDir(name)
	deadline := time.Time{}
	limit := m.timeout
	if limit < 0 {
		limit = usualStart
		if m.verb == "stop" || m.verb == "remove" {
			limit = usualStop
		}
	}
	if limit > 0 {
		deadline = time.Now().Add(limit)
	}
	code, text := m.perform(dir, service, definition, deadline)
	switch {
	case code == svscan.DoneOK && text != "", m.verb == "state" || m.verb == "why":
		if code == svscan.DoneUnknown && m.verb == "state" {
			text = "none"
		}
		if _, err := m.env.Stdout.WriteString(text + "\n"); err != nil {
			return cli.ExitFatal
		}
	case code != svscan.DoneOK:
		what := m.verb + " " + service
		if code == svscan.DoneLate {
			text = "the time is over: " + text
		}
		m.env.Warn("upkeep", "unable to "+what+": "+text, nil)
		if code == svscan.DoneFailed {
			if definition == "" {
				definition = dir + "/" + service
			}
			m.showOutput(definition)
		}
	}
	return code
}

// perform is do without what is said.
func (m *manager) perform(dir, service, definition string, deadline time.Time) (code int, text string) {
	if m.verb == "stop" && len(m.schedule) > 0 {
		return m.stopBySchedule(dir, service)
	}
	return m.request(dir, []string{m.verb}, service, definition, m.goal, m.settle, deadline)
}

// request sends the order until it is answered: a scanner that becomes another program, or
// is started again, forgets who waits, and what was asked for can be asked for again.
func (m *manager) request(dir string, verb []string, service, definition, goal string, settle time.Duration, deadline time.Time) (code int, text string) {
	for again := false; ; again = true {
		words := append([]string(nil), verb...)
		if again && verb[0] == "restart" {
			words[0] = "start"
		}
		words = append(words, "wait="+goal, "settle="+millis(settle))
		if !deadline.IsZero() {
			words = append(words, "timeout="+millis(max(time.Until(deadline), time.Millisecond)))
		}
		if m.kill > 0 {
			words = append(words, "kill-after="+millis(m.kill))
		}
		if m.signal > 0 {
			words = append(words, "signal="+strconv.Itoa(m.signal))
		}
		if m.down {
			words = append(words, "down")
		}
		if m.undo {
			words = append(words, "undo")
		}
		words = append(words, "", service)
		if definition != "" {
			words = append(words, definition)
		}
		text := strings.Join(words, "\x00") + "\x00"
		answer, err := svscan.Query(dir, "do "+strconv.Itoa(len(text))+"\n"+text)
		switch {
		case err == svscan.ErrGone && (deadline.IsZero() || time.Now().Before(deadline)),
			again && gone(err) && time.Now().Before(deadline):
			time.Sleep(againEvery)
			continue
		case gone(err):
			text := "no svscan for " + dir
			if m.dir == "" && dir == "." {
				text += ": name its directory with -s, or the service by its path"
			}
			return svscan.DoneUnknown, text
		case err != nil:
			return svscan.DoneTemporary, "unable to reach the svscan of " + dir + ": " + err.Error()
		}
		number, rest, _ := strings.Cut(answer, " ")
		n, err := strconv.Atoi(number)
		if err != nil {
			return svscan.DoneTemporary, "the svscan of " + dir + " says " + answer
		}
		return n, rest
	}
}

// againEvery is how often a scanner that is gone is asked again.
const againEvery = 50 * time.Millisecond

// gone tells that there is no scanner.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOTDIR)
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// stopBySchedule sends the signals of a schedule until the service is down.
func (m *manager) stopBySchedule(dir, service string) (code int, text string) {
	signal := int(unix.SIGTERM)
	first := true
	for i, s := range m.schedule {
		if s.signal > 0 {
			if signal = s.signal; i+1 < len(m.schedule) && m.schedule[i+1].signal == 0 {
				continue
			}
			s.wait = 0
		}
		deadline := time.Time{}
		if s.wait < forever {
			deadline = time.Now().Add(max(s.wait, time.Millisecond))
		}
		verb := "stop"
		if !first {
			verb = "signal"
		}
		m.signal, first = signal, false
		code, text = m.request(dir, []string{verb}, service, "", svscan.GoalAuto, 0, deadline)
		if code != svscan.DoneLate {
			break
		}
	}
	return code, text
}

// add is upkeep add [NAME] DIR.
func (m *manager) add(operands []string) int {
	if len(operands) == 0 || len(operands) > 2 {
		return m.env.Usage("upkeep", "upkeep [-s scandir] add [option ...] [name] dir")
	}
	dir, err := filepath.Abs(operands[len(operands)-1])
	if err != nil {
		return m.env.Fatal("upkeep", "unable to find "+operands[len(operands)-1], err)
	}
	name := filepath.Base(dir)
	if len(operands) == 2 {
		name = operands[0]
	}
	return m.do(name, dir)
}

// ping tells whether a scanner answers.
func (m *manager) ping() int {
	dir := m.anyDir()
	answer, err := svscan.Query(dir, "ping")
	switch {
	case err == nil && answer == "ok":
		return svscan.DoneOK
	case err == nil:
		err = errors.New(answer)
	case gone(err):
		m.env.Warn("upkeep", "no svscan for "+dir, nil)
		return svscan.DoneUnknown
	}
	m.env.Warn("upkeep", "unable to reach the svscan of "+dir, err)
	return svscan.DoneTemporary
}

// outputLines is how much of its log is shown of a service that has failed.
const outputLines = "5"

// showOutput shows the last lines of a service's log, if it has one.
func (m *manager) showOutput(at string) {
	if st, err := os.Stat(at + "/log"); err != nil || !st.IsDir() {
		return
	}
	env := *m.env
	env.Stdout = env.Stderr
	showLog(&env, []string{"log", "-n", outputLines, "--", at})
}
