package spawn

import (
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"upkeep/svscan/internal/listen"
)

// Sockets are what a process finds as sd_listen_fds(3) describes it: from descriptor
// listen.First on, with LISTEN_FDS, LISTEN_FDNAMES and LISTEN_PID in its environment.
type Sockets struct {
	fds []int // at listen.First+listen.Most and above
	env []*byte
	// pid is the value of LISTEN_PID in env, which the new process writes.
	pid []byte
}

// listenVars are not passed on from our own environment.
var listenVars = [...]string{"LISTEN_PID=", "LISTEN_FDS=", "LISTEN_FDNAMES="}

const (
	pidVar = "LISTEN_PID="
	maxPID = "4194304" // PID_MAX_LIMIT
)

// Sockets prepares to pass descriptors on, with a name for each.
func (s *Spawner) Sockets(fds []int, names []string) (*Sockets, error) {
	p := &Sockets{fds: fds}
	for _, entry := range s.env[:len(s.env)-1] {
		if !isListenVar(unix.BytePtrToString(entry)) {
			p.env = append(p.env, entry)
		}
	}
	pid := append([]byte(pidVar+maxPID), 0)
	p.pid = pid[len(pidVar):]
	ours, err := syscall.SlicePtrFromStrings([]string{
		"LISTEN_FDS=" + strconv.Itoa(len(fds)), "LISTEN_FDNAMES=" + strings.Join(names, ":"),
	})
	if err != nil {
		return nil, err
	}
	p.env = append(append(p.env, &pid[0]), ours...)
	return p, nil
}

// Has tells whether a descriptor of the process is one of them.
func (p *Sockets) Has(fd int) bool {
	return p != nil && fd >= listen.First && fd < listen.First+len(p.fds)
}

func isListenVar(entry string) bool {
	for _, v := range listenVars {
		if strings.HasPrefix(entry, v) {
			return true
		}
	}
	return false
}

// give has a child get the sockets. What it needs otherwise must not be where they go, so
// the child has a copy of our table, and takes them last.
func (p *Sockets) give(c *child) {
	c.sockets, c.env, c.pids[0] = p.fds, &p.env[0], unsafe.Pointer(&p.pid[0])
}

// firstSocket is what the first becomes.
const firstSocket = listen.First
