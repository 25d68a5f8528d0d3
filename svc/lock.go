package svc

import "golang.org/x/sys/unix"

// Locked tells whether somebody has the record lock by which s6 knows a supervisor
// (s6.md, section 3). Where there is no lock file nobody has.
//
// Errors have StepOK.
func (d *Dir) Locked() (bool, error) {
	path := d.state + "/lock"
	fd, err := openat(d.fd, path, unix.O_RDONLY|unix.O_NONBLOCK)
	if err == unix.ENOENT {
		return false, nil
	}
	if err != nil {
		return false, &Error{StepOK, path, err}
	}
	defer unix.Close(fd)
	locked, err := LockedFile(fd)
	if err != nil {
		err = &Error{StepOK, path, err}
	}
	return locked, err
}

// LockedFile tells whether somebody else has a record lock for writing on an open file.
func LockedFile(fd int) (bool, error) {
	probe := unix.Flock_t{Type: unix.F_RDLCK}
	for {
		err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &probe)
		if err == unix.EINTR {
			continue
		}
		return probe.Type != unix.F_UNLCK, err
	}
}
