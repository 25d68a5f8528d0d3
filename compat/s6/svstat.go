package s6

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/supervise"
	"upkeep/supervise/servicedir"
	"upkeep/supervise/status"
	"upkeep/svc"
)

// Svok is s6-svok DIR. Exit: 0 if it is supervised, 1 if not, 100 for wrong usage, 111
// when that cannot be found out.
func Svok(env *cli.Env, args []string) int {
	p := base{env, "s6-svok"}
	if len(args) < 2 {
		return p.usage("servicedir")
	}
	switch ok, err := supervised(args[1]); {
	case err != nil:
		return p.die(cli.ExitFatal, "unable to check status of "+args[1], err)
	case !ok:
		return 1
	}
	return 0
}

// fields are what -o names, each with its letter if it has one.
const fields = "up,wantedup,normallyup,ready,paused,pid,exitcode,signal,signum,updownsince,readysince,updownfor,readyfor"

const fieldLetters = "uwNr.pes...t."

const svstatUsage = "[ -uwNrpest | -o " + fields + " ] [ -n ] servicedir"

// Svstat is s6-svstat. Exit: 0; 1 if the service is not supervised; 100 for wrong usage;
// 111 when something failed.
func Svstat(env *cli.Env, args []string) int {
	p := base{env, "s6-svstat"}
	o := options(args, "uwNrpesto:n")
	names := strings.Split(fields, ",")
	var wanted []int
	numeric := false
	for c := o.Next(); c != cli.End; c = o.Next() {
		switch c {
		case cli.Bad:
			return p.usage(svstatUsage)
		case 'n':
			numeric = true
		case 'o':
			for _, word := range strings.Split(o.Arg, ",") {
				i := 0
				for i < len(names) && (word == "" || !strings.HasPrefix(names[i], word)) {
					i++
				}
				if i == len(names) {
					return p.die(cli.ExitUsage, "invalid option field: "+word, nil)
				}
				wanted = append(wanted, i)
			}
		default:
			wanted = append(wanted, strings.IndexByte(fieldLetters, c))
		}
	}
	if len(o.Args()) == 0 {
		return p.usage(svstatUsage)
	}
	dir := o.Args()[0]
	switch ok, err := supervised(dir); {
	case err != nil:
		return p.die(cli.ExitFatal, "unable to check status for "+dir, err)
	case !ok:
		return p.die(1, ": unable to read status for "+dir+": s6-supervise not running", nil)
	}
	s := view{numeric: numeric, now: status.Now()}
	d, err := svc.Open(dir, svc.StateDir)
	if err == nil {
		defer d.Close()
		s.Record, err = d.Status(status.S6)
		if errors.Is(err, status.ErrFormat) {
			err = unix.EPIPE
		}
	}
	if err != nil {
		return p.die(cli.ExitFatal, "unable to read status for "+dir, err)
	}
	if s.down, err = d.Down(); err != nil {
		return p.die(cli.ExitFatal, "unable to access "+dir+"/down", err)
	}
	if wanted == nil {
		return p.print(s.line())
	}
	text := ""
	for _, i := range wanted {
		text += " " + s.field(names[i])
	}
	return p.print(text[1:] + "\n")
}

// view is what s6-svstat shows.
type view struct {
	status.Record
	down    bool // there is a file down
	numeric bool
	now     status.Stamp
}

// up tells that run runs; finish does not count.
func up(r *status.Record) bool { return r.Process == status.ProcessRun }

func (s *view) last() supervise.WaitStatus { return supervise.WaitStatus(s.WaitStatus) }

// code is what run exited with.
func (s *view) code() string { return strconv.Itoa(int(s.WaitStatus >> 8)) }

// signalled tells whether a signal ended run. A stop is none.
func signalled(w supervise.WaitStatus) bool { return w.Signal() != 0 && w.Signal() != 127 }

func signalName(n int) string {
	if name := servicedir.SignalName(n); name != "" {
		return name
	}
	return strconv.Itoa(n)
}

func (s *view) signal() string {
	if s.numeric {
		return strconv.Itoa(s.last().Signal())
	}
	return signalName(s.last().Signal())
}

func (s *view) since(t status.Stamp) string {
	age := time.Duration(s.now.Sec-t.Sec)*time.Second + time.Duration(s.now.Nsec) - time.Duration(t.Nsec)
	return strconv.FormatInt(int64(max(age, 0)/time.Second), 10)
}

func (s *view) line() string {
	text := ""
	isUp := up(&s.Record)
	switch {
	case isUp:
		text = "up (pid " + strconv.Itoa(int(s.PID))
	case signalled(s.last()):
		text = "down (signal " + s.signal()
	default:
		text = "down (exitcode " + s.code()
	}
	text += ") " + s.since(s.Since) + " seconds"
	wanted := s.Want == status.WantUp
	for _, piece := range [...]struct {
		text  string
		shown bool
	}{
		{", normally down", isUp && s.down},
		{", normally up", !isUp && !s.down},
		{", paused", isUp && s.Paused},
		{", want up", !isUp && wanted},
		{", want down", isUp && !wanted},
	} {
		if piece.shown {
			text += piece.text
		}
	}
	if s.Ready {
		text += ", ready " + s.since(s.ReadySince) + " seconds"
	}
	return text + "\n"
}

func (s *view) field(name string) string {
	isUp, ended := up(&s.Record), signalled(s.last())
	switch name {
	case "up":
		return strconv.FormatBool(isUp)
	case "wantedup":
		return strconv.FormatBool(s.Want == status.WantUp)
	case "normallyup":
		return strconv.FormatBool(!s.down)
	case "ready":
		return strconv.FormatBool(s.PID != 0 && s.Ready)
	case "paused":
		return strconv.FormatBool(s.Paused)
	case "pid":
		if isUp {
			return strconv.Itoa(int(s.PID))
		}
		return "-1"
	case "exitcode":
		if isUp || ended {
			return "-1"
		}
		return s.code()
	case "signal", "signum":
		switch {
		case isUp || !ended:
			if name == "signal" {
				return "NA"
			}
			return "-1"
		case name == "signal":
			return signalName(s.last().Signal())
		}
		return strconv.Itoa(s.last().Signal())
	case "updownsince":
		return string(s.Since.AppendS6(nil))
	case "readysince":
		return string(s.ReadySince.AppendS6(nil))
	case "updownfor":
		return s.since(s.Since)
	}
	return s.since(s.ReadySince)
}
