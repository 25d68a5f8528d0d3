package s6

import (
	"strings"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/supervise/status"
	"upkeep/svc"
)

const svlinkUsage = "[ -d | -D ] [ -f ] [ -P ] [ -t timeout ] scandir servicedir [ name ]"

// linker is s6-svlink or s6-svunlink at work.
type linker struct {
	waiter
	services []string   // it, and that of its log service
	late     func() int // when the time is over
}

// services finds the log service of a service directory.
func servicesOf(dir string) []string {
	var st unix.Stat_t
	if unix.Stat(dir+"/log", &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return []string{dir, dir + "/log"}
	}
	return []string{dir}
}

// operands reads options, of which -t is the time there is and the others are for flag, and
// returns two operands at least, or nil if the usage was wrong.
func (w *linker) operands(args []string, letters string, flag func(c byte)) []string {
	o := options(args, letters)
	for c := o.Next(); c != cli.End; c = o.Next() {
		ms, ok := number(o.Arg)
		switch {
		case c == 't' && ok:
			w.deadline = deadline(ms)
		case c == 't' || c == cli.Bad:
			return nil
		default:
			flag(c)
		}
	}
	if operands := o.Args(); len(operands) >= 2 {
		return operands
	}
	return nil
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
		case root(err) == svc.ErrTimeout:
			return w.late()
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
	down, keep := false, false
	operands := w.operands(args, "dDfPt:", func(c byte) {
		if c == 'd' || c == 'D' {
			down, keep = true, c == 'D'
		}
	})
	if operands == nil {
		return w.usage(svlinkUsage)
	}
	scan, dir := operands[0], operands[1]
	name := strings.TrimRight(dir, "/")
	name = name[strings.LastIndexByte(name, '/')+1:]
	if len(operands) > 2 {
		name = operands[2]
	}
	if name == "" || name[0] == '.' {
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
	unable := "unable to link servicedir " + dir + " into scandir " + scan + " with name " + name
	w.late = func() int {
		_ = unix.Unlink(scan + "/" + name)
		return w.die(exitTimeout, unable, unix.ETIMEDOUT)
	}
	code := w.await('s', func() int {
		for _, service := range w.services {
			if !down {
				break
			}
			fd, err := unix.Open(service+"/down", unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o666)
			if err != nil {
				return w.die(cli.ExitFatal, "unable to touch "+service+"/down", err)
			}
			unix.Close(fd)
		}
		target, err := physical(dir)
		if err == nil {
			err = unix.Symlink(target, scan+"/"+name)
		}
		if err != nil && (err != unix.EEXIST || len(w.services) > 0) {
			return w.die(cli.ExitFatal, unable, err)
		}
		return w.control(scan, controlDir, "a")
	})
	for _, service := range w.services {
		if down && !keep {
			_ = unix.Unlink(service + "/down")
		}
	}
	return code
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
	wait := true
	operands := w.operands(args, "Xt:", func(byte) { wait = false })
	if operands == nil {
		return w.usage(svunlinkUsage)
	}
	scan, name := operands[0], operands[1]
	if name == "" || name[0] == '.' {
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
	w.late = func() int { return 0 }
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
