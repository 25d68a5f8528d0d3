package logwriter

import "bytes"

// Fnmatch is a pattern of encore's multilog behind F (daemontools.md, section 10.1):
// one of fnmatch(3) without flags, in the C locale. A slash and a dot are like any
// other character. It sees a line up to its first NUL. A bracket that is not closed
// stands for itself.
type Fnmatch string

// Match implements Pattern.
func (p Fnmatch) Match(line []byte) bool {
	if i := bytes.IndexByte(line, 0); i >= 0 {
		line = line[:i]
	}
	i, at := 0, 0
	star, from := -1, 0 // where to go on if what follows the last star fits nowhere yet
	for {
		if i < len(p) && p[i] == '*' {
			i++
			star, from = i, at
			continue
		}
		if i == len(p) && at == len(line) {
			return true
		}
		if i < len(p) && at < len(line) {
			if n, ok := p.one(i, line[at]); ok {
				i, at = i+n, at+1
				continue
			}
		}
		if star < 0 || from >= len(line) {
			return false
		}
		from++
		i, at = star, from
	}
}

// one tells whether c is what the pattern has at i, and how long that is.
func (p Fnmatch) one(i int, c byte) (n int, ok bool) {
	switch p[i] {
	case '?':
		return 1, true
	case '\\':
		if i+1 == len(p) {
			return 1, false
		}
		return 2, p[i+1] == c
	case '[':
		if n, ok, closed := p.bracket(i+1, c); closed {
			return n + 1, ok
		}
	}
	return 1, p[i] == c
}

// bracket tells whether c is in the bracket that begins before i, and how long the
// rest of that is.
func (p Fnmatch) bracket(i int, c byte) (n int, ok, closed bool) {
	began := i
	negated := i < len(p) && (p[i] == '!' || p[i] == '^')
	if negated {
		i++
	}
	for first := true; i < len(p); first = false {
		if p[i] == ']' && !first {
			return i + 1 - began, ok != negated, true
		}
		if name, k := p.named(i, ':'); k > 0 {
			in, _ := InClass(name, c)
			ok = ok || in
			i += k
			continue
		}
		if name, k := p.named(i, '='); k > 0 {
			ok = ok || name == string(c)
			i += k
			continue
		}
		low, k := p.element(i)
		i += k
		high := low
		if i+1 < len(p) && p[i] == '-' && p[i+1] != ']' {
			high, k = p.element(i + 1)
			i += 1 + k
		}
		ok = ok || low <= c && c <= high
	}
	return 0, false, false
}

// element is a character of a bracket and its length in the pattern.
func (p Fnmatch) element(i int) (c byte, n int) {
	if name, k := p.named(i, '.'); k > 0 && len(name) == 1 {
		return name[0], k
	}
	if p[i] == '\\' && i+1 < len(p) {
		return p[i+1], 2
	}
	return p[i], 1
}

// named is NAME of [:NAME:] and the like, and the length of the whole; that is 0 if
// there is none at i.
func (p Fnmatch) named(i int, kind byte) (name string, n int) {
	if i+1 >= len(p) || p[i] != '[' || p[i+1] != kind {
		return "", 0
	}
	for k := i + 2; k+1 < len(p); k++ {
		if p[k] == kind && p[k+1] == ']' {
			return string(p[i+2 : k]), k + 2 - i
		}
	}
	return "", 0
}

// InClass is isalpha(3) and the others in the C locale. known is false for names that
// POSIX does not have.
func InClass(name string, c byte) (in, known bool) {
	upper, lower, digit := c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9'
	graph := c > ' ' && c < 0x7f
	switch name {
	case "alpha":
		return upper || lower, true
	case "digit":
		return digit, true
	case "alnum":
		return upper || lower || digit, true
	case "upper":
		return upper, true
	case "lower":
		return lower, true
	case "xdigit":
		return digit || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F', true
	case "space":
		return c == ' ' || c >= '\t' && c <= '\r', true
	case "blank":
		return c == ' ' || c == '\t', true
	case "punct":
		return graph && !upper && !lower && !digit, true
	case "graph":
		return graph, true
	case "print":
		return graph || c == ' ', true
	case "cntrl":
		return c < ' ' || c == 0x7f, true
	}
	return false, false
}
