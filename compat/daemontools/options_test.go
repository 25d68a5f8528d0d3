package daemontools

import (
	"fmt"
	"strings"
	"testing"

	"upkeep/compat/cli"
	"upkeep/svscan"
)

// optionsOf parses a command line, which holds no value with a blank.
func optionsOf(line, dialect string) (svscan.Config, bool) {
	env := &cli.Env{Getenv: func(string) (string, bool) { return dialect, dialect != "" }}
	return scanOptions(env, strings.Fields(line))
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
	} {
		got := ""
		if o, ok := optionsOf(c.line, c.dialect); ok {
			got = fmt.Sprintf("%v %s", o.Dialect, o.Dir)
		}
		if got != c.want {
			t.Errorf("%q with %q: %q, not %q", c.line, c.dialect, got, c.want)
		}
	}
}
