package svc_test

import (
	"os"
	"slices"
	"testing"
	"time"

	"upkeep/supervise/status"
	"upkeep/svc"
	"upkeep/svc/svctest"
)

// TestChanges: what has changed is named, a look changes nothing, and the end of a
// supervisor is a change.
func TestChanges(t *testing.T) {
	t.Parallel()
	file := svctest.Status(status.Runit, status.Record{}, 0)
	site := svctest.Build(t, svctest.Tree{}.Supervised("a", file).Supervised("b", file))
	changes := svc.NewChanges()
	defer changes.Close()
	dirs := map[string]*svc.Dir{}
	for _, name := range []string{"a", "b"} {
		d, err := svc.Open(site.Path(name), svc.StateDir)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		changes.Add(d)
		dirs[name] = d
	}
	expect := func(what string, within time.Duration, names ...string) {
		t.Helper()
		var want []*svc.Dir
		for _, name := range names {
			want = append(want, dirs[name])
		}
		got := slices.Compact(changes.Next(time.Now().Add(within)))
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d changes, want %v", what, len(got), names)
		}
	}
	for name, d := range dirs {
		if _, err := d.Status(status.Runit); err != nil || d.OK() != nil {
			t.Fatal(name, err)
		}
	}
	expect("a look", 50*time.Millisecond)
	if err := os.WriteFile(site.Path("b/supervise/status.new"), file, 0o644); err != nil {
		t.Fatal(err)
	}
	expect("a file that is no status", 50*time.Millisecond)
	if err := os.Rename(site.Path("b/supervise/status.new"), site.Path("b/supervise/status")); err != nil {
		t.Fatal(err)
	}
	expect("a new status", 5*time.Second, "b")
	site.Hang(t, "a/supervise/ok")
	expect("no supervisor", 5*time.Second, "a")
	expect("nothing more", 50*time.Millisecond)
}
