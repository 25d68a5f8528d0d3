package daemontools

import (
	"errors"

	"upkeep/compat/cli"
	"upkeep/supervise/status"
	"upkeep/svc"
)

// Svstat is the applet svstat: one line of status for each service.
//
//	svstat [DIR ...]
//
// There are no options. Only the first 18 bytes of the status file are looked
// at, which daemontools, encore and runit have in common.
//
// Exit code: 0, whatever the lines say.
func Svstat(env *cli.Env, args []string) int {
	var out []byte
	for _, dir := range args[1:] {
		var raw [status.DaemontoolsSize]byte
		_, down, err := svc.Look(dir, svc.StateDir, raw[:])
		out = append(out, dir...)
		out = append(out, ": "...)
		if err != nil {
			out = AppendTrouble(out, err)
		} else {
			r, _ := status.Decode(raw[:], status.Daemontools) // of full length: no error
			out = AppendStatus(out, r, down, status.Now())
		}
		out = Spill(env, append(out, '\n'))
	}
	_, _ = env.Stdout.Write(out)
	return 0
}

// Spill writes the lines out once they are more than daemontools' buffer
// holds, so that a long list appears as it grows. Like the original it takes
// no notice of a failure.
func Spill(env *cli.Env, out []byte) []byte {
	if len(out) < 1024 {
		return out
	}
	_, _ = env.Stdout.Write(out)
	return out[:0]
}

// AppendTrouble appends the line of a service for which svc.Look failed,
// without its name.
func AppendTrouble(b []byte, err error) []byte {
	if errors.Is(err, svc.ErrNotRunning) {
		return append(b, "supervise not running"...)
	}
	e := cause(err)
	switch e.Step {
	case svc.StepDir:
		b = append(b, "unable to chdir"...)
	case svc.StepState:
		b = append(b, "unable to setup control path"...)
	case svc.StepDown:
		b = append(append(b, "unable to stat "...), e.Path...)
	case svc.StepReadStatus:
		b = append(append(b, "unable to read "...), e.Path...)
	default:
		b = append(append(b, "unable to open "...), e.Path...)
	}
	b = append(b, ": "...)
	return append(b, cli.ErrText(e.Err)...)
}

// AppendStatus appends what daemontools knows of a service, without its name;
// encore goes on from there. down says that the service has a down file now.
func AppendStatus(b []byte, r status.Record, down bool, now status.Stamp) []byte {
	up := r.PID != 0
	if up {
		b = append(b, "up (pid "...)
		b = status.AppendUint(b, uint64(r.PID))
		b = append(b, ") "...)
	} else {
		b = append(b, "down "...)
	}
	b = status.AppendUint(b, age(r.Since, now))
	b = append(b, " seconds"...)
	switch {
	case up && down:
		b = append(b, ", normally down"...)
	case !up && !down:
		b = append(b, ", normally up"...)
	}
	if up && r.Paused {
		b = append(b, ", paused"...)
	}
	switch {
	case !up && r.Want == status.WantUp:
		b = append(b, ", want up"...)
	case up && r.Want == status.WantDown:
		b = append(b, ", want down"...)
	}
	return b
}

// age is the number of seconds between two stamps, or 0 if since is in the
// future. The labels are compared without a sign and their difference is
// rounded to a double, as in daemontools; that shows only where a status file
// holds nonsense, zeros for instance.
func age(since, now status.Stamp) uint64 {
	const label = 1<<62 + 10
	a, b := uint64(since.Sec)+label, uint64(now.Sec)+label
	if a > b {
		return 0
	}
	return uint64(float64(b - a))
}
