package status

// TallySize is the length of one record of s6's supervise/death_tally.
const TallySize = 14

// TallyMax is as many records as there may be.
const TallyMax = 4096

// Death is one end of run, as s6's death_tally has it (s6.md, section 4.2).
type Death struct {
	At     Stamp
	Code   byte // 128 + the signal, if there is one
	Signal byte
}

// Append appends the record.
func (d *Death) Append(b []byte) []byte {
	var f [TallySize]byte
	d.At.put(f[:], taiOffsetS6)
	f[12], f[13] = d.Code, d.Signal
	return append(b, f[:]...)
}

// DecodeDeath reads the record at the start of b, which has to hold it.
func DecodeDeath(b []byte) Death {
	return Death{stampAt(b, taiOffsetS6), b[12], b[13]}
}
