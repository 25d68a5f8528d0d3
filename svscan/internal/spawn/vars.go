package spawn

import (
	"syscall"
	"unsafe"
)

// Vars are variables of one process, in place of those of the same names that others have.
type Vars struct {
	list []*byte
	// pid is the value of the first, which the new process writes: its pid. Or it is nil.
	pid unsafe.Pointer
}

const maxPID = "=4194304" // PID_MAX_LIMIT

// NewVars prepares NAME=VALUE variables, and one with the pid of the process itself, unless
// its name is empty.
func NewVars(pid string, own ...string) (*Vars, error) {
	if pid != "" {
		own = append([]string{pid + maxPID}, own...)
	}
	list, err := syscall.SlicePtrFromStrings(own)
	if err != nil {
		return nil, err
	}
	v := &Vars{list: list}
	if pid != "" {
		v.pid = unsafe.Add(unsafe.Pointer(list[0]), len(pid)+1)
	}
	return v, nil
}

// over is an environment with these.
func (v *Vars) over(env []*byte) []*byte {
	all := make([]*byte, 0, len(env)+len(v.list))
next:
	for _, e := range env[:len(env)-1] {
		for _, o := range v.list[:len(v.list)-1] {
			if sameName(e, o) {
				continue next
			}
		}
		all = append(all, e)
	}
	return append(all, v.list...) // with the nil at its end
}

// sameName tells whether two NAME=VALUE have one name.
func sameName(a, b *byte) bool {
	for ; *a == *b && *a != 0; a, b = (*byte)(unsafe.Add(unsafe.Pointer(a), 1)), (*byte)(unsafe.Add(unsafe.Pointer(b), 1)) {
		if *a == '=' {
			return true
		}
	}
	return false
}
