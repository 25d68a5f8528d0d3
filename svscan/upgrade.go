package svscan

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/internal/fault"
	"upkeep/supervise"
	"upkeep/svscan/internal/handoff"
)

// An upgrade in place is an exec of the new program by the scanner, which keeps its
// pid, its children and, by a handoff.Will, the descriptors that matter: no lock is
// free for a moment, no byte in a FIFO or pipe is lost, and the end of a process
// waits as a zombie for the new program. Before that, the new program is run once
// to see whether it understands the will.

// upgrade is one that was asked for.
type upgrade struct {
	program string    // path; empty for the one we were started as
	clients []*client // who asked, but for those who did by a signal
	fault   error     // what the check found
	hold    int       // the socket of a holder, or -1
}

const (
	// checkTime is what the new program gets to read the will.
	checkTime = 10 * time.Second
	// startsTime and disksTime are how long starts and writes under way are waited
	// for. Those that hang are found by the new program like after a crash.
	startsTime = 2 * time.Second
	disksTime  = time.Second
)

// willName is the environment variable with the descriptor of the will.
const willName = "UPKEEP_WILL"

// CheckArgs are the arguments, after the program's name, by which it is asked whether
// it understands the will in its standard input, and CheckUpgrade the answer: nil,
// and the program prints understood, or what is wrong.
var CheckArgs = []string{"upgrade", "--check"}

const understood = "ok"

// Upgrading is the line that who has asked for an upgrade reads before the answer: if
// none follows, the new program has lost the client.
const Upgrading = "upgrading"

// CheckUpgrade is described with CheckArgs.
func CheckUpgrade(stdin int) (answer string, err error) {
	if _, err := handoff.Read(stdin); err != nil {
		return "", fault.At("state of the running svscan", err)
	}
	return understood, nil
}

// programPath is the path of this program as it was invoked, so that what stands
// there later, or where a link leads to then, is its successor.
func programPath() string {
	self, _ := os.Executable()
	name := os.Args[0]
	candidates := []string{name}
	if !strings.Contains(name, "/") {
		candidates = nil
		for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
			candidates = append(candidates, filepath.Join(dir, name))
		}
	}
	us, err := os.Stat("/proc/self/exe")
	for _, path := range candidates {
		st, e := os.Stat(path)
		if e != nil || err == nil && !os.SameFile(us, st) {
			continue
		}
		if abs, err := filepath.Abs(path); err == nil {
			return abs
		}
	}
	return self
}

// beginUpgrade has the new program checked; msgChecked follows.
func (s *Scanner) beginUpgrade(up *upgrade) {
	switch {
	case s.stop:
		s.refuse(up, errors.New("services are being stopped"))
		return
	case up.program == "":
		up.program = s.program
	}
	switch {
	case s.upgrading == nil:
	case s.upgrading.program == up.program:
		s.upgrading.clients = append(s.upgrading.clients, up.clients...)
		return
	default:
		s.refuse(up, errors.New("another upgrade is under way"))
		return
	}
	s.upgrading = up
	w := s.will(false, func(u *unit) supervise.Machine {
		u.mu.Lock()
		defer u.mu.Unlock()
		return u.state
	})
	if err := s.check(w, up); err != nil {
		up.fault = err
		s.post(message{kind: msgChecked, upgrade: up})
	}
}

// refuse says that there is no upgrade, to who asked for it.
func (s *Scanner) refuse(up *upgrade, err error) {
	for _, c := range up.clients {
		c.answer(err.Error())
	}
	if up.clients != nil {
		return
	}
	s.k.report(Warning, "", "upgrade", "in place, going on as before", err)
}

// check runs the new program on a will.
func (s *Scanner) check(w *handoff.Will, up *upgrade) error {
	memory, err := w.Leave()
	if err != nil {
		return err
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		unix.Close(memory)
		return fault.At("unable to create pipe", err)
	}
	if err := unix.SetNonblock(p[0], true); err != nil {
		closeAll(memory, p[0], p[1])
		return err
	}
	output := os.NewFile(uintptr(p[0]), "check")
	s.help(up.program, CheckArgs, memory, p[1], func(h *helper, err error) {
		if err != nil {
			output.Close()
			up.fault = fault.At("unable to execute "+up.program, err)
			s.post(message{kind: msgChecked, upgrade: up})
			return
		}
		go func() { // ends with the answer, or by the deadline
			up.fault = s.checked(h, up.program, output)
			if up.fault != nil {
				s.post(message{kind: msgChecked, upgrade: up})
				return
			}
			s.startHolder(up)
		}()
	})
	return nil
}

func closeAll(fds ...int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// checked reads what the new program says of the will.
func (s *Scanner) checked(h *helper, program string, output *os.File) error {
	defer output.Close()
	_ = output.SetReadDeadline(time.Now().Add(checkTime))
	var b [512]byte
	n := 0
	for n < len(b) {
		m, err := output.Read(b[n:])
		n += m
		if errors.Is(err, os.ErrDeadlineExceeded) {
			_ = s.k.table.Signal(h.pid, unix.SIGKILL, true)
			return errors.New(program + " did not answer")
		}
		if err != nil {
			break
		}
	}
	switch line, _, _ := strings.Cut(string(b[:n]), "\n"); line {
	case understood:
		return nil
	case "":
		return errors.New(program + " does not know how")
	default:
		return errors.New(program + " does not understand: " + line)
	}
}

// finishUpgrade becomes the new program, if that said that it can.
func (s *Scanner) finishUpgrade(up *upgrade) {
	s.upgrading = nil
	if up.fault == nil && s.stop {
		up.fault = errors.New("services are being stopped")
	}
	if up.fault == nil {
		for _, c := range up.clients {
			c.say(Upgrading)
		}
		up.fault = s.become(up)
	}
	if up.hold > 0 { // it was not used
		unix.Close(up.hold)
	}
	s.refuse(up, up.fault)
}

// become executes the new program. It returns only if that cannot be done; then all
// goes on.
func (s *Scanner) become(up *upgrade) error {
	return s.handOver(func(w *handoff.Will) {
		for _, c := range up.clients {
			w.Clients = append(w.Clients, c.fd)
		}
	}, func(environ []string) error { return s.execute(up, environ) })
}

// handOver has everything stand still, writes a will, to which add may add, and calls to
// with the environment in which another program finds it, and what it names. If that
// fails, all goes on. After it has succeeded, nothing moves any more.
func (s *Scanner) handOver(add func(*handoff.Will), to func(environ []string) error) (err error) {
	var undo []func()
	defer func() {
		if err != nil {
			for _, f := range slices.Backward(undo) {
				f()
			}
		}
	}()
	k := s.k
	k.reports.flush()
	k.spawner.Pause(startsTime)
	undo = append(undo, k.spawner.Resume)
	k.table.Pause()
	undo = append(undo, k.table.Resume)
	k.logs.Pause(disksTime)
	undo = append(undo, k.logs.Resume)
	for i := range k.disk {
		k.disk[i].Pause(disksTime)
		undo = append(undo, k.disk[i].Resume)
	}
	w := s.will(true, func(u *unit) supervise.Machine {
		m := u.Freeze()
		undo = append(undo, u.Thaw)
		return m
	})
	add(w)
	memory, err := w.Leave()
	if err != nil {
		return err
	}
	undo = append(undo, func() { unix.Close(memory) })

	kept := append(w.Descriptors(), memory)
	if fd := k.anchor.FD(); fd >= 0 {
		kept = append(kept, fd) // of which the environment tells
	}
	for _, fd := range kept {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fault.At("unable to keep descriptor "+strconv.Itoa(fd), err)
		}
		undo = append(undo, func() { unix.CloseOnExec(fd) })
	}
	return to(append(os.Environ(), willName+"="+strconv.Itoa(memory)))
}

// execute is the exec of become.
func (s *Scanner) execute(up *upgrade, environ []string) error {
	// A signal that comes from here on waits for the new program. Most need a holder
	// for that; without one they may be the end of it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var old unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, held(), &old); err != nil {
		return fault.At("unable to block signals", err)
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	socket := up.hold
	up.hold = -1
	if fd := s.hold(socket); fd >= 0 {
		defer s.release(fd)
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fault.At("unable to keep descriptor "+strconv.Itoa(fd), err)
		}
		environ = append(environ, holdName+"="+strconv.Itoa(fd))
	}
	if !s.fence() || s.box.has(message.matters) {
		return errors.New("a signal came in between")
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return fault.At("unable to get limit of open files", err)
	}
	err := syscall.Exec(up.program, os.Args, environ)
	// Which has lowered the limit to what a program should be started with.
	_ = unix.Prlimit(0, unix.RLIMIT_NOFILE, &files, nil)
	return fault.At("unable to execute "+up.program, err)
}

// held are the signals that mean something to a scanner.
func held() *unix.Sigset_t {
	var set unix.Sigset_t
	for _, sig := range scannerSignals {
		n := uint(sig) - 1
		set.Val[n/64] |= 1 << (n % 64)
	}
	return &set
}

// will says what there is to be left, with the machines as machine finds them. Unless
// everything stands still, it is without what others may be changing.
func (s *Scanner) will(still bool, machine func(*unit) supervise.Machine) *handoff.Will {
	w := &handoff.Will{Home: -1, Socket: -1}
	if s.home != nil {
		w.Home, w.Socket = s.home.dir, s.home.socket
	}
	if s.control != nil {
		w.ScanLock, w.ScanFIFO = s.control.lock, s.control.fifo
	}
	for _, e := range s.entries {
		if !e.main.up && !e.log.up {
			continue
		}
		w.Entries = append(w.Entries, handoff.Entry{
			ID: e.id, Name: e.name, Pipe: e.pipe, Inode: e.inode,
			Main: e.main.leave(still, machine), Log: e.log.leave(still, machine),
		})
	}
	return w
}

func (x *slot) leave(still bool, machine func(*unit) supervise.Machine) *handoff.Unit {
	if !x.up {
		return nil
	}
	m := machine(x.unit)
	end, ended := x.unit.heldEnd()
	if !m.Booted || m.Restored && !ended || m.Phase == supervise.PhaseGone {
		return nil // what is over is closed; it may come again, as what has not begun
	}
	left := handoff.Leave(x.unit.dir)
	left.State, left.Ended, left.End = m, ended, end
	if still {
		left.OK, left.Stranger = x.unit.dir.OK, x.unit.stranger
		x.unit.leaveChanges(left)
	}
	return left
}

// inheritance reads what the program that we were has left. It is nil if we were
// none. No service may see the variable.
func inheritance(report func(error)) *handoff.Will {
	value, ok := os.LookupEnv(willName)
	if !ok {
		return nil
	}
	os.Unsetenv(willName)
	fd, err := strconv.Atoi(value)
	if err != nil || fd <= 2 {
		return nil
	}
	w, err := handoff.Read(fd)
	if err != nil {
		// It holds the locks; without them, all is found as after a crash.
		closeKept()
		report(err)
		return nil
	}
	return w
}

// closeKept closes what was kept over an exec, which all that is ours is not.
func closeKept() {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || fd <= 2 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
}

// inherit takes up what a will names. Until that is open, the exits of all children
// are kept.
func (s *Scanner) inherit(w *handoff.Will) {
	s.home = inheritHome(w, s.k.home())
	s.manager.alive()
	s.seekKeeper()
	for _, fd := range w.Clients {
		newClient(fd).answer(understood)
	}
	for i := range w.Entries {
		left := &w.Entries[i]
		e := s.enter(left.ID)
		e.name, e.pipe, e.inode = left.Name, left.Pipe, left.Inode
		e.present = s.k.config.Heir
		if left.Main != nil {
			s.rankOf(e, left.Main.Dir, ".")
		}
		s.keptSockets(e)
		s.keptPipe(e)
		e.inheritScript(left)
		if left.Main != nil {
			if err := s.place(e, left.Main.Dir); err != nil {
				s.k.report(Warning, e.name, "find the state of", e.name, err)
			}
		}
		if e.pipe[0] >= 0 {
			s.promised += 2
			e.gate.close()
		}
		for _, x := range []struct {
			slot *slot
			left *handoff.Unit
			name string
		}{{&e.main, left.Main, e.name}, {&e.log, left.Log, e.name + "/log"}} {
			if x.left != nil {
				s.start(e, x.slot, x.left.Dir, x.name, true, x.left)
			}
		}
	}
	if s.k.config.Heir {
		s.rest = w.Opening
	}
	if s.inheriting = s.opening > 0; !s.inheriting {
		s.k.table.Abort()
		s.meetRest()
	}
}
