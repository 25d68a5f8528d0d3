// Package status encodes and decodes the binary status files of daemontools
// (18 bytes), runit (20), daemontools-encore (20 or 40) and s6 (35), and TAI64N
// labels. It does no I/O; supervise/servicedir writes the files and svc reads
// them.
package status

import "errors"

// Want is what is wished of a service, with the value of byte 17.
type Want byte

// The wishes. Once is up until the next exit.
const (
	WantOnce Want = 0
	WantUp   Want = 'u'
	WantDown Want = 'd'
)

// Process says which process a service has, with runit's values of byte 19.
type Process uint8

// Kinds of processes of a service.
const (
	ProcessNone Process = iota
	ProcessRun
	ProcessFinish
)

// Encore is daemontools-encore's state, with its values of byte 18.
type Encore uint8

// The states of daemontools-encore (daemontools.md, section 3.1).
const (
	EncoreStopped Encore = iota
	EncoreStarting
	EncoreStarted
	EncoreRunning
	EncoreStopping
	EncoreFailed
)

// Record is all that any of the layouts can say of one service. A layout
// leaves out what it has no room for.
type Record struct {
	Since      Stamp // last change of the pid
	ReadySince Stamp // s6: last time ready, or down and ready
	PID        uint32
	Paused     bool
	GotTerm    bool // runit: TERM was sent to the current process
	Ready      bool // s6
	Want       Want
	Process    Process // runit
	Encore     Encore  // encore
	WaitStatus uint16  // s6: raw wait status of the last death of run
}

// Layout names a format of the status file.
type Layout uint8

// The layouts. Runit's first 18 bytes are Daemontools', so that readers of
// either are served by it.
const (
	Daemontools Layout = iota
	Runit
	EncoreLayout
	S6
)

// Sizes of one record in bytes.
const (
	DaemontoolsSize = 18
	RunitSize       = 20
	EncoreSize      = 20
	S6Size          = 35
	S6GroupSize     = 43 // that of s6 2.13, which has a process group behind the pid
	// MaxSize holds any file that is written: encore's with a record for its log.
	MaxSize = 2 * EncoreSize
	// MaxRead holds any file of whatever supervisor.
	MaxRead = S6GroupSize
)

// ErrFormat is what Decode returns for a file that is too short.
var ErrFormat = errors.New("bad format")

// Size is the length of one record in that layout.
func (l Layout) Size() int {
	switch l {
	case Daemontools:
		return DaemontoolsSize
	case S6:
		return S6Size
	}
	return RunitSize
}

const (
	s6Paused = 1 << iota // flag bits since s6 2.11
	s6Finishing
	s6WantedUp
	s6Ready
)

// Append appends the record in the given layout.
func (r *Record) Append(b []byte, l Layout) []byte {
	n := len(b)
	b = append(b, make([]byte, l.Size())...)
	f := b[n:]
	if l == S6 {
		r.putS6(f)
		return b
	}
	r.Since.put(f, taiOffset)
	f[12], f[13], f[14], f[15] = byte(r.PID), byte(r.PID>>8), byte(r.PID>>16), byte(r.PID>>24)
	// runit shows a pause of a service that is down; the others never do.
	f[16] = bit(r.Paused && (r.PID != 0 || l == Runit), 1)
	f[17] = byte(r.Want)
	switch l {
	case Runit:
		f[18] = bit(r.GotTerm, 1)
		f[19] = byte(r.Process)
	case EncoreLayout:
		f[18] = byte(r.Encore)
	}
	return b
}

func (r *Record) putS6(f []byte) {
	r.Since.put(f, taiOffsetS6)
	r.ReadySince.put(f[12:], taiOffsetS6)
	bePut64(f[24:], uint64(r.PID))
	f[32], f[33] = byte(r.WaitStatus>>8), byte(r.WaitStatus)
	f[34] = bit(r.Paused, s6Paused) | bit(r.Process == ProcessFinish, s6Finishing) |
		bit(r.Want == WantUp, s6WantedUp) | bit(r.Ready, s6Ready)
}

func bit(on bool, v byte) byte {
	if on {
		return v
	}
	return 0
}

// Decode reads one record at the start of b. Like every reader of the field it
// looks at no more than its own layout's bytes; the error is ErrFormat when
// there are fewer. For a Daemontools layout, Process follows from the pid. A
// file of s6 that has the size of 2.13's is read as that.
func Decode(b []byte, l Layout) (Record, error) {
	if len(b) < l.Size() {
		return Record{}, ErrFormat
	}
	if l == S6 {
		if len(b) == S6GroupSize {
			var f [S6Size]byte
			copy(f[copy(f[:], b[:32]):], b[40:])
			b = f[:]
		}
		return decodeS6(b), nil
	}
	r := Record{
		Since:  stampAt(b, taiOffset),
		PID:    uint32(b[12]) | uint32(b[13])<<8 | uint32(b[14])<<16 | uint32(b[15])<<24,
		Paused: b[16] != 0,
		Want:   Want(b[17]),
	}
	if r.PID != 0 {
		r.Process = ProcessRun
	}
	switch l {
	case Runit:
		r.GotTerm = b[18] != 0
		r.Process = Process(b[19])
	case EncoreLayout:
		r.Encore = Encore(b[18])
	}
	return r, nil
}

func decodeS6(b []byte) Record {
	flags := b[34]
	r := Record{
		Since:      stampAt(b, taiOffsetS6),
		ReadySince: stampAt(b[12:], taiOffsetS6),
		PID:        uint32(beGet64(b[24:])),
		Paused:     flags&s6Paused != 0,
		Ready:      flags&s6Ready != 0,
		Want:       WantDown,
		WaitStatus: uint16(b[32])<<8 | uint16(b[33]),
	}
	if flags&s6WantedUp != 0 {
		r.Want = WantUp
	}
	switch {
	case flags&s6Finishing != 0:
		r.Process = ProcessFinish
	case r.PID != 0:
		r.Process = ProcessRun
	}
	return r
}
