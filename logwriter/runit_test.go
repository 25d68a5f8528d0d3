package logwriter

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runitHost notes what it is told.
func runitHost(t testing.TB, notes *[]Note) *Host {
	h := testHost(t)
	h.Process = nil
	h.Note = func(n Note) {
		if notes != nil {
			*notes = append(*notes, n)
		}
	}
	return h
}

func runitDir(t testing.TB, name string, c RunitConfig, h *Host) *Dir {
	t.Helper()
	if err := os.MkdirAll(name, 0o755); err != nil {
		t.Fatal(err)
	}
	d, err := OpenRunit(name, func(func() ([]byte, error)) RunitConfig { return c }, h)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// bounds is where files end, from the words of section 5.4: the sizes of the files
// for lines, newlines included.
func bounds(lines [][]byte, size, line int) (sizes []int) {
	n := 0
	for _, l := range lines {
		for len(l) > 0 {
			if n >= size {
				sizes, n = append(sizes, n), 0
			}
			m := min(len(l), size-n)
			n += m
			if l = l[m:]; len(l) == 0 && size >= line && n >= size-line {
				sizes, n = append(sizes, n), 0
			}
		}
	}
	return append(sizes, n)
}

// FuzzOutlets: whatever pieces the input comes in, all lines are logged, and files
// end where they should.
func FuzzOutlets(f *testing.F) {
	f.Add([]byte("a\nbc\n\nrest"), []byte{1, 2, 3}, uint8(5), uint8(3))
	f.Add(bytes.Repeat([]byte("0123456789"), 70), []byte{200, 0}, uint8(100), uint8(30))
	f.Add(bytes.Repeat([]byte(strings.Repeat("x", 30)+"\nshort\n"), 20), []byte{140, 9}, uint8(30), uint8(30))
	f.Add(bytes.Repeat([]byte("0123456789\n"), 20), []byte{}, uint8(30), uint8(31))
	f.Fuzz(func(t *testing.T, text, pieces []byte, size, line uint8) {
		if size == 0 || line == 0 || len(text) > 20*int(size) {
			return // or there are too many files
		}
		h := runitHost(t, nil)
		top := t.TempDir()
		all, some := filepath.Join(top, "all"), filepath.Join(top, "some")
		c := RunitConfig{Size: int(size), Line: int(line)}
		w := NewOutlets(Rules{Window: int(line)}, []Outlet{
			{Dir: runitDir(t, all, c, h)},
			{},
			{Dir: runitDir(t, some, RunitConfig{Line: int(line)}, h), Prefix: "P ",
				Choices: []Choice{{Pattern: Plus("a*")}, {Pattern: Plus("ab*"), Take: true}}},
		}, h)
		feed(w, text, pieces)
		w.Close()
		want := slices.Clone(text)
		if len(want) > 0 && want[len(want)-1] != '\n' {
			want = append(want, '\n')
		}
		got, sizes := logged(t, all)
		if !bytes.Equal(got, want) {
			t.Errorf("%q logged of %q", got, want)
		}
		if b := bounds(slices.Collect(bytes.Lines(want)), int(size), int(line)); !slices.Equal(sizes, b) {
			t.Errorf("files of %d, want %d", sizes, b)
		}
		var selected []byte
		for l := range bytes.Lines(want) {
			shown := l[:min(int(line), len(l)-1)]
			if !bytes.HasPrefix(shown, []byte("a")) || bytes.HasPrefix(shown, []byte("ab")) {
				selected = append(append(selected, "P "...), l...)
			}
		}
		if got, _ := logged(t, some); !bytes.Equal(got, selected) {
			t.Errorf("%q selected, want %q", got, selected)
		}
	})
}

// TestRunitPrunes: one old file too many is deleted at a time, of either kind,
// but not the one that is to be processed; a result has its source deleted.
func TestRunitPrunes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	const twin = "@400000006b01e751248a02f9"
	later := string(new(Label).At(time.Now().Add(time.Hour)))
	for _, name := range []string{"@400000006b01e751248a02f4.u", "@400000006b01e751248a02f5.s", "@400000006b01e751248a02f6.t",
		twin + ".u", twin + ".s", later + ".s"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var notes []Note
	h := runitHost(t, &notes)
	ended := make(chan syscall.WaitStatus, 1)
	h.Start = func(Processor) (<-chan syscall.WaitStatus, error) { return ended, nil }
	d := runitDir(t, dir, RunitConfig{Size: 10, Line: 5, Keep: 3, Processor: "x"}, h)
	w := NewOutlets(Rules{Window: 5}, []Outlet{{Dir: d}}, h)
	w.Write([]byte("0123456789\n"), 0)
	ended <- 0
	d.Await()
	w.Close()
	var said []string
	for _, n := range notes {
		said = append(said, n.File)
	}
	if len(said) != 5 || said[2] != "@400000006b01e751248a02f4.u" || said[4] != strings.TrimSuffix(said[3], "u")+"s" {
		t.Errorf("%q", said)
	}
	var left []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if want := []string{"@400000006b01e751248a02f5.s", twin + ".s", said[4], later + ".s", "current", "lock", "state"}; !slices.Equal(left, want) {
		t.Errorf("%q, want %q", left, want)
	}
}

// TestReplaceInside: a long line goes on in the places that it began in.
func TestReplaceInside(t *testing.T) {
	t.Parallel()
	h := runitHost(t, nil)
	top := t.TempDir()
	one, two := filepath.Join(top, "1"), filepath.Join(top, "2")
	open := func(name string) *Dir { return runitDir(t, name, RunitConfig{Line: 5}, h) }
	a := open(one)
	w := NewOutlets(Rules{Window: 5}, []Outlet{{Dir: a}, {}}, h)
	w.Write([]byte("0123456"), 0)
	a.Close()
	w.Replace([]Outlet{{Dir: open(one)}, {Dir: open(two)}})
	w.Write([]byte("789\nnext\n"), 0)
	w.Close()
	for dir, want := range map[string]string{one: "0123456789\nnext\n", two: "next\n"} {
		if got, _ := logged(t, dir); string(got) != want {
			t.Errorf("%s: %q, want %q", dir, got, want)
		}
	}
}

// TestInputOfLongLines: the beginning of a line longer than a pipe is shown again
// and again until it has its end.
func TestInputOfLongLines(t *testing.T) {
	t.Parallel()
	r, p, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	in, err := OpenInput(int(r.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	const length = 200000
	in.Allow(length + 1)
	go func() {
		_, _ = p.Write(append(bytes.Repeat([]byte("x"), length), '\n'))
		p.Close()
	}()
	for seen := 0; ; {
		b, eof, err := in.Peek(seen, false)
		if err != nil {
			t.Fatal(err)
		}
		if seen = len(b); eof {
			break
		}
	}
	b, _, _ := in.Peek(length+1, false)
	if len(b) != length+1 {
		t.Errorf("%d bytes", len(b))
	}
}
