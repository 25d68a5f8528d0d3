package s6

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/supervise/servicedir"
	"upkeep/supervise/status"
	"upkeep/svc"
)

// goal is what a service is waited for.
type goal struct {
	up, ready bool
	again     bool // it has to be down first
}

// goalOf is what the letter of an option means, in upper case with readiness.
func goalOf(letter byte) goal {
	g := goal{up: letter|0x20 != 'd', ready: letter&0x20 == 0}
	g.again = letter|0x20 == 'r'
	return g
}

const svwaitUsage = "[ -U | -u | -d | -D | -r | -R ] [ -a | -o ] [ -t timeout ] servicedir..."

// Svwait is s6-svwait: it waits until services are up, down, ready or restarted.
//
// Exit: 0 when they are; 99 when the time is over; 100 for wrong usage; 111 when something
// failed; else how many of them have failed for good or are not supervised any more.
func Svwait(env *cli.Env, args []string) int {
	w := waiter{base: base{env, "s6-svwait"}}
	o := options(args, "uUdDrRaot:")
	letter := byte('u')
	for c := o.Next(); c != cli.End; c = o.Next() {
		switch c {
		case 'a', 'o':
			w.one = c == 'o'
		case 't':
			ms, ok := number(o.Arg)
			if !ok {
				return w.usage(svwaitUsage)
			}
			w.deadline = deadline(ms)
		case cli.Bad:
			return w.usage(svwaitUsage)
		default:
			letter = c
		}
	}
	if len(o.Args()) == 0 {
		return w.usage(svwaitUsage)
	}
	return w.wait(o.Args(), goalOf(letter), nil)
}

// waiter waits for services.
type waiter struct {
	base
	one      bool // of them is enough
	deadline time.Time

	listener svc.Listener
	states   []state
}

// state is how a service is as far as it was heard.
type state struct {
	up, ready bool
	was       bool // down, where that has to come first
	failed    bool // for good, or nobody supervises it
}

// wait listens to the services, calls begin, if there is one, and waits until they are as
// they should be.
func (w *waiter) wait(dirs []string, g goal, begin func() int) int {
	defer func() { w.listener.Close() }()
	for _, dir := range dirs {
		d, err := svc.Open(dir, svc.StateDir)
		if err == nil {
			defer d.Close()
			err = w.listener.Add(d)
		}
		if err != nil {
			return w.die(cli.ExitFatal, "unable to subscribe to events for "+dir, err)
		}
		// Who listens already misses nothing that comes after this.
		r, err := d.Status(status.S6)
		if err != nil {
			if root(err) == status.ErrFormat {
				err = unix.EPIPE
			}
			return w.die(cli.ExitFatal, "unable to s6_svstatus_read", err)
		}
		w.states = append(w.states, state{up: up(&r), ready: r.Ready})
	}
	if begin != nil {
		begin() // s6-svlisten1 has it be done by a child, whose end it does not look at
	}
	for {
		reached, failed := 0, 0
		for i := range w.states {
			s := &w.states[i]
			s.was = s.was || !s.up && (!g.ready || s.ready)
			switch {
			case s.failed:
				failed++
			case s.up == g.up && (!g.ready || s.ready) && (!g.again || s.was):
				reached++
			}
		}
		switch {
		case reached == len(dirs), w.one && reached > 0:
			return 0
		case reached+failed == len(dirs):
			return w.die(failed, "some services reported permanent failure or their supervisor died", nil)
		}
		err := w.listener.Next(w.deadline, func(i int, event byte) { w.states[i].hear(event, g) })
		switch {
		case root(err) == svc.ErrTimeout:
			return w.die(exitTimeout, "timed out", nil)
		case err != nil:
			return w.die(cli.ExitFatal, "unable to wait for events", err)
		}
	}
}

// hear takes an event in, unless the service is as it should be already: what comes
// behind that in one batch does not count.
func (s *state) hear(event byte, g goal) {
	switch {
	case s.failed, s.up == g.up && (!g.ready || s.ready) && (!g.again || s.was):
	case event == 'O' && !g.up, event == 's':
	case event == 'O', event == 'x':
		s.failed = true
	default:
		i := strings.IndexByte("dDuU", event)
		if i >= 0 {
			s.up, s.ready = i >= 2, i&1 != 0
			s.was = s.was || !s.up && (!g.ready || s.ready)
		}
	}
}

const svlinkUsage = "[ -d | -D ] [ -f ] [ -P ] [ -t timeout ] scandir servicedir [ name ]"

// linker is s6-svlink or s6-svunlink at work.
type linker struct {
	waiter
	services []string // it, and that of its log service
	patient  bool     // says nothing when the time is over
}

// services finds the log service of a service directory.
func servicesOf(dir string) []string {
	var st unix.Stat_t
	if unix.Stat(dir+"/log", &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return []string{dir, dir + "/log"}
	}
	return []string{dir}
}

// await listens to the services, calls begin and waits for an event of each.
func (w *linker) await(event byte, begin func() int) int {
	defer func() { w.listener.Close() }()
	for _, dir := range w.services {
		d, err := svc.Open(dir, svc.StateDir)
		if err == nil {
			err = w.listener.Add(d)
			d.Close()
		}
		if err != nil {
			return w.die(cli.ExitFatal, "unable to subscribe to events for "+dir, err)
		}
	}
	if code := begin(); code != 0 {
		return code
	}
	heard := make([]bool, len(w.services))
	for left := len(heard); left > 0; {
		err := w.listener.Next(w.deadline, func(i int, e byte) {
			if e == event && !heard[i] {
				heard[i] = true
				left--
			}
		})
		switch {
		case root(err) == svc.ErrTimeout && w.patient:
			return 0
		case root(err) == svc.ErrTimeout:
			return w.die(exitTimeout, "timed out", nil)
		case err != nil:
			return w.die(cli.ExitFatal, "unable to wait for events", err)
		}
	}
	return 0
}

// Svlink is s6-svlink: it links a service directory into a scan directory and waits until
// it is supervised. With -d and -D it begins down, and with -D it stays so. With -f it is
// linked even if somebody supervises it. -P, by which s6 leaves the signals
// of a scanner alone, says nothing here.
//
// Exit: 0; 99 when the time is over; 100 for wrong usage; 111 when something failed.
func Svlink(env *cli.Env, args []string) int {
	w := linker{waiter: waiter{base: base{env, "s6-svlink"}}}
	o := options(args, "dDfPt:")
	down, keep := false, false
	for c := o.Next(); c != cli.End; c = o.Next() {
		switch c {
		case 'd', 'D':
			down, keep = true, c == 'D'
		case 'f', 'P':
		case 't':
			ms, ok := number(o.Arg)
			if !ok {
				return w.usage(svlinkUsage)
			}
			w.deadline = deadline(ms)
		default:
			return w.usage(svlinkUsage)
		}
	}
	operands := o.Args()
	if len(operands) < 2 {
		return w.usage(svlinkUsage)
	}
	scan, dir := operands[0], strings.TrimRight(operands[1], "/")
	name := dir[strings.LastIndexByte(dir, '/')+1:]
	if len(operands) > 2 {
		name = operands[2]
	}
	if name == "" || name[0] == '.' || strings.Contains(name, "/") {
		return w.die(cli.ExitUsage, "invalid name", nil)
	}
	if code := w.scanner(scan); code != 0 {
		return code
	}
	var st unix.Stat_t
	if err := unix.Stat(dir+"/run", &st); err != nil {
		return w.die(cli.ExitFatal, "unable to stat "+dir+"/run", err)
	}
	for _, service := range servicesOf(dir) {
		switch ok, err := supervised(service); {
		case err != nil:
			return w.die(cli.ExitFatal, "unable to check status of "+service, err)
		case ok:
			w.warn("supervisor already running on "+service, nil)
		default:
			w.services = append(w.services, service)
		}
	}
	code := w.await('s', func() int {
		if down && w.services != nil {
			if fd, err := unix.Open(dir+"/down", unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o666); err != nil {
				return w.die(cli.ExitFatal, "unable to touch "+dir+"/down", err)
			} else {
				unix.Close(fd)
			}
		}
		target, err := physical(dir)
		if err == nil {
			err = link(target, scan+"/"+name)
		}
		if err != nil {
			return w.die(cli.ExitFatal, "unable to link servicedir "+dir+" into scandir "+scan+" with name "+name, err)
		}
		return w.control(scan, controlDir, "a")
	})
	if down && !keep && w.services != nil {
		_ = unix.Unlink(dir + "/down")
	}
	return code
}

// link makes a symbolic link, or leaves one as it is that leads there.
func link(target, path string) error {
	err := unix.Symlink(target, path)
	if err == unix.EEXIST {
		var there, here unix.Stat_t
		if unix.Stat(path, &here) == nil && unix.Stat(target, &there) == nil &&
			servicedir.IdentityOf(&here) == servicedir.IdentityOf(&there) {
			return nil
		}
	}
	return err
}

// physical is the path of a directory without links.
func physical(dir string) (string, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var b [unix.PathMax]byte
	n, err := unix.Readlink("/proc/self/fd/"+string(status.AppendUint(nil, uint64(fd))), b[:])
	return string(b[:max(n, 0)]), err
}

// scanner finds out whether there is one.
func (p base) scanner(scan string) int {
	path := scan + "/" + controlDir + "/lock"
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return p.die(cli.ExitFatal, "unable to open "+path, err)
	}
	defer unix.Close(fd)
	switch locked, err := svc.LockedFile(fd); {
	case err != nil:
		return p.die(cli.ExitFatal, "unable to check lock on "+path, err)
	case !locked:
		return p.die(1, "s6-svscan not running on "+scan, nil)
	}
	return 0
}

const svunlinkUsage = "[ -X ] [ -t timeout ] scandir servicename"

// Svunlink is s6-svunlink: it removes a service from a scan directory, and waits until
// nobody supervises it. With -X it does not wait. Exit: as for s6-svlink.
func Svunlink(env *cli.Env, args []string) int {
	w := linker{waiter: waiter{base: base{env, "s6-svunlink"}}}
	o := options(args, "Xt:")
	wait := true
	for c := o.Next(); c != cli.End; c = o.Next() {
		switch c {
		case 'X':
			wait = false
		case 't':
			ms, ok := number(o.Arg)
			if !ok {
				return w.usage(svunlinkUsage)
			}
			w.deadline = deadline(ms)
		default:
			return w.usage(svunlinkUsage)
		}
	}
	operands := o.Args()
	if len(operands) < 2 {
		return w.usage(svunlinkUsage)
	}
	scan, name := operands[0], operands[1]
	if name == "" || name[0] == '.' || strings.Contains(name, "/") {
		return w.die(cli.ExitUsage, "invalid service name", nil)
	}
	path := scan + "/" + name
	if wait {
		for _, service := range servicesOf(path) {
			if ok, err := supervised(service); err == nil && ok {
				w.services = append(w.services, service)
			}
		}
	}
	w.patient = true
	return w.await('x', func() int {
		// What is no link stays, and is supervised anew.
		switch err := unix.Unlink(path); err {
		case unix.ENOENT:
			return 0
		case nil, unix.EISDIR:
			return w.control(scan, controlDir, "an")
		default:
			return w.die(cli.ExitFatal, "unable to unlink "+path, err)
		}
	})
}
