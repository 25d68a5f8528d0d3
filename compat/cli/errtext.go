package cli

import (
	"errors"

	"golang.org/x/sys/unix"
)

// ErrText is the text daemontools and runit have for an error (daemontools.md,
// section 1.2), never the C library's. It depends on the errno that err is or
// wraps, and on nothing else of it. An error without one speaks for itself, and
// nil is "no error".
func ErrText(err error) string {
	if err == nil {
		return "no error"
	}
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return errnoText(errno)
	}
	return err.Error()
}

// errnoText is a switch and not a table so that nothing is built at start.
func errnoText(errno unix.Errno) string {
	switch errno {
	case 0:
		return "no error"
	case unix.ENOTTY:
		return "not a tty"
	case unix.EINTR:
		return "interrupted system call"
	case unix.EFBIG:
		return "file too big"
	case unix.ENOMEM:
		return "out of memory"
	case unix.ENOSPC:
		return "out of disk space"
	case unix.ENOENT:
		return "file does not exist"
	case unix.ESPIPE:
		return "unseekable descriptor"
	case unix.ETXTBSY:
		return "text busy"
	case unix.EROFS:
		return "read-only file system"
	case unix.EIO:
		return "input/output error"
	case unix.EMLINK:
		return "too many links"
	case unix.EEXIST:
		return "file already exists"
	case unix.EDOM:
		return "input out of range"
	case unix.ETIMEDOUT:
		return "timed out"
	case unix.ERANGE:
		return "output out of range"
	case unix.EINPROGRESS:
		return "operation in progress"
	case unix.EALREADY:
		return "operation already in progress"
	case unix.EAGAIN:
		return "temporary failure"
	case unix.ENOTSOCK:
		return "not a socket"
	case unix.EPIPE:
		return "broken pipe"
	case unix.EDESTADDRREQ:
		return "destination address required"
	case unix.EPERM:
		return "permission denied"
	case unix.EMSGSIZE:
		return "message too long"
	case unix.EACCES:
		return "access denied"
	case unix.EPROTOTYPE:
		return "incorrect protocol type"
	case unix.ENXIO:
		return "device not configured"
	case unix.ENOPROTOOPT:
		return "protocol not available"
	case unix.EPROTO:
		return "protocol error"
	case unix.EPROTONOSUPPORT:
		return "protocol not supported"
	case unix.EISDIR:
		return "is a directory"
	case unix.ESOCKTNOSUPPORT:
		return "socket type not supported"
	case unix.ECONNREFUSED:
		return "connection refused"
	case unix.EOPNOTSUPP:
		return "operation not supported"
	case unix.ENOTDIR:
		return "not a directory"
	case unix.EPFNOSUPPORT:
		return "protocol family not supported"
	case unix.ESRCH:
		return "no such process"
	case unix.EAFNOSUPPORT:
		return "address family not supported"
	case unix.E2BIG:
		return "argument list too long"
	case unix.EADDRINUSE:
		return "address already used"
	case unix.ENOEXEC:
		return "exec format error"
	case unix.EADDRNOTAVAIL:
		return "address not available"
	case unix.EBADF:
		return "file descriptor not open"
	case unix.ENETDOWN:
		return "network down"
	case unix.ECHILD:
		return "no child processes"
	case unix.ENETUNREACH:
		return "network unreachable"
	case unix.EDEADLK:
		return "operation would cause deadlock"
	case unix.ENETRESET:
		return "network reset"
	case unix.EFAULT:
		return "bad address"
	case unix.ECONNABORTED:
		return "connection aborted"
	case unix.ENOTBLK:
		return "not a block device"
	case unix.ECONNRESET:
		return "connection reset"
	case unix.EBUSY:
		return "device busy"
	case unix.ENOBUFS:
		return "out of buffer space"
	case unix.EXDEV:
		return "cross-device link"
	case unix.EISCONN:
		return "already connected"
	case unix.ENODEV:
		return "device does not support operation"
	case unix.ENOTCONN:
		return "not connected"
	case unix.EINVAL:
		return "invalid argument"
	case unix.ESHUTDOWN:
		return "socket shut down"
	case unix.ENFILE:
		return "system cannot open more files"
	case unix.ETOOMANYREFS:
		return "too many references"
	case unix.EMFILE:
		return "process cannot open more files"
	case unix.ELOOP:
		return "symbolic link loop"
	case unix.ENAMETOOLONG:
		return "file name too long"
	case unix.EHOSTDOWN:
		return "host down"
	case unix.EHOSTUNREACH:
		return "host unreachable"
	case unix.ENOTEMPTY:
		return "directory not empty"
	case unix.EUSERS:
		return "too many users"
	case unix.EDQUOT:
		return "disk quota exceeded"
	case unix.ESTALE:
		return "stale NFS file handle"
	case unix.EREMOTE:
		return "too many levels of remote in path"
	case unix.ENOLCK:
		return "no locks available"
	case unix.ENOSYS:
		return "system call not available"
	case unix.ENOSTR:
		return "not a stream device"
	case unix.ETIME:
		return "timer expired"
	case unix.ENOSR:
		return "out of stream resources"
	case unix.ENOMSG:
		return "no message of desired type"
	case unix.EBADMSG:
		return "bad message type"
	case unix.EIDRM:
		return "identifier removed"
	case unix.ENONET:
		return "machine not on network"
	case unix.ENOLINK:
		return "link severed"
	case unix.EADV:
		return "advertise error"
	case unix.ESRMNT:
		return "srmount error"
	case unix.ECOMM:
		return "communication error"
	case unix.EMULTIHOP:
		return "multihop attempted"
	case unix.EREMCHG:
		return "remote address changed"
	}
	return "unknown error"
}
