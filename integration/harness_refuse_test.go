package integration

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// refuse runs a program, and all that it starts, on a kernel that lacks something:
//
//	refuse ENOSYS:pidfd_open,EPERM:fcntl=F_OFD_SETLK program argument ...
//
// Each system call named fails with the error in front of it; with "=" after the
// name, only where it is called for that. It is a program in the PATH of all sites.
func refuse(args []string) {
	err := error(unix.EINVAL)
	if len(args) > 1 {
		err = refuseFor(args[0], args[1:])
	}
	fmt.Fprintln(os.Stderr, "refuse:", args, err)
	syscall.Exit(111)
}

// refusable are the system calls that can be refused, and what for.
var refusable = map[string]refusedCall{
	"pidfd_open":          {nr: unix.SYS_PIDFD_OPEN},
	"pidfd_send_signal":   {nr: unix.SYS_PIDFD_SEND_SIGNAL},
	"pidfd_getfd":         {nr: unix.SYS_PIDFD_GETFD},
	"close_range":         {nr: unix.SYS_CLOSE_RANGE},
	"close_range=unshare": {nr: unix.SYS_CLOSE_RANGE, arg: 2, mask: unix.CLOSE_RANGE_UNSHARE},
	"clone3":              {nr: unix.SYS_CLONE3},
	"ioctl=PIDFD_GET_INFO": { // whatever the size of the struct
		nr: unix.SYS_IOCTL, arg: 1, mask: 0xffff, value: 0xff0b},
	"renameat2":          {nr: unix.SYS_RENAMEAT2},
	"renameat2=exchange": {nr: unix.SYS_RENAMEAT2, arg: 4, mask: unix.RENAME_EXCHANGE},
	"inotify_init1":      {nr: unix.SYS_INOTIFY_INIT1},
	"inotify_add_watch":  {nr: unix.SYS_INOTIFY_ADD_WATCH},
	"fcntl=F_OFD_SETLK":  {nr: unix.SYS_FCNTL, arg: 1, mask: ^uint32(0), value: unix.F_OFD_SETLK},
	"prctl":              {nr: unix.SYS_PRCTL},
	"madvise":            {nr: unix.SYS_MADVISE},
	"statx":              {nr: unix.SYS_STATX},
	"openat2":            {nr: unix.SYS_OPENAT2},
	"faccessat2":         {nr: unix.SYS_FACCESSAT2},
	"epoll_pwait2":       {nr: unix.SYS_EPOLL_PWAIT2},
	"name_to_handle_at":  {nr: unix.SYS_NAME_TO_HANDLE_AT},
	"open_by_handle_at":  {nr: unix.SYS_OPEN_BY_HANDLE_AT},
	"waitid":             {nr: unix.SYS_WAITID},
}

// refusedCall is one system call, and which of its arguments it is about: refused if
// the low half of argument arg, masked, is value; by default, all of mask. Without a
// mask every call is refused.
type refusedCall struct {
	nr, arg     int
	mask, value uint32
}

// auditArch is what the kernel calls the architecture, without which a number says
// nothing.
var auditArch = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}

// Offsets in struct seccomp_data.
const (
	seccompNR   = 0
	seccompArch = 4
	seccompArgs = 16
)

func refuseFor(list string, argv []string) error {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	filter, err := refuseFilter(list)
	if err != nil {
		return err
	}
	runtime.LockOSThread() // which takes the filter along into the exec
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return err
	}
	return syscall.Exec(path, argv, os.Environ())
}

// refuseFilter is the list as a program for the kernel: a few instructions for each
// refusal, which either return its error or go on to the next.
func refuseFilter(list string) (f []unix.SockFilter, err error) {
	op := func(code uint16, k uint32, jt, jf uint8) {
		f = append(f, unix.SockFilter{Code: code, Jt: jt, Jf: jf, K: k})
	}
	const (
		load  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		and   = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
		ret   = unix.BPF_RET | unix.BPF_K
	)
	op(load, seccompArch, 0, 0)
	op(equal, auditArch[runtime.GOARCH], 1, 0)
	op(ret, unix.SECCOMP_RET_ALLOW, 0, 0)
	for _, word := range strings.Split(list, ",") {
		name, call, _ := strings.Cut(word, ":")
		r, ok := refusable[call]
		errno, known := refuseErrors[name]
		if !ok || !known {
			return nil, fmt.Errorf("%s: %w", word, unix.EINVAL)
		}
		op(load, seccompNR, 0, 0)
		if r.mask == 0 {
			op(equal, uint32(r.nr), 0, 1)
		} else {
			value := r.value
			if value == 0 {
				value = r.mask
			}
			op(equal, uint32(r.nr), 0, 4)
			op(load, uint32(seccompArgs+8*r.arg), 0, 0)
			op(and, r.mask, 0, 0)
			op(equal, value, 0, 1)
		}
		op(ret, unix.SECCOMP_RET_ERRNO|uint32(errno), 0, 0)
	}
	op(ret, unix.SECCOMP_RET_ALLOW, 0, 0)
	return f, nil
}

var refuseErrors = map[string]syscall.Errno{
	"EPERM": unix.EPERM, "ENOSYS": unix.ENOSYS, "EINVAL": unix.EINVAL, "ENOTTY": unix.ENOTTY,
	"EACCES": unix.EACCES, "EMFILE": unix.EMFILE, "ENOSPC": unix.ENOSPC,
}
