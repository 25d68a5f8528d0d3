package logger

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"upkeep/compat/cli"
	"upkeep/compat/cli/clitest"
)

func TestSvlogdConfig(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                      "1000000 10 10 0s",
		"s":                     "1000000 10 10 0s",
		"s5":                    "5 10 10 0s",
		"s5\ns\n":               "0 10 10 0s",
		"s10k\nn3\nN2\nt5m":     "10240 3 2 5m0s",
		"s2m\nt1h\n":            "2097152 10 10 1h0m0s",
		"s2M\nt3x\nn5k\n":       "2 5 10 3s",
		"s 5\n n3\n#n3\n\nx\n":  "0 10 10 0s",
		"!cat\n!\npA\np\n":      "1000000 10 10 0s !cat pA",
		"-a\n+b\ne\nE*\n":       `1000000 10 10 0s -"a" +"b" e"" E"*"`,
		"u1.2.3.4\n":            "1000000 10 10 0s u[1 2 3 4]:514",
		"U1.2.3.4:5\n":          "1000000 10 10 0s U[1 2 3 4]:5",
		"Ux\nu1.2.3.257:65537":  `1000000 10 10 0s U[1 2 3 1]:1 "unable to scan ip address: x"`,
		"u1.2.3.4:0x\n":         `1000000 10 10 0s "unable to scan port number: 0x"`,
		"u1.2.3\n":              `1000000 10 10 0s "unable to scan ip address: 1.2.3"`,
		"u1.2.3.4.5\n":          "1000000 10 10 0s u[1 2 3 4]:514",
		"pA\x00B\nn3":           "1000000 3 10 0s pA",
		"s18446744073709551617": "1 10 10 0s",
	} {
		if got := showConfig(parseSvlogdConfig([]byte(text))); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}

func showConfig(c svlogdConfig) string {
	var b strings.Builder
	fmt.Fprint(&b, c.dir.Size, c.dir.Keep, c.dir.KeepFull, c.dir.Age)
	if c.dir.Processor != "" {
		b.WriteString(" !" + c.dir.Processor)
	}
	if c.prefix != "" {
		b.WriteString(" p" + c.prefix)
	}
	for _, x := range c.choices {
		fmt.Fprintf(&b, " %c%q", "-+Ee"[map[bool]int{true: 2}[x.Alert]+map[bool]int{true: 1}[x.Take]], x.Pattern)
	}
	if c.to.port != 0 {
		fmt.Fprintf(&b, " %s%v:%d", map[bool]string{false: "u", true: "U"}[c.only], c.to.ip, c.to.port)
	}
	for _, w := range c.warnings {
		fmt.Fprintf(&b, " %q", w)
	}
	return b.String()
}

// FuzzSvlogdConfig: any config is taken, what it says stays within limits, and each
// line stands on its own.
func FuzzSvlogdConfig(f *testing.F) {
	f.Add([]byte("s100k\nn3\nN1\nt5h\n!cat\npX \n"))
	f.Add([]byte("-*\n+*a\ne+b\nE\nu1.2.3.4:5\nU6.7.8.9"))
	f.Add([]byte("u1..2\nU999.1.1.1:99999\ns99999999999999999999m\nt99999999999999h"))
	f.Add([]byte("s"))
	f.Add([]byte("p\x00\n\x00\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c := parseSvlogdConfig(text)
		if c.dir.Size < 0 || c.dir.Keep < 0 || c.dir.KeepFull < 0 || c.dir.Age < 0 || c.dir.Age > (1<<32)*time.Second {
			t.Errorf("%q: %+v", text, c.dir)
		}
		if len(text) <= 1 {
			return
		}
		choices, tried := 0, 0
		for _, line := range bytes.Split(text, []byte{'\n'}) {
			if len(line) == 0 {
				continue
			}
			switch line[0] {
			case '+', '-', 'e', 'E':
				choices++
			case 'u', 'U':
				tried++
			}
		}
		if choices != len(c.choices) || len(c.warnings) > tried {
			t.Errorf("%q: %d choices of %d, %q", text, len(c.choices), choices, c.warnings)
		}
		// With a comment before and after each line it means the same.
		again := parseSvlogdConfig(append(append([]byte("#\n"), bytes.ReplaceAll(text, []byte{'\n'}, []byte("\n#\n"))...), "\n#"...))
		if showConfig(c) != showConfig(again) || !slices.Equal(c.warnings, again.warnings) {
			t.Errorf("%q: %s, then %s", text, showConfig(c), showConfig(again))
		}
	})
}

// TestSvlogdUsage has ours and the real one complain.
func TestSvlogdUsage(t *testing.T) {
	t.Parallel()
	const usage = "usage: PROG [-ttv] [-r c] [-R abc] [-l len] [-b buflen] dir ...\n\n"
	for args, want := range map[string]string{
		"":              usage,
		"-x d":          "svlogd: illegal option -- x\n" + usage,
		"-b":            "svlogd: option requires an argument -- b\n" + usage,
		"-rab d":        usage,
		"-l 30 -b 30 d": usage,
		"-l 1024 d":     usage,
		"-l1000000000000000 -b1000000000000001 d": "svlogd: warning: unable to open log directory: d: file does not exist\nsvlogd: fatal: no functional log directories.\n",
		"-V d":                      "VERSION\n" + usage,
		"d":                         "svlogd: warning: unable to open log directory: d: file does not exist\nsvlogd: fatal: no functional log directories.\n",
		"-v /dev/null":              "svlogd: info: close: \nsvlogd: warning: unable to change directory: /dev/null: not a directory\nsvlogd: fatal: no functional log directories.\n",
		"-tttv -l30 -b31 -rx -Ry d": "svlogd: warning: unable to open log directory: d: file does not exist\nsvlogd: fatal: no functional log directories.\n",
	} {
		for _, name := range []string{"svlogd", "/a/b/svlogd"} {
			c := clitest.Cmd{Args: append([]string{name}, strings.Fields(args)...), Dir: t.TempDir()}
			for _, r := range []clitest.Result{clitest.Ours(t, "svlogd", c), clitest.Real(t, "runit", c)} {
				if line, rest, ok := strings.Cut(r.Stderr, "\n"); ok && strings.HasPrefix(line, "$Id: ") {
					r.Stderr = "VERSION\n" + rest
				}
				if r != (clitest.Result{Stderr: strings.ReplaceAll(want, "PROG", name), Code: cli.ExitFatal}) {
					t.Errorf("%s %s: %v, want %q", name, args, r, want)
				}
			}
		}
	}
}
