package logwriter

import (
	"os/exec"
	"strings"
	"testing"
)

// TestFnmatch's answers are those of the C library.
func TestFnmatch(t *testing.T) {
	t.Parallel()
	for pattern, lines := range map[string]map[string]bool{
		"*":              {"a/b.c": true, "": true, ".x": true},
		"a*c":            {"abbc": true, "ab": false, "ac": true},
		"*a*b*":          {"xaxbx": true, "xbxax": false, "ab": true},
		"**b":            {"aab": true},
		"a?c":            {"a/c": true, "ac": false},
		"?":              {"\xe9": true, "": false},
		"[a-c]x":         {"bx": true, "dx": false},
		"[!a-c]x":        {"dx": true, "ax": false},
		"[^a-c]x":        {"dx": true},
		"[]a]":           {"]": true, "a": true, "b": false},
		"[!]a]":          {"b": true, "]": false},
		"[]-a]":          {"^": true},
		"[a-]":           {"-": true},
		"[--0]":          {".": true},
		"[%--]":          {"-": true},
		"[a-c-e]":        {"d": false, "-": true},
		"[b-a]":          {"b": false},
		"[":              {"[": true},
		"[a":             {"[a": true, "a": false},
		"*[":             {"a[": true},
		"[!":             {"[!": true},
		"[]":             {"[]": true},
		"[[]":            {"[": true},
		"[[:]":           {"[": true, ":": true},
		`\*`:             {"*": true, "x": false},
		`\`:              {`\`: false},
		`a\`:             {`a\`: false},
		`[a\]b]`:         {"]": true},
		`[\a]`:           {`\`: false, "a": true},
		`[a-\c]`:         {"b": true},
		"[[:digit:]]*":   {"1x": true, "x1": false},
		"[[:foo:]]":      {"f": false},
		"[[:alpha:]-z]":  {"-": true},
		"[[.a.]]":        {"a": true},
		"[[.-.]]":        {"-": true},
		"[[=a=]]":        {"a": true, "b": false},
		"[\xe0-\xef]":    {"\xe9": true},
		"a[/]b":          {"a/b": true},
		"":               {"": true, "a": false},
		"[[:upper:]][.]": {"A.": true, "a.": false},
	} {
		for line, want := range lines {
			if got := Fnmatch(pattern).Match([]byte(line)); got != want {
				t.Errorf("%q in %q: %v", pattern, line, got)
			}
		}
	}
	if !Fnmatch("a*b").Match([]byte("axb\x00c")) {
		t.Error("it sees what follows a NUL")
	}
}

// FuzzFnmatch: the shell's own matching of patterns, which is that of fnmatch(3) as
// far as it is tried here, says the same.
func FuzzFnmatch(f *testing.F) {
	for _, s := range []string{"*a?b[c-e]*", "[!a]*", "a*b*c", "", "[ab]", "[[:digit:]]"} {
		f.Add(s, "xaybzcd")
	}
	f.Fuzz(func(t *testing.T, pattern, line string) {
		got := Fnmatch(pattern).Match([]byte(line))
		plain := func(s string, also string) bool {
			return strings.Trim(s, "abcxyz019."+also) == ""
		}
		// What the shell itself reads in a pattern is left out, and brackets that are
		// not closed, of which it has its own opinion.
		if len(pattern)+len(line) > 200 || !plain(line, " ") || !plain(pattern, "*?[]-") ||
			strings.Count(pattern, "[") != strings.Count(pattern, "]") || strings.Contains(pattern, "[]") || strings.Contains(pattern, "[[") {
			return
		}
		cmd := exec.Command("/bin/sh", "-c", `case "$2" in $1) exit 0;; esac; exit 1`, "sh", pattern, line)
		err := cmd.Run()
		if want := err == nil; got != want && (err == nil || cmd.ProcessState.ExitCode() == 1) {
			t.Errorf("%q in %q: %v, the shell says %v", pattern, line, got, want)
		}
	})
}
