package logwriter

import "time"

// Date is a stamp of svlogd, for Rules.Stamp: date and time in UTC with between in
// between, and a blank.
func Date(between byte) func(b []byte) []byte {
	return func(b []byte) []byte {
		at := len(b)
		b = time.Now().UTC().AppendFormat(b, "2006-01-02T15:04:05.00000 ")
		b[at+len("2006-01-02")] = between
		return b
	}
}
