package logwriter

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func testHost(t testing.TB) *Host {
	return &Host{
		Trouble: func(e Trouble) { t.Errorf("trouble: %v", &e); time.Sleep(time.Second) },
		Process: func(Processor) (syscall.WaitStatus, Step, error) {
			return 0, StepFork, errors.New("no processors here")
		},
		Alert: func([]byte) {},
	}
}

var testRules = Rules{Window: 1000, Alert: 200, Read: 1024}

func testDir(t testing.TB, name string, size int, h *Host) *Dir {
	t.Helper()
	d, err := Open(name, DirConfig{Size: size, Margin: 2000, Buffer: 512, Keep: 1 << 30, Suffix: "s"}, h)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// logged is all that is in a log directory, oldest first.
func logged(t testing.TB, dir string) (all []byte, sizes []int) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "@*"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	for _, name := range append(names, filepath.Join(dir, "current")) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all, sizes = append(all, b...), append(sizes, len(b))
	}
	return all, sizes
}

// feed gives text to a writer in pieces, as an input does that shows the
// beginnings of lines again.
func feed(w *Writer, text []byte, pieces []byte) {
	var b []byte
	for i := 0; len(text) > 0; i++ {
		n := len(text)
		if len(pieces) > 0 {
			n = min(n, 1+int(pieces[i%len(pieces)])*7)
		}
		seen := len(b)
		b = append(b, text[:n]...)
		text = text[n:]
		b = b[w.Write(b, seen):]
	}
	w.Finish(b)
}

// FuzzWriter: whatever pieces the input comes in, the same lines are logged, files
// are not too long, and Write never leaves more than it may.
func FuzzWriter(f *testing.F) {
	f.Add([]byte("a\nbc\n\nrest"), []byte{1, 2, 3})
	f.Add(bytes.Repeat([]byte("0123456789"), 700), []byte{200, 0})
	f.Add(bytes.Repeat([]byte(strings.Repeat("x", 1005)+"\nshort\n"), 20), []byte{140, 9})
	f.Fuzz(func(t *testing.T, text, pieces []byte) {
		h := testHost(t)
		top := t.TempDir()
		all, some := filepath.Join(top, "all"), filepath.Join(top, "some")
		w := New(testRules, []Action{
			{Op: Append, Dir: testDir(t, all, 4096, h)},
			{Op: Deselect, Pattern: Simple("*a*")},
			{Op: Append, Dir: testDir(t, some, 5000, h)},
		}, h)
		feed(w, text, pieces)
		w.Close()
		want := slices.Clone(text)
		if len(want) > 0 && want[len(want)-1] != '\n' {
			want = append(want, '\n')
		}
		got, sizes := logged(t, all)
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes logged of %d", len(got), len(want))
		}
		if m := slices.Max(sizes); m > 4096 {
			t.Errorf("a file has %d bytes", m)
		}
		var selected []byte
		for line := range bytes.Lines(want) {
			if !bytes.Contains(line[:min(1000, len(line))], []byte("a")) {
				selected = append(selected, line...)
			}
		}
		if got, _ := logged(t, some); !bytes.Equal(got, selected) {
			t.Errorf("%q selected, want %q", got, selected)
		}
	})
}

// TestWriteLeaves: of an unfinished line at most the window is left for the next
// time; what is done with is in the file.
func TestWriteLeaves(t *testing.T) {
	t.Parallel()
	h := testHost(t)
	dir := filepath.Join(t.TempDir(), "d")
	w := New(testRules, []Action{{Op: Append, Dir: testDir(t, dir, 99999, h)}}, h)
	defer w.Close()
	current := func() int {
		st, err := os.Stat(filepath.Join(dir, "current"))
		if err != nil {
			t.Fatal(err)
		}
		return int(st.Size())
	}
	if done := w.Write([]byte("one\ntw"), 0); done != 4 || current() != 4 {
		t.Errorf("%d done, %d written", done, current())
	}
	if done := w.Write([]byte("two"), 2); done != 0 || current() != 4 {
		t.Errorf("%d done, %d written", done, current())
	}
	if done := w.Write(bytes.Repeat([]byte("x"), 1500), 3); done != 1500 || current() != 1504 || !w.Inside() {
		t.Errorf("%d done, %d written, inside %v", done, current(), w.Inside())
	}
	w.Finish(nil)
	if w.Inside() || current() != 1505 {
		t.Errorf("%d written, inside %v", current(), w.Inside())
	}
}

func TestWriteAllocatesNothing(t *testing.T) {
	h := testHost(t)
	r := testRules
	r.Stamp = TAI64N()
	w := New(r, []Action{
		{Op: Deselect, Pattern: Simple("*y*")},
		{Op: Append, Dir: testDir(t, filepath.Join(t.TempDir(), "d"), 1<<24, h)},
	}, h)
	defer w.Close()
	b := bytes.Repeat([]byte(strings.Repeat("x", 99)+"\n"), 100)
	if n := testing.AllocsPerRun(50, func() { w.Write(b, 0) }); n > 5 && !raceEnabled {
		t.Errorf("%v allocations for 100 lines", n)
	}
}

// TestInput: what a pipe holds stays there until it is consumed.
func TestInput(t *testing.T) {
	t.Parallel()
	r, p, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer p.Close()
	in, err := OpenInput(int(r.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	held := func() int {
		n, err := unix.IoctlGetInt(int(r.Fd()), unix.TIOCINQ)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	peek := func(seen int, oneLine bool, want string, wantEOF bool) {
		t.Helper()
		b, eof, err := in.Peek(seen, oneLine)
		if err != nil || string(b) != want || eof != wantEOF {
			t.Fatalf("%q, %v, %v; want %q, %v", b, eof, err, want, wantEOF)
		}
	}
	p.WriteString("one\ntw")
	peek(0, false, "one\ntw", false)
	if n := held(); n != 6 {
		t.Errorf("%d bytes are held", n)
	}
	if err := in.Consume(4); err != nil || held() != 2 {
		t.Errorf("%v, %d bytes are held", err, held())
	}
	in.Interrupt()
	peek(2, false, "tw", false)
	// Long enough for the beginning of the line to be taken into memory.
	late := time.AfterFunc(1500*time.Millisecond, func() { p.WriteString("o\nthree\nfo") })
	defer late.Stop()
	peek(2, false, "two\nthree\nfo", false)
	if held() != 0 {
		t.Errorf("%d bytes are held", held())
	}
	if err := in.Consume(10); err != nil {
		t.Fatal(err)
	}
	p.WriteString("ur\nfive\n")
	peek(2, true, "fou", false)
	peek(3, true, "four", false)
	peek(4, true, "four\n", false)
	if err := in.Consume(5); err != nil {
		t.Fatal(err)
	}
	p.WriteString("rest")
	peek(0, true, "five\n", false)
	if err := in.Consume(5); err != nil {
		t.Fatal(err)
	}
	peek(0, false, "rest", false)
	p.Close()
	peek(4, false, "rest", true)
	if err := in.Consume(4); err != nil {
		t.Fatal(err)
	}
	peek(0, false, "", true)
}

func TestLabel(t *testing.T) {
	t.Parallel()
	var l Label
	for _, c := range []struct {
		at   time.Time
		want string
	}{
		{time.Unix(0, 0), "@400000000000000a000001f4"},
		{time.Unix(0, 999_999_999), "@400000000000000a3b9ac80c"},
		{time.Unix(1700000000, 123456789), "@400000006553f10a075bcbf4"},
	} {
		if got := string(l.At(c.at)); got != c.want {
			t.Errorf("%v is %s, want %s", c.at, got, c.want)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	h := testHost(b)
	r := testRules
	r.Stamp = TAI64N()
	w := New(r, []Action{{Op: Append, Dir: testDir(b, filepath.Join(b.TempDir(), "d"), 16777215, h)}}, h)
	defer w.Close()
	in := bytes.Repeat([]byte(strings.Repeat("x", 99)+"\n"), 655)
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		w.Write(in, 0)
	}
}
