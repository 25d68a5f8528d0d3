package svscan

import (
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/svscan/internal/hold"
)

// Between its exec and its first instructions of ours, a program cannot say what it
// wants of signals. A holder keeps them for it meanwhile: package hold.

// HoldArgs are the arguments, after the program's name, that make it a holder of its
// parent's signals with the socket as its standard input, and Hold is that.
var HoldArgs = []string{"hold-signals"}

// Hold is described with HoldArgs.
func Hold() { hold.Hold(0, scannerSignals[:]...) }

// holdName is the environment variable with the descriptor of the holder's socket.
const holdName = "UPKEEP_HOLD"

// holdTime is what a holder may take for an answer; without one, there is none.
const holdTime = time.Second

// startHolder has a holder ready for the upgrade; msgChecked follows in any case.
func (s *Scanner) startHolder(up *upgrade) {
	up.hold = -1
	checked := func() { s.post(message{kind: msgChecked, upgrade: up}) }
	theirs, ours, err := hold.Socket()
	if err != nil || !s.k.config.caughtAny() {
		if err == nil {
			closeAll(theirs, ours)
		}
		checked()
		return
	}
	s.help(s.self(), HoldArgs, theirs, -1, func(_ *helper, err error) {
		if err != nil {
			unix.Close(ours)
			checked()
			return
		}
		go func() { // ends with the answer, or without
			if hold.Ready(ours, holdTime) {
				up.hold = ours
			} else {
				unix.Close(ours)
			}
			checked()
		}()
	})
}

// hold has the holder at a socket, -1 for none, begin. Where it is refused, the result
// is -1.
func (s *Scanner) hold(socket int) (fd int) {
	if socket >= 0 && !hold.Begin(socket, holdTime) {
		s.release(socket)
		return -1
	}
	return socket
}

// release ends the hold and has the scanner obey what was held.
func (s *Scanner) release(fd int) {
	if fd >= 0 {
		for _, sig := range hold.Release(fd, holdTime) {
			s.obey(sig)
		}
		unix.Close(fd)
	}
}

// inheritHold ends the hold of an upgrade to this program and returns what was held.
func inheritHold() (signals []syscall.Signal) {
	value, ok := os.LookupEnv(holdName)
	if !ok {
		return nil
	}
	os.Unsetenv(holdName)
	fd, err := strconv.Atoi(value)
	if err != nil || fd <= 2 {
		return nil
	}
	unix.CloseOnExec(fd)
	signals = hold.Release(fd, holdTime)
	unix.Close(fd)
	return signals
}

// fenceSignal means nothing but that all that came before it have been obeyed:
// signals that come together come in the order of their numbers, and this one's is
// higher than those of scannerSignals.
const fenceSignal = syscall.SIGWINCH

// fence returns true when every signal that came before has been obeyed.
func (s *Scanner) fence() bool {
	if !s.k.config.caughtAny() {
		return true
	}
	passed := make(chan struct{})
	s.fenced.Store(&passed)
	signal.Notify(s.caught, fenceSignal)
	defer signal.Reset(fenceSignal)
	if err := unix.Kill(os.Getpid(), fenceSignal); err != nil {
		return false
	}
	late := time.NewTimer(holdTime)
	defer late.Stop()
	select {
	case <-passed:
		return true
	case <-late.C:
		return false
	}
}
