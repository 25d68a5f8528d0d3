package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// stamp is a service's word that it did something, and when: the service reads
// the clock itself, so it does not matter how late the benchmark looks.
type stamp struct {
	kind byte // kindStart or kindHangup
	pid  int
	at   int64 // as now
}

const (
	kindStart  = 'S' // the first instruction of main
	kindHangup = 'H' // SIGHUP arrived

	stampSize = 16
)

// parseStamp reads a record of helpers/tinysvc.c.
func parseStamp(b []byte) stamp {
	return stamp{
		kind: b[0],
		pid:  int(binary.NativeEndian.Uint32(b[4:])),
		at:   int64(binary.NativeEndian.Uint64(b[8:])),
	}
}

// appendStamp is the other direction.
func appendStamp(b []byte, s stamp) []byte {
	b = append(b, s.kind, 0, 0, 0)
	b = binary.NativeEndian.AppendUint32(b, uint32(s.pid))
	return binary.NativeEndian.AppendUint64(b, uint64(s.at))
}

// stamps is the FIFO that the services of one tree write into.
type stamps struct {
	path   string
	fd     int
	buf    [1 << 16]byte
	queued []stamp
}

// pipeSize holds the stamps of a start of 1000 services several times over.
const pipeSize = 1 << 18

func openStamps(path string) (*stamps, error) {
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, fmt.Errorf("unable to make %s: %w", path, err)
	}
	// Open for writing too, or it would be at its end whenever no service writes.
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("unable to open %s: %w", path, err)
	}
	unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeSize) // the default would do up to 4096 services
	return &stamps{path: path, fd: fd}, nil
}

func (s *stamps) close() {
	unix.Close(s.fd)
	os.Remove(s.path)
}

// patience is how long a wait may hold up an interrupt.
const patience = 100 * time.Millisecond

// take waits up to patience for stamps, and queues them.
func (s *stamps) take() {
	poll := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(poll, int(patience.Milliseconds())); err != nil || n == 0 {
		return
	}
	// Writes of a record are atomic, and so is what is read: whole records.
	n, err := unix.Read(s.fd, s.buf[:])
	if err != nil {
		return
	}
	for b := s.buf[:n]; len(b) >= stampSize; b = b[stampSize:] {
		s.queued = append(s.queued, parseStamp(b))
	}
}

// drain forgets what came so far.
func (s *stamps) drain() {
	for n := 1; n > 0; {
		n, _ = unix.Read(s.fd, s.buf[:])
	}
	s.queued = s.queued[:0]
}

// wait returns the next n stamps of a kind and drops others between them. When
// time runs out it returns those it has, and an error.
func (s *stamps) wait(ctx context.Context, kind byte, n int, limit time.Duration) ([]stamp, error) {
	got := make([]stamp, 0, n)
	for began := now(); ; s.take() {
		for i, q := range s.queued {
			if q.kind == kind {
				got = append(got, q)
			}
			if len(got) == n {
				s.queued = append(s.queued[:0], s.queued[i+1:]...)
				return got, nil
			}
		}
		s.queued = s.queued[:0]
		if err := ctx.Err(); err != nil {
			return got, err
		}
		if since(began) > limit {
			return got, fmt.Errorf("%d of %d stamps %q within %v", len(got), n, kind, limit)
		}
	}
}

// count is how many stamps of a kind come in a time.
func (s *stamps) count(ctx context.Context, kind byte, d time.Duration) (n int, err error) {
	for began := now(); since(began) < d; s.take() {
		for _, q := range s.queued {
			if q.kind == kind {
				n++
			}
		}
		s.queued = s.queued[:0]
		if err := ctx.Err(); err != nil {
			return n, err
		}
	}
	return n, nil
}

// sleep is time.Sleep that an interrupt ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
