package logwriter

import (
	"bytes"
	"time"

	"golang.org/x/sys/unix"
)

// More of what an action of a LineWriter does, beside Select, Deselect and Append.
const (
	Fresh Op = Append + 1 + iota // the line is selected if no action had it yet
	Put                          // LineAction.Put gets a selected line
)

// LineAction is one word of a script of s6-log. A line is selected in the
// beginning, and actions are applied to it in order.
type LineAction struct {
	Op      Op
	Pattern Pattern
	Dir     *Dir
	// Stamp appends what is put before the line, if set.
	Stamp Stamp
	// Put gets what is before the line, and the line without its end.
	Put func(stamp, line []byte)
	// Flush, if set, is called after each block of lines.
	Flush func()
}

// LineRules are what s6-log does with lines.
type LineRules struct {
	// Limit is where a line is broken into two; 0 is nowhere.
	Limit int
	// Read is how much the original reads at a time. The lines that end in it are
	// written together, and only then it decides whether the file ends.
	Read int
}

// LineWriter applies a script of s6-log to its input, line by line. A NUL ends a
// line as a newline does. It is used as
// a Writer is, and keeps its promise except for lines that are longer than half of
// the room that Input has: their beginnings are consumed and kept in memory.
type LineWriter struct {
	rules   LineRules
	actions []LineAction

	dirs  []*Dir
	stamp []byte
	long  []byte // the beginning of the current line that has been consumed
	left  int    // how far the original has read beyond the last block
	clock Clock
}

// NewLines makes a writer. The directories are the caller's until then, and
// closed by LineWriter.Close.
func NewLines(r LineRules, actions []LineAction) *LineWriter {
	w := &LineWriter{rules: r, actions: actions}
	for _, a := range actions {
		if a.Op == Append {
			a.Dir.Buffer = maxBatch
			w.dirs = append(w.dirs, a.Dir)
		}
	}
	return w
}

// maxBatch is more than is ever collected for one write.
const maxBatch = 1 << 30

// Write acts on b and returns how many bytes of it are done with. The first seen
// bytes of b have been shown before.
func (w *LineWriter) Write(b []byte, seen int) (done int) {
	w.borrow()
	next := seen + w.rules.Read // where the original reads again
	if w.left > 0 {
		next = seen + w.left
	}
	newline, null := -1, -1 // where they are, at done or behind
	for {
		if newline < done {
			newline = indexFrom(b, done, '\n')
		}
		if null < done {
			null = indexFrom(b, done, 0)
		}
		end := min(newline, null)
		room := w.rules.Limit - len(w.long)
		if w.rules.Limit > 0 && end-done > room {
			w.reach(done+room, &next)
			w.line(b[done : done+room])
			done += room
			continue
		}
		if end == len(b) {
			break
		}
		w.reach(end, &next)
		w.line(b[done:end])
		done = end + 1
	}
	if len(b)-done > spare/2 {
		w.long = append(w.long, b[done:]...)
		done = len(b)
	}
	// A block that is full ends somewhere in what the original has read.
	w.left = 0
	if len(b) >= block {
		for next < len(b) {
			w.settle()
			next += w.rules.Read
		}
		w.left = next - len(b)
	}
	w.flush(w.left > 0)
	return done
}

// Finish ends the input; rest is what Write has left of it. A line that was begun
// gets its newline.
func (w *LineWriter) Finish(rest []byte) {
	w.borrow()
	if w.Inside() || len(rest) > 0 {
		w.line(rest)
	}
	w.flush(false)
}

// Inside tells whether a line has been consumed in part.
func (w *LineWriter) Inside() bool { return len(w.long) > 0 }

// Rotate begins a new file in each directory where current is not empty.
func (w *LineWriter) Rotate() {
	w.borrow()
	for _, d := range w.dirs {
		d.Rotate()
	}
	w.flush(false)
}

// Close closes the directories cleanly.
func (w *LineWriter) Close() {
	for _, d := range w.dirs {
		d.Close()
	}
}

// reach is for a line that ends at position at. If the original had to read for
// that, it had written all lines before.
func (w *LineWriter) reach(at int, next *int) {
	if at < *next {
		return
	}
	w.settle()
	*next += ((at-*next)/w.rules.Read + 1) * w.rules.Read
}

// indexFrom is where the first c is at position from or behind, or else the end.
func indexFrom(b []byte, from int, c byte) int {
	if i := bytes.IndexByte(b[from:], c); i >= 0 {
		return from + i
	}
	return len(b)
}

func (w *LineWriter) settle() {
	for _, d := range w.dirs {
		d.settle()
	}
}

func (w *LineWriter) line(text []byte) {
	if len(w.long) > 0 {
		w.long = append(w.long, text...)
		text = w.long
	}
	var now time.Time
	selected, acted := true, false
	for i := range w.actions {
		a := &w.actions[i]
		switch a.Op {
		case Select:
			selected = selected || a.Pattern.Match(text)
			continue
		case Deselect:
			selected = selected && !a.Pattern.Match(text)
			continue
		case Fresh:
			selected = !acted
			continue
		}
		if !selected {
			continue
		}
		acted = true
		w.stamp = w.stamp[:0]
		if a.Stamp != nil {
			if now.IsZero() {
				now = w.clock.Now()
			}
			w.stamp = a.Stamp(w.stamp, now)
		}
		if a.Op == Put {
			a.Put(w.stamp, text)
		} else {
			a.Dir.putLine(w.stamp, text)
		}
	}
	w.long = w.long[:0]
	if cap(w.long) > arena {
		w.long = nil
	}
}

func (w *LineWriter) borrow() {
	w.clock.Reset()
	for _, d := range w.dirs {
		d.out = borrow()
	}
}

// flush has everything written, and gives the buffers back. If more is to come
// that belongs to the same read of the original, no file ends here.
func (w *LineWriter) flush(more bool) {
	for _, d := range w.dirs {
		if more {
			d.take()
		} else {
			d.settle()
		}
		d.write()
		giveBack(d.out)
		d.out = nil
	}
	for i := range w.actions {
		if f := w.actions[i].Flush; f != nil {
			f()
		}
	}
}

// take counts what was collected as written.
func (d *Dir) take() {
	if n := len(d.out) - d.done; n > 0 {
		d.size += n
		d.done += n
		d.fresh = true
	}
}

// settle is where s6-log, having written all lines of a read, decides whether the
// file ends.
func (d *Dir) settle() {
	d.take()
	if d.fresh && d.size >= d.Size-d.Margin {
		d.rotate()
	}
	d.fresh = false
}

// lockAsS6 locks the directory for programs that use fcntl, too.
func lockAsS6(d *Dir) error {
	return unix.FcntlFlock(uintptr(d.lock), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
}

// lockMode is the mode of a lock file that is made.
func (d *Dir) lockMode() uint32 {
	if d.Fcntl {
		return d.fileMode()
	}
	return 0o600
}
