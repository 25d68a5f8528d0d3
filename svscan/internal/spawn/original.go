//go:build (amd64 || arm64) && !upkeep_portable

package spawn

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// OriginalLimit is the limit of open files that this process was started with.
// The Go runtime has raised the soft limit since; it remembers the old one only
// for an exec, so one is tried that cannot succeed. The limit is raised again.
func OriginalLimit() (*unix.Rlimit, error) {
	var raised, original unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &raised); err != nil {
		return nil, err
	}
	syscall.Exec("", nil, nil)
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &original); err != nil {
		return nil, err
	}
	raised.Cur = raised.Max
	// Not through package syscall, which would take it for the wish to pass
	// this limit on.
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &raised, nil); err != nil {
		return nil, err
	}
	return &original, nil
}
