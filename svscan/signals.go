package svscan

import (
	"os"
	"os/signal"
	"syscall"
)

// scannerSignals are those that mean something to a scanner.
var scannerSignals = [...]os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR2}

// signals has TERM and INT stop the scanner, HUP make it scan and drop what is
// gone, and USR2 upgrade it. The function it returns ends that.
func (s *Scanner) signals() (stop func()) {
	c := make(chan os.Signal, 4)
	s.caught = func() bool { return len(c) > 0 }
	signal.Notify(c, scannerSignals[:]...)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case sig := <-c:
				switch sig {
				case syscall.SIGHUP:
					s.Rescan()
				case syscall.SIGUSR2:
					s.post(message{kind: msgUpgrade, upgrade: new(upgrade)})
				default:
					s.Stop()
				}
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(c)
		close(done)
	}
}
