package logwriter

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// drain has a feed written until there is nothing to do.
func drain(t *testing.T, f *Feed, w *Writer, oneLine bool) (eof bool) {
	t.Helper()
	for {
		n, eof, err := f.Step(w, oneLine)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return eof
		}
	}
}

// TestFeed: whatever pieces the input comes in, and whenever the writer is given up for
// another one that has the pipes, the lines are the same, each once, and the beginnings
// of lines are not left where they would wake up whoever waits.
func TestFeed(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		random := rand.New(rand.NewPCG(seed, 1))
		var text []byte
		for i := range 300 {
			text = strconv.AppendInt(append(text, "line "...), int64(i), 10)
			text = append(append(text, bytes.Repeat([]byte("x"), random.IntN(400))...), '\n')
		}
		text = append(text, "the end"...)
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "d")
		h := testHost(t)
		open := func() *Writer {
			for { // a child of another test may have the lock until it executes something
				d, err := Open(dir, DirConfig{Size: 1 << 20, Margin: 2000, Buffer: 512, Keep: 1 << 30, Suffix: "s"}, h)
				if err == nil {
					return New(testRules, []Action{{Op: Append, Dir: d}}, h)
				}
				if !errors.Is(err, unix.EAGAIN) {
					t.Fatal(err)
				}
			}
		}
		f, w := &Feed{Pipe: p[0], Rest: [2]int{-1, -1}}, open()
		for rest := text; len(rest) > 0; {
			n := min(len(rest), 1+random.IntN(1000))
			if _, err := unix.Write(p[1], rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
			if random.IntN(3) == 0 {
				continue
			}
			drain(t, f, w, random.IntN(4) == 0)
			if f.Left() {
				t.Fatal("something is left in the pipe")
			}
			if random.IntN(4) == 0 { // killed
				w.Drop()
				f, w = &Feed{Pipe: p[0], Rest: f.Rest}, open()
				if f.Rest[0] >= 0 {
					if err := f.Hold(); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		unix.Close(p[1])
		if !drain(t, f, w, false) {
			t.Fatal("the end is not seen")
		}
		w.Close()
		f.Close()
		unix.Close(p[0])
		if got, _ := logged(t, dir); string(got) != string(text)+"\n" {
			t.Fatalf("seed %d: %d bytes, want %d", seed, len(got), len(text)+1)
		}
	}
}

// TestFeedSlow: pieces of a line that the second pipe has no room for stay in the
// first, and nothing is done over and over.
func TestFeedSlow(t *testing.T) {
	t.Parallel()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "d")
	h := testHost(t)
	w := New(testRules, []Action{{Op: Append, Dir: testDir(t, dir, 1<<20, h)}}, h)
	f := &Feed{Pipe: p[0], Rest: [2]int{-1, -1}}
	for range 100 {
		if _, err := unix.Write(p[1], []byte{'.'}); err != nil {
			t.Fatal(err)
		}
		drain(t, f, w, false)
	}
	if !f.Begun() || !f.Left() {
		t.Errorf("begun %v, left %v", f.Begun(), f.Left())
	}
	unix.Write(p[1], []byte("\n"))
	drain(t, f, w, false)
	if f.Begun() || f.Left() {
		t.Errorf("begun %v, left %v", f.Begun(), f.Left())
	}
	unix.Close(p[1])
	w.Close()
	f.Close()
	unix.Close(p[0])
	if got, _ := logged(t, dir); len(got) != 101 {
		t.Errorf("%q", got)
	}
}

// TestFeedOneLine: a writer that is to stop takes no line more than it has begun.
func TestFeedOneLine(t *testing.T) {
	t.Parallel()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "d")
	h := testHost(t)
	w := New(testRules, []Action{{Op: Append, Dir: testDir(t, dir, 1<<20, h)}}, h)
	f := &Feed{Pipe: p[0], Rest: [2]int{-1, -1}}
	unix.Write(p[1], []byte("begin"))
	drain(t, f, w, false)
	unix.Write(p[1], []byte("ning\nmore\n"))
	if n, _, err := f.Step(w, true); n != 5 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if got, _ := logged(t, dir); string(got) != "beginning\n" || !f.Left() {
		t.Errorf("%q, left %v", got, f.Left())
	}
	w.Drop()
	f.Close()
	unix.Close(p[0])
	unix.Close(p[1])
}
