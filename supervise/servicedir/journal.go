package servicedir

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
)

// The journal is what a later supervisor needs to take a service over: in the
// lock file, which everybody has and nobody else writes to, so that it costs
// neither a file nor a descriptor, and is there before any process.
//
//	  0 header: magic, version; boot id; pid namespace; the directory's identity;
//	    when the machine was booted
//	 64 mark: the last process that was started, written by that process itself
//	    before it executes anything
//	128 state: the machine, as supervise.AppendState saves it
//
// Each part is written by one pwrite(2) within a page, which a SIGKILL does not
// cut in two, and has a checksum of its own. Integers are in host order.
const (
	headerSize  = 64
	MarkAt      = 64
	stateAt     = 128
	stateSize   = 8 + supervise.StateSize
	journalSize = stateAt + stateSize

	journalMagic   = "upkeep"
	versionAt      = len(journalMagic)
	journalVersion = 1

	bootAt  = 8
	pidsAt  = 24
	dirAt   = 32
	beganAt = 48
	sumAt   = 56
)

// World is what makes a pid mean the same process: the boot and the pid
// namespace.
type World struct {
	Boot [16]byte // zero where it cannot be found out
	PIDs uint64   // inode of the namespace, or 0
	// Began is when the machine was booted, in nanoseconds of CLOCK_REALTIME. It
	// is another when the clock was set, so it only counts where Boot is not known.
	Began int64
}

// Mark is the journal's note of a process, as eight words. The
// process itself fills in MarkPID, MarkAfter, MarkHandle and MarkSum, so the
// words are laid out for somebody who has nothing but registers.
type Mark [8]uint64

// Indices of a Mark's words.
const (
	MarkLife   = iota // low half: Action.Life; then the Script, and MarkLeaf or MarkGroup
	MarkPID           // the process
	MarkBefore        // CLOCK_BOOTTIME before it was made, in nanoseconds
	MarkAfter         // the same when it was there
	MarkHandle        // inode of its pidfd where that is unique (Linux 6.9), or 0
	MarkStdin         // inode of the pipe it reads from, or 0
	MarkStdout        // inode of the pipe it writes to, or 0
	MarkSum           // makes the exclusive or of all MarkSalt
)

// Flags in MarkLife: nothing that the process forked is to outlive it.
const (
	MarkLeaf  = 1 << 40 // it is in a cgroup of its own, which is killed
	MarkGroup = 1 << 41 // it leads a process group, which is killed
)

// MarkSalt is the exclusive or of all words of a valid Mark.
const MarkSalt = 0x6b7261_6d70756b65

// Life is which start of its service the process came of.
func (m *Mark) Life() uint32 { return uint32(m[MarkLife]) }

// Leaf and Group tell how it is seen to that nothing outlives the process.
func (m *Mark) Leaf() bool  { return m[MarkLife]&MarkLeaf != 0 }
func (m *Mark) Group() bool { return m[MarkLife]&MarkGroup != 0 }

// Script is what it runs.
func (m *Mark) Script() supervise.Script { return supervise.Script(m[MarkLife] >> 32) }

// PID is the process.
func (m *Mark) PID() int32 { return int32(m[MarkPID]) }

// Seal makes the mark a valid one.
func (m *Mark) Seal() {
	m[MarkSum] = 0
	m[MarkSum] = MarkSalt ^ m.xor()
}

func (m *Mark) xor() (x uint64) {
	for _, w := range m {
		x ^= w
	}
	return x
}

func (m *Mark) valid() bool {
	return m.xor() == MarkSalt && m[MarkPID]-1 < 1<<31-1 &&
		m.Script() > supervise.ScriptNone && m.Script() < supervise.Scripts
}

// Journal is what a former supervisor left behind.
type Journal struct {
	Mark  Mark              // zero if no process was ever started
	State supervise.Machine // the zero Machine if none was saved
}

// ErrNotOurs: no journal can be kept, since the lock file belongs to somebody else,
// who could make us believe anything, or is shared with another name.
var ErrNotOurs = errors.New("lock file is not ours alone")

// Peek reads the journal of the service directory fd without taking its lock. It
// is nil if there is none to be believed.
func Peek(fd int, w World) *Journal { return peek(fd, fd, w) }

func peek(home, def int, w World) *Journal {
	lock, err := unix.Openat(home, StateDirIn(home)+"/lock", unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(lock)
	j, _ := readJournal(home, def, lock, w)
	return j
}

// Recall reads the journal and makes it ready for this life: what was of another
// boot, or of another directory, is wiped out. j is nil if there was nothing to be
// believed. After ErrNotOurs and EACCES no journal is kept. A StepError
// means that there may be one, which could not be read. Otherwise it could not be
// written, and SaveState tries again.
func (d *Dir) Recall(w World) (j *Journal, err error) {
	if d.unreadable {
		return nil, unix.EACCES
	}
	j, err = readJournal(d.Home, d.FD, d.Lock, w)
	switch err {
	case nil:
	case ErrNotOurs:
		return nil, err
	default:
		return nil, &StepError{"read", d.in("lock"), err}
	}
	d.journal, d.world, d.begun = true, w, true
	if j == nil {
		err = d.resetJournal()
	}
	return j, err
}

// Journals tells whether a journal is kept.
func (d *Dir) Journals() bool { return d.journal }

// ownLock tells whether the open lock file is one that only we can have written.
func ownLock(dir, lock int, st *unix.Stat_t) bool {
	var named unix.Stat_t
	return unix.Fstat(lock, st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Nlink == 1 &&
		st.Mode&0o022 == 0 && int(st.Uid) == unix.Geteuid() &&
		unix.Fstatat(dir, StateDirIn(dir)+"/lock", &named, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		IdentityOf(st) == IdentityOf(&named)
}

// readJournal reads the journal in an open lock file below home, which is about the
// service directory def. If that is -1, it may be about any.
func readJournal(home, def, lock int, w World) (*Journal, error) {
	var st unix.Stat_t
	if !ownLock(home, lock, &st) {
		return nil, ErrNotOurs
	}
	if st.Size < headerSize {
		return nil, nil
	}
	var b [journalSize]byte
	n, err := unix.Pread(lock, b[:], 0)
	if err != nil {
		return nil, err
	}
	want, err := header(def, w)
	if err != nil {
		return nil, err
	}
	j := parseJournal(b[:n])
	if !j.holds(b[:headerSize], want[:], def < 0) {
		return nil, nil
	}
	return j, nil
}

// holds tells whether a journal with that header is one of this directory, unless it
// may be any, boot and pid namespace, of which want is the header. Of whatever version
// it is, the mark says the same.
func (j *Journal) holds(head, want []byte, any bool) bool {
	o := binary.NativeEndian
	same := func(from, to int) bool { return string(head[from:to]) == string(want[from:to]) }
	unknown := func(from, to int) bool {
		none := string(make([]byte, to-from))
		return string(head[from:to]) == none || string(want[from:to]) == none
	}
	switch {
	case !same(0, versionAt), !any && !same(dirAt, beganAt), o.Uint64(head[sumAt:]) != sum(head[bootAt:sumAt]):
		return false
	case !same(pidsAt, dirAt) && !unknown(pidsAt, dirAt):
		return false
	case !unknown(bootAt, pidsAt):
		return same(bootAt, pidsAt)
	}
	// What was started before the machine was booted, or so long after as it has
	// not been running yet, was in another boot.
	const slack = 1e9
	age := int64(o.Uint64(want[beganAt:]) - o.Uint64(head[beganAt:]))
	var now unix.Timespec
	return age < int64(j.Mark[MarkAfter])+slack &&
		unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) == nil && int64(j.Mark[MarkAfter]) <= now.Nano()
}

// parseJournal reads what follows a header that was found right. Parts that make
// no sense are as if they were not there.
func parseJournal(b []byte) *Journal {
	j := new(Journal)
	o := binary.NativeEndian
	if len(b) >= MarkAt+8*len(j.Mark) {
		for i := range j.Mark {
			j.Mark[i] = o.Uint64(b[MarkAt+8*i:])
		}
		if !j.Mark.valid() {
			j.Mark = Mark{}
		}
	}
	if len(b) >= journalSize && o.Uint64(b[stateAt:]) == sum(b[stateAt+8:journalSize]) {
		j.State, _ = supervise.DecodeState(b[stateAt+8 : journalSize])
	}
	return j
}

func sum(b []byte) uint64 {
	d := NewDigest()
	d.Add(b)
	return uint64(d)
}

// Digest is FNV-1a of what was added.
type Digest uint64

// NewDigest is that of nothing.
func NewDigest() Digest { return 14695981039346656037 }

// Add appends bytes.
func (d *Digest) Add(b []byte) {
	h := uint64(*d)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	*d = Digest(h)
}

// header is the one that is right for a service directory here and now.
func header(dir int, w World) (h [headerSize]byte, err error) {
	var st unix.Stat_t
	if dir >= 0 {
		if err := unix.Fstat(dir, &st); err != nil {
			return h, err
		}
	}
	o := binary.NativeEndian
	copy(h[:], journalMagic)
	o.PutUint16(h[versionAt:], journalVersion)
	copy(h[bootAt:], w.Boot[:])
	o.PutUint64(h[pidsAt:], w.PIDs)
	o.PutUint64(h[dirAt:], uint64(st.Dev))
	o.PutUint64(h[dirAt+8:], st.Ino)
	o.PutUint64(h[beganAt:], uint64(w.Began))
	o.PutUint64(h[sumAt:], sum(h[bootAt:sumAt]))
	return h, nil
}

func (d *Dir) resetJournal() error {
	h, err := header(d.FD, d.world)
	if err != nil {
		return err
	}
	var b [journalSize]byte
	copy(b[:], h[:])
	err = pwrite(d.Lock, b[:], 0)
	d.begun = err == nil
	return err
}

// SaveState notes the state of the service, and Forget that there is nothing to
// take over any more. Neither does anything where no journal is kept. A process
// that could not write its mark, since the journal could not be begun, is what late
// finds out about.
func (d *Dir) SaveState(m *supervise.Machine, late func(pid int32, mark *Mark) bool) error {
	if !d.journal {
		return nil
	}
	if !d.begun {
		if err := d.resetJournal(); err != nil {
			return err
		}
		var mark Mark
		if m.PID != 0 && late(m.PID, &mark) {
			mark[MarkLife] = uint64(m.Script)<<32 | uint64(m.Life)
			mark.Seal()
			var b []byte
			for _, w := range mark {
				b = binary.NativeEndian.AppendUint64(b, w)
			}
			if err := pwrite(d.Lock, b, MarkAt); err != nil {
				d.begun = false
				return err
			}
		}
	}
	var buf [stateSize]byte
	b := m.AppendState(buf[:8])
	binary.NativeEndian.PutUint64(b, sum(b[8:]))
	return pwrite(d.Lock, b, stateAt)
}

// Forget is described with SaveState.
func (d *Dir) Forget() error {
	if !d.begun {
		return nil
	}
	var none [journalSize - MarkAt]byte
	return pwrite(d.Lock, none[:], MarkAt)
}

func pwrite(fd int, b []byte, at int64) error {
	for {
		n, err := unix.Pwrite(fd, b, at)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err
		case n < len(b):
			return unix.ENOSPC
		default:
			return nil
		}
	}
}
