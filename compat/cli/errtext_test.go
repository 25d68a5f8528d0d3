package cli

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestErrText holds every errno there is to the table of daemontools.md,
// section 1.2.
func TestErrText(t *testing.T) {
	t.Parallel()
	texts := map[string]string{}
	for line := range strings.Lines(errTexts) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		texts[name] = text
	}
	for errno := unix.Errno(1); errno < 200; errno++ {
		name := unix.ErrnoName(errno)
		want, ok := texts[name]
		if !ok {
			want = "unknown error"
		}
		delete(texts, name)
		if got := ErrText(errno); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if len(texts) != 0 {
		t.Errorf("no such errno: %v", texts)
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, "no error"},
		{unix.Errno(0), "no error"},
		{unix.EWOULDBLOCK, "temporary failure"},
		{fmt.Errorf("unable to open x: %w", unix.EACCES), "access denied"},
		{errors.Join(errors.New("x"), unix.EPERM), "permission denied"},
		{errors.New("partial write"), "partial write"},
	} {
		if got := ErrText(c.err); got != c.want {
			t.Errorf("%v: got %q, want %q", c.err, got, c.want)
		}
	}
}

// ENOTSUP is the first name of EOPNOTSUPP.
const errTexts = `E2BIG argument list too long
EACCES access denied
EADDRINUSE address already used
EADDRNOTAVAIL address not available
EADV advertise error
EAFNOSUPPORT address family not supported
EAGAIN temporary failure
EALREADY operation already in progress
EBADF file descriptor not open
EBADMSG bad message type
EBUSY device busy
ECHILD no child processes
ECOMM communication error
ECONNABORTED connection aborted
ECONNREFUSED connection refused
ECONNRESET connection reset
EDEADLK operation would cause deadlock
EDESTADDRREQ destination address required
EDOM input out of range
EDQUOT disk quota exceeded
EEXIST file already exists
EFAULT bad address
EFBIG file too big
EHOSTDOWN host down
EHOSTUNREACH host unreachable
EIDRM identifier removed
EINPROGRESS operation in progress
EINTR interrupted system call
EINVAL invalid argument
EIO input/output error
EISCONN already connected
EISDIR is a directory
ELOOP symbolic link loop
EMFILE process cannot open more files
EMLINK too many links
EMSGSIZE message too long
EMULTIHOP multihop attempted
ENAMETOOLONG file name too long
ENETDOWN network down
ENETRESET network reset
ENETUNREACH network unreachable
ENFILE system cannot open more files
ENOBUFS out of buffer space
ENODEV device does not support operation
ENOENT file does not exist
ENOEXEC exec format error
ENOLCK no locks available
ENOLINK link severed
ENOMEM out of memory
ENOMSG no message of desired type
ENONET machine not on network
ENOPROTOOPT protocol not available
ENOSPC out of disk space
ENOSR out of stream resources
ENOSTR not a stream device
ENOSYS system call not available
ENOTBLK not a block device
ENOTCONN not connected
ENOTDIR not a directory
ENOTEMPTY directory not empty
ENOTSOCK not a socket
ENOTTY not a tty
ENXIO device not configured
ENOTSUP operation not supported
EPERM permission denied
EPFNOSUPPORT protocol family not supported
EPIPE broken pipe
EPROTO protocol error
EPROTONOSUPPORT protocol not supported
EPROTOTYPE incorrect protocol type
ERANGE output out of range
EREMCHG remote address changed
EREMOTE too many levels of remote in path
EROFS read-only file system
ESHUTDOWN socket shut down
ESOCKTNOSUPPORT socket type not supported
ESPIPE unseekable descriptor
ESRCH no such process
ESRMNT srmount error
ESTALE stale NFS file handle
ETIME timer expired
ETIMEDOUT timed out
ETOOMANYREFS too many references
ETXTBSY text busy
EUSERS too many users
EXDEV cross-device link`
