package svscan

import (
	"os"
	"os/signal"
	"syscall"
)

// signals has TERM and INT stop the scanner, QUIT end it and leave all services
// running, and HUP make it scan and drop what is gone. The function it returns ends that.
func (s *Scanner) signals() (stop func()) {
	c := make(chan os.Signal, 4)
	signal.Notify(c, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case sig := <-c:
				switch sig {
				case syscall.SIGHUP:
					s.Rescan()
				case syscall.SIGQUIT:
					s.Leave()
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
