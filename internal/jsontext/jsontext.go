// Package jsontext appends to objects of JSON, one a line. It is not encoding/json, whose
// reflection would be a quarter of the program.
package jsontext

import (
	"strconv"
	"time"
	"unicode/utf8"

	"upkeep/internal/clock"
)

// String appends a member with a text. Bytes that are not UTF-8 become U+FFFD.
func String(b []byte, name, value string) []byte {
	b = append(member(b, name), '"')
	for i := 0; i < len(value); {
		r, n := utf8.DecodeRuneInString(value[i:])
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, '\\', 'n')
		case r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029':
			b = append(b, '\\', 'u')
			for shift := 12; shift >= 0; shift -= 4 {
				b = append(b, "0123456789abcdef"[r>>shift&15])
			}
		default:
			b = utf8.AppendRune(b, r)
		}
		i += n
	}
	return append(b, '"')
}

// Number appends a member with a number.
func Number(b []byte, name string, value int64) []byte {
	return strconv.AppendInt(member(b, name), value, 10)
}

// Time appends a member with a time of RFC 3339.
func Time(b []byte, name string, value time.Time) []byte {
	return append(clock.RFC3339(append(member(b, name), '"'), value), '"')
}

// Bool appends a member that is true or false.
func Bool(b []byte, name string, value bool) []byte {
	return strconv.AppendBool(member(b, name), value)
}

func member(b []byte, name string) []byte {
	sep := `,"`
	if n := len(b); n == 0 || b[n-1] == '\n' || b[n-1] == '[' {
		sep = `{"`
	}
	b = append(b, sep...)
	b = append(b, name...)
	return append(b, `":`...)
}

// End ends the object and the line.
func End(b []byte) []byte { return append(b, "}\n"...) }
