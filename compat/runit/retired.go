package runit

import (
	"errors"
	"strings"
	"time"

	"upkeep/compat/cli"
	"upkeep/supervise/status"
	"upkeep/svc"
)

// The clients that sv has replaced (runit.md, section 8). Their exit code is the
// number of services there was trouble with.
const (
	retiredUsage = 1
	retiredMost  = 100
)

// retired is what they share.
type retired struct {
	env      *cli.Env
	prog     string
	troubles int
}

func (p *retired) warn(dir, text string, err error) {
	p.troubles++
	if errors.Is(err, svc.ErrNotRunning) {
		text, err = notRunning+".", nil
	}
	p.env.Warn(p.prog, dir+": "+text, err)
}

func (p *retired) tell(words ...string) {
	_, _ = p.env.Stdout.WriteString(p.prog + ": " + strings.Join(words, "") + "\n")
}

func (p *retired) code() int { return min(p.troubles, retiredMost) }

// open opens a service, and complains if that fails.
func (p *retired) open(dir string) (*svc.Dir, bool) {
	d, err := svc.Open(dir, svc.StateDir)
	if err != nil {
		p.warn(dir, "unable to change directory", cause(err).Err)
		return nil, false
	}
	return d, true
}

// read is the state of a service, or a complaint.
func (p *retired) read(d *svc.Dir, name string) (r status.Record, ok bool) {
	err := d.OK()
	if err == nil {
		r, err = d.Status(status.Runit)
	}
	if err != nil {
		p.fault(name, err)
		return r, false
	}
	return r, true
}

func (p *retired) fault(name string, err error) {
	if errors.Is(err, svc.ErrNotRunning) {
		p.warn(name, "", err)
		return
	}
	p.warn(name, fault(err), shown(err))
}

// Runsvctrl is the applet runsvctrl: send a control byte to services.
//
//	runsvctrl u|d|o|p|c|h|a|i|q|1|2|t|k|x|e DIR...
func Runsvctrl(env *cli.Env, args []string) int {
	if len(args) < 3 || args[1] == "" || strings.IndexByte("udopchaiq12tkxe", args[1][0]) < 0 {
		return usage(env, args[0], " u|d|o|p|c|h|a|i|q|1|2|t|k|x|e service ...", retiredUsage)
	}
	p := &retired{env: env, prog: "runsvctrl"}
	letter := args[1][:1]
	if letter == "e" {
		letter = "x"
	}
	for _, dir := range args[2:] {
		if d, ok := p.open(dir); ok {
			if err := d.Control(letter); err != nil {
				p.fault(dir, err)
			}
			d.Close()
		}
	}
	return p.code()
}

// Runsvstat is the applet runsvstat: tell how services are, with -l their log
// services, too.
//
//	runsvstat [-l] DIR...
func Runsvstat(env *cli.Env, args []string) int {
	logs := false
	options := cli.NewOptions(env, args, "l")
	for c := options.Next(); c != cli.End; c = options.Next() {
		if c == cli.Bad {
			return usage(env, args[0], " [ -l ] service ...", retiredUsage)
		}
		logs = true
	}
	if len(options.Args()) == 0 {
		return usage(env, args[0], " [ -l ] service ...", retiredUsage)
	}
	p := &retired{env: env, prog: "runsvstat"}
	for _, dir := range options.Args() {
		d, ok := p.open(dir)
		if !ok {
			continue
		}
		p.stat(d, dir, dir)
		d.Close()
		if !logs {
			continue
		}
		if d, err := svc.Open(dir+"/log", svc.StateDir); err == nil {
			p.stat(d, dir+"/log", "  log")
			d.Close()
		}
	}
	return p.code()
}

func (p *retired) stat(d *svc.Dir, name, label string) {
	r, ok := p.read(d, name)
	if !ok {
		return
	}
	down, err := d.Down()
	if err != nil {
		p.warn(name, "unable to stat down", cause(err).Err)
		return
	}
	b := append([]byte(label), ": "...)
	switch r.Process {
	case status.ProcessNone:
		b = append(b, "down "...)
	case status.ProcessFinish:
		b = append(b, "finish "...)
	default:
		b = append(b, "run "...)
	}
	if r.PID != 0 {
		b = append(status.AppendUint(append(b, "(pid "...), uint64(r.PID)), ") "...)
	}
	b = append(status.AppendUint(b, uint64(age(r))), " seconds"...)
	_, _ = p.env.Stdout.Write(append(appendFlags(b, r, down), '\n'))
}

// age is for how many seconds a service has been as it is.
func age(r status.Record) int64 { return max(status.Now().Sec-r.Since.Sec, 0) }

// Svwaitup is the applet svwaitup: wait until services have been up for some
// seconds, or one is not.
//
//	svwaitup [-v] [-s 1..600] DIR...
func Svwaitup(env *cli.Env, args []string) int {
	p := &retired{env: env, prog: "svwaitup"}
	wrong := func() int { return usage(env, args[0], " [-v] [-s 1..600] service ...", retiredUsage) }
	verbose, seconds := false, uint64(2)
	options := cli.NewOptions(env, args, "vs:")
	for c := options.Next(); c != cli.End; c = options.Next() {
		switch c {
		case 'v':
			verbose = true
		case 's':
			if seconds = number(options.Arg); seconds < 1 || seconds > 600 {
				return wrong()
			}
		default:
			return wrong()
		}
	}
	if len(options.Args()) == 0 {
		return wrong()
	}
	for _, dir := range options.Args() {
		p.waitUp(dir, int64(seconds), verbose)
	}
	return p.code()
}

func (p *retired) waitUp(dir string, seconds int64, verbose bool) {
	d, ok := p.open(dir)
	if !ok {
		return
	}
	defer d.Close()
	for {
		r, ok := p.read(d, dir)
		switch {
		case !ok:
			return
		case r.PID == 0:
			p.warn(dir, "is down.", nil)
			return
		case age(r) >= seconds:
			if verbose {
				p.tell(dir, ": is up (", string(status.AppendUint(nil, uint64(age(r)))), " seconds)")
			}
			return
		}
		// Until then, or until there is something else to see.
		due := time.Unix(r.Since.Sec+seconds, 0)
		_, err := d.Wait(status.Runit, due, func(now status.Record, alive bool) bool {
			return !alive || now.PID != r.PID
		})
		if err != nil && !errors.Is(err, svc.ErrTimeout) {
			p.fault(dir, err)
			return
		}
	}
}

// Svwaitdown is the applet svwaitdown: tell services to be down, with -x to leave, and
// wait until they are. With -k those that are not in time get KILL.
//
//	svwaitdown [-v] [-x] [-k] [-t 1..6000] DIR...
func Svwaitdown(env *cli.Env, args []string) int {
	p := &retired{env: env, prog: "svwaitdown"}
	wrong := func() int {
		return usage(env, args[0], " [-v] [-x] [-k] [-t 1..6000] service ...", retiredUsage)
	}
	verbose, kill, letters, seconds := false, false, "d", uint64(600)
	options := cli.NewOptions(env, args, "vxkt:")
	for c := options.Next(); c != cli.End; c = options.Next() {
		switch c {
		case 'v':
			verbose = true
		case 'x':
			letters = "dx"
		case 'k':
			kill = true
		case 't':
			if seconds = number(options.Arg); seconds < 1 || seconds > 6000 {
				return wrong()
			}
		default:
			return wrong()
		}
	}
	if len(options.Args()) == 0 {
		return wrong()
	}
	deadline := time.Now().Add(time.Duration(seconds) * time.Second)
	open := map[string]*svc.Dir{}
	for _, dir := range options.Args() {
		d, ok := p.open(dir)
		if !ok {
			continue
		}
		if err := d.Control(letters); err != nil {
			p.fault(dir, err)
			d.Close()
			continue
		}
		open[dir] = d
	}
	late := false
	for _, dir := range options.Args() {
		d := open[dir]
		if d == nil {
			continue
		}
		_, err := d.Wait(status.Runit, deadline, func(r status.Record, alive bool) bool {
			return !alive || letters == "d" && r.PID == 0 && r.Want != status.WantUp
		})
		switch {
		case errors.Is(err, svc.ErrTimeout):
			late = true
			p.warn(dir, "timeout.", nil)
			if kill {
				if verbose {
					p.tell(dir, ": send KILL.")
				}
				_ = d.Control("k") // it may have ended by now
			}
		case err != nil:
			p.fault(dir, err)
		case verbose:
			p.tell(dir, ": down.")
		}
		d.Close()
		delete(open, dir)
	}
	if late {
		return cli.ExitFatal
	}
	return p.code()
}
