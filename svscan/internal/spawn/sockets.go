package spawn

import (
	"strconv"
	"strings"

	"upkeep/svscan/internal/listen"
)

// Sockets are what a process finds as sd_listen_fds(3) describes it: from descriptor
// listen.First on, with LISTEN_FDS, LISTEN_FDNAMES and LISTEN_PID in its environment.
type Sockets struct {
	fds  []int // at listen.First+listen.Most and above
	vars *Vars
}

// Sockets prepares to pass descriptors on, with a name for each. What a child needs otherwise
// must not be where they go, so it has a copy of our table, and takes them last.
func (s *Spawner) Sockets(fds []int, names []string) (*Sockets, error) {
	vars, err := NewVars("LISTEN_PID", "LISTEN_FDS="+strconv.Itoa(len(fds)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	if err != nil {
		return nil, err
	}
	return &Sockets{fds, vars}, nil
}

// Has tells whether a descriptor of the process is one of them.
func (p *Sockets) Has(fd int) bool {
	return p != nil && fd >= listen.First && fd < listen.First+len(p.fds)
}

// firstSocket is what the first becomes.
const firstSocket = listen.First
