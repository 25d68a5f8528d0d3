package svscan

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
	"upkeep/supervise/servicedir"
	"upkeep/svscan/internal/spawn"
)

// scanControl is the directory by which s6's programs know a scanner and command it:
// .s6-svscan, with a lock, a FIFO, and scripts for signals (s6.md, section 10).
type scanControl struct {
	path       string // below the scan directory
	lock, fifo int
	file       *os.File // the FIFO's
	asked      bool     // to look for new directories in the next scan
	alone      bool     // only Config.CatchAll is left
}

// Inherits tells whether another program has become this one, and left what it had.
func Inherits() bool {
	_, ok := os.LookupEnv(willName)
	return ok
}

// openScanControl makes it, or takes over what was left. The error is EAGAIN where
// another scanner has it.
func (s *Scanner) openScanControl() error {
	c := &s.k.config
	if c.Control == "" {
		return nil
	}
	x := &scanControl{path: c.Control, lock: -1, fifo: -1, asked: true}
	s.control = x
	if w := s.k.will; w != nil && w.ScanLock > 0 && w.ScanFIFO > 0 {
		x.lock, x.fifo = w.ScanLock, w.ScanFIFO
		return nil
	}
	dir := c.Dir + "/" + c.Control
	if err := unix.Mkdir(dir, 0o700); err != nil && err != unix.EEXIST {
		return &servicedir.StepError{Verb: "mkdir", File: dir, Err: err}
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(fd)
		x.lock, err = unix.Openat(fd, "lock", unix.O_RDWR|unix.O_CREAT|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	}
	if err == nil {
		err = servicedir.TryLock(x.lock)
	}
	if err == nil {
		x.fifo, err = servicedir.OpenControl(fd)
	}
	if err != nil {
		return &servicedir.StepError{Verb: "lock", File: dir + "/lock", Err: err}
	}
	return nil
}

// serveControl obeys the bytes in the FIFO.
func (s *Scanner) serveControl() {
	x := s.control
	if x == nil {
		return
	}
	x.file = os.NewFile(uintptr(x.fifo), "control")
	go func() { // until it is closed
		var b [64]byte
		for {
			n, err := x.file.Read(b[:])
			if err != nil {
				return
			}
			for _, c := range b[:n] {
				s.post(message{kind: msgCommand, letter: c})
			}
		}
	}()
}

// command is one byte.
func (s *Scanner) command(letter byte) {
	switch letter {
	case 'a':
		s.control.asked = true // and now: an n may follow
		s.scan()
	case 'n', 'N':
		s.prune(letter == 'N')
	case 'h':
		s.hangup()
	case 't', 'i':
		s.shutdown()
	case 'q':
		s.stopAll()
	case 'b':
		s.left = true
	}
}

// stopAll is shutdown, and nobody reads to the end.
func (s *Scanner) stopAll() {
	s.shutdown()
	for _, e := range s.entries {
		e.stop()
		e.stopLog()
	}
}

func (e *entry) stopLog() {
	if e.log.up {
		e.log.unit.Post(supervise.Event{Kind: supervise.EvShutdown, At: e.log.unit.Now()})
	}
}

// prune ends the services whose directories are gone; with logs, their log services do
// not read to the end.
func (s *Scanner) prune(logs bool) {
	for _, e := range s.entries {
		if !e.present {
			e.hungUp = true
			e.stop()
			if logs {
				e.stopLog()
			}
		}
	}
}

// partial tells that a scan is only about the directories that are known: what is new, and
// what is gone, waits until somebody asks for it.
func (s *Scanner) partial(first bool) bool {
	c := &s.k.config
	if !c.Commanded {
		return false
	}
	if c.ScanEvery > 0 {
		s.scanAt(time.Now().Add(c.ScanEvery))
	}
	asked := first || c.ScanEvery > 0 || s.control == nil || s.control.asked
	if s.control != nil && !s.adopting {
		s.control.asked = false
	}
	return !asked
}

// divert runs the script that stands for a signal, if there is one.
func (s *Scanner) divert(sig os.Signal) bool {
	n, ok := sig.(syscall.Signal)
	if !ok || s.control == nil || n == syscall.SIGALRM || n == syscall.SIGABRT {
		return false
	}
	dir, err := unix.Open(s.k.config.Dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	path := s.control.path + "/" + servicedir.SignalName(int(n))
	if unix.Faccessat(dir, path, unix.X_OK, 0) != nil {
		unix.Close(dir)
		return false
	}
	h := &helper{fds: []int{dir}}
	h.then = func(err error) {
		unix.Close(dir)
		if err != nil {
			s.k.report(Warning, "", "spawn", path, err)
		}
	}
	p, err := spawn.NewProgram(path, path)
	if err != nil {
		h.then(err)
		return true
	}
	h.request = spawn.Request{Owner: h, Program: p, Dir: dir, Stdin: -1, Stdout: -1, Notify: -1, Journal: -1}
	s.k.spawner.Spawn(&h.request)
	return true
}

// interrupt sends INT to the process group of the one service.
func (s *Scanner) interrupt() {
	for _, e := range s.entries {
		if !e.main.up {
			continue
		}
		e.main.unit.mu.Lock()
		pid := e.main.unit.state.PID
		e.main.unit.mu.Unlock()
		if pid != 0 {
			_ = s.k.table.Signal(pid, syscall.SIGINT, true)
		}
	}
}

// tellLeaving tells who listens to the services that nobody supervises them any more.
func (s *Scanner) tellLeaving() {
	if s.k.config.Dialect != supervise.S6 {
		return
	}
	for _, e := range s.entries {
		for _, x := range []*slot{&e.main, &e.log} {
			if x.up {
				_ = servicedir.Notify(x.unit.dir.Home, []byte{byte(supervise.ChangeGone)})
			}
		}
	}
}

// isCatchAll tells whether an entry is the service that reads what the scanner and all
// others write, by a FIFO of its own.
func (s *Scanner) isCatchAll(e *entry) bool {
	return s.k.config.CatchAll != "" && e.name == s.k.config.CatchAll && e.main.unit != nil
}

// dismissCatchAll lets it read to the end when all others are over: it has to be alone with
// its FIFO, so we write elsewhere from then on.
func (s *Scanner) dismissCatchAll() {
	c := &s.k.config
	if !s.stop || c.CatchAll == "" || s.control == nil || s.control.alone {
		return
	}
	for _, e := range s.entries {
		if !s.isCatchAll(e) || !e.main.up {
			return
		}
	}
	s.control.alone = true
	s.k.reports.flush()
	console := c.Console
	if console <= 0 {
		console, _ = unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	}
	for _, fd := range [...]int{1, 2} {
		_ = unix.Dup3(console, fd, 0)
	}
	for _, e := range s.entries {
		e.main.unit.Post(supervise.Event{Kind: supervise.EvDrain, At: e.main.unit.Now()})
	}
}
