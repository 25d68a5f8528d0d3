package servicedir

import (
	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

// TallyName is the file in the state directory that says how a service has ended of late,
// as s6 has it (s6.md, section 4.2).
const TallyName = "death_tally"

// ReadTally reads it: whole records, the oldest first. home is what the state directory is in.
func ReadTally(home int) ([]byte, error) {
	fd, err := unix.Openat(home, StateDirIn(home)+"/"+TallyName, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	b, err := ReadAll(fd, status.TallyMax*status.TallySize)
	return b[:len(b)/status.TallySize*status.TallySize], err
}

// WriteTally replaces it.
func WriteTally(home int, b []byte) error { return replaceIn(home, TallyName, b) }

// replaceIn replaces a file in the state directory.
func replaceIn(home int, name string, b []byte) error {
	d := Dir{Home: home}
	path := StateDirIn(home) + "/" + name
	if err := d.write(path+".new", b, unix.O_TRUNC, false); err != nil {
		return err
	}
	return unix.Renameat(home, path+".new", home, path)
}

// AddDeaths appends records to it, and drops the oldest ones if there are more than most.
func AddDeaths(home int, deaths []byte, most int) error {
	b, err := ReadTally(home)
	if err != nil && err != unix.ENOENT {
		return err
	}
	b = append(b, deaths...)
	return WriteTally(home, b[max(0, len(b)-most*status.TallySize):])
}
