package svscan

import (
	"bytes"
	"os"
	"runtime/debug"
	"strconv"

	"golang.org/x/sys/unix"
)

// trim gives memory back once the services are up: the heap's, and the pages of
// the program itself that only the start needed. A page that is needed again
// comes back from the page cache, alone and not with its neighbours.
func trim() {
	debug.FreeOSMemory()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for line := range bytes.Lines(maps) {
		f := bytes.Fields(line)
		if len(f) < 6 || f[1][1] == 'w' || f[5][0] != '/' {
			continue
		}
		from, to, _ := bytes.Cut(f[0], []byte{'-'})
		start, err1 := strconv.ParseUint(string(from), 16, 64)
		end, err2 := strconv.ParseUint(string(to), 16, 64)
		if err1 != nil || err2 != nil {
			continue
		}
		advise(uintptr(start), uintptr(end-start), unix.MADV_RANDOM)
		advise(uintptr(start), uintptr(end-start), unix.MADV_DONTNEED)
	}
}

func advise(start, length uintptr, advice int) {
	unix.RawSyscall(unix.SYS_MADVISE, start, length, uintptr(advice))
}
