package status

import "time"

// Offsets between POSIX time and the second labels in a status file. Neither
// daemontools nor runit consults a leap second table; skalibs' compiled-in
// one makes s6 count 27 seconds more (s6.md, section 4.1).
const (
	labelBase   = 1 << 62
	taiOffset   = 10
	taiOffsetS6 = 37
)

// Stamp is a point in time as status files carry it: POSIX seconds and
// nanoseconds of the wall clock. The zero Stamp is the epoch.
type Stamp struct {
	Sec  int64
	Nsec uint32
}

// StampOf converts nanoseconds since the epoch.
func StampOf(unixNano int64) Stamp {
	sec := unixNano / 1e9
	nsec := unixNano % 1e9
	if nsec < 0 {
		sec, nsec = sec-1, nsec+1e9
	}
	return Stamp{sec, uint32(nsec)}
}

// Now is the wall clock.
func Now() Stamp { return StampOf(time.Now().UnixNano()) }

func (s Stamp) put(b []byte, offset int64) {
	bePut64(b, uint64(labelBase+offset+s.Sec))
	bePut32(b[8:], s.Nsec)
}

func stampAt(b []byte, offset int64) Stamp {
	return Stamp{int64(beGet64(b)) - labelBase - offset, beGet32(b[8:])}
}

// TAI64NLen is the length of a label in its text form, "@" included.
const TAI64NLen = 25

const hexDigits = "0123456789abcdef"

// AppendTAI64N appends the text label of daemontools.md, section 1.5: "@" and
// 24 lower-case hex digits.
func (s Stamp) AppendTAI64N(b []byte) []byte { return s.appendLabel(b, taiOffset) }

// AppendS6 appends the label that s6 has for it, which counts leap seconds.
func (s Stamp) AppendS6(b []byte) []byte { return s.appendLabel(b, taiOffsetS6) }

func (s Stamp) appendLabel(b []byte, offset int64) []byte {
	var raw [12]byte
	s.put(raw[:], offset)
	b = append(b, '@')
	for _, c := range raw {
		b = append(b, hexDigits[c>>4], hexDigits[c&15])
	}
	return b
}

// ParseTAI64N reads a text label at the start of b. ok is false when b does
// not begin with one. The nanosecond field is not range-checked, as nowhere in
// the field.
func ParseTAI64N(b []byte) (s Stamp, ok bool) {
	if len(b) < TAI64NLen || b[0] != '@' {
		return Stamp{}, false
	}
	var raw [12]byte
	for i, c := range b[1:TAI64NLen] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		default:
			return Stamp{}, false
		}
		raw[i/2] = raw[i/2]<<4 | c
	}
	return stampAt(raw[:], taiOffset), true
}

func bePut64(b []byte, v uint64) {
	bePut32(b, uint32(v>>32))
	bePut32(b[4:], uint32(v))
}

func bePut32(b []byte, v uint32) {
	_ = b[3]
	b[0], b[1], b[2], b[3] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
}

func beGet64(b []byte) uint64 {
	return uint64(beGet32(b))<<32 | uint64(beGet32(b[4:]))
}

func beGet32(b []byte) uint32 {
	_ = b[3]
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}
