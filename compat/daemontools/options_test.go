package daemontools

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"upkeep/compat/cli"
	"upkeep/svscan"
)

// optionsOf parses a command line, which holds no value with a blank.
func optionsOf(line, dialect string) (scanOptions, bool) {
	env := &cli.Env{Getenv: func(string) (string, bool) { return dialect, dialect != "" }}
	return readScan(env, strings.Fields(line))
}

func TestScanOptions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line, dialect string
		want          string
	}{
		{line: "", want: "common ."},
		{line: "dir rest", want: "common dir"},
		{line: "dir", dialect: "runit", want: "runit dir"},
		{line: "--dialect s6 dir", dialect: "runit", want: "s6 dir"},
		{line: "--dialect=s6 -- --dir", want: "s6 --dir"},
		{line: "--dialect= dir", dialect: "runit", want: "common dir"},
		{line: "--dialect s7 dir"},
		{line: "dir", dialect: "s7"},
		{line: "--dialect s6 dir", dialect: "s7", want: "s6 dir"},
		{line: "--dialect"},
		{line: "--unknown dir"},
		{line: "--main web dir", want: "common dir main web"},
		{line: "--main=web --deadline 2.5 dir", want: "common dir main web within 2.5s"},
		{line: "--main --anchor --anchor dir", want: `common dir anchored ["--main" "--anchor" "dir"] main --anchor`},
		{line: "--anchor=1 dir"},
		{line: "--anchor", want: "common . anchored []"},
		{line: "--main= dir"},
		{line: "--main web/log dir"},
		{line: "--main .web dir"},
		{line: "--deadline 8", want: "common . within 8s"},
		{line: "--deadline .0001", want: "common . within 1ms"},
		{line: "--deadline 0", want: "common . within -1ns"},
		{line: "--deadline 1000000", want: "common . within 277h46m40s"},
		{line: "--deadline 1000001"},
		{line: "--deadline -1"},
		{line: "--deadline 1e3"},
		{line: "--deadline inf"},
		{line: "--deadline 1.2.3"},
		{line: "--deadline ."},
		{line: "--deadline= dir"},
		{line: "--deadline"},
	} {
		got := ""
		if o, ok := optionsOf(c.line, c.dialect); ok {
			got = fmt.Sprintf("%v %s", o.Dialect, o.Dir)
			if o.anchor {
				got += fmt.Sprintf(" anchored %q", o.args)
			}
			if o.Main != "" {
				got += " main " + o.Main
			}
			if o.Deadline != 0 {
				got += fmt.Sprintf(" within %v", o.Deadline)
			}
		}
		if got != c.want {
			t.Errorf("%q with %q: %q, not %q", c.line, c.dialect, got, c.want)
		}
	}
}

// FuzzDeadline: what is taken for a deadline is one.
func FuzzDeadline(f *testing.F) {
	for _, s := range []string{"", "0", "8", "2.5", ".", "1e9", "-1", "0x1p3", "00000.1", "999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := deadlineOf(s)
		if ok && d != svscan.NoDeadline && (d < time.Millisecond || d > maxDeadline*time.Second) {
			t.Errorf("%q: %v", s, d)
		}
	})
}
