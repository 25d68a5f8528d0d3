package svscan

import (
	"os"
	"os/signal"
	"syscall"
)

// scannerSignals are those that mean something to a scanner.
var scannerSignals = [...]syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR2}

// Order is what a signal has the scanner do.
type Order uint8

// The orders.
const (
	OrderStop      Order = iota + 1 // stop everything in order and return
	OrderAbort                      // likewise, and exit 111
	OrderLeave                      // return, and leave everything running
	OrderBequeath                   // return, and leave everything to a process of its own
	OrderDismiss                    // likewise; it is to stop everything; and exit 111
	OrderRescan                     // scan now, and stop what is gone
	OrderUpgrade                    // become the program as it is now
	OrderPause                      // pause the one service
	OrderContinue                   // let it go on
	OrderExit                       // have it leave when it has ended
	OrderInterrupt                  // interrupt it, return, and leave it running
	OrderScan                       // scan now, and stop nothing
	OrderStopAll                    // stop everything at once, log services as well, and return
	OrderNone                       // nothing, unless there is a script for it
)

// orderOf is what a signal means.
func (c *Config) orderOf(sig os.Signal) Order {
	if c.Orders != nil {
		return c.Orders[sig]
	}
	switch sig {
	case syscall.SIGHUP:
		return OrderRescan
	case syscall.SIGUSR2:
		return OrderUpgrade
	case syscall.SIGQUIT:
		return OrderLeave
	}
	return OrderStop
}

// caughtAny tells whether signals are obeyed at all.
func (c *Config) caughtAny() bool { return c.Signals || c.Orders != nil }

// catch has the signals go into a channel.
func catch(config *Config) chan os.Signal {
	c := make(chan os.Signal, 2*len(scannerSignals))
	some := config.caughtAny()
	switch {
	case config.Orders != nil:
		for sig := range config.Orders {
			signal.Notify(c, sig)
		}
	case some:
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
	if sig == fenceSignal {
		if passed := s.fenced.Swap(nil); passed != nil {
			close(*passed)
		}
		return
	}
	if s.divert(sig) {
		return
	}
	switch order := s.k.config.orderOf(sig); order {
	case OrderExit:
		s.post(message{kind: msgControl, letter: 'x'})
	case OrderInterrupt:
		s.post(message{kind: msgInterrupt})
	case OrderScan:
		s.post(message{kind: msgCommand, letter: 'a'})
	case OrderStopAll:
		s.post(message{kind: msgCommand, letter: 'q'})
	case OrderRescan:
		s.Rescan()
	case OrderUpgrade:
		s.post(message{kind: msgUpgrade, upgrade: new(upgrade)})
	case OrderLeave:
		if !s.k.first() { // or there would be nobody to take over
			s.Leave()
		}
	case OrderBequeath, OrderDismiss:
		s.post(message{kind: msgBequeath, stop: order == OrderDismiss})
	case OrderAbort:
		s.post(message{kind: msgStop, code: exitFatal})
	case OrderPause:
		s.post(message{kind: msgControl, letter: 'p'})
	case OrderContinue:
		s.post(message{kind: msgControl, letter: 'c'})
	case OrderStop:
		s.Stop()
	}
}
