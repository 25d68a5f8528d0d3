package svscan

import (
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"upkeep/logwriter"
)

// trim gives back what only the start of many services needed: threads, the
// heap's memory, and pages of the program itself. A page that is needed again
// comes back from the page cache, alone and not with its neighbours.
func trim() {
	calm()
	logwriter.ReleaseGears()
	runtime.GC() // what is in a sync.Pool outlives one
	debug.FreeOSMemory()
	trimThreads()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return
	}
	for _, m := range untouched(smaps) {
		advise(m.start, m.length, unix.MADV_RANDOM)
		advise(m.start, m.length, unix.MADV_DONTNEED)
	}
}

// calmSlack is how much later than it wishes the runtime's monitor may wake up, in
// nanoseconds.
const calmSlack = "10000000"

// calm has the runtime's monitor look less often. After each sign of life it looks
// every 20 us whether some goroutine keeps others from running, until all is quiet:
// of a restart that costs more than all else. Ten milliseconds do for that as well;
// what may block long here tells the runtime beforehand. Only root may ask for it.
func calm() {
	f, err := os.Open("/proc/self/task")
	if err != nil {
		return
	}
	defer f.Close()
	// The kernel lists threads as they came, and the monitor is the first that
	// the runtime makes.
	tids, err := f.Readdirnames(2)
	if err != nil || len(tids) < 2 || tids[0] != strconv.Itoa(os.Getpid()) {
		return
	}
	_ = os.WriteFile("/proc/"+tids[1]+"/timerslack_ns", []byte(calmSlack), 0)
}

// mapping is a range of the address space.
type mapping struct{ start, length uintptr }

// untouched finds, in the text of /proc/PID/smaps, the read-only mappings of files
// of which no page was ever changed. One that was, by a dynamic linker before it
// was protected, could not be had from the file again.
func untouched(smaps []byte) (list []mapping) {
	var m mapping
	for line := range bytes.Lines(smaps) {
		f := bytes.Fields(line)
		if len(f) == 0 {
			continue
		}
		from, to, header := bytes.Cut(f[0], []byte{'-'})
		switch {
		case header && len(f) >= 5:
			start, err1 := strconv.ParseUint(string(from), 16, 64)
			end, err2 := strconv.ParseUint(string(to), 16, 64)
			m = mapping{}
			if err1 == nil && err2 == nil && len(f) > 5 && f[1][1] == '-' && f[5][0] == '/' {
				m = mapping{uintptr(start), uintptr(end - start)}
			}
		case m.length == 0:
		case string(f[0]) == "Anonymous:" && string(f[1]) != "0":
			m = mapping{}
		case string(f[0]) == "Swap:": // comes after Anonymous; a changed page may be there
			if string(f[1]) == "0" {
				list = append(list, m)
			}
			m = mapping{}
		}
	}
	return list
}

func advise(start, length uintptr, advice int) {
	unix.RawSyscall(unix.SYS_MADVISE, start, length, uintptr(advice))
}

// keepThreads is how many threads there are from the beginning, and after a trim:
// enough for all that may block at the same time. The runtime makes threads as it
// needs them, and ends the program when the kernel refuses one, as it does when the
// user has too many processes.
const keepThreads = 11

// reserveThreads makes threads that will be needed sooner or later, n in all.
func reserveThreads(n int) {
	missing := n - threads()
	var ready, done sync.WaitGroup
	ready.Add(max(missing, 0))
	done.Add(1)
	for range missing {
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			ready.Done()
			done.Wait() // until all have one of their own
		}()
	}
	ready.Wait()
	done.Done()
}

// trimThreads ends threads that a burst of blocking calls left behind. The runtime
// never does; but a goroutine that ends while it is locked to its thread takes it
// along.
func trimThreads() {
	for range threads() - keepThreads {
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

// threads counts our threads, or keepThreads where that cannot be known.
func threads() int {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return keepThreads
	}
	return len(tasks)
}
