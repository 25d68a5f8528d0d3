package servicedir

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// LogScriptName is the file of a log service directory that makes the supervisor write
// the log itself. It holds a script of multilog.
const LogScriptName = "multilog"

const logScriptSize = 64 << 10

// HasLogScript tells whether the service directory fd has a regular file of that name.
func HasLogScript(fd int) bool {
	var st unix.Stat_t
	return unix.Fstatat(fd, LogScriptName, &st, 0) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG
}

// LogScript reads it.
func LogScript(fd int) ([]byte, error) {
	script, err := unix.Openat(fd, LogScriptName, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(script), LogScriptName)
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, logScriptSize+1))
	if err != nil {
		return nil, err
	}
	if len(text) > logScriptSize {
		return nil, unix.EFBIG
	}
	return text, nil
}
