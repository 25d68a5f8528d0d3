package logwriter

import "time"

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

// TAI64N is the stamp of multilog's action t, for Rules.Stamp: the label and a
// blank.
func TAI64N() func(b []byte) []byte {
	var l Label
	return func(b []byte) []byte {
		b = append(b, l.At(time.Now())...)
		return append(b, ' ')
	}
}
