package main

import (
	"errors"
	"path/filepath"
	"strconv"

	"upkeep/compat/cli"
	"upkeep/conf2dir"
	"upkeep/conf2dir/tree"
)

const conf2dirUsage = "conf2dir [--for native|daemontools|runit|s6] [--log scanner|syslog|files] [--start dir] [--launcher program]" +
	" [--link scandir] [--apply] [--dry-run] [--watch] [--force] [--adopt] conf dir, or conf2dir --check conf"

// outOfStep is the exit code for a configuration that is wrong, and for directories
// that are not as it says.
const outOfStep = 1

// converter is one conf2dir.
type converter struct {
	env     *cli.Env
	conf    string
	compile conf2dir.Options
	sync    tree.Options
}

// confToDir is conf2dir CONF DIR: it makes the jobs of a pmtr.conf service directories
// in DIR, and keeps them in step at each further run. Exit: 0; 1 for a configuration
// that is wrong, in which case nothing is changed, and for directories that could not
// be brought in step; 111 for other errors; 100 for wrong usage.
func confToDir(env *cli.Env, args []string) int {
	c := &converter{env: env}
	check, watch := false, false
	operands, ok := cli.LongOptions(args[1:], []cli.LongOption{
		{Name: "for", Value: func(v string) (ok bool) { c.compile.Form, ok = conf2dir.ParseForm(v); return ok }},
		{Name: "log", Value: func(v string) (ok bool) { c.compile.Log, ok = conf2dir.ParseLog(v); return ok }},
		{Name: "start", Value: func(v string) bool { c.compile.Start = v; return filepath.IsAbs(v) }},
		{Name: "launcher", Value: func(v string) bool { c.compile.Launcher = v; return v != "" }},
		{Name: "link", Value: func(v string) bool { c.sync.Link = v; return v != "" }},
		{Name: "apply", Flag: &c.sync.Apply},
		{Name: "dry-run", Flag: &c.sync.DryRun},
		{Name: "watch", Flag: &watch},
		{Name: "force", Flag: &c.sync.Force},
		{Name: "adopt", Flag: &c.sync.Adopt},
		{Name: "check", Flag: &check},
	})
	want := 2
	if check {
		want = 1
	}
	if !ok || len(operands) != want || watch && (check || c.sync.DryRun) {
		return env.Usage("conf2dir", conf2dirUsage)
	}
	c.conf = operands[0]
	if check {
		return c.check()
	}
	c.sync.Out, c.sync.Form = operands[1], c.compile.Form
	c.sync.Say = func(line string) { _, _ = env.Stdout.WriteString(line + "\n") }
	var err error
	if c.sync.Source, err = filepath.Abs(c.conf); err != nil {
		return env.Fatal("conf2dir", "unable to find "+c.conf, err)
	}
	if !watch {
		return c.run()
	}
	err = tree.Watch(c.sync.Source, func() error {
		c.run() // has said what is wrong; the next change may mend it
		return nil
	})
	return env.Fatal("conf2dir", "unable to watch "+c.conf, err)
}

// read is nil, and an exit code, if the configuration is wrong.
func (c *converter) read() (f *conf2dir.File, code int) {
	text, err := conf2dir.ReadFile(c.conf)
	if err != nil {
		return nil, c.fatal(err.Error())
	}
	f, complaint := conf2dir.Parse(c.conf, text)
	if complaint != nil {
		return nil, c.fatal("parse failed: " + complaint.Text)
	}
	c.remark(f.Remarks)
	return f, 0
}

func (c *converter) fatal(text string) int {
	c.env.Fatal("conf2dir", text, nil)
	return outOfStep
}

func (c *converter) remark(list []conf2dir.Complaint) {
	for _, r := range list {
		place := c.conf + ": "
		if r.Line > 0 {
			place = c.conf + " line " + strconv.Itoa(r.Line) + ": "
		}
		c.env.Warn("conf2dir", place+r.Text, nil)
	}
}

// check is --check: it only reads. A job without cmd is an error here.
func (c *converter) check() int {
	f, code := c.read()
	if f == nil {
		return code
	}
	for _, j := range f.Jobs {
		if len(j.Cmd) == 0 {
			return outOfStep
		}
	}
	return 0
}

// run brings the directory in step once.
func (c *converter) run() int {
	f, code := c.read()
	if f == nil {
		return code
	}
	f.Name = c.sync.Source
	services, remarks := conf2dir.Compile(f, c.compile)
	c.remark(remarks)
	inStep, err := tree.Sync(services, c.sync)
	switch {
	case errors.Is(err, tree.ErrLocked):
		return c.env.Fatal("conf2dir", "unable to lock "+c.sync.Out+": "+err.Error(), nil)
	case err != nil:
		return c.env.Fatal("conf2dir", "unable to update "+c.sync.Out, cause(err))
	case !inStep:
		return outOfStep
	}
	for _, s := range services {
		if s.Keep {
			return outOfStep
		}
	}
	return 0
}
