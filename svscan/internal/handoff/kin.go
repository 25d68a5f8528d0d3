package handoff

import (
	"os"
	"strconv"
	"strings"
)

// Kin is what binds a process to others.
type Kin struct {
	Parent, Group, Session int32
	Start                  uint64 // tells it from another of that pid
}

// KinOf is that of a process that has not been reaped.
func KinOf(pid int32) (Kin, error) {
	st, err := readStat(pid)
	return Kin{int32(st.parent), int32(st.group), int32(st.sid), st.start}, err
}

// mostAncestors is how far up a chain of parents is followed.
const mostAncestors = 256

// Belongs tells whether a process is one of heads, which live, or a descendant of one; or
// whether it, or a forefather of it, is in a group or session that one of them leads, which
// outlives a parent. gone tells that there is no such process any more.
func Belongs(pid int32, heads []int32, kinOf func(int32) (Kin, error)) (yes, gone bool) {
	for i := 0; i < mostAncestors && pid > 1; i++ {
		for _, head := range heads {
			if pid == head {
				return true, false
			}
		}
		k, err := kinOf(pid)
		if err != nil {
			return false, i == 0
		}
		for _, head := range heads {
			if head > 1 && (k.Group == head || k.Session == head) {
				return true, false
			}
		}
		pid = k.Parent
	}
	return false, false
}

// UserOf is the real user of a process, or -1.
func UserOf(pid int32) int {
	word, _, _ := strings.Cut(strings.TrimSpace(find(pid, "status", '\n', "Uid:")), "\t")
	n, err := strconv.Atoi(word)
	if err != nil {
		return -1
	}
	return n
}

// Variable is one of the environment that a process was executed with, or empty.
func Variable(pid int32, name string) string { return find(pid, "environ", 0, name+"=") }

// InCgroup tells whether a process is in the cgroup of version 2 with that base name, or
// below it.
func InCgroup(pid int32, name string) bool {
	return strings.Contains(find(pid, "cgroup", '\n', "0::")+"/", "/"+name+"/")
}

// find is what follows prefix in a file of a process, up to end.
func find(pid int32, name string, end byte, prefix string) string {
	b, _ := os.ReadFile("/proc/" + strconv.Itoa(int(pid)) + "/" + name)
	s := string(rune(end)) + string(b)
	i := strings.Index(s, string(rune(end))+prefix)
	if i < 0 {
		return ""
	}
	s = s[i+1+len(prefix):]
	if i = strings.IndexByte(s, end); i >= 0 {
		s = s[:i]
	}
	return s
}
