package logwriter

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestSplitScript: one line is split as by a shell, and a newline is a blank.
func TestSplitScript(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"t ./main":                         {"t", "./main"},
		"t s1000000\t n20 '-* debug*' ./m": {"t", "s1000000", "n20", "-* debug*", "./m"},
		`\ a\'b "c\"d\e\\" 'f\g' x'y'"z"`:  {" a'b", `c"d\e\`, `f\g`, "xyz"},
		"./a#b \\#c '' \"\"":               {"./a#b", "#c", "", ""},
		"\"\\$x \\` \\y\"":                 {"$x ` \\y"},
		"a # b 'c":                         {"a"},
		"":                                 nil,
		" \t":                              nil,
	} {
		got, err := SplitScript([]byte(text))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q is %q, %v, want %q", text, got, err, want)
		}
		out, err := exec.Command("sh", "-fc", "args() { for w; do printf '%s\\n' \"$w\"; done; }\nargs "+text).Output()
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if shell := strings.Join(append(slices.Clip(want), ""), "\n"); string(out) != shell {
			t.Errorf("%q: a shell has %q, want %q", text, out, shell)
		}
	}
	got, err := SplitScript([]byte("# all of it\nt # stamped\r\n  '-a\nb' \\\n./main\\\nx\n"))
	if want := []string{"t", "-a\nb", "./mainx"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	for _, text := range []string{"'a", `"a`, `a\`, `"\`} {
		if words, err := SplitScript([]byte(text)); err != ErrQuote {
			t.Errorf("%q: %q, %v", text, words, err)
		}
	}
}

// FuzzSplitScript: words that are quoted come out as they were.
func FuzzSplitScript(f *testing.F) {
	f.Add("t ./main", "# '\"\\")
	f.Add("a\\\nb", "\n")
	f.Fuzz(func(t *testing.T, text, word string) {
		words, err := SplitScript([]byte(text))
		if err != nil {
			return
		}
		var quoted strings.Builder
		for _, w := range append(words, word) {
			quoted.WriteString(" '" + strings.ReplaceAll(w, "'", `'\''`) + "'")
		}
		if again, err := SplitScript([]byte(quoted.String())); err != nil || !slices.Equal(again, append(words, word)) {
			t.Errorf("%q is %q, %v", quoted.String(), again, err)
		}
	})
}
