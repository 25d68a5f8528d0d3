package daemontools

import (
	"slices"
	"strings"
	"testing"
)

func TestWithoutFlag(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"svscan":                                 "svscan",
		"svscan --cgroups":                       "svscan +",
		"svscan --cgroups dir":                   "svscan dir +",
		"svscan --dialect s6 --cgroups dir":      "svscan --dialect s6 dir +",
		"svscan --cgroups --dialect=s6 dir":      "svscan --dialect=s6 dir +",
		"svscan --cgroups --cgroups":             "svscan +",
		"svscan dir --cgroups":                   "svscan dir --cgroups",
		"svscan -- --cgroups":                    "svscan -- --cgroups",
		"svscan --dialect --cgroups":             "svscan --dialect --cgroups",
		"svscan --dialect --cgroups --cgroups x": "svscan --dialect --cgroups x +",
		"svscan --cgroups=no":                    "svscan --cgroups=no",
	} {
		args := strings.Fields(line)
		before := slices.Clone(args)
		rest, given := withoutFlag(args, "--cgroups")
		got := strings.Join(rest, " ")
		if given {
			got += " +"
		}
		if got != want || !slices.Equal(args, before) {
			t.Errorf("%q: %q, expected is %q", line, got, want)
		}
	}
}
