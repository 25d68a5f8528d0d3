package svc_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/servicedir"
	"upkeep/svc"
	"upkeep/svc/svctest"
)

// TestListener: events of several services, by the FIFOs that are there as long as one
// listens.
func TestListener(t *testing.T) {
	t.Parallel()
	site := svctest.Build(t, svctest.Tree{"a": svctest.Dir(), "b/event": svctest.Dir()})
	var l svc.Listener
	fds := map[string]int{}
	for _, name := range []string{"a", "b"} {
		d, err := svc.Open(site.Path(name), svc.StateDir)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Add(d); err != nil {
			t.Fatal(err)
		}
		d.Close()
		if fds[name], err = unix.Open(site.Path(name), unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fds[name])
	}
	heard := []string{"", ""}
	next := func(within time.Duration) error {
		return l.Next(time.Now().Add(within), func(i int, event byte) { heard[i] += string(rune(event)) })
	}
	if err := next(time.Millisecond); !errors.Is(err, svc.ErrTimeout) {
		t.Error(err)
	}
	for name, events := range map[string]string{"a": "uU", "b": "dD"} {
		if err := servicedir.Notify(fds[name], []byte(events)); err != nil {
			t.Fatal(err)
		}
	}
	for heard[0]+heard[1] == "" || len(heard[0]+heard[1]) < 4 {
		if err := next(10 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if heard[0] != "uU" || heard[1] != "dD" {
		t.Errorf("heard %q", heard)
	}
	l.Close()
	for _, name := range []string{"a", "b"} {
		if left, err := os.ReadDir(site.Path(name + "/event")); err != nil || len(left) > 0 {
			t.Errorf("%s: %v, %v", name, left, err)
		}
	}
	d, err := svc.Open(site.Path("a"), svc.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if locked, err := d.Locked(); locked || err != nil {
		t.Error(locked, err)
	}
}
