package svscan

import (
	"time"

	"golang.org/x/sys/unix"

	"upkeep/svscan/internal/reap"
	"upkeep/svscan/internal/spawn"
)

// question is a program that is asked for something.
type question struct {
	started chan error
	ended   chan uint32
}

// Ask runs a program, whose argv[0] is path, and returns what it writes if it exits 0 within
// some time. All children are waited for here, so there is no other way to run one.
func (s *Jobs) Ask(patience time.Duration, path string, args ...string) ([]byte, error) {
	p, err := spawn.NewProgram(path, append([]string{path}, args...)...)
	if err != nil {
		return nil, err
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	defer unix.Close(pipe[0])
	q := &question{make(chan error, 1), make(chan uint32, 1)}
	s.k.spawner.Spawn(&spawn.Request{
		Owner: q, Program: p, Dir: s.cwd, Stdin: s.null, Stdout: pipe[1], Stderr: -1, Notify: -1, Journal: -1,
	})
	err = <-q.started
	unix.Close(pipe[1])
	if err != nil {
		return nil, err
	}
	late := time.AfterFunc(patience, func() {
		s.k.table.Kill(func(o reap.Owner) bool { return o == reap.Owner(q) })
	})
	var text []byte
	for n := 1; n > 0; {
		var b [256]byte
		if n, err = unix.Read(pipe[0], b[:]); n > 0 {
			text = append(text, b[:n]...)
		} else if err == unix.EINTR {
			n = 1
		}
	}
	status := <-q.ended
	switch {
	case !late.Stop():
		return nil, unix.ETIMEDOUT
	case status != 0:
		return nil, unix.ENOENT
	}
	return text, nil
}

// Started implements spawn.Owner.
func (q *question) Started(int32, time.Time) { q.started <- nil }

// StartFailed implements spawn.Owner.
func (q *question) StartFailed(err error, _ bool, _ time.Time) { q.started <- err }

// Proceed implements spawn.Owner.
func (q *question) Proceed() {}

// Slow implements spawn.Owner.
func (q *question) Slow() {}

// Died implements reap.Owner.
func (q *question) Died(_ int32, status uint32) { q.ended <- status }
