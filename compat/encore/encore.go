// Package encore holds the clients of daemontools-encore: its flavours of svc,
// svok and svstat, and svup. Arguments, messages, the order of checks and exit
// codes are those of daemontools.md, section 7. The environment variable
// SUPERVISEDIR names the state directory (section 5.1).
package encore

import (
	"upkeep/compat/cli"
	"upkeep/supervise/status"
)

// stateDir is the state directory as svc.Open wants it.
func stateDir(env *cli.Env) string {
	dir, _ := env.Getenv("SUPERVISEDIR")
	return dir
}

// slots says which processes of a service are meant. A service of encore has
// two if it has a script log.
type slots uint8

const (
	mainAndLog slots = iota // and log only if there is one
	mainOnly
	logOnly
)

// parse reads the options -l and -L. ok is false after a complaint and if there
// is no directory.
func parse(env *cli.Env, args []string) (s slots, dirs []string, ok bool) {
	options := cli.NewOptions(env, args, "lL")
	for {
		switch options.Next() {
		case 'l':
			s = mainOnly
		case 'L':
			s = logOnly
		case cli.End:
			dirs = options.Args()
			return s, dirs, len(dirs) > 0
		default:
			return s, nil, false
		}
	}
}

// record is what a status file says of one process.
type record struct {
	status.Record
	present  bool // there is such a record
	hasState bool // with a state: it is not daemontools' or one cut short
}

// split reads a status file, of which raw is all, at least 18 bytes.
func split(raw []byte) (main, log record) {
	if len(raw) < status.EncoreSize+status.DaemontoolsSize {
		return decode(raw), record{}
	}
	return decode(raw[:status.EncoreSize]), decode(raw[status.EncoreSize:])
}

// decode takes what daemontools' layout has for a record, and a 19th byte for a
// state, as encore's clients do.
func decode(b []byte) record {
	var full [status.EncoreSize]byte
	copy(full[:], b)
	r, _ := status.Decode(full[:], status.EncoreLayout) // of full length: no error
	return record{Record: r, present: true, hasState: len(b) > status.DaemontoolsSize}
}
