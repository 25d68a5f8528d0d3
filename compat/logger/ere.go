package logger

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"upkeep/logwriter"
)

// ere is a POSIX extended regular expression, as the C library has them in the C
// locale: a character is a byte. Package regexp knows characters only, so bytes
// beyond ASCII become the characters of their numbers in both pattern and line.
//
// Against the GNU library back-references, word boundaries and repetitions beyond
// 1000 are missing; a pattern with them is refused.
type ere struct {
	re      *regexp.Regexp
	scratch []byte
}

// compileERE translates what the two write differently. ok is false for a pattern
// that cannot be had.
func compileERE(pattern string) (p logwriter.Pattern, ok bool) {
	text, ok := translateERE(pattern)
	if !ok {
		return nil, false
	}
	re, err := regexp.CompilePOSIX(text)
	if err != nil {
		return nil, false
	}
	return &ere{re: re}, true
}

// Match implements logwriter.Pattern.
func (e *ere) Match(line []byte) bool {
	for i := range line {
		if line[i] >= utf8.RuneSelf {
			e.scratch = e.scratch[:0]
			for _, c := range line {
				e.scratch = utf8.AppendRune(e.scratch, rune(c))
			}
			return e.re.Match(e.scratch)
		}
	}
	return e.re.Match(line)
}

func translateERE(p string) (string, bool) {
	var b strings.Builder
	depth := 0
	for i := 0; i < len(p); i++ {
		switch c := p[i]; c {
		case '\\':
			i++
			if i == len(p) || !escapeERE(&b, p[i]) {
				return "", false
			}
		case '[':
			end, ok := bracketERE(&b, p, i)
			if !ok {
				return "", false
			}
			i = end
		case '(':
			depth++
			b.WriteByte(c)
		case ')':
			if depth == 0 {
				b.WriteString(`\)`) // stands for itself
				continue
			}
			depth--
			b.WriteByte(c)
		case '{':
			end, ok := intervalERE(&b, p, i)
			if !ok {
				return "", false
			}
			i = end
		case '^':
			if i+1 < len(p) && strings.IndexByte("*+?{", p[i+1]) >= 0 {
				return "", false // there is nothing to repeat
			}
			b.WriteByte(c)
		default:
			b.WriteRune(rune(c))
		}
	}
	return b.String(), true
}

// escapeERE translates what is behind a backslash.
func escapeERE(b *strings.Builder, c byte) bool {
	switch {
	case c == 'w':
		b.WriteString("[0-9A-Za-z_]")
	case c == 'W':
		b.WriteString("[^0-9A-Za-z_]")
	case c == 's':
		b.WriteString("[[:space:]]")
	case c == 'S':
		b.WriteString("[^[:space:]]")
	case c >= '1' && c <= '9', strings.IndexByte("bB<>`'", c) >= 0:
		return false
	default:
		literalERE(b, rune(c))
	}
	return true
}

// literalERE writes a character that stands for itself.
func literalERE(b *strings.Builder, c rune) {
	if c < utf8.RuneSelf && strings.IndexByte(`\.+*?()|[]{}^$-`, byte(c)) >= 0 {
		b.WriteByte('\\')
	}
	b.WriteRune(c)
}

// intervalERE translates {m}, {m,}, {,n} and {m,n}, of which the opening brace is
// at i, and returns where the closing one is.
func intervalERE(b *strings.Builder, p string, i int) (end int, ok bool) {
	n := strings.IndexByte(p[i:], '}')
	if n < 0 {
		return 0, false
	}
	text := p[i+1 : i+n]
	for k := range len(text) {
		if text[k] != ',' && (text[k] < '0' || text[k] > '9') {
			return 0, false
		}
	}
	if text == "" || strings.Count(text, ",") > 1 {
		return 0, false
	}
	if text[0] == ',' {
		text = "0" + text
	}
	b.WriteString("{" + text + "}")
	return i + n, true
}

// bracketERE translates a bracket expression, in which a backslash stands for
// itself, and returns where it ends.
func bracketERE(b *strings.Builder, p string, i int) (end int, ok bool) {
	b.WriteByte('[')
	i++
	if i < len(p) && p[i] == '^' {
		b.WriteByte('^')
		i++
	}
	for first := true; i < len(p); first = false {
		switch {
		case p[i] == ']' && !first:
			b.WriteByte(']')
			return i, true
		case strings.HasPrefix(p[i:], "[:"):
			n := strings.Index(p[i:], ":]")
			if n < 0 {
				return 0, false
			}
			b.WriteString(p[i : i+n+2])
			i += n + 2
			continue
		}
		from, next, ok := elementERE(p, i)
		if !ok {
			return 0, false
		}
		i = next
		literalERE(b, from)
		if i+1 < len(p) && p[i] == '-' && p[i+1] != ']' {
			to, next, ok := elementERE(p, i+1)
			if !ok || to < from {
				return 0, false
			}
			i = next
			b.WriteByte('-')
			literalERE(b, to)
		}
	}
	return 0, false
}

// elementERE is the character at i of a bracket expression, [.x.] and [=x=]
// included.
func elementERE(p string, i int) (c rune, next int, ok bool) {
	if i+1 < len(p) && p[i] == '[' && (p[i+1] == '.' || p[i+1] == '=') {
		if i+4 >= len(p) || p[i+3] != p[i+1] || p[i+4] != ']' {
			return 0, 0, false
		}
		return rune(p[i+2]), i + 5, true
	}
	return rune(p[i]), i + 1, true
}
