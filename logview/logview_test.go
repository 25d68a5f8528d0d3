package logview

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"upkeep/supervise/status"
)

func TestCutStamp(t *testing.T) {
	t.Parallel()
	local := time.Date(2026, 11, 21, 10, 0, 0, 123456789, time.Local)
	utc := time.Date(2026, 11, 21, 10, 0, 0, 123450000, time.UTC)
	label := string(status.StampOf(utc.UnixNano()).AppendTAI64N(nil))
	for line, want := range map[string]struct {
		at   time.Time
		rest string
	}{
		label + " hello":                        {utc, "hello"},
		label:                                   {utc, ""},
		label + "  two":                         {utc, " two"},
		"2026-11-21_10:00:00.12345 x":           {utc, "x"},
		"2026-11-21T10:00:00.12345 x":           {utc, "x"},
		"2026-11-21 10:00:00.123456789  x":      {local, "x"},
		"2026-11-21_10:00:00 x":                 {},
		"2026-13-21_10:00:00.12345 x":           {},
		"2026-11-21X10:00:00.12345 x":           {},
		"@400000":                               {},
		"":                                      {},
		strings.Replace(label, "@", "", 1):      {},
		"@4000000000000000000000zz00000000 bad": {},
	} {
		at, rest, ok := cutStamp([]byte(line), false)
		if ok != !want.at.IsZero() || ok && (!at.Equal(want.at) || string(rest) != want.rest) || !ok && string(rest) != line {
			t.Errorf("%q: %v, %q, %v", line, at, rest, ok)
		}
	}
	if at, _, ok := cutStamp([]byte(label), true); !ok || !at.Equal(utc.Add(-27*time.Second)) {
		t.Errorf("of s6-log: %v", at)
	}
}

func TestParseSince(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 18, 30, 0, 0, time.Local)
	day := func(d, h, m, s int) time.Time { return time.Date(2026, 11, d, h, m, s, 0, time.Local) }
	for text, want := range map[string]time.Time{
		"10m": day(21, 18, 20, 0), "1h30m": day(21, 17, 0, 0), "2d": day(19, 18, 30, 0), "1d1h": day(20, 17, 30, 0),
		"today": day(21, 0, 0, 0), "yesterday": day(20, 0, 0, 0), "10:00": day(21, 10, 0, 0), "10:00:05": day(21, 10, 0, 5),
		"2026-11-01": day(1, 0, 0, 0), "2026-11-01 09:05": day(1, 9, 5, 0), "2026-11-01T09:05:06": day(1, 9, 5, 6),
		string(status.StampOf(day(2, 3, 4, 5).UnixNano()).AppendTAI64N(nil)): day(2, 3, 4, 5),
	} {
		if got, err := ParseSince(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "-1m", "d", "1x", "25:00", "2026-02-30", "-1d", "1d-1h", "@40"} {
		if got, err := ParseSince(text, now); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func FuzzCutStamp(f *testing.F) {
	f.Add([]byte("@400000006a5f3b1e0bebc200 text"))
	f.Add([]byte("2026-11-21_10:00:00.12345 text"))
	f.Add([]byte("2026-11-21 10:00:00.123456789 text"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, s6 := range []bool{false, true} {
			_, rest, ok := cutStamp(b, s6)
			if !strings.HasSuffix(string(b), string(rest)) || ok == (len(rest) == len(b)) {
				t.Errorf("%q: %q, %v", b, rest, ok)
			}
		}
	})
}

func FuzzParseSince(f *testing.F) {
	for _, s := range []string{"10m", "3d", "1d2h", "2026-11-21 10:00", "10:00", "today", "@400000006a5f3b1e0bebc200"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		now := time.Unix(1795286768, 0)
		if at, err := ParseSince(text, now); err != nil && !at.IsZero() {
			t.Errorf("%q: %v and %v", text, at, err)
		}
	})
}

// logDir makes a log directory from the content of its files.
func logDir(t *testing.T, files map[string]string) *Log {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &Log{Name: "test", Dir: dir}
}

func stamp(sec int64) string {
	return string(status.Stamp{Sec: 1795286768 + sec}.AppendTAI64N(nil))
}

// text is all that a view shows.
func text(t *testing.T, logs []*Log, last int, since time.Time) string {
	t.Helper()
	v, err := Open(logs, last, since)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	var b strings.Builder
	show := func(l Line) bool { b.Write(append(slices.Clone(l.Text), ' ')); return true }
	if err := v.All(true, show); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), " ")
}

func TestMerge(t *testing.T) {
	t.Parallel()
	a := logDir(t, map[string]string{
		stamp(3) + ".s": stamp(0) + " a0\n" + stamp(2) + " a2\n",
		stamp(6) + ".u": stamp(4) + " a4\n" + stamp(5) + " half",
		"current":       stamp(8) + " a8\n" + stamp(9) + " a9",
		"state":         "no line of a log\n",
		"lock":          "",
	})
	b := logDir(t, map[string]string{
		stamp(4) + ".s": stamp(1) + " b1\nunstamped\n" + stamp(3) + " b3\n",
		"current":       stamp(7) + " b7\n",
	})
	all := "a0 b1 unstamped a2 b3 a4 half b7 a8 a9"
	at := func(sec int64) time.Time { return time.Unix(1795286768+sec, 0) }
	for _, c := range []struct {
		last  int
		since time.Time
		want  string
	}{
		{-1, time.Time{}, all},
		{100, time.Time{}, all},
		{3, time.Time{}, "b7 a8 a9"},
		{1, time.Time{}, "a9"},
		{-1, at(4), "a4 half b7 a8 a9"},
		{-1, at(8), "a8 a9"},
		{2, at(4), "a8 a9"},
		{-1, at(100), ""},
	} {
		got := text(t, []*Log{a, b}, c.last, c.since)
		if got != c.want {
			t.Errorf("last %d, since %v: %q, want %q", c.last, c.since, got, c.want)
		}
	}
	if got := text(t, []*Log{logDir(t, nil)}, 5, time.Time{}); got != "" {
		t.Errorf("an empty directory shows %q", got)
	}
}

func TestSeekLines(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 100_000)
	for _, c := range []struct {
		content string
		n, got  int
		rest    string
	}{
		{"", 3, 0, ""}, {"a\nb\nc\n", 0, 0, ""}, {"a\nb\nc\n", 2, 2, "b\nc\n"}, {"a\nb\nc", 2, 2, "b\nc"},
		{"a\nb\n", 5, 2, "a\nb\n"}, {"\n\n\n", 2, 2, "\n\n"}, {long + "\n" + long + "\nz\n", 2, 2, long + "\nz\n"},
	} {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(c.content); err != nil {
			t.Fatal(err)
		}
		got, err := seekLines(f, c.n)
		if err != nil || got != c.got {
			t.Errorf("%.20q, %d: %d, %v", c.content, c.n, got, err)
		}
		if rest, err := io.ReadAll(f); c.n > 0 && (err != nil || string(rest) != c.rest) {
			t.Errorf("%.20q, %d: rest %.20q", c.content, c.n, rest)
		}
	}
}

// TestFollow: lines come once each and in order, however the log is rotated meanwhile,
// before it is followed and after.
func TestFollow(t *testing.T) {
	t.Parallel()
	l := logDir(t, map[string]string{"current": "0\n1\n"})
	path := filepath.Join(l.Dir, "current")
	next := 2
	add := func(lines int) {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
		if err != nil {
			t.Error(err)
			return
		}
		for range lines {
			fmt.Fprintf(f, "%d", next) // a line in two pieces
			fmt.Fprintf(f, "\n")
			next++
		}
		f.Close()
	}
	rotate := func() {
		to := filepath.Join(l.Dir, string(status.Now().AppendTAI64N(nil))+".s")
		if err := os.Rename(path, to); err != nil {
			t.Error(err)
		}
	}
	v, err := Open([]*Log{l}, -1, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	var got []string
	take := func(x Line) bool { got = append(got, string(x.Text)); return true }
	if err := v.All(false, take); err != nil {
		t.Fatal(err)
	}
	add(2)
	rotate()
	add(2)
	rotate()
	add(1)
	const all = 400
	stop, timer := make(chan struct{}), time.AfterFunc(20*time.Second, func() { t.Error("some do not come") })
	defer timer.Stop()
	go func() {
		for next < all {
			add(1 + next%7)
			if next%5 == 0 {
				rotate()
			}
		}
		add(1)
	}()
	time.AfterFunc(20*time.Second, func() { close(stop) })
	if err := v.Follow(stop, func(x Line) bool { take(x); return len(got) <= all }); err != nil {
		t.Fatal(err)
	}
	for i, line := range got {
		if line != fmt.Sprint(i) {
			t.Fatalf("line %d is %q", i, line)
		}
	}
	if len(got) <= all {
		t.Errorf("%d lines", len(got))
	}
}

// TestRealLoggers: what the real programs write is read back in order, with rotations.
func TestRealLoggers(t *testing.T) {
	t.Parallel()
	const lines = 400
	for name, command := range map[string]string{
		"multilog": "exec multilog t s4096 n50 ./main",
		"svlogd":   "mkdir main; printf 's4096\\nn50\\n' >main/config; exec svlogd -tt ./main",
		"s6-log":   "exec s6-log t s4096 n50 ./main",
		"s6-log T": "exec s6-log T s4096 n50 ./main",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program := strings.TrimSuffix(name, " T")
			if _, err := exec.LookPath(program); err != nil {
				if os.Getenv("UPKEEP_REQUIRE") == "1" {
					t.Fatal(err)
				}
				t.Skipf("%s is not installed", program)
			}
			service := filepath.Join(t.TempDir(), "web")
			if err := os.MkdirAll(filepath.Join(service, "log"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(service, "log", "run"), []byte("#!/bin/sh\n"+command+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			began := time.Now().Add(-time.Second)
			logger := exec.Command("./run")
			logger.Dir = filepath.Join(service, "log")
			in, err := logger.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := logger.Start(); err != nil {
				t.Fatal(err)
			}
			for i := range lines {
				fmt.Fprintf(in, "line %d\n", i)
			}
			in.Close()
			if err := logger.Wait(); err != nil {
				t.Fatal(err)
			}
			l, err := Find(service)
			if err != nil || l.Name != "web" {
				t.Fatalf("%+v, %v", l, err)
			}
			v, err := Open([]*Log{l}, -1, began)
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			n := 0
			if err := v.All(true, func(x Line) bool {
				if string(x.Text) != fmt.Sprintf("line %d", n) || !x.Stamped || x.At.Before(began) || x.At.After(time.Now().Add(time.Second)) {
					t.Fatalf("line %d is %q of %v", n, x.Text, x.At)
				}
				n++
				return true
			}); err != nil || n != lines {
				t.Errorf("%d lines, %v", n, err)
			}
		})
	}
}
