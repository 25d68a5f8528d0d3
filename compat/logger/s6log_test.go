package logger

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"upkeep/compat/cli"
	"upkeep/compat/cli/clitest"
	"upkeep/logwriter"
)

func TestERE(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern  string
		yes, not []string
	}{
		{"", []string{"", "x"}, nil},
		{"^a.c$", []string{"abc", "a\xffc"}, []string{"ac", "xabc", "a\xc3\xa4c"}},
		{"a|b+", []string{"xa", "bb"}, []string{"", "c"}},
		{"x{2}", []string{"axx"}, []string{"x"}},
		{"^x{,2}$", []string{"", "xx"}, []string{"xxx"}},
		{`[\]]`, []string{`\]`}, []string{`\`, "]"}},
		{`[]a-]`, []string{"]", "a", "-"}, []string{"b"}},
		{`[^]a]`, []string{"b"}, []string{"]", "a", ""}},
		{`[[:digit:].]`, []string{"1", "."}, []string{"a", ":", "["}},
		{`[[.-.]-0]`, []string{"-", ".", "0"}, []string{"1", ","}},
		{`[[=x=]y]`, []string{"x", "y"}, []string{"=", "z"}},
		{"[\x80-\xff]", []string{"\x80", "\xff", "\xc3\xa4"}, []string{"a"}},
		{`\.\*`, []string{".*"}, []string{"ab"}},
		{`^\w+\W\s\S$`, []string{"a_1- x"}, []string{"a  "}},
		{"a**", []string{"", "a"}, nil},
		{"^(ab)*)$", []string{")", "abab)"}, []string{"ab"}},
	} {
		p, ok := compileERE(c.pattern)
		if !ok {
			t.Errorf("%q is not taken", c.pattern)
			continue
		}
		for _, s := range c.yes {
			if !p.Match([]byte(s)) {
				t.Errorf("%q does not match %q", c.pattern, s)
			}
		}
		for _, s := range c.not {
			if p.Match([]byte(s)) {
				t.Errorf("%q matches %q", c.pattern, s)
			}
		}
	}
	for _, pattern := range []string{"(", "*", "^*", "(^+)", "a|*", "a{", "a{1", "a{}", "a{2,1}", "a{x}", "[", "[a", "[]", "[b-a]",
		"[[:foo:]]", "[[:alpha:]", `\`, `(a)\1`, `\bx`, `x\>`, "a{1001}"} {
		if _, ok := compileERE(pattern); ok {
			t.Errorf("%q is taken", pattern)
		}
	}
}

// FuzzERE: any pattern is taken or refused, and matches what package regexp says, where
// the two write the same.
func FuzzERE(f *testing.F) {
	f.Add(`^[^]a-z[:digit:]-]+(x|y){1,3}$`, "line")
	f.Add(`\w\.[[.x.]]{,2}`, "\xff\x80")
	f.Add("a**|)", ")")
	f.Add("(a|b*c)+d?$|^x(yz){2,3}", "bbcad")
	f.Add("((a*)*|b)*c", "aabac")
	f.Add("(^a|b$)+.[a-c]{0,2}", "ab")
	f.Fuzz(func(t *testing.T, pattern, line string) {
		if len(pattern) > 200 || strings.Count(pattern, "{") > 2 {
			return
		}
		p, ok := compileERE(pattern)
		if !ok {
			return
		}
		got := p.Match([]byte(line))
		if p.Match([]byte(line)) != got {
			t.Errorf("%q and %q: %v, then not", pattern, line, got)
		}
		for _, c := range []byte(pattern + line) {
			if c < ' ' || c > '~' {
				return
			}
		}
		if strings.ContainsAny(pattern, `\[{`) {
			return
		}
		re, err := regexp.CompilePOSIX(pattern)
		if err == nil && re.MatchString(line) != got {
			t.Errorf("%q and %q: %v", pattern, line, got)
		}
	})
}

func TestS6Stamp(t *testing.T) {
	t.Parallel()
	now := time.Unix(1, 234567890)
	w := s6Word{op: '1', tai: true, iso: true, prefix: "p:"}
	got := string(w.stamp(cli.System())([]byte("x"), now))
	want := "x@40000000000000260dfb38d2 " + now.Local().Format("2006-01-02 15:04:05") + ".234567890  p: "
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// FuzzS6Script: any script is taken or refused, and settings stay within limits.
func FuzzS6Script(f *testing.F) {
	f.Add("t\x00s5\x00n0\x00./d")
	f.Add("-\x00+a*\x00f\x00?cat\x00/x\x00=f\x002\x001\x00+x")
	f.Add("s18446744073709551616\x00n-1\x00.")
	f.Add("l5000\x00s9000\x00S4\x00r4\x00E3\x00^3\x00pX\x00T\x002")
	f.Fuzz(func(t *testing.T, line string) {
		if len(line) > 500 || strings.Count(line, "{") > 2 {
			return
		}
		args := strings.Split(line, "\x00")
		s, complaint := parseS6(args)
		if complaint != "" {
			return
		}
		if len(s.words) == 0 || !s.words[len(s.words)-1].acts() {
			t.Errorf("%q does not end with an action", args)
		}
		known := 0
		for _, a := range args {
			if strings.IndexByte("12=./", a[0]) >= 0 {
				known++
			}
		}
		for _, w := range s.words {
			if w.acts() {
				known--
			}
			if w.op == '/' && (w.dir.Size < 4096 || w.dir.Size > 268435455 || w.dir.Keep < 1 || w.dir.Margin < 0) {
				t.Errorf("%q: %+v", args, w.dir)
			}
		}
		if known != 0 {
			t.Errorf("%q: %d actions are missing", args, known)
		}
	})
}

func TestS6Options(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]s6Options{
		"1":               {verbosity: 1, limit: 8192, patience: 2 * time.Second},
		"-qpb -l5 -t 7 1": {verbosity: 0, limit: 48, patience: 7 * time.Millisecond, protect: true},
		"-vd3 -l 0 -- 1":  {verbosity: 2, notify: 3, patience: 2 * time.Second},
	} {
		o, complaint, ok := parseS6Options(strings.Fields(line))
		if !ok || complaint != "" || len(o.script) != 1 {
			t.Errorf("%q: %v, %q", line, o, complaint)
		}
		o.script = nil
		if o.notify != want.notify || o.verbosity != want.verbosity || o.protect != want.protect ||
			o.limit != want.limit || o.patience != want.patience {
			t.Errorf("%q: %+v, want %+v", line, o, want)
		}
	}
	for _, line := range []string{"", "--", "-x 1", "-l", "-l x 1", "-d -1 1", "-t", "-qz 1"} {
		if _, complaint, ok := parseS6Options(strings.Fields(line)); ok || complaint != "" {
			t.Errorf("%q is taken", line)
		}
	}
}

// TestS6Fatal has ours and the real one fail.
func TestS6Fatal(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]clitest.Result{
		"./no/d":    {Stderr: "s6-log: fatal: unable to mkdir ./no/d: No such file or directory\n", Code: 111},
		"/dev/null": {Stderr: "s6-log: fatal: unable to open /dev/null/lock: Not a directory\n", Code: 111},
		"n 1":       {Stderr: "s6-log: fatal: unrecognized directive: n\n", Code: 100},
		"tx":        {Stderr: "s6-log: fatal: syntax error at directive: tx\n", Code: 100},
		"-x":        {Stderr: "s6-log: usage: " + s6Usage + "\n", Code: 100},
	} {
		c := clitest.Cmd{Args: append([]string{"s6-log"}, strings.Fields(args)...), Dir: t.TempDir()}
		for _, r := range []clitest.Result{clitest.Ours(t, "s6-log", c), clitest.Real(t, "s6", c)} {
			if r != want {
				t.Errorf("%s: %v, want %v", args, r, want)
			}
		}
	}
}

var _ logwriter.Pattern = (*ere)(nil)
