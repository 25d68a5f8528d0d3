package logwriter

import (
	"fmt"
	"strings"
	"testing"
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
		if got := show(ParseMultilog(strings.Fields(line))); got != want {
			t.Errorf("%q is %q, want %q", line, got, want)
		}
	}
}

func show(s Multilog) string {
	var b strings.Builder
	if s.stamp {
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
		s := ParseMultilog(args)
		if s.stamp != strings.HasPrefix(args[0], "t") {
			t.Errorf("%q: stamp is %v", args, s.stamp)
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
