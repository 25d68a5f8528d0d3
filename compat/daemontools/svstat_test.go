package daemontools

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
	"upkeep/svc"
)

// TestAppendStatus has the examples of daemontools.md, section 7.3.
func TestAppendStatus(t *testing.T) {
	t.Parallel()
	const now = 1700000000
	since := func(age int64) status.Stamp { return status.Stamp{Sec: now - age, Nsec: 999999999} }
	for _, c := range []struct {
		r    status.Record
		down bool
		want string
	}{
		{status.Record{Since: since(2), PID: 1449, Want: 'u'}, false, "up (pid 1449) 2 seconds"},
		{status.Record{Since: since(1), PID: 1449, Want: 'u', Paused: true}, false, "up (pid 1449) 1 seconds, paused"},
		{status.Record{Since: since(2), PID: 1449, Want: 'u'}, true, "up (pid 1449) 2 seconds, normally down"},
		{status.Record{Since: since(3), PID: 7, Want: 'd', Paused: true}, true,
			"up (pid 7) 3 seconds, normally down, paused, want down"},
		{status.Record{Since: since(0), Want: 'd'}, false, "down 0 seconds, normally up"},
		{status.Record{Since: since(0), Want: 'd'}, true, "down 0 seconds"},
		{status.Record{Since: since(4), Want: 'u'}, false, "down 4 seconds, normally up, want up"},
		{status.Record{Since: since(1), PID: 7}, false, "up (pid 7) 1 seconds"},
		{status.Record{Since: since(1)}, true, "down 1 seconds"},
		{status.Record{Since: since(-1), Want: 'u'}, true, "down 0 seconds, want up"},
		{status.Record{Since: status.Stamp{}, PID: 1<<32 - 1}, false, "up (pid 4294967295) 1700000000 seconds"},
	} {
		if got := string(AppendStatus(nil, c.r, c.down, status.Stamp{Sec: now})); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}

// TestAppendTrouble has what no service directory makes the real svstat say;
// it does not notice a failing read.
func TestAppendTrouble(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  svc.Error
		want string
	}{
		{svc.Error{Step: svc.StepDir, Path: "sv", Err: unix.EACCES}, "unable to chdir: access denied"},
		{svc.Error{Step: svc.StepState, Path: "sv", Err: unix.ENOENT}, "unable to setup control path: file does not exist"},
		{svc.Error{Step: svc.StepDown, Path: "down", Err: unix.EIO}, "unable to stat down: input/output error"},
		{svc.Error{Step: svc.StepOK, Path: "supervise/ok", Err: unix.ENXIO}, "supervise not running"},
		{svc.Error{Step: svc.StepOpenStatus, Path: "supervise/status", Err: unix.ENXIO},
			"unable to open supervise/status: device not configured"},
		{svc.Error{Step: svc.StepReadStatus, Path: "supervise/status", Err: unix.EISDIR},
			"unable to read supervise/status: is a directory"},
		{svc.Error{Step: svc.StepReadStatus, Path: "/run/sv/a:b/status", Err: status.ErrFormat},
			"unable to read /run/sv/a:b/status: bad format"},
		{svc.Error{Step: svc.StepOK, Path: "supervise/ok", Err: errors.New("odd")}, "unable to open supervise/ok: odd"},
	} {
		if got := string(AppendTrouble(nil, &c.err)); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}

// FuzzAppendStatus: no status file may make svstat fail or break its line.
func FuzzAppendStatus(f *testing.F) {
	f.Add(make([]byte, 18), int64(0), false)
	f.Add(bytes.Repeat([]byte{0xff}, 40), int64(1700000000), true)
	f.Fuzz(func(t *testing.T, raw []byte, now int64, down bool) {
		r, err := status.Decode(raw, status.Daemontools)
		if err != nil {
			return
		}
		line := AppendStatus(nil, r, down, status.Stamp{Sec: now})
		if !bytes.Contains(line, []byte(" seconds")) || bytes.ContainsAny(line, "\n-\x00") {
			t.Errorf("%q", line)
		}
	})
}
