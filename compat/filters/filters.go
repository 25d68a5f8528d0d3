// Package filters is the filters of daemontools that work on time labels. Their
// behaviour is that of daemontools.md, section 9.
package filters

import (
	"bytes"
	"strconv"
	"time"

	"upkeep/compat/cli"
	"upkeep/logwriter"
)

const (
	// epoch is the label of 1970-01-01 00:00:00 UTC; there are no leap seconds.
	epoch = 1<<62 + 10
	// digits is how many a label has: seconds, and 8 for the nanoseconds.
	digits  = 24
	seconds = 16
)

// filter runs standard input through step to standard output. All that has come
// is written before more is read. At the end of input it asks for what is left.
func filter(env *cli.Env, step func(out, in []byte) []byte, end func(out []byte) []byte) int {
	in, out := make([]byte, 64<<10), []byte(nil)
	for {
		n, err := env.Stdin.Read(in)
		if err != nil {
			return cli.ExitFatal
		}
		if out = out[:0]; n > 0 {
			out = step(out, in[:n])
		} else {
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
	var (
		clock  logwriter.Clock
		stamp  = logwriter.TAI64N()
		inside bool
	)
	return filter(env, func(out, in []byte) []byte {
		clock.Reset()
		for len(in) > 0 {
			if !inside {
				out = stamp(out, clock.Now())
			}
			var n int
			n, inside = line(in)
			out, in = append(out, in[:n]...), in[n:]
		}
		return out
	}, func(out []byte) []byte { return out })
}

// line is how much of b belongs to the line that b goes on with, and whether that
// goes on behind b.
func line(b []byte) (n int, inside bool) {
	if n = bytes.IndexByte(b, '\n') + 1; n == 0 {
		return len(b), true
	}
	return n, false
}

// Tai64nlocal is tai64nlocal: it writes a label at the beginning of a line as local
// time, as TZ has it. Arguments are ignored. Exit: 0, or 111 if reading or writing
// fails. What looks like a label and has not 24 digits is left as it is; the
// original crashes at it.
func Tai64nlocal(env *cli.Env, _ []string) int {
	l := localizer{zone: cli.Local(env)}
	return filter(env, l.step, l.end)
}

// localizer is at a place in a line.
type localizer struct {
	zone  *time.Location
	where uint8
	n     int // digits that have come
	label [digits]byte

	second [seconds]byte // of the last label, which most lines share
	text   []byte        // of it
}

const (
	atStart = iota
	inLabel
	inRest
)

func (l *localizer) step(out, in []byte) []byte {
	for len(in) > 0 {
		switch c := in[0]; l.where {
		case atStart:
			l.where = inRest
			if c == '@' {
				l.where, l.n, in = inLabel, 0, in[1:]
			}
		case inLabel:
			isDigit := c >= '0' && c <= '9' || c >= 'a' && c <= 'f'
			switch {
			case isDigit && l.n < digits:
				l.label[l.n] = c
				l.n++
				in = in[1:]
			case !isDigit && l.n == digits:
				out = l.local(out)
				l.where = inRest
			default:
				out = append(append(out, '@'), l.label[:l.n]...)
				l.where = inRest
			}
		case inRest:
			n, inside := line(in)
			if !inside {
				l.where = atStart
			}
			out, in = append(out, in[:n]...), in[n:]
		}
	}
	return out
}

// local appends the time of the label.
func (l *localizer) local(out []byte) []byte {
	if l.text == nil || string(l.second[:]) != string(l.label[:seconds]) {
		copy(l.second[:], l.label[:])
		l.text = appendSecond(l.text[:0], l.label[:seconds], l.zone)
	}
	return appendFraction(append(out, l.text...), l.label[seconds:])
}

// end drops a label that nothing follows, as the original does.
func (l *localizer) end(out []byte) []byte {
	if l.where == inLabel && l.n < digits {
		out = append(append(out, '@'), l.label[:l.n]...)
	}
	return out
}

// appendSecond appends the time of the first 16 digits of a label and a dot.
func appendSecond(b, label []byte, zone *time.Location) []byte {
	t := time.Unix(int64(parseHex(label)-epoch), 0).In(zone)
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	b = strconv.AppendInt(b, int64(year), 10)
	b = appendPadded(append(b, '-'), uint64(month), 2)
	b = appendPadded(append(b, '-'), uint64(day), 2)
	b = appendPadded(append(b, ' '), uint64(hour), 2)
	b = appendPadded(append(b, ':'), uint64(minute), 2)
	b = appendPadded(append(b, ':'), uint64(second), 2)
	return append(b, '.')
}

// appendFraction appends the nanoseconds, which are not checked to be less than a
// second.
func appendFraction(b, label []byte) []byte { return appendPadded(b, parseHex(label), 9) }

func parseHex(text []byte) (n uint64) {
	for _, c := range text {
		if c >= 'a' {
			c -= 'a' - '9' - 1
		}
		n = n<<4 | uint64(c-'0')
	}
	return n
}

// appendPadded appends a number, with zeros before it if it has less than width
// digits.
func appendPadded(b []byte, n uint64, width int) []byte {
	var digits [20]byte
	i := len(digits)
	for ; n > 0 || len(digits)-i < width; n /= 10 {
		i--
		digits[i] = byte('0' + n%10)
	}
	return append(b, digits[i:]...)
}
