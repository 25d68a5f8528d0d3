// Package table shows services in columns. It looks at what every client looks
// at, so the supervisor may be ours, daemontools' or runit's. It prints nothing
// itself and does not watch: who wants to see changes reads again.
package table

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"upkeep/supervise/status"
	"upkeep/svc"
)

// Row is one service. Two equal rows tell the same but for the time.
type Row struct {
	Service string // below the scan directory: "web", or "web/log"
	State   State
	PID     uint32
	Since   status.Stamp // of the state
	Want    status.Want
	// Restarts is what the reader has counted: a status file does not say.
	Restarts int
	// Said is what a service that runs says of itself, if it does.
	Said string
}

// State is what a service does, in a word.
type State string

// The states.
const (
	Up        State = "up"
	Paused    State = "paused"
	Finishing State = "finishing"
	Down      State = "down"
	Gone      State = "gone" // not supervised any more
)

// Read looks at the services of a scan directory and their log services, by
// name. What never was supervised, or cannot be looked at, is left out.
func Read(scanDir string) ([]Row, error) {
	entries, err := os.ReadDir(scanDir)
	if err != nil {
		return nil, err
	}
	var rows []Row
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		for _, service := range [...]string{e.Name(), e.Name() + "/log"} {
			if row, ok := look(scanDir, service); ok {
				rows = append(rows, row)
			}
		}
	}
	return rows, nil
}

func look(scanDir, service string) (row Row, ok bool) {
	var raw [status.RunitSize]byte
	n, _, err := svc.Look(scanDir+"/"+service, svc.StateDir, raw[:])
	if errors.Is(err, svc.ErrNotRunning) {
		return Row{Service: service, State: Gone}, true
	}
	if err != nil {
		return Row{}, false
	}
	layout := status.Runit
	if n < status.RunitSize {
		layout = status.Daemontools
	}
	r, err := status.Decode(raw[:n], layout)
	row = Row{Service: service, State: stateOf(r), PID: r.PID, Since: r.Since, Want: r.Want}
	if row.State == Up || row.State == Paused {
		said, _ := os.ReadFile(scanDir + "/" + service + "/" + svc.StateDir + "/" + status.SaidName)
		row.Said = strings.TrimSuffix(string(said), "\n")
	}
	return row, err == nil
}

func stateOf(r status.Record) State {
	switch {
	case r.PID == 0:
		return Down
	case r.Process == status.ProcessFinish:
		return Finishing
	case r.Paused:
		return Paused
	}
	return Up
}

// usualName is how wide the first column is at least, so that lines of different
// calls line up.
const usualName = 12

// Lines is a heading and a line for each row, none wider than width; 0 is no
// limit.
func Lines(rows []Row, now status.Stamp, width int) []string {
	names := usualName
	for i := range rows {
		names = max(names, utf8.RuneCountInString(rows[i].Service))
	}
	line := func(service, state, pid, age, restarts, wish string) string {
		return cut(pad(service, -names)+"  "+pad(state, -9)+"  "+pad(pid, 7)+"  "+pad(age, 7)+"  "+pad(restarts, 8)+"  "+wish, width)
	}
	lines := []string{line("SERVICE", "STATE", "PID", "FOR", "RESTARTS", "WISH")}
	for i := range rows {
		r := &rows[i]
		pid, age, wish := "-", "-", "-"
		if r.PID != 0 {
			pid = strconv.FormatUint(uint64(r.PID), 10)
		}
		if r.State != Gone {
			age, wish = span(now.Sec-r.Since.Sec), Wish(r.Want)
		}
		if r.Said != "" {
			wish += "  " + printable(r.Said)
		}
		lines = append(lines, line(printable(r.Service), string(r.State), pid, age, strconv.FormatInt(int64(r.Restarts), 10), wish))
	}
	return lines
}

// Wish is a word for what is wanted.
func Wish(w status.Want) string {
	switch w {
	case status.WantUp:
		return "up"
	case status.WantDown:
		return "down"
	case status.WantOnce:
		return "once"
	}
	return "?"
}

// span is a time in its two largest units.
func span(sec int64) string {
	const minute, hour, day = 60, 60 * 60, 24 * 60 * 60
	switch sec = max(sec, 0); {
	case sec < minute:
		return strconv.FormatInt(sec, 10) + "s"
	case sec < hour:
		return pair(sec/minute, "m", sec%minute, "s")
	case sec < day:
		return pair(sec/hour, "h", sec%hour/minute, "m")
	}
	return pair(sec/day, "d", sec%day/hour, "h")
}

// pair is a number of large units and one of small, with two digits.
func pair(large int64, unit string, small int64, part string) string {
	return strconv.FormatInt(large, 10) + unit + strconv.FormatInt(100+small, 10)[1:] + part
}

// pad has a text take a number of columns, to the left of them if it is negative.
func pad(text string, columns int) string {
	blanks := strings.Repeat(" ", max(max(columns, -columns)-utf8.RuneCountInString(text), 0))
	if columns < 0 {
		return text + blanks
	}
	return blanks + text
}

// printable keeps the name of a directory from moving the cursor.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, name)
}

func cut(line string, width int) string {
	if width <= 0 {
		return line
	}
	n := 0
	for i := range line {
		if n == width {
			return line[:i]
		}
		n++
	}
	return line
}
