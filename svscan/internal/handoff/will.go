package handoff

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"upkeep/internal/fault"
	"upkeep/supervise"
	"upkeep/supervise/servicedir"
)

// Will is what a scanner leaves to the program that it becomes by an exec:
// descriptors, and what cannot be found out from them.
type Will struct {
	// Home is the directory with the scanner's socket; both may be -1.
	Home, Socket int
	// ScanLock and ScanFIFO are those of s6-svscan, or 0.
	ScanLock, ScanFIFO int
	Clients            []int // who wait for the answer
	Entries            []Entry
	Opening            []string // names in the scan directory of what was just being opened
}

// Entry is a directory of the scan directory.
type Entry struct {
	ID    servicedir.Identity
	Name  string
	Pipe  [2]int // the log pipe, to read and to write to; -1 if it is not there
	Inode uint64 // of the pipe
	Main  *Unit  // nil if it is not supervised, likewise Log
	Log   *Unit
}

// Unit is a supervised service directory.
type Unit struct {
	// As in servicedir.Dir; OK, Theirs, and Home, if it is Dir, are -1.
	Dir, Home, Theirs, Lock, Control, OK int
	Stranger                             *Process // the process, if it is not our child
	State                                supervise.Machine
	// Ended tells that the process has ended, as End says, and the machine does not
	// know yet.
	Ended bool
	End   supervise.WaitStatus
	// Notify is what the service says by that it is ready, or 0. Changes are those of which
	// nobody was told, and Deaths the records that were not written (status.Death).
	Notify          int
	Changes, Deaths []byte
}

// The text of a will is one of lines, each a word and fields NAME=VALUE. Readers
// pass over words and names that they do not know; what cannot be passed over
// raises the version. All numbers are decimal, and what may hold any byte is in
// hexadecimal digits.
const (
	willHead    = "upkeep will "
	willVersion = 1
)

// ErrWill is the error for a text that is no will, or one of a version to come.
var ErrWill = errors.New("left by an unknown program")

// Append writes the will as text.
func (w *Will) Append(b []byte) []byte {
	b = append(b, willHead+strconv.Itoa(willVersion)+"\nscanner"...)
	b = appendFDs(b, field{"home", w.Home}, field{"socket", w.Socket})
	if w.ScanLock > 0 && w.ScanFIFO > 0 {
		b = appendFDs(append(b, "\ns6-svscan"...), field{"lock", w.ScanLock}, field{"control", w.ScanFIFO})
	}
	for _, fd := range w.Clients {
		b = appendFDs(append(b, "\nclient"...), field{"socket", fd})
	}
	for i := range w.Entries {
		e := &w.Entries[i]
		b = append(b, "\nentry"...)
		b = appendNumber(b, "dev", e.ID.Dev)
		b = appendNumber(b, "ino", e.ID.Ino)
		b = appendFDs(b, field{"read", e.Pipe[0]}, field{"write", e.Pipe[1]})
		b = appendNumber(b, "pipe", e.Inode)
		b = appendBytes(b, "name", []byte(e.Name))
		b = e.Main.append(b, "main")
		b = e.Log.append(b, "log")
	}
	for _, name := range w.Opening {
		b = appendBytes(append(b, "\nopening"...), "name", []byte(name))
	}
	return append(b, '\n')
}

// field is one that names a descriptor, or -1 for none.
type field struct {
	name string
	fd   int
}

func appendFDs(b []byte, all ...field) []byte {
	for _, f := range all {
		b = strconv.AppendInt(append(b, " "+f.name+"="...), int64(f.fd), 10)
	}
	return b
}

func appendNumber(b []byte, name string, n uint64) []byte {
	return strconv.AppendUint(append(b, " "+name+"="...), n, 10)
}

const digits = "0123456789abcdef"

func appendBytes(b []byte, name string, value []byte) []byte {
	b = append(b, " "+name+"="...)
	for _, c := range value {
		b = append(b, digits[c>>4], digits[c&15])
	}
	return b
}

// parseBytes is the inverse of the digits that appendBytes writes.
func parseBytes(s string) (b []byte, ok bool) {
	for ; len(s) >= 2; s = s[2:] {
		n, err := strconv.ParseUint(s[:2], 16, 8)
		if err != nil {
			return nil, false
		}
		b = append(b, byte(n))
	}
	return b, s == ""
}

func (u *Unit) append(b []byte, word string) []byte {
	if u == nil {
		return b
	}
	b = appendFDs(append(b, "\n"+word...), field{"dir", u.Dir}, field{"home", u.Home}, field{"theirs", u.Theirs},
		field{"lock", u.Lock}, field{"control", u.Control}, field{"ok", u.OK})
	b = appendBytes(b, "state", u.State.AppendState(nil))
	if p := u.Stranger; p != nil {
		b = appendFDs(b, field{"pid", int(p.PID)}, field{"pidfd", p.FD})
		b = appendNumber(b, "start", p.start)
	}
	if u.Ended {
		b = appendNumber(b, "end", uint64(uint32(u.End)))
	}
	if u.Notify > 0 {
		b = appendFDs(b, field{"notify", u.Notify})
	}
	if len(u.Changes)+len(u.Deaths) > 0 {
		b = appendBytes(b, "changes", u.Changes)
		b = appendBytes(b, "deaths", u.Deaths)
	}
	return b
}

// ParseWill reads the text of a will. The error is ErrWill, or says which line is
// wrong.
func ParseWill(b []byte) (*Will, error) {
	head, rest, _ := bytes.Cut(b, []byte("\n"))
	digits, ok := bytes.CutPrefix(head, []byte(willHead))
	if version, err := strconv.Atoi(string(digits)); !ok || err != nil || version < 1 || version > willVersion {
		return nil, ErrWill
	}
	w := &Will{Home: -1, Socket: -1}
	n := 1
	for line := range bytes.Lines(rest) {
		n++
		if err := w.line(bytes.TrimSuffix(line, []byte("\n"))); err != nil {
			return nil, fault.At("line "+strconv.Itoa(n), err)
		}
	}
	return w, w.distinct()
}

func (w *Will) line(b []byte) error {
	word, rest, _ := bytes.Cut(b, []byte(" "))
	f, err := parseFields(rest)
	if err != nil {
		return err
	}
	switch string(word) {
	case "scanner":
		w.Home, w.Socket = f.fd("home"), f.fd("socket")
	case "s6-svscan":
		w.ScanLock, w.ScanFIFO = f.fd("lock"), f.fd("control")
	case "client":
		if fd := f.fd("socket"); fd >= 0 {
			w.Clients = append(w.Clients, fd)
		}
	case "entry":
		w.Entries = append(w.Entries, Entry{
			ID:    servicedir.Identity{Dev: f.number("dev", math.MaxUint64), Ino: f.number("ino", math.MaxUint64)},
			Pipe:  [2]int{f.fd("read"), f.fd("write")},
			Inode: f.number("pipe", math.MaxUint64),
			Name:  string(f.bytes("name")),
		})
	case "opening":
		w.Opening = append(w.Opening, string(f.bytes("name")))
	case "main", "log":
		u := f.unit()
		if len(w.Entries) == 0 {
			return errors.New("service of no entry")
		}
		to := &w.Entries[len(w.Entries)-1].Main
		if string(word) == "log" {
			to = &w.Entries[len(w.Entries)-1].Log
		}
		if *to != nil {
			return errors.New("service twice")
		}
		*to = u
	}
	return f.err
}

func (f *fields) unit() *Unit {
	u := &Unit{
		Dir: f.fd("dir"), Home: f.fd("home"), Theirs: f.fd("theirs"),
		Lock: f.fd("lock"), Control: f.fd("control"), OK: f.fd("ok"),
	}
	state, err := supervise.DecodeState(f.bytes("state"))
	if err != nil && f.err == nil {
		f.err = err
	}
	u.State = state
	if f.has("pid") {
		u.Stranger = &Process{
			PID: int32(f.number("pid", math.MaxInt32)), FD: f.fd("pidfd"), start: f.number("start", math.MaxUint64),
		}
	}
	if u.Ended = f.has("end"); u.Ended {
		u.End = supervise.WaitStatus(f.number("end", math.MaxUint32))
	}
	if f.has("notify") {
		u.Notify = f.fd("notify")
	}
	if f.has("changes") {
		u.Changes = f.bytes("changes")
	}
	if f.has("deaths") {
		u.Deaths = f.bytes("deaths")
	}
	if u.Dir < 0 || u.Lock < 0 || u.Control < 0 {
		f.fail("dir")
	}
	return u
}

// Keep is the directory with what was left open.
func (u *Unit) Keep() *servicedir.Dir {
	d := servicedir.New(u.Dir)
	d.Theirs, d.Lock, d.Control, d.OK = u.Theirs, u.Lock, u.Control, u.OK
	if u.Home >= 0 {
		d.Home = u.Home
	}
	return d
}

// Leave is what there is to be left of a directory, but for OK, which may change.
func Leave(d *servicedir.Dir) *Unit {
	u := &Unit{Dir: d.FD, Home: -1, Theirs: d.Theirs, Lock: d.Lock, Control: d.Control, OK: -1}
	if d.Home != d.FD {
		u.Home = d.Home
	}
	return u
}

// Descriptors are all that the will names.
func (w *Will) Descriptors() (list []int) {
	add := func(fds ...int) {
		for _, fd := range fds {
			if fd >= 0 {
				list = append(list, fd)
			}
		}
	}
	add(w.Home, w.Socket)
	if w.ScanLock > 0 && w.ScanFIFO > 0 {
		add(w.ScanLock, w.ScanFIFO)
	}
	add(w.Clients...)
	for i := range w.Entries {
		e := &w.Entries[i]
		add(e.Pipe[:]...)
		for _, u := range []*Unit{e.Main, e.Log} {
			if u != nil {
				add(u.Dir, u.Home, u.Theirs, u.Lock, u.Control, u.OK)
				if u.Notify > 0 {
					add(u.Notify)
				}
				if u.Stranger != nil {
					add(u.Stranger.FD)
				}
			}
		}
	}
	return list
}

// distinct finds the fault of a will that names a descriptor twice.
func (w *Will) distinct() error {
	seen := make(map[int]bool)
	for _, fd := range w.Descriptors() {
		if seen[fd] {
			return errors.New("descriptor " + strconv.Itoa(fd) + " twice")
		}
		seen[fd] = true
	}
	return nil
}

// fields are those of a line; the first fault is kept.
type fields struct {
	values map[string][]byte
	err    error
}

func parseFields(b []byte) (*fields, error) {
	f := &fields{values: make(map[string][]byte)}
	for _, word := range bytes.Fields(b) {
		name, value, ok := bytes.Cut(word, []byte("="))
		if !ok {
			return nil, errors.New("not a field: " + strconv.Quote(string(word)))
		}
		f.values[string(name)] = value
	}
	return f, nil
}

func (f *fields) fail(name string) {
	if f.err == nil {
		f.err = errors.New(name + ": " + strconv.Quote(string(f.values[name])))
	}
}

func (f *fields) has(name string) bool { return f.values[name] != nil }

func (f *fields) number(name string, most uint64) uint64 {
	n, err := strconv.ParseUint(string(f.values[name]), 10, 64)
	if err != nil || n > most {
		f.fail(name)
	}
	return n
}

// fd is a descriptor, or -1 if there is no such field.
func (f *fields) fd(name string) int {
	if !f.has(name) {
		return -1
	}
	n, err := strconv.Atoi(string(f.values[name]))
	if err != nil || n < -1 || n <= 2 && n >= 0 || n > math.MaxInt32 {
		f.fail(name)
	}
	return n
}

func (f *fields) bytes(name string) []byte {
	b, ok := parseBytes(string(f.values[name]))
	if !ok {
		f.fail(name)
	}
	return b
}

// Leave writes the will into memory that only a descriptor names, which an exec
// keeps.
func (w *Will) Leave() (fd int, err error) {
	fd, err = unix.MemfdCreate("upkeep", unix.MFD_CLOEXEC)
	if err != nil {
		return -1, fault.At("unable to create memfd", err)
	}
	for b := w.Append(nil); len(b) > 0; {
		n, err := unix.Write(fd, b)
		if err != nil {
			unix.Close(fd)
			return -1, fault.At("unable to write to memfd", err)
		}
		b = b[n:]
	}
	if _, err := unix.Seek(fd, 0, io.SeekStart); err != nil {
		unix.Close(fd)
		return -1, fault.At("unable to rewind memfd", err)
	}
	return fd, nil
}

// Read reads the will that was left in fd, which it closes.
func Read(fd int) (*Will, error) {
	f := os.NewFile(uintptr(fd), "will")
	if f == nil {
		return nil, unix.EBADF
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	return ParseWill(b)
}
