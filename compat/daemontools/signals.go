package daemontools

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
)

// stopSignals is readable once TERM has asked runsv to stop. In the other dialects it
// keeps its default action.
func stopSignals(d supervise.Dialect) <-chan struct{} {
	if d != supervise.Runit {
		return nil
	}
	stop := make(chan struct{})
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	go func() { // for the rest of the process's life
		<-c
		close(stop)
	}()
	return stop
}

// Enterable fails with the errno that a chdir to dir would have.
func Enterable(dir string) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Faccessat(fd, ".", unix.X_OK, unix.AT_EACCESS)
}
