package servicedir

import (
	"encoding/binary"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
	"upkeep/supervise/status"
)

var testWorld = World{Boot: [16]byte{1, 2, 3}, PIDs: 4}

func noProcess(int32, *Mark) bool { return false }

// journaled opens a new service directory with a journal.
func journaled(t *testing.T) *Dir {
	t.Helper()
	return reopened(t, t.TempDir())
}

func reopened(t *testing.T, path string) *Dir {
	t.Helper()
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	d, _, err := Open(fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if d.FD >= 0 {
			d.Close()
		}
	})
	return d
}

// release gives a directory up as the death of its supervisor does.
func release(d *Dir) {
	d.Close()
	d.FD = -1
}

func path(d *Dir) string { return "/proc/self/fd/" + itoa(d.FD) }

func itoa(n int) string { return string(status.AppendUint(nil, uint64(n))) }

func someMark() Mark {
	m := Mark{MarkLife: uint64(supervise.ScriptRun)<<32 | 3, MarkPID: 77, MarkBefore: 5, MarkAfter: 6, MarkStdout: 9}
	m.Seal()
	return m
}

func writeMark(t *testing.T, d *Dir, m Mark) {
	t.Helper()
	var b []byte
	for _, w := range m {
		b = binary.NativeEndian.AppendUint64(b, w)
	}
	if _, err := unix.Pwrite(d.Lock, b, MarkAt); err != nil {
		t.Fatal(err)
	}
}

func someState() supervise.Machine {
	return supervise.Machine{Booted: true, Phase: supervise.PhaseUp, Script: supervise.ScriptRun, Want: status.WantUp, PID: 77, Life: 3}
}

func TestJournal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := reopened(t, dir)
	if j, err := d.Recall(testWorld); j != nil || err != nil {
		t.Fatalf("of a new directory: %v %v", j, err)
	}
	m := someState()
	if err := d.SaveState(&m, noProcess); err != nil {
		t.Fatal(err)
	}
	writeMark(t, d, someMark())
	release(d)

	d = reopened(t, dir)
	if j := Peek(d.FD, testWorld); j == nil || j.Mark != someMark() {
		t.Errorf("peeked %+v", j)
	}
	j, err := d.Recall(testWorld)
	m.Restored = true
	if err != nil || j == nil || j.Mark != someMark() || j.State != m {
		t.Fatalf("recalled %+v, %v", j, err)
	}
	if j.Mark.PID() != 77 || j.Mark.Life() != 3 || j.Mark.Script() != supervise.ScriptRun {
		t.Errorf("%+v", j.Mark)
	}
	if err := d.Forget(); err != nil {
		t.Fatal(err)
	}
	release(d)

	d = reopened(t, dir)
	if j, err := d.Recall(testWorld); err != nil || j == nil || *j != (Journal{}) {
		t.Errorf("after Forget: %+v, %v", j, err)
	}
}

// What is of another boot, another pid namespace or another directory is nothing.
func TestJournalOfAnotherWorld(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]World{
		"boot":      {Boot: [16]byte{9}, PIDs: testWorld.PIDs},
		"namespace": {Boot: testWorld.Boot, PIDs: 9},
	} {
		dir := t.TempDir()
		d := reopened(t, dir)
		if _, err := d.Recall(testWorld); err != nil {
			t.Fatal(err)
		}
		writeMark(t, d, someMark())
		release(d)
		d = reopened(t, dir)
		if j, err := d.Recall(w); j != nil || err != nil {
			t.Errorf("another %s: %+v, %v", name, j, err)
		}
		// And it is wiped out.
		if j := Peek(d.FD, w); j == nil || *j != (Journal{}) {
			t.Errorf("another %s, then: %+v", name, j)
		}
	}
	a, b := journaled(t), journaled(t)
	if _, err := a.Recall(testWorld); err != nil {
		t.Fatal(err)
	}
	writeMark(t, a, someMark())
	lie, err := os.ReadFile(path(a) + "/supervise/lock")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path(b)+"/supervise/lock", lie, 0o600); err != nil {
		t.Fatal(err)
	}
	if j, err := b.Recall(testWorld); j != nil || err != nil {
		t.Errorf("another directory: %+v, %v", j, err)
	}
}

// A lock file that somebody else can write to is neither believed nor written to.
func TestJournalNotOurs(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(lock string) error{
		"writable": func(lock string) error { return os.Chmod(lock, 0o666) },
		"linked":   func(lock string) error { return os.Link(lock, lock+".2") },
		"symlink": func(lock string) error {
			if err := os.Rename(lock, lock+".2"); err != nil {
				return err
			}
			return os.Symlink("lock.2", lock)
		},
	} {
		dir := t.TempDir()
		d := reopened(t, dir)
		if err := spoil(dir + "/supervise/lock"); err != nil {
			t.Fatal(err)
		}
		if j, err := d.Recall(testWorld); j != nil || err != ErrNotOurs {
			t.Errorf("%s: %+v, %v", name, j, err)
		}
		m := someState()
		if err := d.SaveState(&m, noProcess); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if st, err := os.Stat(dir + "/supervise/lock"); err != nil || st.Size() != 0 {
			t.Errorf("%s: %v, %d bytes", name, err, st.Size())
		}
	}
}

// Where a supervisor cannot find out which boot it is, the clock decides.
func TestJournalByTheClock(t *testing.T) {
	t.Parallel()
	const hour = int64(time.Hour)
	began := time.Now().UnixNano() - 5*hour
	known, nobody := [16]byte{1}, [16]byte{}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		t.Fatal(err)
	}
	half := now.Nano() / 2 // of the time since the boot
	for _, c := range []struct {
		name      string
		then, now World
		started   int64 // since the boot; 0 is no process
		believed  bool
	}{
		{"same", World{nobody, 7, began}, World{nobody, 7, began + 1000}, half, true},
		{"only known now", World{nobody, 7, began}, World{known, 7, began}, half, true},
		{"only known then", World{known, 7, began}, World{nobody, 7, began}, half, true},
		{"nobody knows the namespace", World{nobody, 0, began}, World{nobody, 0, began}, half, true},
		{"it is not known any more", World{nobody, 7, began}, World{nobody, 0, began}, half, true},
		{"clock set back", World{nobody, 7, began}, World{nobody, 7, began - hour}, half, true},
		{"clock set forth a bit", World{nobody, 7, began}, World{nobody, 7, began + half/2}, half, true},
		{"booted since", World{nobody, 7, began}, World{nobody, 7, began + half + 2*hour}, half, false},
		{"booted since, no process", World{nobody, 7, began}, World{nobody, 7, began + 2e9}, 0, false},
		{"same, no process", World{nobody, 7, began}, World{nobody, 7, began + 1000}, 0, true},
		{"booted since, without a clock", World{nobody, 7, began}, World{nobody, 7, began}, now.Nano() + hour, false},
		{"both know, and it is another", World{known, 7, began}, World{[16]byte{2}, 7, began}, half, false},
		{"both know, whatever the clock", World{known, 7, began}, World{known, 7, began + 99*hour}, half, true},
		{"another namespace", World{nobody, 7, began}, World{nobody, 8, began}, half, false},
	} {
		dir := t.TempDir()
		d := reopened(t, dir)
		if _, err := d.Recall(c.then); err != nil {
			t.Fatal(err)
		}
		if c.started != 0 {
			m := someMark()
			m[MarkAfter] = uint64(c.started)
			m.Seal()
			writeMark(t, d, m)
		}
		release(d)
		d = reopened(t, dir)
		if j, err := d.Recall(c.now); err != nil || (j != nil) != c.believed {
			t.Errorf("%s: %+v, %v", c.name, j, err)
		}
		release(d)
	}
}

func FuzzJournal(f *testing.F) {
	var b []byte
	b = append(b, make([]byte, headerSize)...)
	m := someMark()
	for _, w := range m {
		b = binary.NativeEndian.AppendUint64(b, w)
	}
	s := someState()
	state := s.AppendState(nil)
	b = binary.NativeEndian.AppendUint64(b, sum(state))
	b = append(b, state...)
	f.Add(b)
	f.Add(b[:100])
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		j := parseJournal(b)
		if j.Mark != (Mark{}) && (j.Mark.PID() <= 0 || j.Mark.Script() == supervise.ScriptNone) {
			t.Errorf("%+v", j.Mark)
		}
		if j.State.Booted != j.State.Restored {
			t.Errorf("%+v", j.State)
		}
	})
}
