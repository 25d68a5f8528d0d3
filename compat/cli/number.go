package cli

import "strconv"

// Number reads decimal digits, and nothing else, of no more than most.
func Number(s string, most uint64) (uint64, bool) {
	if s == "" || s[0] < '0' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && n <= most
}
