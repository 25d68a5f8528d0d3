// Package clock writes and reads dates and times of day in decimal digits. The layouts of
// package time would be 60 KB of the program.
package clock

import (
	"strconv"
	"strings"
	"time"
)

// Append appends YYYY-MM-DD, sep, and HH:MM:SS, in the zone of t.
func Append(b []byte, t time.Time, sep byte) []byte {
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	b = number(b, year, 4)
	b = number(append(b, '-'), int(month), 2)
	b = number(append(b, '-'), day, 2)
	b = number(append(b, sep), hour, 2)
	b = number(append(b, ':'), minute, 2)
	return number(append(b, ':'), second, 2)
}

// Fraction appends a dot and that many digits, at most nine, of the fraction of a second.
func Fraction(b []byte, t time.Time, digits int) []byte {
	n := t.Nanosecond()
	for range 9 - digits {
		n /= 10
	}
	return number(append(b, '.'), n, digits)
}

// RFC3339 appends the time in UTC with six digits of the fraction.
func RFC3339(b []byte, t time.Time) []byte {
	t = t.UTC()
	return append(Fraction(Append(b, t, 'T'), t, 6), 'Z')
}

// number appends n with leading zeros.
func number(b []byte, n, digits int) []byte {
	if n < 0 {
		b, n = append(b, '-'), -n
	}
	at := len(b)
	b = strconv.AppendInt(b, int64(n), 10)
	for len(b)-at < digits {
		b = append(b, 0)
		copy(b[at+1:], b[at:])
		b[at] = '0'
	}
	return b
}

// Parse reads a date, YYYY-MM-DD, with what TimeOfDay reads after it and one of seps.
func Parse(text, seps string, zone *time.Location) (t time.Time, ok bool) {
	var fields [3]int
	rest := text
	for i, digits := range [...]int{4, 2, 2} {
		if i > 0 && !strings.HasPrefix(rest, "-") {
			return t, false
		} else if i > 0 {
			rest = rest[1:]
		}
		if fields[i], rest, ok = take(rest, digits); !ok {
			return t, false
		}
	}
	since := time.Duration(0)
	if rest != "" {
		if strings.IndexByte(seps, rest[0]) < 0 {
			return t, false
		}
		if since, ok = TimeOfDay(rest[1:]); !ok {
			return t, false
		}
	}
	whole := since.Truncate(time.Second)
	h, m, s := int(whole/time.Hour), int(whole/time.Minute)%60, int(whole/time.Second)%60
	t = time.Date(fields[0], time.Month(fields[1]), fields[2], h, m, s, int(since-whole), zone)
	year, month, day := time.Date(fields[0], time.Month(fields[1]), fields[2], 0, 0, 0, 0, time.UTC).Date()
	return t, year == fields[0] && int(month) == fields[1] && day == fields[2]
}

// TimeOfDay reads HH:MM, HH:MM:SS or HH:MM:SS.FRACTION, and is the time since midnight.
func TimeOfDay(text string) (d time.Duration, ok bool) {
	for i, x := range [...]struct {
		most int
		unit time.Duration
	}{{23, time.Hour}, {59, time.Minute}, {59, time.Second}} {
		if i > 0 {
			if !strings.HasPrefix(text, ":") {
				return d, i == 2 && text == ""
			}
			text = text[1:]
		}
		n := 0
		if n, text, ok = take(text, 2); !ok || n > x.most {
			return 0, false
		}
		d += time.Duration(n) * x.unit
	}
	if text == "" {
		return d, true
	}
	digits, ok := strings.CutPrefix(text, ".")
	if !ok || digits == "" {
		return 0, false
	}
	unit := time.Second
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
		unit /= 10
		d += time.Duration(digits[i]-'0') * unit
	}
	return d, true
}

// take reads so many digits.
func take(text string, digits int) (n int, rest string, ok bool) {
	if len(text) < digits {
		return 0, "", false
	}
	for i := range digits {
		c := text[i]
		if c < '0' || c > '9' {
			return 0, "", false
		}
		n = n*10 + int(c-'0')
	}
	return n, text[digits:], true
}

// Span reads a time span as people write it: numbers with s, m, h or d, as 1h30m, or ms.
func Span(text string) (d time.Duration, ok bool) {
	for text != "" {
		i := 0
		for i < len(text) && (text[i] >= '0' && text[i] <= '9' || text[i] == '.') {
			i++
		}
		whole, part, _ := strings.Cut(text[:i], ".")
		unit, length := time.Duration(0), 1
		switch text = text[i:]; {
		case strings.HasPrefix(text, "ms"):
			unit, length = time.Millisecond, 2
		case strings.HasPrefix(text, "s"):
			unit = time.Second
		case strings.HasPrefix(text, "m"):
			unit = time.Minute
		case strings.HasPrefix(text, "h"):
			unit = time.Hour
		case strings.HasPrefix(text, "d"):
			unit = 24 * time.Hour
		default:
			return 0, false
		}
		text = text[length:]
		n, err := strconv.ParseUint("0"+whole, 10, 31)
		if err != nil || i == 0 || whole+part == "" || time.Duration(n) > (1<<63-1-d)/unit-1 {
			return 0, false
		}
		d += time.Duration(n) * unit
		for k := range min(len(part), 9) {
			if part[k] == '.' {
				return 0, false
			}
			unit /= 10
			d += time.Duration(part[k]-'0') * unit
		}
		ok = true
	}
	return d, ok
}
