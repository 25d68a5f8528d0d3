package svscan

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
	"upkeep/supervise/servicedir"
	"upkeep/svscan/internal/cgroup"
)

// cage is what sees to it that nothing outlives a service: a cgroup, which is
// killed as a whole when the service's process ends, and of whose end the machine
// hears only when the cgroup is empty. Where none can be had, the process group is
// killed.
//
// Unless said otherwise it belongs to who does the unit's disk jobs.
type cage struct {
	leaf   *cgroup.Leaf
	limits cgroup.Set        // that may be set in leaf
	used   bool              // leaf is not to be used as it is
	faults map[string]string // what was said of limits
	events int               // tells when leaf is empty; -1 while nobody waits for that
	late   *time.Timer
	unable bool // to kill, and said so

	// The rest is under the unit's mu.

	inside  bool            // the service's process is in leaf
	holding bool            // of an end that is not to be known before leaf is empty
	held    supervise.Event // that end, or the machine's first event
}

// lazyBase is the scanner's own cgroup, which is looked for when a service wants one.
type lazyBase struct {
	once sync.Once
	base *cgroup.Base
	err  error
}

func (b *lazyBase) get() (*cgroup.Base, error) {
	b.once.Do(func() { b.base, b.err = cgroup.Own() })
	return b.base, b.err
}

// leafToken is the pump's token for the cgroup of the unit in the low half.
const leafToken = 4 << 32

const (
	// leafPoll is for where there is no notice of a cgroup's being empty.
	leafPoll = 100 * time.Millisecond
	// leafPatience is how long what was killed may take to end before that is said.
	leafPatience = 10 * time.Second
)

func (u *unit) wantsCage() bool { return u.k.config.Cgroups || servicedir.Caged(u.dir.FD) }

// lookForNeeds finds out what the next start needs. What it does not need any more it
// finds out itself.
func (u *unit) lookForNeeds() {
	u.lookForEncore()
	if u.wantsCage() {
		u.needCage()
	}
	if servicedir.HasLockFD(u.dir.FD) {
		u.needLock()
	}
	if !u.log && servicedir.HasListen(u.dir.FD) {
		u.needSockets()
	}
	if servicedir.HasNotificationFD(u.dir.FD) {
		u.needReadiness()
	}
	if servicedir.HasNotifySocket(u.dir.FD) {
		u.needSpeaker()
	}
	if u.log {
		builtin := servicedir.HasLogScript(u.dir.FD)
		u.mu.Lock()
		u.builtin = builtin
		u.mu.Unlock()
	}
}

func (u *unit) needCage() *cage {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.cage == nil {
		u.cage = &cage{events: -1}
	}
	return u.cage
}

func (u *unit) hasCage() *cage {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.cage
}

// dropCage removes an empty cage.
func (u *unit) dropCage() {
	c := u.hasCage()
	if c == nil {
		return
	}
	if c.leaf != nil {
		_ = c.leaf.Remove() // one that is left may be used again
	}
	u.mu.Lock()
	u.cage = nil
	u.mu.Unlock()
}

// leaveCage leaves a cage as it is to somebody else.
func (u *unit) leaveCage() {
	u.mu.Lock()
	c := u.cage
	u.cage = nil
	u.mu.Unlock()
	if c != nil && c.events >= 0 {
		unix.Close(c.events)
		c.late.Stop()
	}
}

// findLeaf finds the cgroup that a former scanner made for the service; marked says
// that the last process was started in it.
func (u *unit) findLeaf(marked bool) {
	if !marked && u.hasCage() == nil {
		return
	}
	l, err := u.leaf(marked)
	if err != nil || !l.Exists() {
		return
	}
	c := u.needCage()
	c.leaf, c.used = l, true
	u.mu.Lock()
	c.inside = true
	u.mu.Unlock()
}

func (u *unit) leaf(renamed bool) (*cgroup.Leaf, error) {
	base, err := u.k.base.get()
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(u.dir.FD, &st); err != nil {
		return nil, err
	}
	id := servicedir.IdentityOf(&st)
	l := base.Leaf(u.name(), id.Dev, id.Ino)
	if renamed && !l.Exists() {
		if old := base.Renamed(id.Dev, id.Ino); old != nil {
			return old, nil
		}
	}
	return l, nil
}

// prepare makes ready what the next process is to be started in.
func (u *unit) prepare() {
	r := u.request
	r.Leaf, r.Group, r.KillGroup = nil, false, false
	r.Mark[servicedir.MarkLife] &^= servicedir.MarkLeaf | servicedir.MarkGroup
	c := u.hasCage()
	if c == nil {
		return
	}
	if !u.wantsCage() {
		u.dropCage()
		return
	}
	err := u.makeLeaf(c)
	if err == nil {
		u.limit(c)
		r.Leaf = c.leaf
		r.Mark[servicedir.MarkLife] |= servicedir.MarkLeaf
	} else {
		u.k.reportUncaged(u.name(), err)
		r.Group, r.KillGroup = true, true
		r.Mark[servicedir.MarkLife] |= servicedir.MarkGroup
	}
	u.mu.Lock()
	c.inside = err == nil
	u.mu.Unlock()
}

// startPrepared starts a script that needs what is in the directory.
func (u *unit) startPrepared() {
	u.mu.Lock()
	script, writes := u.script, u.writes
	u.mu.Unlock()
	if writes {
		u.startLogger()
		return
	}
	if script == supervise.ScriptRun && (!u.takeLock() || !u.takeSockets() || !u.offerReadiness()) {
		return
	}
	u.prepare()
	if script == supervise.ScriptRun && !u.offerVoice() {
		return
	}
	u.spawn(u.request, u.programOf(script), u)
}

func (u *unit) makeLeaf(c *cage) error {
	if c.leaf == nil {
		l, err := u.leaf(false)
		if err != nil {
			return err
		}
		c.leaf, c.used = l, true
	}
	if c.used || c.leaf.Divided() {
		// It may have limits that are no longer wanted. And since Linux 6.14 a process
		// that is cloned into a cgroup which was killed once is killed at once.
		_ = c.leaf.Remove()
		c.limits = 0
	}
	c.used = false
	return c.leaf.Make()
}

// reportUncaged says once why services have no cgroup.
func (k *kernel) reportUncaged(name string, err error) {
	k.mu.Lock()
	said := k.uncaged != nil && k.uncaged.Error() == err.Error()
	k.uncaged = err
	k.mu.Unlock()
	if !said {
		k.report(Warning, "", "create", "cgroup for "+name+", killing its process group instead", err)
	}
}

// limit sets the limits of the service directory. One that the kernel refuses is
// said once, and left out.
func (u *unit) limit(c *cage) {
	type limit struct {
		name, value string
		err         error
	}
	var list []limit
	var set cgroup.Set
	for i, name := range cgroup.Limits {
		if value, ok, err := cgroup.ReadLimit(u.dir.FD, name); ok {
			list = append(list, limit{name, value, err})
			set |= 1 << i
		}
	}
	if c.limits&^set != 0 && c.leaf.Remove() == nil {
		_ = c.leaf.Make() // a new one has no limits; if there is none, the start says so
	}
	c.limits = set
	for _, l := range list {
		if l.err == nil {
			l.err = c.leaf.Limit(l.name, l.value)
		}
		if l.err == nil {
			delete(c.faults, l.name)
			continue
		}
		text := l.value + "\n" + l.err.Error()
		if c.faults[l.name] == text {
			continue
		}
		if c.faults == nil {
			c.faults = make(map[string]string)
		}
		c.faults[l.name] = text
		u.k.report(Warning, u.name(), "set", u.name()+"/"+l.name, l.err)
	}
}

// hold keeps the end of the service's process from the machine until nothing is
// left in its cgroup. It is false where there is none.
func (u *unit) hold(ev supervise.Event) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	c := u.cage
	if c == nil || !c.inside {
		return false
	}
	c.held, c.holding = ev, true
	u.order(jobLeaf)
	return true
}

// holdFirst is hold for the event that the machine begins with, if a process that is
// no more has left something behind. Until then the service does nothing.
func (u *unit) holdFirst(ev supervise.Event) bool {
	c := u.hasCage()
	if c == nil || ev.Flag || c.leaf == nil || !c.leaf.Populated() {
		return false
	}
	u.Await()
	return u.hold(ev)
}

// heldEnd is the end of the process that the machine is right about, if it is held.
func (u *unit) heldEnd() (st supervise.WaitStatus, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.cage == nil || !u.cage.holding {
		return 0, false
	}
	ev := &u.cage.held
	return ev.Status, ev.Kind == supervise.EvDied || ev.Kind == supervise.EvResumed && ev.Exec && ev.PID != 0
}

// leafChanged is the pump's, or a timer's: have a look at the cgroup.
func (u *unit) leafChanged() {
	u.mu.Lock()
	u.order(jobLeaf)
	u.mu.Unlock()
}

// clearLeaf kills what is in the cgroup, and once that is empty has the machine know
// of the end that is held back.
func (u *unit) clearLeaf() {
	u.mu.Lock()
	c := u.cage
	holding := c != nil && c.holding
	u.mu.Unlock()
	if !holding || !u.cleared(c) {
		return
	}
	u.mu.Lock()
	ev := c.held
	c.holding = false
	u.mu.Unlock()
	ev.At = u.Now()
	if ev.Kind != supervise.EvDied {
		u.PostFirst(ev)
		u.tellFinal(&ev)
		return
	}
	u.Append(ev)
	u.tellFinal(&ev)
	u.Proceed()
}

// cleared kills what is in the cgroup and tells whether it is empty. If it is not,
// there will be another jobLeaf.
func (u *unit) cleared(c *cage) bool {
	if c.events < 0 {
		fd, err := c.leaf.Events()
		if err == unix.ENOENT || err == unix.ENODEV {
			return true // and so is the cgroup
		}
		if err == nil && !cgroup.Populated(fd) {
			unix.Close(fd)
			return true
		}
		if err == nil {
			// From here on no change gets lost.
			err = u.k.pump.AddPriority(fd, leafToken|uint64(u.token))
			if err != nil {
				unix.Close(fd)
			}
		}
		if err != nil {
			u.kill(c)
			time.AfterFunc(leafPoll, u.leafChanged)
			return false
		}
		c.events = fd
		c.late = time.AfterFunc(leafPatience, func() {
			u.k.report(Warning, u.name(), "processes that "+u.name()+" left behind do not end", "", nil)
		})
	}
	if cgroup.Populated(c.events) {
		u.kill(c)
		if cgroup.Populated(c.events) {
			return false
		}
	}
	unix.Close(c.events)
	c.events = -1
	c.late.Stop()
	c.leaf.Thaw()
	return true
}

func (u *unit) kill(c *cage) {
	c.used = true
	if err := c.leaf.Kill(); err != nil && !c.unable {
		c.unable = true
		u.k.report(Warning, u.name(), "kill", "what "+u.name()+" left behind", err)
	}
}
