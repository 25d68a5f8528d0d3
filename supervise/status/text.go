package status

// Text lines of runit's supervise/stat and supervise/pid (runit.md, section
// 1.3).

// AppendStat appends the line of the file stat. exiting says that the wish is
// exit, which the binary record cannot tell from down.
func (r *Record) AppendStat(b []byte, exiting bool) []byte {
	switch r.Process {
	case ProcessRun:
		b = append(b, "run"...)
	case ProcessFinish:
		b = append(b, "finish"...)
	default:
		b = append(b, "down"...)
	}
	if r.Paused {
		b = append(b, ", paused"...)
	}
	if r.GotTerm {
		b = append(b, ", got TERM"...)
	}
	if r.Process != ProcessNone {
		switch {
		case exiting:
			b = append(b, ", want exit"...)
		case r.Want == WantDown:
			b = append(b, ", want down"...)
		}
	}
	return append(b, '\n')
}

// AppendPID appends the content of the file pid: the decimal pid and a
// newline, or nothing when there is no process.
func (r *Record) AppendPID(b []byte) []byte {
	if r.PID == 0 {
		return b
	}
	return append(AppendUint(b, uint64(r.PID)), '\n')
}

// AppendUint appends v in decimal.
func AppendUint(b []byte, v uint64) []byte {
	var d [20]byte
	i := len(d)
	for {
		i--
		d[i] = byte('0' + v%10)
		if v /= 10; v == 0 {
			return append(b, d[i:]...)
		}
	}
}

// SaidName is the file in the state directory with what the service says of itself, if it
// does (sd_notify(3)), in a line.
const SaidName = "said"
