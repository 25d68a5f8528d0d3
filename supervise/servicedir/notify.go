package servicedir

import (
	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

// NotifyName is the file by which a service gets a socket to tell of itself.
const NotifyName = "notify-socket"

// HasNotifySocket tells whether there may be one.
func HasNotifySocket(dir int) bool { return exists(dir, NotifyName) }

// NotifySocket reads it: empty, or where the socket is to be. ok is false where there is
// none.
func NotifySocket(dir int) (where string, ok bool, err error) { return line(dir, NotifyName) }

// WriteSaid has the state directory tell what the service says of itself; nothing removes
// the file. home is what the state directory is in.
func WriteSaid(home int, text string) error {
	if text != "" {
		return replaceIn(home, status.SaidName, append([]byte(text), '\n'))
	}
	err := unix.Unlinkat(home, StateDirIn(home)+"/"+status.SaidName, 0)
	if err == unix.ENOENT {
		err = nil
	}
	return err
}

// ReadSaid reads it.
func ReadSaid(home int) string {
	text, _, _ := line(home, StateDirIn(home)+"/"+status.SaidName)
	return text
}
