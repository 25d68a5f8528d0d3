// Package svc is the operator's side of supervision as a library: send control
// bytes to a service, ask whether it is supervised, read its status, wait for a
// state. It works on the files every program of the field uses
// (daemontools.md, section 2.1), so the supervisor may be ours, daemontools',
// daemontools-encore's or runit's.
//
// It starts and supervises nothing, prints nothing and never changes the
// working directory. Its callers are the clients under compat and whoever
// writes tools of their own:
//
//	d, err := svc.Open("/service/www", svc.StateDir)
//	if err != nil {
//		return err
//	}
//	defer d.Close()
//	if err := d.Control("u"); err != nil {
//		return err // errors.Is(err, svc.ErrNotRunning) if nobody supervises it
//	}
//	_, err = d.Wait(status.Daemontools, deadline, func(r status.Record, alive bool) bool {
//		return alive && r.PID != 0
//	})
package svc

import (
	"strings"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

// StateDir is the usual name of the state directory of a service.
const StateDir = "supervise"

// Dir is an open service directory. Like a working directory it stays what it
// is when it is renamed. All methods but Close may be used concurrently.
type Dir struct {
	fd    int
	state string // relative to fd, or absolute
}

// Open enters the service directory path, with the rights and the errors of
// chdir(2), and looks at nothing in it. state names the state directory: what
// SUPERVISEDIR says, or StateDir, which is also meant by "". An absolute state
// is the base of all state directories, and the one of this service is found by
// the physical path of the service directory (daemontools.md, section 5.1); for
// that, /proc must be mounted.
//
// Errors have StepDir or StepState.
func Open(path, state string) (*Dir, error) {
	if path == "" {
		return nil, &Error{StepDir, path, unix.ENOENT}
	}
	// Only with the last "." does the open need what chdir needs: the right to
	// search the directory.
	fd, err := openat(unix.AT_FDCWD, path+"/.", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, &Error{StepDir, path, err}
	}
	if state == "" {
		state = StateDir
	}
	d := &Dir{fd, state}
	if strings.HasPrefix(state, "/") {
		physical, err := workingDir(fd)
		if err != nil {
			d.Close()
			return nil, &Error{StepState, path, err}
		}
		d.state = state + "/" + strings.ReplaceAll(physical[1:], "/", ":")
	}
	return d, nil
}

// Close releases the descriptor.
func (d *Dir) Close() error { return unix.Close(d.fd) }

// workingDir is what getcwd would say in the directory fd.
func workingDir(fd int) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", err
	}
	if st.Nlink == 0 {
		return "", unix.ENOENT // as getcwd: it has been removed
	}
	b := make([]byte, unix.PathMax)
	n, err := unix.Readlink(procPath(fd), b)
	switch {
	case err != nil:
		return "", err
	case n == len(b):
		return "", unix.ENAMETOOLONG
	case n == 0 || b[0] != '/':
		return "", unix.ENOENT
	}
	return string(b[:n]), nil
}

func procPath(fd int) string {
	return "/proc/self/fd/" + string(status.AppendUint(nil, uint64(fd)))
}

// Control sends commands, one byte each, in one write. It does not wait for an
// effect, but does wait for room in the FIFO. With no commands it only finds
// out whether they could be sent.
//
// Errors have StepControl or StepWrite.
func (d *Dir) Control(commands string) error {
	path := d.state + "/control"
	fd, err := openat(d.fd, path, unix.O_WRONLY|unix.O_NONBLOCK)
	if err != nil {
		return &Error{StepControl, path, err}
	}
	defer unix.Close(fd)
	// The open had to fail without a reader; the write may wait for it.
	if err := unix.SetNonblock(fd, false); err != nil {
		return &Error{StepControl, path, err}
	}
	if commands == "" {
		return nil
	}
	n, err := write(fd, []byte(commands))
	if err == nil && n < len(commands) {
		err = unix.EIO // no FIFO: a file on a disk that is full
	}
	if err != nil {
		return &Error{StepWrite, path, err}
	}
	return nil
}

// OK returns nil if the service is supervised. That is so when the FIFO ok has
// a reader; like all clients it takes a file of another kind for a yes.
//
// The error has StepOK. It is ErrNotRunning if there is no reader, and ENOENT
// if there never was a supervisor.
func (d *Dir) OK() error {
	fd, err := d.openOK()
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// Alive is OK for those who only want a yes or no: a missing FIFO and one
// without a reader are a no. Other errors have StepOK.
func (d *Dir) Alive() (bool, error) {
	err := d.OK()
	if dead(err) {
		return false, nil
	}
	return err == nil, err
}

func (d *Dir) openOK() (int, error) {
	path := d.state + "/ok"
	fd, err := openat(d.fd, path, unix.O_WRONLY|unix.O_NONBLOCK)
	if err != nil {
		return -1, &Error{StepOK, path, err}
	}
	return fd, nil
}

// Down reports whether the service has a down file, that is, whether it is
// normally down. A link counts by what it points to. Errors have StepDown.
func (d *Dir) Down() (bool, error) {
	var st unix.Stat_t
	for {
		switch err := unix.Fstatat(d.fd, "down", &st, 0); err {
		case nil:
			return true, nil
		case unix.ENOENT:
			return false, nil
		case unix.EINTR:
		default:
			return false, &Error{StepDown, "down", err}
		}
	}
}

// ReadStatus fills b with the first bytes of the status file, in one read, and
// returns how many there were. status.MaxRead bytes hold any file.
//
// Errors have StepOpenStatus or StepReadStatus. The latter is status.ErrFormat
// for less than the 18 bytes of the shortest layout.
func (d *Dir) ReadStatus(b []byte) (int, error) {
	path := d.state + "/status"
	fd, err := openat(d.fd, path, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return 0, &Error{StepOpenStatus, path, err}
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, b)
	for err == unix.EINTR {
		n, err = unix.Read(fd, b)
	}
	if err == nil && n < status.DaemontoolsSize {
		err = status.ErrFormat
	}
	if err != nil {
		return 0, &Error{StepReadStatus, path, err}
	}
	return n, nil
}

// Status reads the record of the service. The layouts cannot be told apart by
// looking at the file. Errors are those of ReadStatus; a file that is too short
// for the layout is status.ErrFormat, too.
func (d *Dir) Status(l status.Layout) (status.Record, error) {
	var b [status.MaxRead]byte
	n, err := d.ReadStatus(b[:])
	if err != nil {
		return status.Record{}, err
	}
	r, err := status.Decode(b[:n], l)
	if err != nil {
		return r, &Error{StepReadStatus, d.state + "/status", err}
	}
	return r, nil
}

func openat(dir int, path string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dir, path, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func write(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Write(fd, b)
		if err != unix.EINTR {
			return n, err
		}
	}
}
