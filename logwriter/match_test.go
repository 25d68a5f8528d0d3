package logwriter

import (
	"strings"
	"testing"
)

// naive is Simple again, from the words of the specification: a star that is not
// last takes all up to the first place of what follows it.
func naive(p, s string) bool {
	switch {
	case p == "":
		return s == ""
	case p == "*":
		return true
	case p[0] != '*':
		return s != "" && s[0] == p[0] && naive(p[1:], s[1:])
	case s == "":
		return false
	case s[0] == p[1]:
		return naive(p[1:], s)
	}
	return naive(p, s[1:])
}

func TestSimple(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, line string
		want          bool
	}{
		{"", "", true},
		{"", "a", false},
		{"a", "a", true},
		{"a", "ab", false},
		{"ab", "a", false},
		{"*", "", true},
		{"*", "anything", true},
		{"a*", "abc", true},
		{"a*", "b", false},
		{"*c", "abc", true},
		{"*c", "abcc", false},
		{"*bc", "abbc", false},
		{"* one", " one", true},
		{"* one", "  one", false},
		{"* * one", "a b one", true},
		{"**", "ab", false},
		{"**", "a*b", true},
		{"***", "a*b", true},
		{"?", "a", false},
		{"*x", "", false},
	} {
		if got := Simple(c.pattern).Match([]byte(c.line)); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.line, got)
		}
	}
}

func FuzzSimple(f *testing.F) {
	for _, s := range [][2]string{{"", ""}, {"* one", "  one"}, {"**a", "b*a"}, {"*bc", "abbc"}, {"a*", "\x00"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, line string) {
		if len(line) > 1000 {
			return
		}
		if got := Simple(pattern).Match([]byte(line)); got != naive(pattern, line) {
			t.Errorf("%q matches %q: %v", pattern, line, got)
		}
		if strings.Contains(pattern, "*") {
			return
		}
		if got := Simple(pattern).Match([]byte(line)); got != (pattern == line) {
			t.Errorf("%q matches %q: %v", pattern, line, got)
		}
	})
}
