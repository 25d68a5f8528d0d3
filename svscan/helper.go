package svscan

import (
	"time"

	"golang.org/x/sys/unix"

	"upkeep/svscan/internal/spawn"
)

// helper is a process of this program, or of one that is to follow it, that is no
// service.
type helper struct {
	request spawn.Request
	fds     []int
	pid     int32 // once it runs
	then    func(error)
}

// self is a path of this program, also where another stands in its place.
func (s *Scanner) self() string {
	if path := "/proc/self/exe"; unix.Access(path, unix.X_OK) == nil {
		return path
	}
	return s.program
}

// help starts program in a session of its own and tells then how that went, on a
// thread that must not wait. stdin and stdout, -1 if there is none, are closed in any case.
func (s *Scanner) help(program string, args []string, stdin, stdout int, then func(*helper, error)) {
	h := &helper{}
	h.then = func(err error) {
		for _, fd := range h.fds {
			if fd >= 0 {
				unix.Close(fd)
			}
		}
		then(h, err)
	}
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	h.fds = []int{stdin, stdout, root}
	if err != nil {
		h.then(err)
		return
	}
	p, err := spawn.NewProgram(program, append([]string{"upkeep"}, args...)...)
	if err != nil {
		h.then(err)
		return
	}
	h.request = spawn.Request{
		Owner: h, Program: p, Dir: root, Stdin: stdin, Stdout: stdout, Notify: -1, Journal: -1, Session: true,
	}
	s.k.spawner.Spawn(&h.request)
}

// Started implements spawn.Owner.
func (h *helper) Started(pid int32, _ time.Time) { h.pid = pid }

// Proceed implements spawn.Owner.
func (h *helper) Proceed() { h.then(nil) }

// StartFailed implements spawn.Owner.
func (h *helper) StartFailed(err error, _ bool, _ time.Time) { h.then(err) }

// Slow implements spawn.Owner.
func (h *helper) Slow() {}

// Died implements reap.Owner.
func (h *helper) Died(int32, uint32) {}
