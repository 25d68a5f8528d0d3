package daemontools

import (
	"strconv"
	"strings"
	"time"

	"upkeep/compat/cli"
	"upkeep/supervise"
	"upkeep/svscan"
)

// scanOptions are what svscan is told.
type scanOptions struct {
	svscan.Config
	anchor bool
	args   []string // for the scanner below the anchor
}

// readScan reads what follows svscan's name. ok is false for wrong usage; words after
// the directory are ignored, as by the real one.
func readScan(env *cli.Env, args []string) (c scanOptions, ok bool) {
	dialect, _ := env.Getenv("UPKEEP_DIALECT")
	table := []cli.LongOption{
		{Name: "anchor", Flag: &c.anchor},
		text("dialect", &dialect),
		{Name: "state", Value: func(dir string) bool {
			c.StateDir = dir
			return dir != ""
		}},
		{Name: "cgroups", Flag: &c.Cgroups},
		{Name: "main", Value: func(name string) bool {
			c.Main = name
			return name != "" && name[0] != '.' && !strings.Contains(name, "/")
		}},
		{Name: "deadline", Value: func(seconds string) (ok bool) {
			c.Deadline, ok = deadlineOf(seconds)
			return ok
		}},
	}
	operands, ok := cli.LongOptions(args, table)
	c.args = cli.DropFlag(args, table, "anchor")
	if !ok {
		return c, false
	}
	c.Dir = "."
	if len(operands) > 0 {
		c.Dir = operands[0]
	}
	c.Signals = true
	c.Report = func(r svscan.Report) { Say(env, r) }
	c.Dialect, ok = dialectOf(dialect)
	if c.Dialect == supervise.Encore && len(operands) > 1 {
		c.LogService = operands[1]
	}
	c.StateName = stateName(env, c.Dialect)
	if c.StateDir != "" {
		c.StateName = ""
	}
	return c, ok
}

// stateName is what encore's SUPERVISEDIR says (daemontools.md, section 5.1).
func stateName(env *cli.Env, d supervise.Dialect) string {
	if d != supervise.Encore {
		return ""
	}
	name, _ := env.Getenv("SUPERVISEDIR")
	return name
}

// superviseOptions reads what follows supervise's name.
func superviseOptions(env *cli.Env, args []string) (c svscan.Config, ok bool) {
	dialect, _ := env.Getenv("UPKEEP_DIALECT")
	operands, ok := cli.LongOptions(args, []cli.LongOption{
		text("dialect", &dialect),
	})
	if !ok || len(operands) != 1 {
		return c, false
	}
	c.Dir = operands[0]
	c.Report = func(r svscan.Report) { Say(env, r) }
	c.Dialect, ok = dialectOf(dialect)
	c.StateName = stateName(env, c.Dialect)
	return c, ok
}

// dialectOf is the dialect of a name, of which the empty one is Common's.
func dialectOf(name string) (supervise.Dialect, bool) {
	if name == "" {
		return supervise.Common, true
	}
	return supervise.ParseDialect(name)
}

// maxDeadline is more than anybody waits for.
const maxDeadline = 1e6 // seconds

// deadlineOf reads seconds, with a fraction if need be; 0 is none.
func deadlineOf(seconds string) (d time.Duration, ok bool) {
	for _, c := range []byte(seconds) {
		if (c < '0' || c > '9') && c != '.' {
			return 0, false // no sign, exponent or infinity
		}
	}
	f, err := strconv.ParseFloat(seconds, 64)
	switch {
	case err != nil || f > maxDeadline:
		return 0, false
	case f == 0:
		return svscan.NoDeadline, true
	}
	return max(time.Duration(f*float64(time.Second)), time.Millisecond), true
}

// text is an option whose value is kept as it is.
func text(name string, to *string) cli.LongOption {
	return cli.LongOption{Name: name, Value: func(value string) bool {
		*to = value
		return true
	}}
}
