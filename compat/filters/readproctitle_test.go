package filters

import (
	"strings"
	"testing"
)

func TestScroll(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ display, in, want string }{
		{"....", "", "...."},
		{"....", "a", "...a"},
		{"..ab", "cd", "abcd"},
		{"..ab", "cdefg", "defg"},
		{"..ab", "\x00c\x00\n\x00", "abc\n"},
		{"..ab", "\x00\x00", "..ab"},
	} {
		d := []byte(c.display)
		Scroll(d, []byte(c.in))
		if string(d) != c.want {
			t.Errorf("%q and %q: %q, want %q", c.display, c.in, d, c.want)
		}
	}
}

// FuzzScroll: the display ends with the input, however it comes.
func FuzzScroll(f *testing.F) {
	f.Add("hello", "world\x00", 8)
	f.Add("", "\x00\x00", 2)
	f.Add("0123456789", "x", 3)
	f.Fuzz(func(t *testing.T, a, b string, size int) {
		if size < 2 || size > 1000 {
			return
		}
		d := []byte(strings.Repeat(".", size))
		Scroll(d, []byte(a))
		Scroll(d, []byte(b))
		want := strings.Repeat(".", size) + strings.ReplaceAll(a+b, "\x00", "")
		if string(d) != want[len(want)-size:] {
			t.Errorf("%q, %q: %q", a, b, d)
		}
	})
}
