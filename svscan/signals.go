package svscan

import (
	"os"
	"os/signal"
	"syscall"
)

// scannerSignals are those that mean something to a scanner.
var scannerSignals = [...]syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR2}

// catch has the signals go into a channel.
func catch(some bool) chan os.Signal {
	c := make(chan os.Signal, 2*len(scannerSignals))
	if some {
		for _, sig := range scannerSignals {
			signal.Notify(c, sig)
		}
	}
	if some && os.Getpid() == 1 {
		// The kernel spares PID 1 the default action of every signal, the Go runtime
		// does not: these would end it. They mean nothing here.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGTRAP, syscall.SIGSYS, syscall.SIGSTKFLT)
	}
	return c
}

// signals has TERM and INT stop the scanner, QUIT end it and leave all services
// running, HUP make it scan and drop what is gone, and USR2 upgrade it. The function it
// returns ends that.
func (s *Scanner) signals() (stop func()) {
	done := make(chan struct{})
	go func() {
		for {
			select {
			case sig := <-s.caught:
				s.obey(sig)
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(s.caught)
		close(done)
	}
}

func (s *Scanner) obey(sig os.Signal) {
	switch sig {
	case syscall.SIGHUP:
		s.Rescan()
	case syscall.SIGUSR2:
		s.post(message{kind: msgUpgrade, upgrade: new(upgrade)})
	case syscall.SIGQUIT:
		if !s.k.first() { // or there would be nobody to take over
			s.Leave()
		}
	case fenceSignal:
		if passed := s.fenced.Swap(nil); passed != nil {
			close(*passed)
		}
	case syscall.SIGTERM, syscall.SIGINT:
		s.Stop()
	}
}
