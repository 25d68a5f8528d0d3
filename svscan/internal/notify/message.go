package notify

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// MessageSize is the most bytes that a service may say at once.
const MessageSize = 4096

// Message is what a service says of itself in one datagram.
type Message struct {
	State     State
	Status    string // printable, and not long
	HasStatus bool
	MainPID   int32
	Beat      bool // a sign of life
	Trigger   bool // it is to be taken for one that gives none
	HasPeriod bool
	Period    time.Duration // between signs of life from now on; 0: none
	Extend    time.Duration
}

// State is the last of the words for it in a message.
type State uint8

// The states.
const (
	StateNone State = iota
	StateReady
	StateReloading
	StateStopping
)

// ParseMessage reads assignments, one a line. Of a name that is there twice the first
// counts, but of the states the last. What is not known, or makes no sense, is passed over;
// ok is false for what is no text.
func ParseMessage(b []byte) (m Message, ok bool) {
	if n := len(b); n > 0 && b[n-1] == 0 {
		b = b[:n-1]
	}
	if len(b) == 0 || len(b) > MessageSize || bytes.IndexByte(b, 0) >= 0 {
		return m, false
	}
	watchdog := false
	for line, rest := "", string(b); rest != ""; {
		line, rest, _ = strings.Cut(rest, "\n")
		name, value, _ := strings.Cut(line, "=")
		switch name {
		case "READY", "RELOADING", "STOPPING":
			if value == "1" {
				m.State = stateOf(name)
			}
		case "STATUS":
			if !m.HasStatus {
				m.Status, m.HasStatus = printable(value), true
			}
		case "WATCHDOG":
			if !watchdog {
				m.Beat, m.Trigger, watchdog = value == "1", value == "trigger", true
			}
		case "WATCHDOG_USEC":
			if d, ok := microseconds(value); ok && !m.HasPeriod {
				m.Period, m.HasPeriod = d, true
			}
		case "EXTEND_TIMEOUT_USEC":
			if d, ok := microseconds(value); ok && m.Extend == 0 {
				m.Extend = d
			}
		case "MAINPID":
			if n, err := strconv.ParseUint(value, 10, 31); err == nil && m.MainPID == 0 {
				m.MainPID = int32(n)
			}
		}
	}
	return m, true
}

func stateOf(name string) State {
	switch name[1] {
	case 'T':
		return StateStopping
	case 'E':
		if name[2] == 'L' {
			return StateReloading
		}
	}
	return StateReady
}

// microseconds reads a time; the largest number stands for none, as 0 does.
func microseconds(s string) (time.Duration, bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, false
	}
	if n == math.MaxUint64 {
		n = 0
	}
	return time.Duration(min(n, math.MaxInt64/uint64(time.Microsecond))) * time.Microsecond, true
}

// mostStatus is how many bytes of a status are shown.
const mostStatus = 256

// printable has a text move no cursor, and be short.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if !strconv.IsPrint(r) {
			r = '?'
		}
		if b.Len()+utf8.RuneLen(r) > mostStatus {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}
