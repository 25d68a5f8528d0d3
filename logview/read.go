package logview

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"upkeep/supervise/status"
)

// Line is a line of a log. Text is without the time stamp and the newline.
type Line struct {
	Log     *Log
	At      time.Time // of an unstamped line, about when it was written
	Stamped bool
	Text    []byte
}

// file is one of a log directory.
type file struct {
	name string
	f    *os.File
	ends time.Time // nothing in it is later
}

// files opens the files of the log, the oldest first. One that is rotated meanwhile may
// be there twice by its old and its new name; it is given once.
func (l *Log) files() (list []file, err error) {
	for {
		list, current, err := l.list()
		if err != nil {
			return nil, err
		}
		// With two rotations in between it would come after one that is newer.
		now, err := os.Open(filepath.Join(l.Dir, "current"))
		stable := err != nil && current == nil
		if err == nil {
			stable = current != nil && same(now, current)
			now.Close()
		}
		if !stable {
			closeFiles(list)
			continue
		}
		return list, nil
	}
}

func (l *Log) list() (list []file, current *os.File, err error) {
	// Before the names are listed: what it is renamed to is listed then.
	if current, err = os.Open(filepath.Join(l.Dir, "current")); err != nil {
		if !os.IsNotExist(err) {
			return nil, nil, err
		}
		current = nil
	}
	entries, err := os.ReadDir(l.Dir)
	if err != nil {
		if current != nil {
			current.Close()
		}
		return nil, nil, err
	}
	for _, e := range entries {
		at, ok := nameTime(e.Name(), l.s6)
		if !ok || !e.Type().IsRegular() || !slices.Contains([]string{".s", ".u"}, filepath.Ext(e.Name())) {
			continue // or it is about to be processed, or was and is of another kind
		}
		f, err := os.Open(filepath.Join(l.Dir, e.Name()))
		if err != nil {
			continue // it has gone since
		}
		if current != nil && same(f, current) {
			f.Close()
			continue
		}
		list = append(list, file{e.Name(), f, at})
	}
	if current != nil {
		list = append(list, file{"current", current, time.Now()})
	}
	return list, current, nil
}

// label is what a file would be called that is rotated now.
func (l *Log) label() string {
	at := time.Now()
	if l.s6 {
		at = at.Add(s6Lead)
	}
	return string(status.StampOf(at.UnixNano()).AppendTAI64N(nil))
}

func same(a, b *os.File) bool {
	x, err1 := a.Stat()
	y, err2 := b.Stat()
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

func closeFiles(list []file) {
	for _, f := range list {
		f.f.Close()
	}
}

// tail sets the files to where the last n lines begin, and drops those before.
func tail(list []file, n int) ([]file, error) {
	for i := len(list) - 1; i >= 0; i-- {
		got, err := seekLines(list[i].f, n)
		if err != nil {
			return list, err
		}
		if n -= got; n == 0 {
			closeFiles(list[:i])
			return list[i:], nil
		}
	}
	return list, nil
}

// seekLines sets a file to where its last n lines begin, and counts those that there
// are. An unfinished line at the end is one.
func seekLines(f *os.File, n int) (got int, err error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	if n == 0 || size == 0 {
		return 0, nil
	}
	block := make([]byte, 64<<10)
	end := size
	for end > 0 {
		from := max(end-int64(len(block)), 0)
		b := block[:end-from]
		if _, err := f.ReadAt(b, from); err != nil && err != io.EOF {
			return 0, err
		}
		for i := len(b) - 1; i >= 0; i-- {
			if b[i] != '\n' || from+int64(i) == size-1 {
				continue
			}
			if got++; got == n {
				_, err := f.Seek(from+int64(i)+1, io.SeekStart)
				return got, err
			}
		}
		end = from
	}
	_, err = f.Seek(0, io.SeekStart)
	return got + 1, err
}

// longest is how long a line may be; a longer one is given in pieces.
const longest = 1 << 20

// reader reads lines one after the other through the files of a log.
type reader struct {
	log    *Log
	files  []file
	at     time.Time // of the last line
	buf    []byte    // read and not given yet
	newest string    // label of when files were listed: what is rotated later has a later one
	block  []byte
	final  bool // nothing more comes
}

// next is the next line. ok is false when there is none. One that is not finished stays
// in the reader, unless nothing more comes.
func (r *reader) next() (line Line, ok bool, err error) {
	for {
		if i := bytes.IndexByte(r.buf, '\n'); i >= 0 || len(r.buf) >= longest {
			text := r.buf
			if i >= 0 {
				text, r.buf = r.buf[:i], r.buf[i+1:]
			} else {
				r.buf = nil
			}
			return r.line(text), true, nil
		}
		if len(r.files) == 0 {
			return line, false, nil
		}
		if r.block == nil {
			r.block = make([]byte, 64<<10)
		}
		n, err := r.files[0].f.Read(r.block)
		if n > 0 {
			r.buf = append(slices.Clip(r.buf), r.block[:n]...)
			continue
		}
		if err != nil && err != io.EOF {
			return line, false, err
		}
		if len(r.files) == 1 && !r.final {
			return line, false, nil // more may be appended to it
		}
		r.leave()
		if len(r.buf) > 0 { // a rotated file can end within a line
			text := r.buf
			r.buf = nil
			return r.line(text), true, nil
		}
	}
}

// leave goes on with the next file.
func (r *reader) leave() {
	r.files[0].f.Close()
	r.files = r.files[1:]
}

func (r *reader) line(text []byte) Line {
	at, rest, ok := cutStamp(text, r.log.s6)
	if !ok {
		if at = r.at; at.IsZero() && len(r.files) > 0 {
			at = r.files[0].ends
		}
	}
	r.at = at
	return Line{r.log, at, ok, rest}
}

func (r *reader) close() { closeFiles(r.files) }
