package servicedir

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// EventDir is the directory below a service directory in which those who want to
// hear of changes have FIFOs: s6's fifodir (s6.md, section 7).
const EventDir = "event"

const (
	listenerPrefix = "ftrig1:@"
	listenerLen    = 39
	// The directory's mode, as s6-supervise makes it: members of the group may listen.
	eventMode = 0o3730
)

// ListenerName is the name of a listener's FIFO, of a TAI64N label with its "@" and six
// letters that make it unique.
func ListenerName(label, unique string) string {
	return listenerPrefix[:len(listenerPrefix)-1] + label + ":" + unique
}

func isListener(name string) bool {
	return len(name) == listenerLen && strings.HasPrefix(name, listenerPrefix)
}

// MakeEvents makes the directory of events, if it is not there.
func MakeEvents(dir int) error {
	err := unix.Mkdirat(dir, EventDir, 0o700)
	if err == unix.EEXIST {
		return nil
	}
	if err != nil {
		return err
	}
	if err = unix.Fchownat(dir, EventDir, -1, unix.Getegid(), 0); err == nil {
		err = unix.Fchmodat(dir, EventDir, eventMode, 0)
	}
	return err
}

// HasEvents tells whether there may be a directory of events.
func HasEvents(dir int) bool { return exists(dir, EventDir) }

// Notify tells everybody who listens, one byte an event, and forgets who does not any
// more. Without events that is all it does. It waits for nobody: a listener whose FIFO
// is full loses the events. Where somebody listens, there is a moment between two events:
// of several that it reads at once, s6's library shows its user the last alone.
func Notify(dir int, events []byte) error {
	fd, err := unix.Openat(dir, EventDir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), EventDir)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	for i, n := 0, len(names); i == 0 || i < len(events) && n > 0; i++ {
		if i > 0 {
			time.Sleep(betweenEvents)
		}
		n = 0
		for _, name := range names {
			if isListener(name) && tell(fd, name, events[min(i, len(events)):min(i+1, len(events))]) {
				n++
			}
		}
	}
	return err
}

// betweenEvents is as long as it takes s6-supervise to fork.
const betweenEvents = 3 * time.Millisecond

// tell writes to a FIFO, if that is one, and tells whether somebody reads from it.
func tell(dir int, name string, event []byte) bool {
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == nil {
		var st unix.Stat_t
		if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO && len(event) > 0 {
			_, err = unix.Write(fd, event)
		}
		unix.Close(fd)
	}
	if err == unix.ENXIO || err == unix.EPIPE {
		_ = unix.Unlinkat(dir, name, 0)
	}
	return err == nil
}
