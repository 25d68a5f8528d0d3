package svscan

import (
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"

	"golang.org/x/sys/unix"
)

// trim gives back what only the start of many services needed: threads, the
// heap's memory, and pages of the program itself. A page that is needed again
// comes back from the page cache, alone and not with its neighbours.
func trim() {
	debug.FreeOSMemory()
	trimThreads()
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

// keepThreads is what a quiet scanner has use for: the runtime's monitor and
// poller, the reaper, the spawner's and the disk's, and one that runs.
const keepThreads = 8

// trimThreads ends threads that a burst of blocking calls left behind. The runtime
// never does; but a goroutine that ends while it is locked to its thread takes it
// along.
func trimThreads() {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for range len(tasks) - keepThreads {
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread()
			if unix.Gettid() == os.Getpid() {
				runtime.UnlockOSThread() // the first one would only be wedged
			}
		}()
		<-done
	}
}
