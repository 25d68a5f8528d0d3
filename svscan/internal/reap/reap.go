// Package reap is the one place that waits for children. Nobody else in the
// process may: a second waiter steals exits. It maps pids to owners, keeps the
// exits of children that die before their pid is registered, and sends signals
// so that a pid which has been reaped, and may be somebody else's by now, is
// never hit.
package reap

import (
	"maps"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"upkeep/svscan/internal/block"
)

// Owner is told of the end of its child. Died must not block.
type Owner interface {
	Died(pid int32, status uint32)
}

// Table holds the children. The zero value is ready for use.
type Table struct {
	// Before and After, if set, are called around the owners' being told of some
	// deaths.
	Before, After func()

	serial    atomic.Int32 // of the goroutine that reaps
	mu        sync.Mutex
	owners    map[int32]Owner
	strangers map[int32]Stranger
	groups    map[int32]struct{} // leaders whose groups are killed when they end
	early     map[int32]uint32   // ended while some start was under way
	handler   sigaction          // the runtime's, for SIGCHLD
	starting  int
	telling   int       // batches of deaths that owners are being told of
	paused    bool      // nobody reaps
	changed   sync.Cond // telling or paused
}

type exit struct {
	owner  Owner
	pid    int32
	status uint32
}

// Begin announces a start: until Register or Abort, the exit of an unknown child
// is kept.
func (t *Table) Begin() {
	t.mu.Lock()
	t.starting++
	t.mu.Unlock()
}

// Abort ends a start that made no child, or one that needs no owner.
func (t *Table) Abort() {
	t.mu.Lock()
	t.endStart()
	t.mu.Unlock()
}

func (t *Table) endStart() {
	if t.starting--; t.starting == 0 {
		clear(t.early)
	}
}

// Register ends a start with the child it made. started is called first, so that
// nobody hears of the end before the beginning; it must neither block nor call
// back. With group, the process group that the child leads is killed when it ends.
func (t *Table) Register(pid int32, owner Owner, group bool, started func()) {
	t.mu.Lock()
	started()
	status, dead := t.early[pid]
	if dead {
		delete(t.early, pid)
		if group && syscall.Kill(int(pid), 0) == syscall.ESRCH {
			// It has been reaped. If there is such a group, it was never empty, since
			// its number would have gone to a process first.
			_ = syscall.Kill(-int(pid), syscall.SIGKILL)
		}
	} else {
		if group {
			if t.groups == nil {
				t.groups = make(map[int32]struct{})
			}
			t.groups[pid] = struct{}{}
		}
		if t.owners == nil {
			t.owners = make(map[int32]Owner)
		}
		t.owners[pid] = owner
	}
	t.endStart()
	t.mu.Unlock()
	if dead {
		owner.Died(pid, status)
	}
}

// Signal sends sig to a child, or to its process group. Nothing is sent, and
// ESRCH returned, once the child has been reaped.
func (t *Table) Signal(pid int32, sig syscall.Signal, group bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s, ok := t.strangers[pid]; ok {
		return s.Signal(sig, group)
	}
	if _, ok := t.owners[pid]; !ok {
		return syscall.ESRCH
	}
	if group {
		return syscall.Kill(-int(pid), sig)
	}
	return syscall.Kill(int(pid), sig)
}

// Kill sends KILL to the children whose owners are chosen, and to strangers if no
// owner, nil, is chosen as well.
func (t *Table) Kill(chosen func(Owner) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for pid, owner := range t.owners {
		if chosen(owner) {
			_ = syscall.Kill(int(pid), syscall.SIGKILL) // it may not be allowed: nothing is left to do
		}
	}
	if chosen(nil) {
		for _, s := range t.strangers {
			_ = s.Signal(syscall.SIGKILL, false)
		}
	}
}

// Stranger is a process that is not our child, so that others reap it.
type Stranger interface {
	// Signal returns ESRCH, and sends nothing, once the process has ended.
	Signal(sig syscall.Signal, group bool) error
}

// Adopt has signals to pid go to a stranger, until Dismiss.
func (t *Table) Adopt(pid int32, s Stranger) {
	t.mu.Lock()
	if t.strangers == nil {
		t.strangers = make(map[int32]Stranger)
	}
	t.strangers[pid] = s
	t.mu.Unlock()
}

// Dismiss ends an Adopt.
func (t *Table) Dismiss(pid int32) {
	t.mu.Lock()
	delete(t.strangers, pid)
	t.mu.Unlock()
}

// Disown forgets the children of an owner, so that they can be registered anew. Until
// then their exits are kept only if that is announced by Begin.
func (t *Table) Disown(owner Owner) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.owners, func(_ int32, o Owner) bool { return o == owner })
}

// Children counts the registered children.
func (t *Table) Children() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.owners)
}

// Unreaped is a child that has ended and that Run will reap now, or 0. If it is the
// same one for long, nobody reaps.
func (t *Table) Unreaped() (pid int32) {
	_ = t.Children() // returns if who reaps gives the table back
	var info [128]byte
	if waitAny(&info, unix.WNOHANG) != 0 {
		return 0
	}
	return (*siginfo)(unsafe.Pointer(&info)).pid
}

// siginfo is the beginning of the kernel's siginfo_t for a child.
type siginfo struct {
	signo, errno, code int32
	_                  [unsafe.Sizeof(uintptr(0)) - 4]byte
	pid                int32
}

// Run reaps for the rest of the process's life, strangers that were handed to it
// (as PID 1 or subreaper) included.
//
// It blocks in waitid without reaping, so that the lock is free meanwhile, and
// switches SIGCHLD off: a handler would interrupt some thread for each exit.
// Only without any child, where waitid has nothing to block on, SIGCHLD wakes it;
// and always where a filter refuses waitid.
func (t *Table) Run() {
	t.mu.Lock()
	if t.handler == (sigaction{}) {
		rtSigaction(uintptr(syscall.SIGCHLD), nil, &t.handler)
	}
	t.mu.Unlock()
	rtSigaction(uintptr(syscall.SIGCHLD), &sigaction{}, nil)
	var info [128]byte // siginfo_t
	var batch []exit
	var chld chan os.Signal // where there is no waitid
	for serial := t.serial.Load(); t.serial.Load() == serial; {
		switch waitAny(&info, 0) {
		case 0:
		case syscall.EINTR:
			continue
		case syscall.ECHILD:
			sleepUntilChild(&t.handler, &info)
			continue
		default:
			if chld != nil {
				<-chld
				break
			}
			chld = make(chan os.Signal, 1)
			rtSigaction(uintptr(syscall.SIGCHLD), &t.handler, nil)
			signal.Notify(chld, syscall.SIGCHLD)
			defer signal.Stop(chld)
		}
		batch = t.reapAll(batch[:0])
		if t.Before != nil {
			t.Before()
		}
		for _, e := range batch {
			e.owner.Died(e.pid, e.status)
		}
		t.told()
		if t.After != nil {
			t.After()
		}
		clear(batch)
		if cap(batch) > 64 {
			batch = nil
		}
	}
}

// Relieve has somebody else reap: who does so now is stuck in After. It ends when
// it comes out of that.
func (t *Table) Relieve() {
	t.serial.Add(1)
	go t.Run()
}

func (t *Table) reapAll(batch []exit) []exit {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.paused {
		t.cond().Wait()
	}
	t.telling++
	for {
		var status syscall.WaitStatus
		next := -1
		if len(t.groups) > 0 {
			if next = t.killGroup(); next == 0 {
				return batch
			}
		}
		pid, err := syscall.Wait4(next, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return batch
		}
		p := int32(pid)
		if owner, ok := t.owners[p]; ok {
			delete(t.owners, p)
			batch = append(batch, exit{owner, p, uint32(status)})
		} else if t.starting > 0 {
			if t.early == nil {
				t.early = make(map[int32]uint32)
			}
			t.early[p] = uint32(status)
		}
	}
}

func (t *Table) told() {
	t.mu.Lock()
	t.telling--
	if t.paused {
		t.cond().Broadcast()
	}
	t.mu.Unlock()
}

// Pause waits until the owners know of all that was reaped, and has nothing reaped
// until Resume: zombies stay for whoever this process becomes.
func (t *Table) Pause() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.paused = true
	for t.telling > 0 {
		t.cond().Wait()
	}
}

// Resume ends a Pause.
func (t *Table) Resume() {
	t.mu.Lock()
	t.paused = false
	t.cond().Broadcast()
	t.mu.Unlock()
}

// cond is changed, of which the zero value is not ready for use. t.mu is held.
func (t *Table) cond() *sync.Cond {
	if t.changed.L == nil {
		t.changed.L = &t.mu
	}
	return &t.changed
}

// killGroup finds the child that is to be reaped next, 0 if there is none, and
// kills its group if that is asked for: as long as it is a zombie, nobody else can
// have its number.
func (t *Table) killGroup() (pid int) {
	var info [128]byte
	_, _, errno := syscall.RawSyscall6(unix.SYS_WAITID, unix.P_ALL, 0,
		uintptr(unsafe.Pointer(&info)), unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, 0, 0)
	if errno != 0 {
		return -1 // wait4 will say what it is
	}
	p := *(*int32)(unsafe.Pointer(&info[siPID]))
	if _, ok := t.groups[p]; ok {
		delete(t.groups, p)
		_ = syscall.Kill(-int(p), syscall.SIGKILL) // ESRCH: it leads none
	}
	return int(p)
}

// siPID is where siginfo_t has the pid: aligned as a pointer, after three int.
const siPID = (12 + unsafe.Sizeof(uintptr(0)) - 1) &^ (unsafe.Sizeof(uintptr(0)) - 1)

// waitAny waits for any child to end and leaves it a zombie.
func waitAny(info *[128]byte, options uintptr) syscall.Errno {
	_, errno := block.Syscall(unix.SYS_WAITID, unix.P_ALL, 0,
		uintptr(unsafe.Pointer(info)), unix.WEXITED|unix.WNOWAIT|options, 0, 0)
	runtime.KeepAlive(info)
	return errno
}

func sleepUntilChild(handler *sigaction, info *[128]byte) {
	c := make(chan os.Signal, 1)
	rtSigaction(uintptr(syscall.SIGCHLD), handler, nil)
	signal.Notify(c, syscall.SIGCHLD)
	// One that ended, or appeared, before the handler was back.
	if waitAny(info, unix.WNOHANG) == syscall.ECHILD {
		<-c
	}
	signal.Stop(c)
	rtSigaction(uintptr(syscall.SIGCHLD), &sigaction{}, nil)
}

// sigaction is the kernel's, with room for any architecture's mask.
type sigaction [8]uint64

func rtSigaction(sig uintptr, set, old *sigaction) {
	syscall.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
}
