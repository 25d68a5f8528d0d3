// Package notify tells a service manager how the scanner is, in the protocol of
// systemd (sd_notify(3), systemd.exec(5)): datagrams to the socket that the variable
// NOTIFY_SOCKET names.
package notify

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/internal/fault"
)

// The variables that are meant for one process.
const (
	socketVar   = "NOTIFY_SOCKET"
	intervalVar = "WATCHDOG_USEC"
	processVar  = "WATCHDOG_PID"
)

// Words of the protocol.
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
	Watchdog = "WATCHDOG=1"
)

// Status is the word for a line of text about how things are.
func Status(text string) string { return "STATUS=" + text }

// Reloading is the word for a reload that begins now, to be followed by Ready.
func Reloading() string {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // which cannot fail
	return "RELOADING=1\nMONOTONIC_USEC=" + strconv.FormatInt(now.Nano()/1000, 10)
}

// Strip takes the variables out of an environment that is handed on.
func Strip(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return name == socketVar || name == intervalVar || name == processVar
	})
}

// Interval is how often the manager wants a Watchdog, or 0 if it does not, or not of
// the process pid.
func Interval(environ []string, pid int) (time.Duration, error) {
	text, ok := lookup(environ, intervalVar)
	if !ok {
		return 0, nil
	}
	if owner, ok := lookup(environ, processVar); ok && owner != strconv.Itoa(pid) {
		return 0, nil
	}
	const most = uint64(1<<63-1) / uint64(time.Microsecond)
	usec, err := strconv.ParseUint(text, 10, 64)
	if err != nil || usec == 0 || usec > most {
		return 0, fault.At(intervalVar+" is "+strconv.Quote(text), unix.EINVAL)
	}
	return time.Duration(usec) * time.Microsecond, nil
}

func lookup(environ []string, name string) (value string, ok bool) {
	for _, entry := range environ {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// Socket sends to a manager. Its methods may be called from any goroutine; they never
// block. A nil *Socket has nobody to send to.
type Socket struct {
	name string
	addr unix.SockaddrUnix
	fd   int

	mu     sync.Mutex
	queue  []string
	status string // the last one, if it was not sent yet
	ended  bool
	wake   chan struct{} // of size 1
	done   chan struct{}
}

// sendLimit is how long a manager may leave its socket full.
const sendLimit = 5 * time.Second

// Open opens the socket of an environment; it is nil if that names none. failed is told
// of the first message that could not be sent.
func Open(environ []string, failed func(name string, err error)) (*Socket, error) {
	name, ok := lookup(environ, socketVar)
	if !ok || name == "" {
		return nil, nil
	}
	if name[0] != '/' && name[0] != '@' || len(name) == 1 {
		return nil, fault.At("unable to notify "+name, unix.EPROTONOSUPPORT)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fault.At("unable to notify "+name, err)
	}
	limit := unix.NsecToTimeval(int64(sendLimit))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit); err != nil {
		unix.Close(fd)
		return nil, fault.At("unable to notify "+name, err)
	}
	s := &Socket{name: name, fd: fd, wake: make(chan struct{}, 1), done: make(chan struct{})}
	s.addr.Name = name
	go s.run(failed) // until Close
	return s, nil
}

// Send sends words, in one datagram. What waits to be sent already is not sent twice.
func (s *Socket) Send(words ...string) {
	if s == nil {
		return
	}
	message := strings.Join(words, "\n")
	s.post(func() {
		if n := len(s.queue); n == 0 || s.queue[n-1] != message {
			s.queue = append(s.queue, message)
		}
	})
}

// SetStatus sends a status, unless another one comes before it could be sent.
func (s *Socket) SetStatus(text string) {
	if s != nil {
		s.post(func() { s.status = Status(text) })
	}
}

// Close returns when everything has been sent, or could not be.
func (s *Socket) Close() {
	if s != nil {
		s.post(func() { s.ended = true })
		<-s.done
	}
}

func (s *Socket) post(change func()) {
	s.mu.Lock()
	change()
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// next takes the oldest message; ended says that none will come any more.
func (s *Socket) next() (message string, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) > 0 {
		message, s.queue = s.queue[0], s.queue[1:]
		return message, false
	}
	message, s.status = s.status, ""
	return message, s.ended && message == ""
}

func (s *Socket) run(failed func(name string, err error)) {
	defer close(s.done)
	defer unix.Close(s.fd)
	said := false
	for {
		message, ended := s.next()
		if ended {
			return
		}
		if message == "" {
			<-s.wake
			continue
		}
		if err := s.send(message); err != nil && !said {
			said = true
			failed(s.name, err)
		}
	}
}

func (s *Socket) send(message string) error {
	for {
		err := unix.Sendto(s.fd, []byte(message), unix.MSG_NOSIGNAL, &s.addr)
		if err != unix.EINTR {
			return err
		}
	}
}
