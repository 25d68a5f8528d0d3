package servicedir

import (
	"errors"
	"math"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
	"upkeep/supervise/status"
)

// Errors of files that are not as they should be.
var (
	ErrExitCode = errors.New("not an exit code")
	ErrSignal   = errors.New("not a signal")
	ErrRank     = errors.New("not ORDER INDEX")
	ErrLimit    = errors.New("not COUNT SECONDS")
	ErrRelative = errors.New("not an absolute path")
)

// policyFiles are what may make the policy of a service another than that of its system.
var policyFiles = [...]string{
	"timeout-kill", "timeout-finish", "down-signal", "reload-signal", "permanent-status", "restart-delay", "min-uptime", "bounce",
	"max-death-tally", "timeout-ready", "timeout-watchdog", "death-limit",
}

// SetsPolicy tells whether a file of that name is one that Policy reads.
func SetsPolicy(name string) bool { return slices.Contains(policyFiles[:], name) }

// Policy is base, or a copy of it with what files of the service directory say. One that
// says nothing sensible counts as absent, and complain is told. Files of a second directory
// count more; it is -1 if there is none.
func Policy(dir, over int, base *supervise.Policy, complain func(name string, err error)) *supervise.Policy {
	p := base
	for i := range 2 * len(policyFiles) {
		from, name := dir, policyFiles[i%len(policyFiles)]
		if i >= len(policyFiles) {
			if from = over; from < 0 {
				break
			}
		}
		text, ok, err := line(from, name)
		if !ok {
			continue
		}
		if p == base {
			own := *base
			p = &own
		}
		if err == nil {
			err = setPolicy(p, name, text)
		}
		if err != nil {
			complain(name, err)
		}
	}
	if p.ReadyFor+p.WatchdogFor > 0 && !HasNotifySocket(dir) { // base has none
		if p.WatchdogFor = 0; !HasNotificationFD(dir) {
			p.ReadyFor = 0
		}
	}
	return p
}

func setPolicy(p *supervise.Policy, name, text string) error {
	n, ok := parseNumber([]byte(text))
	switch name {
	case "down-signal", "reload-signal":
		if !ok {
			n = SignalNumber(text)
		}
		if n < 1 || n > 64 {
			return ErrSignal
		}
		if name == "reload-signal" {
			p.ReloadSignal = syscall.Signal(n)
		} else {
			p.StopSignal = syscall.Signal(n)
		}
		return nil
	case "permanent-status":
		if !ok || n > 255 {
			return ErrExitCode
		}
		p.PermanentRun = n
		return nil
	case "death-limit":
		limit, ok := parseRank(text)
		if !ok || limit.Order < 0 || limit.Order > math.MaxUint8 {
			return ErrLimit
		}
		p.Strikes, p.StrikesIn = limit.Order, time.Duration(limit.Index)*time.Second
		return nil
	}
	if !ok {
		return ErrNumber
	}
	d := time.Duration(n) * time.Second
	switch name {
	case "timeout-kill":
		p.KillAfter = d / 1000
	case "timeout-finish":
		p.FinishFor = d / 1000
	case "restart-delay":
		p.RestartDelay = d
		if d > 0 {
			p.MinUptime = math.MaxInt64 // unless that says less
		}
	case "min-uptime":
		p.MinUptime = d
	case "bounce":
		p.Bounce = d
	case "timeout-ready":
		p.ReadyFor = d / 1000
	case "timeout-watchdog":
		p.WatchdogFor = d / 1000
	case "max-death-tally":
		p.Tally = min(n, status.TallyMax)
	}
	return nil
}

// signalNames are those of the signals from 1 on.
const signalNames = "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT " +
	"CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"

// SignalNumber is the number of a signal's name with or without SIG, in any letter case
// (s6.md, section 2).
func SignalNumber(text string) int {
	for i, name := range strings.Fields(signalNames) {
		if strings.EqualFold(text, name) || strings.EqualFold(text, "SIG"+name) {
			return i + 1
		}
	}
	return 0
}

// SignalName is the name of a signal, with SIG, or empty.
func SignalName(n int) string {
	names := strings.Fields(signalNames)
	if n < 1 || n > len(names) {
		return ""
	}
	return "SIG" + names[n-1]
}

// line is the first line of a small file, without blanks around it. ok is false where
// there is none.
func line(dir int, name string) (text string, ok bool, err error) {
	b, ok, err := readFile(dir, name, lineSize)
	if !ok {
		return "", false, nil
	}
	if err == nil {
		text, _, _ = strings.Cut(string(b), "\n")
		text = strings.TrimSpace(text)
	}
	return text, ok, err
}

// lineSize is as much as a file may have of which only the first line counts.
const lineSize = 4096

// Rank is a service's place in the order of the first starts.
type Rank struct {
	Order, Index int
	Waits        bool // services of a higher rank wait for the end of its first run
}

// Compare is negative if r comes before other, and 0 if it makes no difference.
func (r *Rank) Compare(other *Rank) int {
	if r.Order != other.Order {
		return r.Order - other.Order
	}
	return r.Index - other.Index
}

// ReadRank reads the files rank and wait of the service directory NAME below dir. It is
// nil where there is no rank. A bad one is as if there was none.
func ReadRank(dir int, name string) (*Rank, error) {
	var st unix.Stat_t
	if unix.Fstatat(dir, name+"/rank", &st, 0) != nil {
		return nil, nil // or the directory cannot be entered, which others will say
	}
	text, _, err := line(dir, name+"/rank")
	if err != nil {
		return nil, err
	}
	r, ok := parseRank(text)
	if !ok {
		return nil, ErrRank
	}
	r.Waits = exists(dir, name+"/wait")
	return &r, nil
}

// parseRank reads two numbers with blanks between them, the first with a sign if need be.
// The second may be missing.
func parseRank(text string) (r Rank, ok bool) {
	words := strings.Fields(text)
	if len(words) < 1 || len(words) > 2 {
		return r, false
	}
	digits := strings.TrimLeft(words[0], "+-")
	if r.Order, ok = parseNumber([]byte(digits)); !ok || len(words[0]) > len(digits)+1 {
		return r, false
	}
	if words[0][0] == '-' {
		r.Order = -r.Order
	}
	if len(words) == 2 {
		r.Index, ok = parseNumber([]byte(words[1]))
	}
	return r, ok
}

// dependsSize is as much as a list of files may take.
const dependsSize = 64 << 10

// HasDepends tells whether there may be a file depends.
func HasDepends(dir int) bool { return exists(dir, "depends") }

// Depends reads the file depends: the absolute paths of the files that the service
// depends on, one a line.
func Depends(dir int) (paths []string, err error) {
	text, ok, err := readFile(dir, "depends", dependsSize)
	if !ok {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseDepends(string(text))
}

func parseDepends(text string) (paths []string, err error) {
	for text != "" {
		var path string
		path, text, _ = strings.Cut(text, "\n")
		if path == "" {
			continue
		}
		if path[0] != '/' || strings.IndexByte(path, 0) >= 0 {
			return nil, ErrRelative
		}
		paths = append(paths, path)
	}
	return paths, nil
}
