package logwriter

import "bytes"

// Plus is a pattern of svlogd (runit.md, section 5.9). It has to cover the whole
// line. A star is as in Simple. "+c" stands for as many c as there are, at least
// one; if they are the last of the line, it matches whatever follows in the
// pattern: "a+bc" matches "abb". A plus at the end matches nothing.
type Plus string

// Match implements Pattern.
func (p Plus) Match(line []byte) bool {
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '*':
			if i+1 == len(p) {
				return true
			}
			k := bytes.IndexByte(line, p[i+1])
			if k < 0 {
				return false
			}
			line = line[k:]
		case '+':
			i++
			if i == len(p) || len(line) == 0 || line[0] != p[i] {
				return false
			}
			for len(line) > 0 && line[0] == p[i] {
				line = line[1:]
			}
			if len(line) == 0 {
				return true
			}
		default:
			if len(line) == 0 || line[0] != p[i] {
				return false
			}
			line = line[1:]
		}
	}
	return len(line) == 0
}
