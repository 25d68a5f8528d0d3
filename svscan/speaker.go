package svscan

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
	"upkeep/supervise/servicedir"
	"upkeep/svscan/internal/handoff"
	"upkeep/svscan/internal/listen"
	"upkeep/svscan/internal/notify"
	"upkeep/svscan/internal/spawn"
)

// A service with a file notify-socket tells of itself as sd_notify(3) does. Its socket is
// abstract, since services may run as any user, unless the file names a path.

// voice is such a socket. It belongs to the entry, and the keeper has it as well: what is
// sent while there is no scanner waits in it, and its name stays the same.
type voice struct {
	socket
	k *kernel

	mu   sync.Mutex // for fd, which is -1 when it is closed, and:
	hold bool       // a start is under way: what comes may be of the next process
}

// speaker is what a unit knows of who speaks. Unless said otherwise it is under the
// unit's mu.
type speaker struct {
	fault string // what was said; of who does the unit's disk jobs

	voice    *voice // nil: none yet
	life     uint32
	answered bool   // the start is not under way any more
	leaf     string // the name of the cgroup that it is in
	reading  bool   // somebody does
	more     bool   // and has to look again
	late     bool   // and then tell that a sign of life is overdue
	refused  bool   // somebody who has nothing to say, and that was said
	main     int32  // the process that it calls the main one, or 0
	start    uint64 // of that
	status   string
	said     bool // status is not written yet
}

// notifyToken is the pump's token for that of the unit in the low half.
const notifyToken = 256 << 32

const (
	// voicePrefix begins the names of abstract sockets.
	voicePrefix = "unix-dgram:@upkeep/"
	// keptVoice and keptLogVoice are how the keeper knows it.
	keptVoice    = "notify "
	keptLogVoice = "notify-log "
)

// needSpeaker is that there is a file notify-socket.
func (u *unit) needSpeaker() *speaker {
	x := u.extend()
	u.mu.Lock()
	if x.speaker == nil {
		x.speaker = new(speaker)
	}
	n := x.speaker
	u.mu.Unlock()
	return n
}

// speaker is nil where there is none. u.mu is held.
func (u *unit) speaker() *speaker {
	if u.ext == nil {
		return nil
	}
	return u.ext.speaker
}

func (u *unit) hasSpeaker() *speaker {
	u.mu.Lock()
	n := u.speaker()
	u.mu.Unlock()
	return n
}

// dropSpeaker is for a unit that has no more use for it.
func (u *unit) dropSpeaker() {
	u.mu.Lock()
	n := u.speaker()
	if n != nil {
		u.ext.speaker = nil
	}
	u.mu.Unlock()
	if n != nil && n.voice != nil {
		n.voice.deaf()
	}
}

// voiceAt is where the voice of the unit is, in the sockets of its entry.
func (u *unit) voiceAt(x *sockets) **voice {
	if u.log {
		return &x.voices[1]
	}
	return &x.voices[0]
}

// voice is the unit's, or nil.
func (u *unit) voice() *voice {
	x := u.socketsAt().Load()
	if x == nil {
		return nil
	}
	x.mu.Lock()
	v := *u.voiceAt(x)
	x.mu.Unlock()
	return v
}

// setVoice has v, or nil, be the unit's in the place of another, which it closes.
func (u *unit) setVoice(v *voice) {
	at := u.socketsAt()
	if v != nil && at.Load() == nil {
		at.Store(new(sockets))
	}
	x := at.Load()
	if x == nil {
		return
	}
	x.mu.Lock()
	old := *u.voiceAt(x)
	*u.voiceAt(x) = v
	x.mu.Unlock()
	old.close()
	if u.entry != nil && old != v {
		u.entry.scanner.post(message{kind: msgKeep, unit: u})
	}
}

// newVoice has a descriptor be read from where the service speaks, once it is not held any
// more.
func newVoice(k *kernel, s *listen.Socket, fd int) (*voice, error) {
	err := unix.SetNonblock(fd, true)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &voice{socket: socket{*s, fd, s.Node()}, k: k, hold: true}, nil
}

func (v *voice) close() {
	if v == nil {
		return
	}
	v.mu.Lock()
	v.k.pump.Remove(v.fd)
	closeSockets([]socket{v.socket})
	v.fd = -1
	v.mu.Unlock()
}

// openVoice opens what the file says, which is empty where any will do.
func (k *kernel) openVoice(where string) (*voice, error) {
	for tries := 0; ; tries++ {
		text := "unix-dgram:" + where
		if where == "" {
			text = voicePrefix + randomName()
		}
		list, err := listen.Parse(text)
		if err == nil && (len(list) != 1 || list[0].Type != unix.SOCK_DGRAM || list[0].Path == "") {
			err = errors.New("not the path of a socket")
		}
		if err != nil {
			return nil, rootCause(err)
		}
		fd, err := list[0].Open()
		if err == unix.EADDRINUSE && where == "" && tries < 3 {
			continue // somebody has been there first
		}
		if err != nil {
			return nil, err
		}
		return newVoice(k, &list[0], fd)
	}
}

// randomName is one that nobody guesses beforehand.
func randomName() string {
	b := make([]byte, 16)
	_, _, _ = unix.Syscall(unix.SYS_GETRANDOM, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.GRND_NONBLOCK)
	for i := range b { // if that has failed, another name is tried
		b[i] = 'a' + b[i]&15
	}
	return string(b)
}

// offerVoice makes the socket for the start of run that is under way, and forgets what was
// said before. If it is false, the start has failed.
func (u *unit) offerVoice() bool {
	n := u.hasSpeaker()
	if n == nil {
		return true
	}
	where, ok, err := servicedir.NotifySocket(u.dir.FD)
	if !ok {
		u.dropSpeaker()
		u.setVoice(nil)
		_ = servicedir.WriteSaid(u.dir.Home, "")
		return true
	}
	v := u.voice()
	if err == nil && (v == nil || v.Text != "unix-dgram:"+where && (where != "" || !strings.HasPrefix(v.Text, voicePrefix))) {
		u.setVoice(nil) // which may be in the way
		if v, err = u.k.openVoice(where); err == nil {
			u.setVoice(v)
		}
	}
	var vars *spawn.Vars
	if err == nil {
		socket := "NOTIFY_SOCKET=" + v.Path
		if period := u.Policy().WatchdogFor; period > 0 {
			vars, err = spawn.NewVars("WATCHDOG_PID", "WATCHDOG_USEC="+strconv.FormatInt(int64(period/time.Microsecond), 10), socket)
		} else {
			vars, err = spawn.NewVars("", socket)
		}
	}
	if err != nil {
		if text := err.Error(); n.fault != text {
			n.fault = text
			u.k.report(Warning, u.name(), "use", u.name()+"/"+servicedir.NotifyName, err)
		}
		u.notStarted(nil, false, time.Now())
		return false
	}
	n.fault = ""
	v.silence()
	_ = servicedir.WriteSaid(u.dir.Home, "")
	leaf := u.leafName()
	u.mu.Lock()
	n.voice, n.life, n.answered, n.leaf = v, uint32(u.request.Mark[servicedir.MarkLife]), false, leaf
	n.main, n.said, n.status = 0, n.status != "", ""
	u.mu.Unlock()
	u.request.Vars = vars
	return true
}

// deaf has nobody listen until heed.
func (v *voice) deaf() {
	v.mu.Lock()
	v.hold = true
	v.mu.Unlock()
}

// leafName is that of the cgroup that the process is in, or empty.
func (u *unit) leafName() string {
	if c := u.hasCage(); c != nil && c.leaf != nil {
		return c.leaf.Name
	}
	return ""
}

// silence has nobody listen until heed, and drops what was said.
func (v *voice) silence() {
	v.deaf()
	for {
		if _, err := unix.Read(v.fd, make([]byte, 1)); err != nil && err != unix.EINTR {
			return
		}
	}
}

// heed listens, once the machine knows of the process that speaks.
func (u *unit) heed() {
	u.mu.Lock()
	n, m := u.speaker(), &u.state
	if n == nil || n.voice == nil || !n.answered || int32(m.Life-n.life) < 0 || m.Asked && m.Life == n.life {
		u.mu.Unlock()
		return
	}
	v := n.voice
	u.mu.Unlock()
	v.mu.Lock()
	if v.hold && v.fd >= 0 {
		v.hold = u.k.pump.Again(v.fd, notifyToken|uint64(u.token)) != nil
	}
	v.mu.Unlock()
}

// hear is the pump's: the service says something; or (late) that of a timer: it does not.
// What it says is looked at by a goroutine of its own, since that looks at processes.
func (u *unit) hear(late bool) {
	u.mu.Lock()
	if n := u.speaker(); n != nil && n.voice != nil {
		n.more, n.late = true, n.late || late
		if !n.reading {
			n.reading = true
			go u.listenTo(n) // until there is nothing more
		}
	}
	u.mu.Unlock()
}

func (u *unit) listenTo(n *speaker) {
	defer func() {
		if r := recover(); r != nil {
			u.Panicked(r)
			u.Break()
		}
	}()
	for {
		u.mu.Lock()
		v, late, more := n.voice, n.late, n.more
		n.late, n.more, n.reading = false, false, more
		u.mu.Unlock()
		if !more {
			return
		}
		for u.listenOnce(n, v) {
		}
		if late {
			u.Append(supervise.Event{Kind: supervise.EvTimer, Timer: supervise.TimerWatchdog, At: u.Now()})
			u.Proceed()
		}
	}
}

// listenOnce takes a message, unless there is none. An upgrade waits for it, since nobody
// else would get it any more.
func (u *unit) listenOnce(n *speaker, v *voice) bool {
	u.k.logs.enter()
	defer u.k.logs.leave()
	b := make([]byte, notify.MessageSize+1)
	who, size, err := v.receive(b)
	if err != nil {
		return err == unix.EINTR
	}
	u.mu.Lock()
	pid, life, said := u.state.PID, u.state.Life, u.ext.speaker == n && n.life == u.state.Life
	said = said && runs(&u.state) && u.state.Script == supervise.ScriptRun
	heads := []int32{pid, n.main}
	start, leaf := n.start, n.leaf
	u.mu.Unlock()
	m, ok := notify.ParseMessage(b[:size])
	if !ok || !said {
		return true
	}
	if k, err := handoff.KinOf(heads[1]); heads[1] == 0 || err != nil || k.Start != start {
		heads = heads[:1]
	}
	if !u.may(who, heads, leaf, v.Path) {
		u.mu.Lock()
		refused := n.refused
		n.refused = true
		u.mu.Unlock()
		if !refused {
			u.k.report(Warning, u.name(), "process "+strconv.Itoa(int(who.Pid))+" of user "+strconv.Itoa(int(who.Uid))+
				" is not of "+u.name()+", ignoring what it says", "", nil)
		}
		return true
	}
	u.obey(n, &m, heads, leaf, life)
	return true
}

// receive takes a message and who sent it. There is no room for descriptors, so the kernel
// closes those that come with it: also the one of a BARRIER, when all before it was taken.
func (v *voice) receive(b []byte) (who unix.Ucred, n int, err error) {
	var oob struct {
		unix.Cmsghdr
		unix.Ucred
	}
	room := unsafe.Slice((*byte)(unsafe.Pointer(&oob)), unsafe.Sizeof(oob))
	v.mu.Lock()
	err = unix.EAGAIN
	if !v.hold && v.fd >= 0 {
		n, _, _, _, err = unix.Recvmsg(v.fd, b, room, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	}
	v.mu.Unlock()
	if oob.Type == unix.SCM_CREDENTIALS {
		who = oob.Ucred
	}
	return who, n, err
}

// may tells whether a process speaks for the service. One whose parents have ended is known
// by its cgroup, or the name of the socket in its environment; of one that has ended itself
// there is only the user, which is believed of root and the user that the service has: these
// can do worse to it.
func (u *unit) may(who unix.Ucred, heads []int32, leaf, path string) bool {
	if who.Pid <= 0 {
		return false
	}
	yes, gone := handoff.Belongs(who.Pid, heads, handoff.KinOf)
	if yes || leaf != "" && handoff.InCgroup(who.Pid, leaf) {
		return true
	}
	if who.Uid != 0 && int(who.Uid) != handoff.UserOf(heads[0]) {
		return false
	}
	return gone || handoff.Variable(who.Pid, "NOTIFY_SOCKET") == path
}

// obey does what was said by a process of start life.
func (u *unit) obey(n *speaker, m *notify.Message, heads []int32, leaf string, life uint32) {
	post := func(kind supervise.EventKind, flag bool, mood supervise.Mood, after time.Duration) {
		u.Append(supervise.Event{Kind: kind, Flag: flag, Byte: byte(mood), After: after, Life: life, At: u.Now()})
	}
	if m.MainPID > 0 {
		k, err := handoff.KinOf(m.MainPID)
		yes, _ := handoff.Belongs(m.MainPID, heads, handoff.KinOf)
		if err == nil && (yes || leaf != "" && handoff.InCgroup(m.MainPID, leaf)) {
			u.mu.Lock()
			if n.main, n.start = m.MainPID, k.Start; n.main == heads[0] {
				n.main = 0 // as it is anyway
			}
			u.mu.Unlock()
		}
	}
	if m.HasPeriod {
		post(supervise.EvPeriod, false, 0, m.Period)
	}
	if m.Extend > 0 {
		post(supervise.EvExtend, false, 0, m.Extend)
	}
	switch m.State {
	case notify.StateReady:
		post(supervise.EvReady, false, 0, 0)
	case notify.StateReloading:
		post(supervise.EvMood, false, supervise.MoodReloading, 0)
	case notify.StateStopping:
		post(supervise.EvMood, false, supervise.MoodLeaving, 0)
	}
	if m.Beat || m.Trigger {
		post(supervise.EvBeat, m.Trigger, 0, 0)
	}
	if m.HasStatus {
		u.mu.Lock()
		if n.status != m.Status && n.life == life {
			n.status, n.said = m.Status, true
			u.order(jobStatus)
		}
		u.mu.Unlock()
	}
	u.Proceed()
}

// tellSaid tells what the service says of itself, after its status.
func (u *unit) tellSaid() {
	u.mu.Lock()
	n := u.speaker()
	if n == nil || !n.said {
		u.mu.Unlock()
		return
	}
	n.said = false
	text := n.status
	u.mu.Unlock()
	err := servicedir.WriteSaid(u.dir.Home, text)
	u.wrote(jobSaid, "said", err)
	if err != nil {
		u.mu.Lock()
		n.said = true
		u.mu.Unlock()
	}
	if h := &u.k.hub; h.active() {
		note := u.is()
		note.what = noteStatus
		h.publish(note)
	}
}

// armWatchdog arms the timer by which a sign of life is due. What was said by then and not
// looked at counts, as when we were stopped ourselves.
func (u *unit) armWatchdog(after time.Duration) {
	if u.timers == nil {
		u.timers = new(timers)
	}
	if t := u.timers[supervise.TimerWatchdog]; t != nil {
		t.Reset(after)
		return
	}
	u.timers[supervise.TimerWatchdog] = time.AfterFunc(after, func() { u.hear(true) })
}

// keepVoice goes on listening to a process that was started by another program. It is
// false if that may speak, and cannot be heard.
func (u *unit) keepVoice(p *handoff.Process, m *supervise.Machine, ev *supervise.Event) bool {
	v := u.voice()
	wants := ev.Flag && ev.Script == supervise.ScriptRun && p != nil
	if v == nil && !wants {
		return true
	}
	if v == nil && u.hasSpeaker() == nil && m.Watchdog == 0 {
		return true
	}
	heard := true
	if path := ""; v == nil {
		if path = handoff.Variable(p.PID, "NOTIFY_SOCKET"); path == "" {
			return m.Watchdog == 0
		}
		where, _, _ := servicedir.NotifySocket(u.dir.FD)
		if where == "" || !strings.HasPrefix(where, path) {
			where = path
		}
		var err error
		if v, err = u.k.openVoice(where); err != nil {
			u.k.report(Warning, u.name(), "listen to", u.name(), err)
			heard = false
		} else {
			u.setVoice(v)
		}
	}
	n := u.needSpeaker()
	if v != nil {
		v.deaf()
	}
	leaf := u.leafName()
	status := ""
	if wants {
		status = servicedir.ReadSaid(u.dir.Home)
	}
	u.mu.Lock()
	n.voice, n.life, n.answered, n.leaf, n.status = v, ev.Life, true, leaf, status
	u.mu.Unlock()
	return heard
}

// says is what the service says of itself, and the process that it calls the main one.
// u.mu is held.
func (u *unit) says() (text string, main int32) {
	if n := u.speaker(); n != nil && runs(&u.state) {
		return n.status, n.main
	}
	return "", 0
}
