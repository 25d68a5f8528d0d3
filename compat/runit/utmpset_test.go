package runit

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"upkeep/compat/cli"
)

// utmpRecord is one with something in every field.
func utmpRecord(line, user string) []byte {
	b := bytes.Repeat([]byte{0x11}, utmpSize)
	clear(b[utmpLine : utmpLine+lineSize])
	copy(b[utmpLine:], line)
	clear(b[utmpUser : utmpUser+userSize])
	copy(b[utmpUser:], user)
	return b
}

// logIn is utmp with some records, and runs utmpset on it.
func logIn(t *testing.T, records [][]byte, args ...string) (code int, stderr string, utmp, wtmp []byte) {
	t.Helper()
	dir := t.TempDir()
	u, w := filepath.Join(dir, "utmp"), filepath.Join(dir, "wtmp")
	if err := os.WriteFile(u, bytes.Join(records, nil), 0o644); err != nil {
		t.Fatal(err)
	}
	e, err := os.Create(filepath.Join(dir, "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	code = utmpset(&cli.Env{Stderr: cli.FD(e.Fd())}, append([]string{"utmpset"}, args...), u, w)
	said, err := os.ReadFile(e.Name())
	if err != nil {
		t.Fatal(err)
	}
	if utmp, err = os.ReadFile(u); err != nil {
		t.Fatal(err)
	}
	wtmp, _ = os.ReadFile(w) // it may not be there
	return code, strings.ReplaceAll(string(said), dir, "DIR"), utmp, wtmp
}

// checkDead holds what has become of a record, or of nothing, to the time of now.
func checkDead(t *testing.T, got, want []byte) {
	t.Helper()
	sec := binary.NativeEndian.Uint32(got[utmpSec:])
	if age := time.Now().Unix() - int64(sec); age < 0 || age > 5 {
		t.Errorf("the time is %d", sec)
	}
	want = bytes.Clone(want)
	binary.NativeEndian.PutUint16(want, 8)
	copy(want[340:344], got[340:344])
	if !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

func TestUtmpset(t *testing.T) {
	t.Parallel()
	full := strings.Repeat("x", 32)
	records := [][]byte{utmpRecord("tty2", "b"), utmpRecord("tty1", ""), utmpRecord("tty1", "a"), utmpRecord("tty1", "c"), utmpRecord(full, "d")}
	for at, args := range map[int][]string{2: {"tty1"}, 4: {"-w", full}, 0: {"-w", "--", "tty2"}} {
		code, stderr, utmp, wtmp := logIn(t, records, args...)
		if code != 0 || stderr != "" || len(utmp) != 5*utmpSize {
			t.Fatalf("%q: exit %d, %q, %d bytes", args, code, stderr, len(utmp))
		}
		for i, r := range records {
			got := utmp[i*utmpSize : (i+1)*utmpSize]
			if i == at {
				r = bytes.Clone(r)
				clear(r[44:332])
				checkDead(t, got, r)
			} else if !bytes.Equal(got, r) {
				t.Errorf("%q: record %d has changed", args, i)
			}
		}
		if args[0] != "-w" {
			if wtmp != nil {
				t.Errorf("%q: wtmp has %d bytes", args, len(wtmp))
			}
			continue
		}
		if len(wtmp) != utmpSize {
			t.Fatalf("%q: wtmp has %d bytes", args, len(wtmp))
		}
		blank := make([]byte, utmpSize)
		copy(blank[8:40], args[len(args)-1])
		checkDead(t, wtmp, blank)
	}
}

func TestUtmpsetCannot(t *testing.T) {
	t.Parallel()
	records := [][]byte{utmpRecord("tty1", "a"), []byte("half a record")}
	for _, c := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{"tty"}, "utmpset: warning: unable to logout line tty in utmp: no such entry\n", 111},
		{[]string{"-w", "tty11"}, "utmpset: warning: unable to logout line tty11 in utmp: no such entry\n", 111},
		{[]string{strings.Repeat("y", 33)}, "utmpset: fatal: unable to logout line " + strings.Repeat("y", 33) + " in utmp: name too long\n", 111},
		{nil, "usage: utmpset [-w] line\n\n", 1},
		{[]string{"-x", "tty1"}, "utmpset: illegal option -- x\nusage: utmpset [-w] line\n\n", 1},
	} {
		code, stderr, utmp, wtmp := logIn(t, records, c.args...)
		if code != c.code || stderr != c.want {
			t.Errorf("%q: exit %d, %q; want %d, %q", c.args, code, stderr, c.code, c.want)
		}
		if wtmp != nil || !bytes.Equal(utmp, bytes.Join(records, nil)) {
			t.Errorf("%q has changed something", c.args)
		}
	}
}

// FuzzUtmp: whatever utmp holds, only one whole record changes.
func FuzzUtmp(f *testing.F) {
	f.Add([]byte{}, "tty1")
	f.Add(utmpRecord("tty1", "a"), "tty1")
	f.Add(append([]byte("x"), utmpRecord("tty1", "a")...), "tty1")
	f.Fuzz(func(t *testing.T, before []byte, line string) {
		if strings.HasPrefix(line, "-") {
			return
		}
		code, _, utmp, _ := logIn(t, [][]byte{before}, line)
		if len(utmp) != len(before) {
			t.Fatalf("%d bytes became %d", len(before), len(utmp))
		}
		changed := 0
		for at := 0; at < len(before); at += utmpSize {
			end := min(at+utmpSize, len(before))
			if !bytes.Equal(before[at:end], utmp[at:end]) {
				changed++
			}
		}
		if changed > 1 || code != 0 && changed > 0 {
			t.Errorf("exit %d, %d records changed", code, changed)
		}
	})
}
