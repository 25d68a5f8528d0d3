package logwriter

import "testing"

// naivePlus is Plus again, from the words of the specification: one character of
// the line after the other, with the run of a plus as a state.
func naivePlus(p, s string) bool {
	switch {
	case p == "":
		return s == ""
	case p == "*":
		return true
	case p[0] == '*' && s == "":
		return false
	case p[0] == '*' && s[0] == p[1]:
		return naivePlus(p[1:], s)
	case p[0] == '*':
		return naivePlus(p, s[1:])
	case p == "+" || s == "":
		return false
	case p[0] != '+':
		return s[0] == p[0] && naivePlus(p[1:], s[1:])
	case s[0] != p[1]:
		return false
	case len(s) == 1:
		return true
	case s[1] == s[0]:
		return naivePlus(p, s[1:])
	}
	return naivePlus(p[2:], s[1:])
}

func TestPlus(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, line string
		want          bool
	}{
		{"abc", "abc", true},
		{"abc", "abcd", false},
		{"abc", "ab", false},
		{"*c", "abc", true},
		{"*c", "abcc", false},
		{"*cc", "abcc", true},
		{"*bc", "abbc", false},
		{"*: *: pid *", "2005 tcpsvd: info: pid 1977 from", true},
		{"*pid*", "2005 tcpsvd: info: pid 1977", false},
		{"a+b", "ab", true},
		{"a+b", "abbb", true},
		{"a+b", "a", false},
		{"a+bc", "abbbc", true},
		{"a+bc", "abbb", true},
		{"+ab", "aaa", true},
		{"+ab", "aab", true},
		{"+ab", "aaba", false},
		{"+a", "aaa", true},
		{"+a", "", false},
		{"+a", "b", false},
		{"+", "", false},
		{"+", "+", false},
		{"++", "+++", true},
		{"a+", "a", false},
		{"", "", true},
		{"", "a", false},
		{"**", "a*b", true},
		{"**", "ab", false},
		{"*+a", "b+a", false},
		{"*+a", "ba", false},
		{"?", "a", false},
		{"\\*", "*", false},
	} {
		if got := Plus(c.pattern).Match([]byte(c.line)); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.line, got)
		}
		if got := naivePlus(c.pattern, c.line); got != c.want {
			t.Errorf("naively, %q matches %q: %v", c.pattern, c.line, got)
		}
	}
}

func FuzzPlus(f *testing.F) {
	for _, s := range [][2]string{{"", ""}, {"a+bc", "abbb"}, {"*+a*", "b+aac"}, {"++", "+"}, {"*bc", "abbc"}, {"+\x00", "\x00\x00"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, line string) {
		if len(line) > 1000 {
			return
		}
		if got := Plus(pattern).Match([]byte(line)); got != naivePlus(pattern, line) {
			t.Errorf("%q matches %q: %v", pattern, line, got)
		}
	})
}
