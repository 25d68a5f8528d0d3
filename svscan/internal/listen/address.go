package listen

import (
	"strconv"
	"strings"
)

// Address is a numeric host and a port. The zero Host is any of both families. It is not
// that of net/netip, which has to be initialised in every small program of the suite.
type Address struct {
	Host string // 4 or 16 bytes
	Zone string // an interface, of a Host of 16 bytes
	Port int
}

// parseV4 reads four decimal numbers without leading zeros. Without ok it is none.
func parseV4(s string) (host string, ok bool) {
	var b [4]byte
	for i := range b {
		word, rest, more := strings.Cut(s, ".")
		n, err := strconv.ParseUint(word, 10, 8)
		if err != nil || len(word) > 1 && word[0] == '0' || more != (i < len(b)-1) {
			return "", false
		}
		b[i], s = byte(n), rest
	}
	return string(b[:]), true
}

// parseV6 reads the text of RFC 4291, section 2.2, with a zone (RFC 4007, section 11).
func parseV6(s string) (host, zone string, ok bool) {
	s, zone, zoned := strings.Cut(s, "%")
	if zoned && zone == "" {
		return "", "", false
	}
	head, tail, short := strings.Cut(s, "::")
	before, ok := groups(head, !short)
	if !ok || !short {
		return string(before), zone, ok && len(before) == 16
	}
	after, ok := groups(tail, true)
	zeros := 16 - len(before) - len(after)
	if !ok || zeros < 2 {
		return "", "", false
	}
	return string(before) + strings.Repeat("\x00", zeros) + string(after), zone, true
}

// groups reads what is on one side of "::". The last may be an IPv4 address.
func groups(s string, last bool) (b []byte, ok bool) {
	for more := s != ""; more; {
		var word string
		word, s, more = strings.Cut(s, ":")
		if v4, ok := parseV4(word); ok && !more && last {
			return append(b, v4...), len(b) <= 12
		}
		n, err := strconv.ParseUint(word, 16, 16)
		if err != nil || len(word) > 4 || len(b) == 16 {
			return nil, false
		}
		b = append(b, byte(n>>8), byte(n))
	}
	return b, true
}
