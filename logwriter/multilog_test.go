package logwriter

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestParseMultilog(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"":                        "",
		"t":                       "t",
		"t t":                     "t",
		"e t":                     " e",
		"-a +b e =f":              " -a +b e =f",
		"nonsense x y":            "",
		"./d":                     " ./d(99999,10)",
		"s1 n1 ./d":               " ./d(4096,2)",
		"s5000k n7k /d":           " /d(5000,7)",
		"s99999999999999999999 .": " .(16777215,10)",
		"! ./d":                   " ./d(99999,10,!)",
		"./c !cat ./d":            " ./c(99999,10) ./d(99999,10,!cat)",
	} {
		if got := show(ParseMultilog(strings.Fields(line), false)); got != want {
			t.Errorf("%q is %q, want %q", line, got, want)
		}
	}
	for line, want := range map[string]string{
		"T":                           "t",
		"t T":                         "t",
		"e T":                         " e",
		"-a F -b +c S +d":             " -a -Fb +Fc +d",
		"wdone ./d w ./e ws wa/b ./f": " ./d(99999,10)done ./e(99999,10) ./f(99999,10)s",
		"s99999999 ./d":               " ./d(99999999,10)s",
		"s9999999999 ./d":             " ./d(2147483647,10)s",
		"s2147483647 ./d":             " ./d(2147483647,10)s",
		"s16777216 n3 wx !cat /e -x":  " /e(16777216,3,!cat)x -x",
	} {
		s := ParseMultilog(strings.Fields(line), true)
		if got := showEncore(s); got != want {
			t.Errorf("encore: %q is %q, want %q", line, got, want)
		}
	}
	for i, word := range []string{"t", "T"} {
		stamp := ParseMultilog([]string{word}, true).stamp()(nil, time.Unix(7, 5000))
		if want := []string{"@40000000000000110000157c ", "7.000005 "}[i]; string(stamp) != want {
			t.Errorf("%s stamps %q", word, stamp)
		}
	}
}

// showEncore is show with what only encore has.
func showEncore(s Multilog) string {
	var b strings.Builder
	for i, w := range s.words {
		one := s
		one.words = s.words[i : i+1]
		if i > 0 {
			one.stamp = nil
		}
		text := show(one)
		if w.fn {
			text = text[:2] + "F" + text[2:]
		}
		b.WriteString(text)
		if w.op == Append {
			b.WriteString(w.dir.Suffix)
		}
	}
	if len(s.words) == 0 {
		return show(s)
	}
	return b.String()
}

func show(s Multilog) string {
	var b strings.Builder
	if s.stamp != nil {
		b.WriteByte('t')
	}
	for _, w := range s.words {
		b.WriteByte(' ')
		b.WriteString(map[Op]string{Select: "+", Deselect: "-",
			Alert: "e", Keep: "="}[w.op] + w.arg)
		if w.op == Append {
			fmt.Fprintf(&b, "(%d,%d", w.dir.Size, w.dir.Keep)
			if w.dir.Process {
				b.WriteString(",!" + w.dir.Processor)
			}
			b.WriteByte(')')
		}
	}
	return b.String()
}

// FuzzMultilogScript: any script is taken, and settings stay within their limits.
func FuzzMultilogScript(f *testing.F) {
	f.Add("t\x00s5\x00n0\x00./d")
	f.Add("-*\x00+*a*\x00!cat\x00/x\x00=f\x00e")
	f.Add("s18446744073709551616\x00n-1\x00.")
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, "\x00")
		s := ParseMultilog(args, false)
		if (s.stamp != nil) != strings.HasPrefix(args[0], "t") {
			t.Errorf("%q: stamp is %v", args, s.stamp != nil)
		}
		known := 0
		for _, a := range args {
			if a != "" && strings.IndexByte("+-e=./", a[0]) >= 0 {
				known++
			}
		}
		if known != len(s.words) {
			t.Errorf("%q has %d actions, want %d", args, len(s.words), known)
		}
		for _, w := range s.words {
			if w.op == Append && (w.dir.Size < 4096 || w.dir.Size > 16777215 || w.dir.Keep < 2) {
				t.Errorf("%q: %+v", args, w.dir)
			}
		}
	})
}
