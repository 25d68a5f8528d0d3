package runit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
)

// Where a record of utmp has what, on Linux with 64 bits (runit.md, section 6.1).
const (
	utmpSize   = 384
	utmpType   = 0
	utmpLine   = 8
	utmpUser   = 44
	utmpHost   = 76
	utmpSec    = 340
	lineSize   = 32
	userSize   = 32
	hostSize   = 256
	utmpDead   = 8 // DEAD_PROCESS
	utmpFile   = "/var/run/utmp"
	wtmpFile   = "/var/log/wtmp"
	utmpsetUse = " [-w] line"
)

// Utmpset is the applet utmpset: mark a line as logged out in utmp, with -w in wtmp,
// too.
//
//	utmpset [-w] LINE
//
// Exit code: 0; 1 for wrong usage; 111 if nobody is logged in there.
func Utmpset(env *cli.Env, args []string) int {
	return utmpset(env, args, utmpFile, wtmpFile)
}

func utmpset(env *cli.Env, args []string, utmp, wtmp string) int {
	both := false
	options := cli.NewOptions(env, args, "wV")
	for c := options.Next(); c != cli.End; c = options.Next() {
		switch c {
		case 'w':
			both = true
		case 'V':
			_, _ = env.Stderr.WriteString(version)
			return usage(env, args[0], utmpsetUse, 1)
		default:
			return usage(env, args[0], utmpsetUse, 1)
		}
	}
	if len(options.Args()) == 0 {
		return usage(env, args[0], utmpsetUse, 1)
	}
	line := options.Args()[0]
	if len(line) > lineSize {
		return env.Fatal("utmpset", "unable to logout line "+line+" in utmp: name too long", nil)
	}
	if code := logout(env, utmp, line); code != 0 || !both {
		return code
	}
	return logoutAlso(env, wtmp, line)
}

// errNoEntry is that nobody is logged in on a line.
var errNoEntry = errors.New("no such entry")

// logout makes the record of who is logged in on a line a dead one.
func logout(env *cli.Env, path, line string) int {
	fd, err := open(path, unix.O_RDWR, 0)
	if err != nil {
		return env.Fatal("utmpset", "unable to open "+path, err)
	}
	defer unix.Close(fd)
	if err := lock(fd); err != nil {
		return env.Fatal("utmpset", "unable to lock "+path, err)
	}
	var b [utmpSize]byte
	for at := int64(0); ; at += utmpSize {
		n, err := unix.Pread(fd, b[:], at)
		if err == unix.EINTR {
			at -= utmpSize
			continue
		}
		if err == nil && n < utmpSize {
			err = errNoEntry
		}
		if err == nil && b[utmpUser] != 0 && cString(b[utmpLine:utmpLine+lineSize]) == line {
			clear(b[utmpUser : utmpUser+userSize])
			clear(b[utmpHost : utmpHost+hostSize])
			die(b[:])
			if n, err = unix.Pwrite(fd, b[:], at); err == nil && n < utmpSize {
				err = io.ErrShortWrite
			}
			if err == nil {
				return 0
			}
		}
		if err != nil {
			env.Warn("utmpset", "unable to logout line "+line+" in utmp", err)
			return cli.ExitFatal
		}
	}
}

// logoutAlso appends the end of a session to wtmp.
func logoutAlso(env *cli.Env, path, line string) int {
	fail := func(err error) int {
		env.Warn("utmpset", "unable to logout line "+line+" in wtmp", err)
		return cli.ExitFatal
	}
	fd, err := open(path, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT, 0o600)
	if err != nil {
		return fail(err)
	}
	defer unix.Close(fd)
	if err := lock(fd); err != nil {
		return fail(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fail(err)
	}
	var b [utmpSize]byte
	copy(b[utmpLine:utmpLine+lineSize], line)
	die(b[:])
	if n, err := cli.FD(fd).Write(b[:]); err != nil {
		if n > 0 {
			_ = unix.Ftruncate(fd, st.Size)
		}
		return fail(err)
	}
	return 0
}

// die makes a record one of a session that is over by now.
func die(b []byte) {
	binary.NativeEndian.PutUint16(b[utmpType:], utmpDead)
	binary.NativeEndian.PutUint32(b[utmpSec:], uint32(time.Now().Unix()))
}

// cString is the text before the first NUL.
func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

func open(path string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// lock waits for an exclusive lock.
func lock(fd int) error {
	for {
		if err := unix.Flock(fd, unix.LOCK_EX); err != unix.EINTR {
			return err
		}
	}
}
