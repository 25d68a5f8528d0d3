package logwriter

import (
	"strconv"
	"time"

	"upkeep/internal/clock"
)

// labelLen is the length of a TAI64N label in text.
const labelLen = 25

const hexDigits = "0123456789abcdef"

// Label makes the time labels of daemontools.md, section 1.5: "@" and 24 digits.
// It keeps the digits of the last second, which most lines share.
type Label struct {
	second int64
	text   [labelLen]byte
}

// At is the label of a time. It holds until the next call.
func (l *Label) At(now time.Time) []byte {
	const epoch = 1<<62 + 10 // of POSIX, in TAI64
	if s := now.Unix(); s != l.second || l.text[0] == 0 {
		l.second = s
		l.text[0] = '@'
		digits(l.text[1:17], uint64(s)+epoch)
	}
	// The clock of the original counts microseconds; the 500 are its as well.
	digits(l.text[17:25], uint64(now.Nanosecond()/1000*1000+500))
	return l.text[:]
}

func digits(b []byte, n uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = hexDigits[n&15]
		n >>= 4
	}
}

// Stamp appends to b what is put before a line that was read at now. It is for one
// goroutine.
type Stamp func(b []byte, now time.Time) []byte

// TAI64N is the stamp of multilog's action t: the label and a blank.
func TAI64N() Stamp {
	var l Label
	return func(b []byte, now time.Time) []byte {
		return append(append(b, l.At(now)...), ' ')
	}
}

// LeapLead is by how much the clock of s6, which counts leap seconds, is ahead
// of multilog's.
const LeapLead = 27 * time.Second

// LeapTAI64N is the stamp of s6-log's action t: a label that counts leap seconds and
// nanoseconds, and a blank.
func LeapTAI64N() Stamp {
	var l Label
	return func(b []byte, now time.Time) []byte {
		text := l.At(now.Add(LeapLead))
		digits(text[17:25], uint64(now.Nanosecond()))
		return append(append(b, text...), ' ')
	}
}

// Seconds is the stamp of the action T of encore's multilog: seconds since 1970, six
// digits of their fraction, and a blank.
func Seconds() Stamp {
	return func(b []byte, now time.Time) []byte {
		return append(clock.Fraction(strconv.AppendInt(b, now.Unix(), 10), now, 6), ' ')
	}
}

// Date is a stamp of decimal digits: the date, sep and the time of day, with so many digits
// of the seconds' fraction, at most nine, and end.
func Date(sep byte, fraction int, end string, zone *time.Location) Stamp {
	var (
		second int64
		text   []byte // of the last second, which most lines share
	)
	return func(b []byte, now time.Time) []byte {
		now = now.In(zone)
		if s := now.Unix(); text == nil || s != second {
			second, text = s, clock.Append(text[:0], now, sep)
		}
		return append(clock.Fraction(append(b, text...), now, fraction), end...)
	}
}

// Clock gives the times of the lines of a block, which grow. It looks at that of the
// system for the first line and for every eighth: those between are later by a
// nanosecond each, where it would be a few hundred.
type Clock struct {
	at   time.Time
	left int
}

// Now is for the next line.
func (c *Clock) Now() time.Time {
	next := c.at.Add(1)
	if c.left == 0 {
		c.left = 8
		if now := time.Now(); now.After(next) {
			next = now
		}
	}
	c.at = next
	c.left--
	return next
}

// Reset is for the beginning of a block.
func (c *Clock) Reset() { c.left = 0 }
