package svc_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
	"upkeep/svc"
	"upkeep/svc/svctest"
)

func open(t *testing.T, path, state string) *svc.Dir {
	t.Helper()
	d, err := svc.Open(path, state)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

var upRecord = svctest.Status(status.Runit, status.Record{PID: 7, Want: status.WantUp, Process: status.ProcessRun}, 5)

func TestControl(t *testing.T) {
	t.Parallel()
	site := svctest.Build(t, svctest.Tree{}.Supervised("sv", upRecord))
	d := open(t, site.Path("sv"), svc.StateDir)
	for _, commands := range []string{"", "u", "dx"} {
		if err := d.Control(commands); err != nil {
			t.Error(err)
		}
		if got := site.Drain(t, "sv/supervise/control"); got != commands {
			t.Errorf("sent %q, want %q", got, commands)
		}
	}
	// A directory stays open when it is renamed.
	if err := os.Rename(site.Path("sv"), site.Path("vs")); err != nil {
		t.Fatal(err)
	}
	if err := d.Control("u"); err != nil {
		t.Error(err)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	site := svctest.Build(t, svctest.Tree{}.Supervised("sv", upRecord).And("sv/down", svctest.File("")).
		And("short/supervise/status", svctest.File(string(upRecord[:19]))))
	d := open(t, site.Path("sv"), svc.StateDir)
	r, err := d.Status(status.Runit)
	if err != nil || r.PID != 7 || r.Want != status.WantUp || r.Process != status.ProcessRun {
		t.Errorf("%+v, %v", r, err)
	}
	if down, err := d.Down(); !down || err != nil {
		t.Error(down, err)
	}
	if alive, err := d.Alive(); !alive || err != nil {
		t.Error(alive, err)
	}
	d = open(t, site.Path("short"), svc.StateDir)
	if r, err := d.Status(status.Daemontools); err != nil || r.PID != 7 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := d.Status(status.Runit); !errors.Is(err, status.ErrFormat) {
		t.Error(err)
	}
	if down, err := d.Down(); down || err != nil {
		t.Error(down, err)
	}
	if alive, err := d.Alive(); alive || err != nil {
		t.Error(alive, err)
	}
}

// TestErrors: every failure tells its step, its path and its errno.
func TestErrors(t *testing.T) {
	t.Parallel()
	type tree = svctest.Tree
	control := func(d *svc.Dir) error { return d.Control("u") }
	ok := func(d *svc.Dir) error { return d.OK() }
	alive := func(d *svc.Dir) error { _, err := d.Alive(); return err }
	down := func(d *svc.Dir) error { _, err := d.Down(); return err }
	read := func(d *svc.Dir) error { _, err := d.Status(status.Daemontools); return err }
	for _, c := range []struct {
		name       string
		tree       tree
		do         func(*svc.Dir) error
		step       svc.Step
		path       string
		err        error
		notRunning bool
	}{
		{"no directory", tree{}, nil, svc.StepDir, "sv", unix.ENOENT, false},
		{"file", tree{"sv": svctest.File("")}, nil, svc.StepDir, "sv", unix.ENOTDIR, false},
		{"no control", tree{"sv": svctest.Dir()}, control, svc.StepControl, "supervise/control", unix.ENOENT, false},
		{"dead control", tree{"sv/supervise/control": svctest.FIFO()}, control,
			svc.StepControl, "supervise/control", unix.ENXIO, true},
		{"full disk", tree{"sv/supervise/control": svctest.Link("/dev/full")}, control,
			svc.StepWrite, "supervise/control", unix.ENOSPC, false},
		{"no ok", tree{"sv": svctest.Dir()}, ok, svc.StepOK, "supervise/ok", unix.ENOENT, false},
		{"dead ok", tree{"sv/supervise/ok": svctest.FIFO()}, ok, svc.StepOK, "supervise/ok", unix.ENXIO, true},
		{"odd ok", tree{"sv/supervise/ok": svctest.Dir()}, alive, svc.StepOK, "supervise/ok", unix.EISDIR, false},
		{"odd down", tree{"sv/down": svctest.Link("down")}, down, svc.StepDown, "down", unix.ELOOP, false},
		{"no status", tree{"sv": svctest.Dir()}, read, svc.StepOpenStatus, "supervise/status", unix.ENOENT, false},
		{"dead status", tree{"sv/supervise/status": svctest.Socket()}, read,
			svc.StepOpenStatus, "supervise/status", unix.ENXIO, false},
		{"odd status", tree{"sv/supervise/status": svctest.Dir()}, read,
			svc.StepReadStatus, "supervise/status", unix.EISDIR, false},
		{"empty status", tree{"sv/supervise/status": svctest.File("")}, read,
			svc.StepReadStatus, "supervise/status", status.ErrFormat, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			site := svctest.Build(t, c.tree)
			d, err := svc.Open(site.Path("sv"), "")
			if err == nil {
				defer d.Close()
				err = c.do(d)
			}
			var e *svc.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v", err)
			}
			path := strings.TrimPrefix(e.Path, site.Root+"/")
			if e.Step != c.step || path != c.path || !errors.Is(err, c.err) || errors.Is(err, svc.ErrNotRunning) != c.notRunning {
				t.Errorf("got %v: %v", e.Step, err)
			}
			if !strings.HasPrefix(e.Error(), "unable to ") || !strings.Contains(e.Error(), c.path+": ") {
				t.Errorf("text %q", e)
			}
		})
	}
	if _, err := svc.Open("", ""); !errors.Is(err, unix.ENOENT) {
		t.Errorf("empty name: %v", err)
	}
}

// TestLook: it says the same on the fast path and on the careful one, and the
// first trouble wins.
func TestLook(t *testing.T) {
	t.Parallel()
	site := svctest.Build(t, svctest.Tree{}.Supervised("sv", upRecord).And("sv/down", svctest.File("")).
		Supervised("up", upRecord).
		Supervised("three", nil).And("three/down", svctest.Link("down")).
		Supervised("two", nil).Supervised("short", upRecord[:5]))
	site.Hang(t, "three/supervise/ok")
	site.Hang(t, "two/supervise/ok")
	for _, c := range []struct {
		name string
		down bool
		step svc.Step
	}{
		{"sv", true, 0},
		{"up", false, 0},
		{"three", false, svc.StepDown},
		{"two", false, svc.StepOK},
		{"short", false, svc.StepReadStatus},
		{"no", false, svc.StepDir},
		{"sv/down", false, svc.StepDir},
	} {
		raw := make([]byte, status.MaxSize)
		n, down, err := svc.Look(site.Path(c.name), svc.StateDir, raw)
		slow := make([]byte, status.MaxSize)
		slowN, slowDown, slowErr := svc.Look(site.Path(c.name), "./"+svc.StateDir, slow)
		var e *svc.Error
		switch {
		case c.step == 0:
			if err != nil || n != len(upRecord) || down != c.down || string(raw[:n]) != string(upRecord) {
				t.Errorf("%s: %d, %v, %v", c.name, n, down, err)
			}
		case !errors.As(err, &e) || e.Step != c.step:
			t.Errorf("%s: %v", c.name, err)
		}
		if slowN != n || slowDown != down || (slowErr == nil) != (err == nil) {
			t.Errorf("%s: %d, %v, %v", c.name, slowN, slowDown, slowErr)
		}
	}
	if _, _, err := svc.Look("", svc.StateDir, nil); !errors.Is(err, unix.ENOENT) {
		t.Errorf("empty name: %v", err)
	}
}

// TestStateDir is SUPERVISEDIR of daemontools.md, section 5.1.
func TestStateDir(t *testing.T) {
	t.Parallel()
	site := svctest.Build(t, svctest.Tree{
		"etc/service/foo/here/ok": svctest.Reader(),
		"link":                    svctest.Link("etc/service"),
		"base":                    svctest.Dir(),
	})
	physical, err := filepath.EvalSymlinks(site.Root)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.ReplaceAll(physical[1:]+"/etc/service/foo", "/", ":")
	site.Make(t, "base/"+name+"/ok", svctest.FIFO())
	site.Make(t, "base/"+name+"/status", svctest.File(string(upRecord)))

	if err := open(t, site.Path("link/foo"), "here").OK(); err != nil {
		t.Error(err)
	}
	d := open(t, site.Path("link/foo"), site.Path("base"))
	var e *svc.Error
	if err := d.OK(); !errors.Is(err, svc.ErrNotRunning) || !errors.As(err, &e) || e.Path != site.Path("base/"+name+"/ok") {
		t.Error(err)
	}
	if r, err := d.Status(status.Runit); err != nil || r.PID != 7 {
		t.Error(r, err)
	}
	r, err := d.Wait(status.Runit, time.Now().Add(20*time.Second), func(r status.Record, alive bool) bool {
		if r.PID == 7 {
			next := svctest.Status(status.Runit, status.Record{PID: 8}, 0)
			if err := os.WriteFile(site.Path("base/"+name+"/status"), next, 0o644); err != nil {
				t.Error(err)
			}
		}
		return r.PID == 8
	})
	if err != nil || r.PID != 8 {
		t.Error(r, err)
	}

	gone := site.Path("gone")
	if err := os.Mkdir(gone, 0o755); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(gone, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	proc := "/proc/self/fd/" + string(status.AppendUint(nil, uint64(fd)))
	if _, err := svc.Open(proc, site.Path("base")); !errors.As(err, &e) || e.Step != svc.StepState || e.Err != unix.ENOENT {
		t.Error(err)
	}
}
