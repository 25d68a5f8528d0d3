package svscan

import (
	"os"
	"os/signal"
	"syscall"
)

// signals has TERM and INT stop the scanner, and HUP make it scan and drop what
// is gone. The function it returns ends that.
func (s *Scanner) signals() (stop func()) {
	c := make(chan os.Signal, 4)
	signal.Notify(c, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	if os.Getpid() == 1 {
		// The kernel spares PID 1 the default action of every signal, the Go runtime
		// does not: these would end it. They mean nothing here.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGTRAP, syscall.SIGSYS, syscall.SIGSTKFLT)
	}
	done := make(chan struct{})
	go func() {
		for {
			select {
			case sig := <-c:
				if sig == syscall.SIGHUP {
					s.Rescan()
				} else {
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
