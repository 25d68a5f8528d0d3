package encore

import (
	"errors"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/compat/daemontools"
	"upkeep/supervise/status"
	"upkeep/svc"
)

// notUp is svup's exit code for a service that is not up.
const notUp = 100

// Svup is the applet svup: is a service up?
//
//	svup [-L] [-l] DIR
//
// -l is the service only, -L its log only; the last one counts. Without them
// the log must be up as well if there is one. Up is what has a process, which
// may be start or stop, and what is started or running, for instance between
// two runs. More arguments are ignored.
//
// Exit code: 0 yes; 100 no, or wrong usage; 111 if that cannot be found out.
func Svup(env *cli.Env, args []string) int {
	return svup(env, args, flavour{state: stateDir(env), states: true, nameless: true})
}

// SvupDefault is svup for services of supervisors other than encore's, ours by
// default among them: up is only what has a process, whatever follows the 18
// bytes of daemontools' record, and the state directory is supervise.
func SvupDefault(env *cli.Env, args []string) int {
	return svup(env, args, flavour{state: svc.StateDir})
}

// flavour is what the two forms of svup differ in.
type flavour struct {
	state    string // state directory
	states   bool   // byte 18 is encore's state
	nameless bool   // encore forgets the name of a directory it cannot enter
}

func svup(env *cli.Env, args []string, f flavour) int {
	which, dirs, ok := parse(env, args)
	if !ok {
		return env.Usage("svup", "svup [-L] [-l] dir")
	}
	dir := dirs[0]
	up, err := f.look(dir, which)
	switch {
	case err != nil:
		return f.fail(env, dir, err)
	case !up:
		return notUp
	}
	return 0
}

func (f flavour) look(dir string, which slots) (up bool, err error) {
	d, err := svc.Open(dir, f.state)
	if err != nil {
		return false, err
	}
	defer d.Close()
	if alive, err := d.Alive(); !alive {
		return false, err
	}
	var raw [status.MaxSize]byte
	n, err := d.ReadStatus(raw[:])
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	main, log := split(raw[:n])
	switch which {
	case mainOnly:
		return f.up(main), nil
	case logOnly:
		return f.up(log), nil
	}
	return f.up(main) && (!log.present || f.up(log)), nil
}

func (f flavour) up(r record) bool {
	started := r.Encore == status.EncoreStarted || r.Encore == status.EncoreRunning
	return r.PID != 0 || f.states && r.hasState && started
}

func (f flavour) fail(env *cli.Env, dir string, err error) int {
	if errors.Is(err, status.ErrFormat) {
		e, _ := errors.AsType[*svc.Error](err)
		return env.Fatal("svup", "bad data in "+e.Path+": truncated file", nil)
	}
	if f.nameless {
		dir = ""
	}
	return daemontools.Fail(env, "svup", dir, "", err)
}
