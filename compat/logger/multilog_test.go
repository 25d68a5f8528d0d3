package logger

import (
	"strings"
	"testing"

	"upkeep/compat/cli/clitest"
)

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
