package main

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// now is CLOCK_MONOTONIC in nanoseconds: the clock that the services stamp with.
func now() int64 {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // cannot fail
	return t.Nano()
}

// since is the time from began, as now gave it.
func since(began int64) time.Duration { return time.Duration(now() - began) }

// process is what the tree of processes is made of.
type process struct {
	parent int
	zombie bool
}

// parseStat takes the state and the parent out of /proc/PID/stat. The name
// before them is in parentheses and may contain anything.
func parseStat(text []byte) (p process, ok bool) {
	_, rest, ok := bytes.Cut(text[bytes.LastIndexByte(text, ')')+1:], []byte(" "))
	fields := bytes.Fields(rest)
	if !ok || len(fields) < 2 {
		return p, false
	}
	parent, err := strconv.Atoi(string(fields[1]))
	return process{parent: parent, zombie: fields[0][0] == 'Z'}, err == nil
}

// processes are all that there are now.
func processes() map[int]process {
	all := make(map[int]process)
	for _, name := range names("/proc") {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue // it is gone
		}
		if p, ok := parseStat(text); ok {
			all[pid] = p
		}
	}
	return all
}

// descendants are the live processes below root.
func descendants(all map[int]process, root int) (list []int) {
	children := make(map[int][]int)
	for pid, p := range all {
		children[p.parent] = append(children[p.parent], pid)
	}
	for todo := []int{root}; len(todo) > 0; {
		below := children[todo[0]]
		todo = append(todo[1:], below...)
		for _, pid := range below {
			if !all[pid].zombie {
				list = append(list, pid)
			}
		}
	}
	return list
}

// memory is what a process takes, in KiB.
type memory struct{ pss, privateDirty int }

// parseRollup reads /proc/PID/smaps_rollup.
func parseRollup(text string) memory {
	return memory{pss: field(text, "Pss"), privateDirty: field(text, "Private_Dirty")}
}

// field is the number behind "name:" at the beginning of a line, 0 without one.
func field(text, name string) int {
	for line := range strings.Lines(text) {
		value, ok := strings.CutPrefix(line, name+":")
		if !ok {
			continue
		}
		if words := strings.Fields(value); len(words) > 0 {
			n, _ := strconv.Atoi(words[0])
			return n
		}
	}
	return 0
}

// memoryOf is what these processes take together.
func memoryOf(pids []int) (sum memory) {
	for _, pid := range pids {
		m := parseRollup(read(pid, "smaps_rollup"))
		sum.pss += m.pss
		sum.privateDirty += m.privateDirty
	}
	return sum
}

// threadsOf counts the threads of these processes.
func threadsOf(pids []int) (n int) {
	for _, pid := range pids {
		n += len(names("/proc/" + strconv.Itoa(pid) + "/task"))
	}
	return n
}

// switchesOf counts how often the threads of these processes have been given a
// processor: they slept and were woken, or were pushed aside.
func switchesOf(pids []int) (n int) {
	for _, pid := range pids {
		for _, tid := range names("/proc/" + strconv.Itoa(pid) + "/task") {
			text := read(pid, "task/"+tid+"/status")
			n += field(text, "voluntary_ctxt_switches") + field(text, "nonvoluntary_ctxt_switches")
		}
	}
	return n
}

// processorTime is what each of these processes has used so far, by its own CPU
// clock: to the nanosecond, where /proc/PID/stat counts ticks. Those that are
// gone are left out.
func processorTime(pids []int) map[int]time.Duration {
	used := make(map[int]time.Duration, len(pids))
	for _, pid := range pids {
		const schedulerClock = 2 // CPUCLOCK_SCHED
		var t unix.Timespec
		if unix.ClockGettime(int32(^pid)<<3|schedulerClock, &t) == nil {
			used[pid] = time.Duration(t.Nano())
		}
	}
	return used
}

// read is the text of a file of a process, empty when it is gone.
func read(pid int, file string) string {
	text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/" + file)
	return string(text)
}

// names are the entries of a directory, in no order.
func names(dir string) []string {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	list, _ := f.Readdirnames(-1)
	return list
}
