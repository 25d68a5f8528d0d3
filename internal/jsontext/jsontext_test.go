package jsontext

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestObject(t *testing.T) {
	t.Parallel()
	b := End(Bool(Number(String(nil, "a", "x\"\\\n\x01\u2028é"), "n", -7), "ok", true))
	b = End(String(b, "b", ""))
	want := `{"a":"x\"\\\n\u0001\u2028é","n":-7,"ok":true}` + "\n" + `{"b":""}` + "\n"
	if string(b) != want {
		t.Errorf("%s, want %s", b, want)
	}
}

// FuzzString has the standard library read what was written.
func FuzzString(f *testing.F) {
	for _, s := range []string{"", "web", "\x00\x1f\x7f", "\"\\/", "\xff\xfe", "a\u2029\U0001F600", "{[\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := End(String(nil, "s", s))
		var got struct{ S string }
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%q: %s: %v", s, b, err)
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); utf8.ValidString(s) && got.S != want {
			t.Errorf("%q becomes %q", s, got.S)
		}
		if n := strings.Count(string(b), "\n"); n != 1 {
			t.Errorf("%q has %d lines", b, n)
		}
	})
}
