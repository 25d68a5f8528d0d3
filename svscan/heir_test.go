package svscan

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
	"upkeep/svc"
)

// TestHeirOpensTheRest: what is still being opened when everything is left to an heir is
// supervised by it.
func TestHeirOpensTheRest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"web", "late"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "run"), []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "late", "slow"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	up := func(r status.Record) bool { return r.PID != 0 }
	cmd := exec.Command("/proc/self/exe", dir)
	cmd.Args[0] = "bequeather"
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, name := range []string{"web", "late"} { // and with them the heir
			d, err := svc.Open(filepath.Join(dir, name), svc.StateDir)
			if err != nil {
				t.Error(err)
				continue
			}
			if err := d.Control("x"); err != nil {
				t.Error(err)
			}
			if _, err := d.Wait(status.Daemontools, time.Now().Add(time.Minute), func(_ status.Record, alive bool) bool { return !alive }); err != nil {
				t.Error(name, err)
			}
			d.Close()
		}
	})
	web := await(t, filepath.Join(dir, "web"), up)
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	await(t, filepath.Join(dir, "late"), up) // to whose disk nothing happens any more
	if now := await(t, filepath.Join(dir, "web"), up); now.PID != web.PID {
		t.Errorf("web is %d now, was %d", now.PID, web.PID)
	}
}
