package servicedir

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

const someLabel = "@400000006b00c11215949ebc"

// TestNotify: who listens hears all in order; who does not any more is forgotten; other
// files are left alone.
func TestNotify(t *testing.T) {
	t.Parallel()
	dir := defined(t, nil)
	path := "/proc/self/fd/" + string(status.AppendUint(nil, uint64(dir))) + "/event/"
	if HasEvents(dir) || Notify(dir, []byte("s")) != unix.ENOENT {
		t.Error("there are events")
	}
	for range 2 {
		if err := MakeEvents(dir); err != nil {
			t.Fatal(err)
		}
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode()&os.ModePerm != 0o730 || st.Mode()&(os.ModeSetgid|os.ModeSticky) != os.ModeSetgid|os.ModeSticky {
		t.Errorf("%v, %v", st, err)
	}
	live, dead, other := ListenerName(someLabel, "aaaaaa"), ListenerName(someLabel, "bbbbbb"), "."+ListenerName(someLabel, "cccccc")
	if len(live) != listenerLen || !isListener(live) || isListener(other) {
		t.Errorf("%q is no name", live)
	}
	for _, name := range []string{live, dead, other} {
		if err := unix.Mkfifo(path+name, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fd, err := unix.Open(path+live, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, events := range []string{"", "udD"} {
		if err := Notify(dir, []byte(events)); err != nil {
			t.Fatal(err)
		}
		var b [8]byte
		if n, _ := unix.Read(fd, b[:]); string(b[:max(n, 0)]) != events {
			t.Errorf("heard %q, want %q", b[:max(n, 0)], events)
		}
		for name, there := range map[string]bool{live: true, dead: false, other: true} {
			if _, err := os.Lstat(path + name); (err == nil) != there {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestTally(t *testing.T) {
	t.Parallel()
	dir := defined(t, nil)
	if err := unix.Mkdirat(dir, StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	record := func(codes ...byte) (b []byte) {
		for _, code := range codes {
			b = (&status.Death{Code: code}).Append(b)
		}
		return b
	}
	want := func(b []byte) {
		t.Helper()
		if got, err := ReadTally(dir); err != nil || string(got) != string(b) {
			t.Errorf("%x, %v; want %x", got, err, b)
		}
	}
	if _, err := ReadTally(dir); err != unix.ENOENT {
		t.Error(err)
	}
	for i, b := range [][]byte{record(1), record(1, 2), record(2, 3)} {
		if err := AddDeaths(dir, record(byte(i+1)), 2); err != nil {
			t.Fatal(err)
		}
		want(b)
	}
	if err := AddDeaths(dir, record(4, 5, 6), 2); err != nil {
		t.Fatal(err)
	}
	want(record(5, 6))
	if err := WriteTally(dir, append(record(7), "half"...)); err != nil {
		t.Fatal(err)
	}
	want(record(7))
	if err := WriteTally(dir, nil); err != nil {
		t.Fatal(err)
	}
	want(nil)
}
