package logger

import (
	"fmt"
	"strings"
	"testing"

	"upkeep/compat/cli/clitest"
	"upkeep/logwriter"
)

func TestParse(t *testing.T) {
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
		if got := show(parseMultilog(strings.Fields(line))); got != want {
			t.Errorf("%q is %q, want %q", line, got, want)
		}
	}
}

func show(s script) string {
	var b strings.Builder
	if s.stamp {
		b.WriteByte('t')
	}
	for _, w := range s.words {
		b.WriteByte(' ')
		b.WriteString(map[logwriter.Op]string{logwriter.Select: "+", logwriter.Deselect: "-",
			logwriter.Alert: "e", logwriter.Keep: "="}[w.op] + w.arg)
		if w.op == logwriter.Append {
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
		s := parseMultilog(args)
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
			if w.op == logwriter.Append && (w.dir.Size < 4096 || w.dir.Size > 16777215 || w.dir.Keep < 2) {
				t.Errorf("%q: %+v", args, w.dir)
			}
		}
	})
}

// TestFatal has ours and the real one fail.
func TestFatal(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"./no/d":    "multilog: fatal: unable to open directory ./no/d: file does not exist\n",
		"./d ./d":   "multilog: fatal: unable to lock directory ./d: temporary failure\n",
		"=no/f":     "multilog: fatal: unable to create no/f: file does not exist\n",
		"=.":        "multilog: fatal: unable to create .: is a directory\n",
		"/dev/null": "multilog: fatal: unable to open directory /dev/null: not a directory\n",
	} {
		c := clitest.Cmd{Args: append([]string{"multilog"}, strings.Fields(args)...), Dir: t.TempDir()}
		for _, r := range []clitest.Result{clitest.Ours(t, "multilog", c), clitest.Real(t, "daemontools", c)} {
			if r != (clitest.Result{Stderr: want, Code: 111}) {
				t.Errorf("%s: %v, want %q", args, r, want)
			}
		}
	}
}
