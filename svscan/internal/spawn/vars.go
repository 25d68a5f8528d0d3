package spawn

import (
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Vars are the variables by which a process finds whom to tell of itself, as sd_notify(3)
// and sd_watchdog_enabled(3) have it. Those of our own environment it does not get.
type Vars struct {
	list []*byte
	// pid is the value of WATCHDOG_PID in list, which the new process writes, or nil.
	pid []byte
}

var notifyVars = [...]string{"NOTIFY_SOCKET=", "WATCHDOG_USEC=", "WATCHDOG_PID="}

// NewVars has a process notify a socket, with a sign of life at least each period, unless
// that is 0.
func NewVars(socket string, period time.Duration) (*Vars, error) {
	list := []string{notifyVars[0] + socket}
	if period > 0 {
		list = append(list, notifyVars[1]+strconv.FormatInt(period.Microseconds(), 10))
	}
	p, err := syscall.SlicePtrFromStrings(list)
	if err != nil {
		return nil, err
	}
	v := &Vars{list: p[:len(list)]}
	if period > 0 {
		pid := append([]byte(notifyVars[2]+maxPID), 0)
		v.list, v.pid = append(v.list, &pid[0]), pid[len(notifyVars[2]):]
	}
	return v, nil
}

// give has a child get the variables beside those of env.
func (v *Vars) give(c *child, env []*byte) {
	all := make([]*byte, 0, len(env)+len(v.list))
next:
	for _, e := range env[:len(env)-1] {
		for _, name := range notifyVars {
			if sameName(unix.BytePtrToString(e), name) {
				continue next
			}
		}
		all = append(all, e)
	}
	all = append(append(all, v.list...), nil)
	c.env = &all[0]
	if v.pid != nil {
		c.pids[1] = unsafe.Pointer(&v.pid[0])
	}
}
