package logwriter

import "bytes"

// Pattern decides on a line, of which it is shown the first Rules.Window bytes,
// the stamp included and the newline left out.
type Pattern interface {
	Match(line []byte) bool
}

// Simple is a pattern of multilog (daemontools.md, section 10.1). It has to cover
// the whole line. A star at the end stands for anything; one before another
// character, for all up to the first such character: there is no going back, so
// "* one" does not match "  one". The character may be a star, which then is a star
// of the pattern as well: "**" matches what has a star in it.
type Simple string

// Match implements Pattern.
func (p Simple) Match(line []byte) bool {
	for i := 0; i < len(p); i++ {
		if p[i] != '*' {
			if len(line) == 0 || line[0] != p[i] {
				return false
			}
			line = line[1:]
			continue
		}
		if i+1 == len(p) {
			return true
		}
		k := bytes.IndexByte(line, p[i+1])
		if k < 0 {
			return false
		}
		line = line[k:]
	}
	return len(line) == 0
}
