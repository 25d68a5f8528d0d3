package encore

import (
	"upkeep/compat/cli"
	"upkeep/compat/daemontools"
	"upkeep/supervise/status"
	"upkeep/svc"
)

// Svstat is the applet svstat: the status of services, a line for each and one
// more for its log, if it has one.
//
//	svstat [-L] [-l] DIR ...
//
// -l is the service only, -L its log only; the last one counts.
//
// Exit code: 0, whatever the lines say; 100 for wrong usage.
func Svstat(env *cli.Env, args []string) int {
	which, dirs, ok := parse(env, args)
	if !ok {
		return env.Usage("svstat", "svstat [-L] [-l] dir [dir ...]")
	}
	var out []byte
	for _, dir := range dirs {
		var raw [status.MaxSize]byte
		n, down, err := svc.Look(dir, stateDir(env), raw[:])
		if err != nil {
			out = append(append(out, dir...), ": "...)
			out = append(daemontools.AppendTrouble(out, err), '\n')
		} else {
			out = appendLines(out, dir, which, raw[:n], down, status.Now())
		}
		out = daemontools.Spill(env, out)
	}
	_, _ = env.Stdout.Write(out)
	return 0
}

// appendLines appends the lines for a status file.
func appendLines(b []byte, dir string, which slots, raw []byte, down bool, now status.Stamp) []byte {
	main, log := split(raw)
	if which != logOnly {
		b = append(append(b, dir...), ": "...)
		b = append(appendStatus(b, main, down, now), '\n')
	}
	switch {
	case which == mainOnly:
	case log.present:
		b = append(append(b, dir...), " log: "...)
		b = append(appendStatus(b, log, down, now), '\n')
	case which == logOnly:
		b = append(append(b, dir...), ": no log service\n"...)
	}
	return b
}

func appendStatus(b []byte, r record, down bool, now status.Stamp) []byte {
	b = daemontools.AppendStatus(b, r.Record, down, now)
	if !r.hasState {
		return b
	}
	if r.PID != 0 && r.Want == status.WantOnce {
		b = append(b, ", once"...)
	}
	b = append(b, ", "...)
	return append(b, stateText(r.Encore)...)
}

func stateText(s status.Encore) string {
	switch s {
	case status.EncoreStopped:
		return "stopped"
	case status.EncoreStarting:
		return "starting"
	case status.EncoreStarted:
		return "started"
	case status.EncoreRunning:
		return "running"
	case status.EncoreStopping:
		return "stopping"
	case status.EncoreFailed:
		return "failed"
	}
	return "status unknown"
}
