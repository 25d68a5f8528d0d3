package s6

import (
	"strconv"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/supervise/servicedir"
	"upkeep/supervise/status"
)

const svdtUsage = "[ -S | -s ] [ -n maxentries ] servicedir"

// Svdt is s6-svdt: it prints how a service has ended of late. Exit: 0, 100 for wrong usage,
// 111 when something failed.
func Svdt(env *cli.Env, args []string) int {
	p := base{env, "s6-svdt"}
	o := options(args, "sSn:")
	numeric, most := false, status.TallyMax
	for c := o.Next(); c != cli.End; c = o.Next() {
		switch c {
		case 's':
			numeric = true
		case 'S':
			numeric = false
		case 'n':
			n, ok := number(o.Arg)
			if !ok {
				return p.usage(svdtUsage)
			}
			most = min(n, most)
		default:
			return p.usage(svdtUsage)
		}
	}
	if len(o.Args()) == 0 {
		return p.usage(svdtUsage)
	}
	dir := o.Args()[0]
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	var tally []byte
	if err == nil {
		tally, err = servicedir.ReadTally(fd)
		unix.Close(fd)
	}
	if err != nil {
		return p.die(cli.ExitFatal, "unable to read death tally for service "+dir, err)
	}
	tally = tally[max(0, len(tally)-most*status.TallySize):]
	return p.print(string(deaths(nil, tally, numeric)))
}

// deaths appends a line for each record.
func deaths(b, tally []byte, numeric bool) []byte {
	for ; len(tally) >= status.TallySize; tally = tally[status.TallySize:] {
		d := status.DecodeDeath(tally)
		b = d.At.AppendS6(b)
		switch {
		case d.Signal == 0:
			b = strconv.AppendInt(append(b, " exitcode "...), int64(d.Code), 10)
		case numeric:
			b = strconv.AppendInt(append(b, " signal "...), int64(d.Signal), 10)
		default:
			b = append(append(b, " signal "...), signalName(int(d.Signal))...)
		}
		b = append(b, '\n')
	}
	return b
}

// SvdtClear is s6-svdt-clear DIR: it empties that.
func SvdtClear(env *cli.Env, args []string) int {
	p := base{env, "s6-svdt-clear"}
	if len(args) < 2 {
		return p.usage("servicedir")
	}
	fd, err := unix.Open(args[1], unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = servicedir.WriteTally(fd, nil)
		unix.Close(fd)
	}
	if err != nil {
		return p.die(cli.ExitFatal, "unable to clear death tally for service "+args[1], err)
	}
	return 0
}
