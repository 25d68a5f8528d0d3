package svscan

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/servicedir"
	"upkeep/svscan/internal/keeper"
	"upkeep/svscan/internal/listen"
	"upkeep/svscan/internal/spawn"
)

// sockets are those that the file listen of a service directory names. They are open from
// the first start of the service on, for as long as the directory is supervised: who
// connects while the service is down waits for it. They belong to the entry and not to the
// unit, and the keeper has them as well.
//
// Unless said otherwise it belongs to who does the unit's disk jobs.
type sockets struct {
	fault  string         // what was said
	passed *spawn.Sockets // the list, for the next start

	mu      sync.Mutex
	list    []socket
	voices  [2]*voice // of the service and of its log service
	counted int       // descriptors that the scanner has put aside for them; its own
}

type socket struct {
	listen.Socket
	fd   int
	node listen.Node
}

// socketsAt is where the sockets of the unit are.
func (u *unit) socketsAt() *atomic.Pointer[sockets] {
	if u.entry == nil {
		return &u.k.sockets
	}
	return &u.entry.sockets
}

// needSockets is called when there is a file listen.
func (u *unit) needSockets() {
	at := u.socketsAt()
	if at.Load() == nil {
		at.Store(new(sockets))
	}
	u.hasSockets()
}

// hasSockets has the unit know of its sockets.
func (u *unit) hasSockets() *sockets {
	x := u.socketsAt().Load()
	u.mu.Lock()
	u.sockets = x
	u.mu.Unlock()
	return x
}

// takeSockets opens what there is to be opened for the start of run that is under way. If
// it is false, the start has failed.
func (u *unit) takeSockets() bool {
	u.request.Sockets = nil
	x := u.hasSockets()
	if x == nil {
		return true
	}
	text, ok, err := servicedir.Listen(u.dir.FD)
	if !ok {
		u.dropSockets()
		return true
	}
	var wanted []listen.Socket
	if err == nil {
		wanted, err = listen.Parse(text)
	}
	if err == nil && u.request.Lock != nil && u.request.Lock.At >= listen.First && u.request.Lock.At < listen.First+len(wanted) {
		err = errors.New("lock-fd is the number of a socket")
	}
	if err == nil && listen.First+len(wanted) > u.k.fdLimit {
		err = unix.EMFILE
	}
	if err != nil {
		u.refuseSockets(x, "use", u.name()+"/"+servicedir.ListenName, err)
		return false
	}
	if !u.openSockets(x, wanted) {
		return false
	}
	u.request.Sockets = x.passed
	x.fault = ""
	return true
}

// openSockets has the list be what is wanted, in that order.
func (u *unit) openSockets(x *sockets, wanted []listen.Socket) bool {
	x.mu.Lock()
	old := x.list
	x.mu.Unlock()
	same := x.passed != nil && len(old) == len(wanted)
	for i := range wanted {
		same = same && old[i].Text == wanted[i].Text
	}
	if same {
		return true
	}
	left := append([]socket(nil), old...)
	have := make([]int, len(wanted))
	for i := range wanted {
		have[i] = take(&left, wanted[i].Text)
	}
	// The scanner makes copies of what is in the list.
	x.setList(nil)
	closeSockets(left) // first: they may be in the way of the others
	list := make([]socket, 0, len(wanted))
	var failed error
	object := ""
	for i, fd := range have {
		var err error
		if fd < 0 {
			fd, err = wanted[i].Open()
		}
		if err != nil {
			object, failed = wanted[i].Text+" for "+u.name(), err
			continue
		}
		list = append(list, socket{wanted[i], fd, wanted[i].Node()})
	}
	var fds []int
	var names []string
	for i := range list {
		fds, names = append(fds, list[i].fd), append(names, list[i].Name)
	}
	x.passed = nil
	if failed == nil {
		object = u.name() + "/" + servicedir.ListenName
		x.passed, failed = u.k.spawner.Sockets(fds, names)
	}
	x.setList(list)
	if u.entry != nil {
		u.entry.scanner.post(message{kind: msgKeep, unit: u})
	}
	if failed != nil {
		u.refuseSockets(x, "listen on", object, failed)
	}
	return failed == nil
}

func (x *sockets) setList(list []socket) {
	x.mu.Lock()
	x.list = list
	x.mu.Unlock()
}

// take removes the socket of a text from a list; it is -1 if it is not there.
func take(list *[]socket, text string) int {
	for i, s := range *list {
		if s.Text == text {
			*list = append((*list)[:i], (*list)[i+1:]...)
			return s.fd
		}
	}
	return -1
}

func closeSockets(list []socket) {
	for i := range list {
		unix.Close(list[i].fd)
		list[i].Remove(list[i].node)
	}
}

// refuseSockets answers a start that cannot have them, and says why, once until it is
// something else.
func (u *unit) refuseSockets(x *sockets, verb, object string, err error) {
	if text := verb + object + err.Error(); x.fault != text {
		x.fault = text
		u.k.report(Warning, u.name(), verb, object, err)
	}
	u.notStarted(nil, false, time.Now())
}

// dropSockets closes them, as when the file is there no more.
func (u *unit) dropSockets() {
	x := u.socketsAt().Load()
	x.closeList()
	u.mu.Lock()
	u.sockets = nil
	u.mu.Unlock()
	if u.entry != nil {
		u.entry.scanner.post(message{kind: msgKeep, unit: u})
	}
}

func (x *sockets) close() {
	x.closeList()
	x.mu.Lock()
	voices := x.voices
	x.voices = [2]*voice{}
	x.mu.Unlock()
	for _, v := range voices {
		v.close()
	}
}

func (x *sockets) closeList() {
	x.mu.Lock()
	list := x.list
	x.list = nil
	x.mu.Unlock()
	x.passed = nil
	closeSockets(list)
}

// copies are duplicates of the sockets, which the caller closes.
func (x *sockets) copies() (all []keeper.Socket) {
	x.mu.Lock()
	defer x.mu.Unlock()
	add := func(text string, fd int) {
		if fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err == nil {
			all = append(all, keeper.Socket{Text: text, FD: fd})
		}
	}
	for i := range x.list {
		add(x.list[i].Text, x.list[i].fd)
	}
	for i, v := range x.voices {
		if v != nil {
			add([...]string{keptVoice, keptLogVoice}[i]+v.Text, v.fd)
		}
	}
	return all
}

// count is how many there are. x.mu is held.
func (x *sockets) count() int {
	n := len(x.list)
	for _, v := range x.voices {
		if v != nil {
			n++
		}
	}
	return n
}

// keepSockets has the keeper hold the sockets of an entry.
func (s *Scanner) keepSockets(e *entry) {
	x := e.sockets.Load()
	if x == nil {
		return
	}
	x.mu.Lock()
	n := x.count()
	x.mu.Unlock()
	s.promised += n - x.counted
	x.counted = n
	if n > 0 {
		s.needKeeper()
	}
	s.handSockets(e)
}

func (s *Scanner) handSockets(e *entry) {
	x, c := e.sockets.Load(), s.k.keeper.Load()
	if x == nil || c == nil {
		return
	}
	all := x.copies()
	err := c.Sockets(e.id, all)
	for _, s := range all {
		unix.Close(s.FD)
	}
	if err != nil {
		c.Close() // and there will be another
	}
}

// keptSockets takes the sockets of an entry from what the keeper has. What the service
// wants of them is found out when it starts.
func (s *Scanner) keptSockets(e *entry) {
	kept, ok := s.keeping.kept[e.id]
	if !ok || kept.Sockets == nil {
		return
	}
	x := new(sockets)
	for _, k := range kept.Sockets {
		fd, err := listen.High(k.FD)
		unix.Close(k.FD)
		text, voice := strings.CutPrefix(k.Text, keptVoice)
		at := &x.voices[0]
		if rest, ok := strings.CutPrefix(text, keptLogVoice); ok {
			text, voice, at = rest, true, &x.voices[1]
		}
		parsed, fault := listen.Parse(text)
		if err == nil && fault == nil && len(parsed) == 1 && voice {
			*at, _ = newVoice(s.k, &parsed[0], fd) // of one that works already
		} else if err == nil && fault == nil && len(parsed) == 1 {
			x.list = append(x.list, socket{parsed[0], fd, parsed[0].Node()})
		} else if err == nil {
			unix.Close(fd)
		}
	}
	kept.Sockets = nil
	s.keeping.kept[e.id] = kept
	x.counted = x.count()
	s.promised += x.counted
	e.sockets.Store(x)
}

// closeSockets gives up what the entry listens on.
func (e *entry) closeSockets() {
	x := e.sockets.Swap(nil)
	if x == nil {
		return
	}
	x.close()
	e.scanner.promised -= x.counted
	_ = e.scanner.k.keeper.Load().Sockets(e.id, nil)
}
