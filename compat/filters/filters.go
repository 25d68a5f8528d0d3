// Package filters is the filters of daemontools that work on time labels. Their
// behaviour is that of daemontools.md, section 9.
package filters

import (
	"strconv"
	"time"

	"upkeep/compat/cli"
)

const (
	// epoch is the label of 1970-01-01 00:00:00 UTC; there are no leap seconds.
	epoch = 1<<62 + 10
	// digits is how many a label has: 16 for the seconds, 8 for the nanoseconds.
	digits = 24

	hex = "0123456789abcdef"
)

// filter runs standard input through step to standard output. All that has come
// is written before more is read. At the end of input it asks for what is left.
func filter(env *cli.Env, step func(out []byte, c byte) []byte, end func(out []byte) []byte) int {
	in, out := make([]byte, 16<<10), []byte(nil)
	for {
		n, err := env.Stdin.Read(in)
		if err != nil {
			return cli.ExitFatal
		}
		out = out[:0]
		for _, c := range in[:n] {
			out = step(out, c)
		}
		if n == 0 {
			out = end(out)
		}
		if len(out) > 0 {
			if _, err := env.Stdout.Write(out); err != nil {
				return cli.ExitFatal
			}
		}
		if n == 0 {
			return 0
		}
	}
}

// Tai64n is tai64n: it puts "@", the label of the present and a blank before each
// line. Arguments are ignored. Exit: 0, or 111 if reading or writing fails.
func Tai64n(env *cli.Env, _ []string) int {
	inside := false
	return filter(env, func(out []byte, c byte) []byte {
		if !inside {
			out = append(AppendLabel(append(out, '@'), time.Now()), ' ')
		}
		inside = c != '\n'
		return append(out, c)
	}, func(out []byte) []byte { return out })
}

// AppendLabel appends the 24 digits of a time, to the microsecond.
func AppendLabel(b []byte, t time.Time) []byte {
	b = appendHex(b, epoch+uint64(t.Unix()), 16)
	return appendHex(b, uint64(t.Nanosecond()/1000*1000+500), 8)
}

func appendHex(b []byte, n uint64, width int) []byte {
	for shift := 4 * (width - 1); shift >= 0; shift -= 4 {
		b = append(b, hex[n>>shift&15])
	}
	return b
}

// Tai64nlocal is tai64nlocal: it writes a label at the beginning of a line as local
// time, as TZ has it. Arguments are ignored. Exit: 0, or 111 if reading or writing
// fails. What looks like a label and has not 24 digits is left as it is; the
// original crashes at it.
func Tai64nlocal(env *cli.Env, _ []string) int {
	l := localizer{zone: time.Local}
	return filter(env, l.step, l.end)
}

// localizer is at a place in a line.
type localizer struct {
	zone  *time.Location
	where uint8
	n     int // digits that have come
	label [digits]byte
}

const (
	atStart = iota
	inLabel
	inRest
)

func (l *localizer) step(out []byte, c byte) []byte {
	switch l.where {
	case atStart:
		if c == '@' {
			l.where, l.n = inLabel, 0
			return out
		}
	case inLabel:
		isDigit := c >= '0' && c <= '9' || c >= 'a' && c <= 'f'
		switch {
		case isDigit && l.n < digits:
			l.label[l.n] = c
			l.n++
			return out
		case !isDigit && l.n == digits:
			out = AppendLocal(out, l.label[:], l.zone)
		default:
			out = append(append(out, '@'), l.label[:l.n]...)
		}
	}
	l.where = inRest
	if c == '\n' {
		l.where = atStart
	}
	return append(out, c)
}

// end drops a label that nothing follows, as the original does.
func (l *localizer) end(out []byte) []byte {
	if l.where == inLabel && l.n < digits {
		out = append(append(out, '@'), l.label[:l.n]...)
	}
	return out
}

// AppendLocal appends the time of a label of 24 digits. The nanoseconds are
// not checked to be less than a second.
func AppendLocal(b, label []byte, zone *time.Location) []byte {
	seconds := int64(parseHex(label[:16]) - epoch)
	t := time.Unix(seconds, 0).In(zone)
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	b = strconv.AppendInt(b, int64(year), 10)
	b = appendPadded(append(b, '-'), int64(month), 2)
	b = appendPadded(append(b, '-'), int64(day), 2)
	b = appendPadded(append(b, ' '), int64(hour), 2)
	b = appendPadded(append(b, ':'), int64(minute), 2)
	b = appendPadded(append(b, ':'), int64(second), 2)
	return appendPadded(append(b, '.'), int64(parseHex(label[16:])), 9)
}

func parseHex(text []byte) (n uint64) {
	for _, c := range text {
		if c >= 'a' {
			c -= 'a' - '9' - 1
		}
		n = n<<4 | uint64(c-'0')
	}
	return n
}

func appendPadded(b []byte, n int64, width int) []byte {
	var digits [20]byte
	s := strconv.AppendInt(digits[:0], n, 10)
	for i := len(s); i < width; i++ {
		b = append(b, '0')
	}
	return append(b, s...)
}
