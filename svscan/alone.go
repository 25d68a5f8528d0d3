package svscan

import (
	"golang.org/x/sys/unix"

	"upkeep/internal/fault"
	"upkeep/supervise"
)

// Supervise supervises the one service directory c.Dir, with our own standard
// input and output for it, until it is told to exit. The error says why it could
// not begin; it may be a *servicedir.StepError.
//
// stopped, if not nil, is watched for the wish to stop the service and leave.
func Supervise(c Config, stopped <-chan struct{}) error {
	k, err := newKernel(c)
	if err != nil {
		return err
	}
	fd, err := unix.Open(c.Dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fault.At("unable to chdir to "+c.Dir, err)
	}
	u := newUnit(k, nil, fd, c.Dir)
	u.begin()
	if err := <-k.alone; err != nil {
		return err
	}
	stop := func() { u.Post(supervise.Event{Kind: supervise.EvShutdown, At: u.Now()}) }
	stopping := false
	for {
		select {
		case err := <-k.alone:
			if err != errPanic {
				return err
			}
			u = newUnit(k, nil, u.dir.FD, c.Dir)
			u.begin()
			if err := <-k.alone; err != nil {
				return err
			}
			if stopping {
				stop()
			}
		case <-stopped:
			stop()
			stopped, stopping = nil, true
		}
	}
}
