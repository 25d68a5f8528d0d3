// Package logwriter writes logs as multilog, svlogd and s6-log do: it splits its
// input into lines, stamps and selects them, and appends them to directories of
// files that are rotated by size.
//
// It is used by the programs of those names and may be used inside the scanner, so
// it neither starts processes nor waits nor speaks on its own: what it needs of
// the program around it is the Host. What differs between the dialects is in
// Rules, DirConfig, Action and Pattern.
//
// # Nothing is consumed before it is written
//
// Who feeds a Writer owns the input. Writer.Write is shown what has arrived and
// returns how much of it is done with: those bytes are in their files, as far as
// the kernel goes, and may now be consumed. The rest, less than Rules.Window bytes
// of an unfinished line, is to be shown again, with more behind it. If the input
// keeps what has not been consumed (a pipe, by tee(2), see Input), a writer that
// is killed loses nothing: its successor finds the block in flight in the pipe
// again, and at most repeats the lines of it.
//
// A Writer holds no buffers between two calls.
package logwriter

import (
	"bytes"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Op is what an Action does.
type Op byte

const (
	Select   Op = iota // the line is selected if Pattern matches
	Deselect           // the line is no longer selected if Pattern matches
	Alert              // Host.Alert gets a selected line
	Keep               // Status gets a selected line
	Append             // Dir gets a selected line
)

// Action is one word of a script. A line is selected in the beginning, and
// actions are applied to it in order.
type Action struct {
	Op      Op
	Pattern Pattern
	Status  *Status
	Dir     *Dir
}

// Rules are what a dialect does with lines.
type Rules struct {
	// Stamp appends what is put before each line, if set. It is called when the
	// first byte of the line is seen.
	Stamp Stamp
	// Window is how much of a line, with its stamp, patterns and status files see.
	// For outlets it is without the stamp.
	Window int
	// Replace gives the character to write for one of the first Window of a line,
	// if set. Only outlets have it.
	Replace *[256]byte
	// Alert is how much of it Host.Alert gets; "..." stands for the rest.
	Alert int
	// Read is how much the original reads at a time. It empties its small buffer
	// before that, which has an influence on where files end.
	Read int
}

// Writer applies a script to its input. It belongs to one goroutine.
type Writer struct {
	rules   Rules
	actions []Action
	outlets []Outlet // instead of actions; see NewOutlets
	host    *Host

	dirs    []*Dir
	heads   bool   // some action looks at lines
	inside  bool   // the head of the current line is done with
	stamp   []byte // of the current line
	stamped bool   // the current line has got its stamp
	clock   Clock
	head    []byte
	alerts  []byte
}

// New makes a writer. The directories are the caller's until then, and closed by
// Writer.Close.
func New(r Rules, actions []Action, h *Host) *Writer {
	w := &Writer{rules: r, actions: actions, host: h}
	for _, a := range actions {
		if a.Op == Append {
			w.dirs = append(w.dirs, a.Dir)
		} else {
			w.heads = true
		}
	}
	return w
}

// arenas are for what is collected between two calls.
var arenas = sync.Pool{New: func() any { return new(buffer) }}

type buffer [arena + arena/2]byte

func borrow() []byte { return arenas.Get().(*buffer)[:0] }

func giveBack(b []byte) {
	if cap(b) == len(buffer{}) { // else it has grown
		arenas.Put((*buffer)(b[:cap(b)]))
	}
}

// Write acts on b and returns how many bytes of it are done with. The first seen
// bytes of b have been shown before.
func (w *Writer) Write(b []byte, seen int) (done int) {
	w.borrow()
	next := seen + w.rules.Read // where the original reads again
	for done < len(b) {
		if w.inside {
			done = w.rest(b, done, &next)
			continue
		}
		w.mark()
		line := b[done:]
		window := w.rules.Window
		if w.outlets == nil {
			window -= len(w.stamp)
		}
		end := bytes.IndexByte(line, '\n')
		if end < 0 && len(line) < window {
			break
		}
		if end >= 0 && end <= window {
			w.reach(done+end, &next)
			w.line(line[:end])
			w.stamped = false
			done += end + 1
			continue
		}
		w.reach(done+window, &next)
		w.begin(line[:window])
		done += window
	}
	w.flush()
	return done
}

// Finish ends the input; rest is what Write has left of it. A line that was begun
// gets its newline.
func (w *Writer) Finish(rest []byte) {
	if !w.inside && len(rest) == 0 {
		return
	}
	w.borrow()
	if w.inside {
		w.end()
	} else {
		w.mark()
		w.line(rest)
		w.stamped = false
	}
	w.flush()
}

// mark stamps the line that begins.
func (w *Writer) mark() {
	if !w.stamped && w.rules.Stamp != nil {
		w.stamp = w.rules.Stamp(w.stamp[:0], w.clock.Now())
		w.stamped = true
	}
}

// Inside tells whether a line has been consumed in part.
func (w *Writer) Inside() bool { return w.inside }

// Rotate begins a new file in each directory where current is not empty.
func (w *Writer) Rotate() {
	w.borrow()
	for _, d := range w.dirs {
		d.Rotate()
	}
	w.flush()
}

// Close closes the directories cleanly.
func (w *Writer) Close() {
	for _, d := range w.dirs {
		d.Close()
	}
	for i := range w.actions {
		if s := w.actions[i].Status; s != nil {
			unix.Close(s.fd)
		}
	}
}

// Devices are the numbers of the file systems that it writes to, in order.
func (w *Writer) Devices() []uint64 {
	var list []uint64
	for _, d := range w.dirs {
		var st unix.Stat_t
		if unix.Fstat(d.fd, &st) == nil {
			list = append(list, st.Dev)
		}
	}
	for i := range list { // they are few: no sort for that in the program
		for k := i; k > 0 && list[k] < list[k-1]; k-- {
			list[k], list[k-1] = list[k-1], list[k]
		}
	}
	return slices.Compact(list)
}

// Drop gives everything up as it is: for the next writer it is as after a crash,
// unless that resumes.
func (w *Writer) Drop() {
	for i := range w.actions {
		if s := w.actions[i].Status; s != nil {
			unix.Close(s.fd)
		}
	}
	for _, d := range w.dirs {
		if d != nil {
			d.drop()
		}
	}
}

// reach is for the byte at position at, which the original may have had to read
// for: then it had emptied its buffers.
func (w *Writer) reach(at int, next *int) {
	if at < *next {
		return
	}
	for _, d := range w.dirs {
		d.flush()
	}
	*next += ((at-*next)/w.rules.Read + 1) * w.rules.Read
}

// line acts on a whole line that fits into the window.
func (w *Writer) line(text []byte) {
	if !w.heads {
		for _, d := range w.dirs {
			d.putLine(w.stamp, text)
		}
		return
	}
	w.act(text, false)
}

// begin acts on a line of which there is more than the window shows.
func (w *Writer) begin(text []byte) {
	w.inside = true
	w.act(text, true)
}

func (w *Writer) act(text []byte, more bool) {
	if w.outlets != nil {
		w.distribute(text, more)
		return
	}
	head := text
	if len(w.stamp) > 0 {
		w.head = append(append(w.head[:0], w.stamp...), text...)
		head = w.head
	}
	selected := true
	for i := range w.actions {
		a := &w.actions[i]
		switch a.Op {
		case Select:
			if !selected && a.Pattern.Match(head) {
				selected = true
			}
		case Deselect:
			if selected && a.Pattern.Match(head) {
				selected = false
			}
		case Alert:
			if selected {
				w.alert(head)
			}
		case Keep:
			if selected {
				a.Status.set(head)
			}
		case Append:
			a.Dir.on = selected
			if !selected {
				break
			}
			if more {
				a.Dir.put(head, nil)
			} else {
				a.Dir.putLine(head, nil)
			}
		}
	}
}

// rest copies what follows of a long line, from position at on, and returns where
// that ends.
func (w *Writer) rest(b []byte, at int, next *int) int {
	w.reach(at, next)
	end := min(len(b), *next)
	newline := bytes.IndexByte(b[at:end], '\n')
	if newline >= 0 {
		end = at + newline
	}
	for _, d := range w.dirs {
		if d.on {
			d.putBytes(b[at:end])
		}
	}
	if newline < 0 {
		return end
	}
	w.end()
	return end + 1
}

// end ends a long line.
func (w *Writer) end() {
	for _, d := range w.dirs {
		if d.on {
			d.putLine(nil, nil)
			if w.outlets != nil {
				d.flush()
			}
		}
	}
	w.inside, w.stamped = false, false
}

func (w *Writer) alert(head []byte) {
	if len(head) > w.rules.Alert {
		w.alerts = append(append(w.alerts, head[:w.rules.Alert]...), "..."...)
	} else {
		w.alerts = append(w.alerts, head...)
	}
	w.alerts = append(w.alerts, '\n')
	if len(w.alerts) > 4096 {
		w.cry()
	}
}

func (w *Writer) cry() {
	if len(w.alerts) > 0 {
		w.host.Alert(w.alerts)
		w.alerts = w.alerts[:0]
	}
}

func (w *Writer) borrow() {
	w.clock.Reset()
	for _, d := range w.dirs {
		d.out = borrow()
	}
	if w.heads {
		w.head, w.alerts = borrow(), borrow()
	}
}

// flush has everything written, and gives the buffers back.
func (w *Writer) flush() {
	for _, d := range w.dirs {
		d.flush()
		d.write()
		giveBack(d.out)
		d.out = nil
	}
	if !w.heads {
		return
	}
	for i := range w.actions {
		if s := w.actions[i].Status; s != nil {
			s.write(w.host)
		}
	}
	w.cry()
	giveBack(w.head)
	giveBack(w.alerts)
	w.head, w.alerts = nil, nil
}
