// Package handoff finds again what a scanner that is no more left behind: its
// processes, how they ended, and the pipes between them. It believes nothing that
// the kernel does not confirm.
package handoff

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
	"upkeep/supervise/servicedir"
)

// Process is one that runs, or ran, and is not necessarily our child.
type Process struct {
	PID   int32
	FD    int  // pidfd, or -1 where there are none
	Ours  bool // our child: the reaper hears of its end
	Group bool // KillGroup is wanted when it has ended
	start uint64
	mark  servicedir.Mark
}

// Is tells whether a process is this one; see Identify.
func (p *Process) Is(start, handle uint64) bool {
	if p.start != 0 && start != 0 {
		return p.start == start
	}
	return Identified(&p.mark, start, handle)
}

// tick is the unit of start times in /proc, in nanoseconds; it is the same on all
// architectures.
const tick = 1e9 / 100

// Boottime is CLOCK_BOOTTIME in nanoseconds, on which processes' start times are.
func Boottime() uint64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return 0
	}
	return uint64(ts.Nano())
}

// BootID is where the kernel tells one boot from another.
const BootID = "/proc/sys/kernel/random/boot_id"

// World is the one we live in. With an error, which is about BootID, the boot is not
// known.
func World() (w servicedir.World, err error) {
	var st unix.Stat_t
	if unix.Stat("/proc/self/ns/pid", &st) == nil {
		w.PIDs = st.Ino
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err == nil {
		w.Began = now.Nano() - int64(Boottime())
	}
	id, err := os.ReadFile(BootID)
	if err != nil {
		return w, err
	}
	boot, ok := parseBytes(strings.ReplaceAll(strings.TrimSpace(string(id)), "-", ""))
	if !ok || len(boot) != len(w.Boot) {
		return w, unix.EPROTO
	}
	copy(w.Boot[:], boot)
	return w, nil
}

// Handles tells whether the inode number of a pidfd is the process's own, never
// used twice in one boot (Linux 6.9). Before, all pidfds have one inode.
func Handles() bool {
	self, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return false
	}
	defer unix.Close(self)
	var fs unix.Statfs_t
	return unix.Fstatfs(self, &fs) == nil && fs.Type == pidfsMagic
}

const pidfsMagic = 0x50494446 // PID_FS_MAGIC

// TellsStart tells whether /proc shows when a process of a service was started, so
// that its handle is not needed. To those who may not trace any process, as root in
// a container may not, it may hide some.
func TellsStart() bool {
	if _, err := readStat(int32(os.Getpid())); err != nil {
		return false
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	return unix.Capget(&head, &caps[0]) == nil && caps[0].Effective&(1<<unix.CAP_SYS_PTRACE) != 0
}

// Find looks for the process of a mark. It is nil if that is gone for certain,
// reaped by whoever its parent is now. hidden tells that a process of that pid is
// there, and that nothing says whether it is the one.
func Find(m *servicedir.Mark) (p *Process, hidden bool) {
	pid := m.PID()
	p = &Process{PID: pid, FD: -1, mark: *m}
	fd, err := unix.PidfdOpen(int(pid), 0)
	switch err {
	case nil:
		p.FD = fd
	case unix.ESRCH:
		return nil, false
	}
	st, err := readStat(pid)
	switch {
	case p.FD >= 0 && m[servicedir.MarkHandle] != 0:
		var inode unix.Stat_t
		if unix.Fstat(p.FD, &inode) != nil || inode.Ino != m[servicedir.MarkHandle] {
			p.Close()
			return nil, false
		}
	case err != nil:
		there := unix.Kill(int(pid), 0) != unix.ESRCH
		p.Close()
		return nil, there
	case st.start+tick <= m[servicedir.MarkBefore] || st.start > m[servicedir.MarkAfter]:
		p.Close()
		return nil, false
	}
	p.start = st.start
	p.Ours = err == nil && st.parent == os.Getpid()
	p.Group = m.Group()
	return p, false
}

// Child is a child of ours as others see it, who are to take it over.
func Child(pid int32) *Process {
	p := &Process{PID: pid, FD: -1}
	if fd, err := unix.PidfdOpen(int(pid), 0); err == nil {
		p.FD = fd
	}
	if st, err := readStat(pid); err == nil {
		p.start = st.start
	}
	return p
}

// MarkOf fills in what makes a process of ours known again.
func MarkOf(pid int32, m *servicedir.Mark) bool {
	st, err := readStat(pid)
	if err != nil {
		return false
	}
	m[servicedir.MarkPID] = uint64(pid)
	m[servicedir.MarkBefore], m[servicedir.MarkAfter] = st.start, st.start+tick
	if fd, err := unix.PidfdOpen(int(pid), 0); err == nil {
		var inode unix.Stat_t
		if Handles() && unix.Fstat(fd, &inode) == nil {
			m[servicedir.MarkHandle] = inode.Ino
		}
		unix.Close(fd)
	}
	return true
}

// Identify is what makes a process known again that nobody has reaped: when it was
// started, in nanoseconds since boot, and the inode of its pidfd where that is unique.
// What cannot be found out is 0.
func Identify(pid int32) (start, handle uint64) {
	if st, err := readStat(pid); err == nil {
		start = st.start
	}
	if fd, err := unix.PidfdOpen(int(pid), 0); err == nil {
		var inode unix.Stat_t
		var fs unix.Statfs_t
		if unix.Fstatfs(fd, &fs) == nil && fs.Type == pidfsMagic && unix.Fstat(fd, &inode) == nil {
			handle = inode.Ino
		}
		unix.Close(fd)
	}
	return start, handle
}

// Identified tells whether a mark is that of the process which Identify says that of.
func Identified(m *servicedir.Mark, start, handle uint64) bool {
	if m[servicedir.MarkHandle] != 0 && handle != 0 {
		return m[servicedir.MarkHandle] == handle
	}
	return start != 0 && start+tick > m[servicedir.MarkBefore] && start <= m[servicedir.MarkAfter]
}

// Close gives the descriptor up.
func (p *Process) Close() {
	if p.FD >= 0 {
		unix.Close(p.FD)
		p.FD = -1
	}
}

// Signal sends sig to the process, or to the group that it leads. Nothing is sent,
// and ESRCH returned, once it has ended.
func (p *Process) Signal(sig unix.Signal, group bool) error {
	if !p.Alive() {
		return unix.ESRCH
	}
	switch {
	case group:
		return unix.Kill(-int(p.PID), sig)
	case p.FD >= 0:
		err := unix.PidfdSendSignal(p.FD, sig, nil, 0)
		if err != unix.ENOSYS && err != unix.EPERM {
			return err
		} // else a filter may know nothing of this call
	}
	return unix.Kill(int(p.PID), sig)
}

// KillGroup kills what is left of the group that the process led.
func (p *Process) KillGroup() {
	if p.FD >= 0 {
		// The group of this very process, whoever has its number (Linux 6.9).
		if err := unix.PidfdSendSignal(p.FD, unix.SIGKILL, nil, pidfdSignalProcessGroup); err != unix.EINVAL {
			return
		}
	}
	// As long as the group has a member nobody else gets its number.
	if st, err := readStat(p.PID); err == nil && st.start == p.start || unix.Kill(int(p.PID), 0) == unix.ESRCH {
		_ = unix.Kill(-int(p.PID), unix.SIGKILL)
	}
}

const pidfdSignalProcessGroup = 1 << 2

// Alive tells whether the process still runs; one that has ended and was not
// reaped does not.
func (p *Process) Alive() bool {
	if p.FD >= 0 {
		fds := []unix.PollFd{{Fd: int32(p.FD), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		return n == 0 || err != nil
	}
	st, err := readStat(p.PID)
	return err == nil && st.start == p.start && st.state != 'Z' && st.state != 'X'
}

// Leaving tells whether the process has ended, or is about to and may have closed its
// descriptors already.
func (p *Process) Leaving() bool {
	if !p.Alive() {
		return true
	}
	st, err := readStat(p.PID)
	return err == nil && st.start == p.start && st.flags&flagExiting != 0
}

// flagExiting is the kernel's PF_EXITING.
const flagExiting = 1 << 2

// Reaped tells whether nothing is left of the process, not even a zombie.
func (p *Process) Reaped() bool {
	if st, err := readStat(p.PID); err == nil {
		return st.start != p.start
	}
	return unix.Kill(int(p.PID), 0) == unix.ESRCH
}

// Status is how the process ended, if that can be found out now. A zombie shows
// its exit code to who might trace it; a pidfd tells it after the reaping (Linux
// 6.15).
func (p *Process) Status() (st supervise.WaitStatus, known bool) {
	s, err := readStat(p.PID)
	zombie := err == nil && s.start == p.start
	if zombie && s.state == 'Z' && s.code != 0 {
		return supervise.WaitStatus(s.code), true
	}
	if p.FD >= 0 {
		info := pidfdInfo{mask: pidfdInfoExit}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(p.FD), pidfdGetInfo, uintptr(unsafe.Pointer(&info)))
		if errno == 0 && info.mask&pidfdInfoExit != 0 {
			return supervise.WaitStatus(info.exitCode), true
		}
	}
	// Zero is also what those see who may not know.
	if zombie && s.state == 'Z' && mayTrace(p.PID) {
		return 0, true
	}
	return supervise.UnknownEnd, false
}

// mayTrace tells whether the exit code in /proc/PID/stat is the real one. It is to
// those who may trace the process, and only they can read which pid namespace it is
// in, which a zombie still has.
func mayTrace(pid int32) bool {
	var b [64]byte
	_, err := unix.Readlink("/proc/"+strconv.Itoa(int(pid))+"/ns/pid", b[:])
	return err == nil
}

// pidfdInfo is the kernel's struct pidfd_info, first version.
type pidfdInfo struct {
	mask, cgroup                                        uint64
	pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid uint32
	fsuid, fsgid                                        uint32
	exitCode                                            int32
}

const (
	pidfdInfoExit = 1 << 3
	pidfdGetInfo  = 0xc040ff0b // _IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info)
)

// stat is what we need of /proc/PID/stat.
type stat struct {
	state  byte
	parent int
	group  int
	sid    int
	flags  uint32
	start  uint64 // nanoseconds since boot
	code   uint32 // raw wait status
}

func readStat(pid int32) (stat, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(int(pid)) + "/stat")
	if err != nil {
		return stat{}, err
	}
	return parseStat(b)
}

// parseStat reads the text of /proc/PID/stat. The name in its second field may
// hold anything, blanks and parentheses included.
func parseStat(b []byte) (s stat, err error) {
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	const first = 3 // the number of f[0] in proc(5)
	if len(f) < 52-first+1 || len(f[0]) != 1 {
		return s, unix.EINVAL
	}
	s.state = f[0][0]
	if s.parent, err = strconv.Atoi(string(f[4-first])); err != nil {
		return s, err
	}
	if s.group, err = strconv.Atoi(string(f[5-first])); err != nil {
		return s, err
	}
	if s.sid, err = strconv.Atoi(string(f[6-first])); err != nil {
		return s, err
	}
	flags, err := strconv.ParseUint(string(f[9-first]), 10, 32)
	if err != nil {
		return s, err
	}
	s.flags = uint32(flags)
	if s.start, err = strconv.ParseUint(string(f[22-first]), 10, 64); err != nil {
		return s, err
	}
	s.start *= tick
	code, err := strconv.ParseUint(string(f[52-first]), 10, 32)
	s.code = uint32(code)
	return s, err
}
