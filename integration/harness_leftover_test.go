package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// grace is what processes get that were told to end a moment ago, such as a
// child of a script that died. Services have no part in it: a supervisor that
// ends has waited for them.
const grace = time.Second

// relic is a process as /proc shows it.
type relic struct {
	pid, ppid int
	state     byte
	command   string
}

func (r relic) String() string {
	return fmt.Sprintf("%d %q (state %c, parent %d)", r.pid, r.command, r.state, r.ppid)
}

// program is the base name of what it executes.
func (r relic) program() string {
	path, _, _ := strings.Cut(r.command, " ")
	return path[strings.LastIndexByte(path, '/')+1:]
}

// lookAt is false for a process that is not there.
func lookAt(pid int) (relic, bool) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return relic{}, false
	}
	// The name, in brackets, may have blanks and brackets in it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	r := relic{pid: pid, state: fields[0][0]}
	r.ppid, _ = strconv.Atoi(fields[1])
	if line, err := os.ReadFile(dir + "/cmdline"); err == nil {
		r.command = strings.TrimRight(strings.ReplaceAll(string(line), "\x00", " "), " ")
	}
	return r, true
}

// search finds the processes with an environment entry, the dead ones left out;
// of any, if the entry is empty.
func search(mark string) (found []relic) {
	names, err := os.ReadDir("/proc")
	if err != nil {
		panic(err) // without /proc nothing here works
	}
	for _, n := range names {
		pid, err := strconv.Atoi(n.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if mark != "" {
			env, err := os.ReadFile("/proc/" + n.Name() + "/environ")
			if err != nil || !bytes.Contains(append([]byte{0}, env...), []byte("\x00"+mark+"\x00")) {
				continue
			}
		}
		if r, ok := lookAt(pid); ok {
			found = append(found, r)
		}
	}
	return found
}

// left is what runs in the site now.
func (s *site) left() []relic { return search(s.mark) }

// sweep kills what is left of the site, which is an error.
func (s *site) sweep() {
	s.t.Helper()
	for deadline := time.Now().Add(grace); ; {
		list := s.left()
		if len(list) == 0 {
			return
		}
		for _, r := range list {
			if ended, err := endOf(r.pid, max(time.Until(deadline), 0)); err != nil {
				s.t.Fatal(err)
			} else if !ended {
				s.t.Errorf("left running: %v", r)
				if err := kill(r.pid); err != nil {
					s.t.Fatal(err)
				}
			}
		}
	}
}

// endOf tells whether a process ends in time.
func endOf(pid int, within time.Duration) (bool, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	return readable(fd, within), nil
}

// kill ends a process by force and waits until it is dead.
func kill(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
		return err
	}
	if !readable(fd, patience) {
		return fmt.Errorf("process %d survives KILL", pid)
	}
	return nil
}

// buryOrphans waits for the dead children of this process that came to it when
// their parents died, after the last test: before, they might be os/exec's. One
// that lives has got rid of its mark, and is killed, which is an error.
func buryOrphans() error {
	var all error
	for again := true; again; {
		again = false
		for _, r := range search("") {
			if r.ppid != os.Getpid() {
				continue
			}
			again = true // its children come to us now
			if r.state != 'Z' {
				all = errors.Join(all, fmt.Errorf("left running: %v", r))
				if err := kill(r.pid); err != nil {
					return errors.Join(all, err)
				}
			}
			if _, err := unix.Wait4(r.pid, nil, 0, nil); err != nil {
				return errors.Join(all, err)
			}
		}
	}
	return all
}

// TestSweep: what runs on when its site is closed is found, reported and killed.
func TestSweep(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	judge := &judge{TB: t}
	s.t = judge
	r := s.run("/bin/sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!")
	pid, err := strconv.Atoi(strings.TrimSpace(r.stdout))
	if err != nil {
		t.Fatal(r, err)
	}
	s.sweep()
	if p, ok := lookAt(pid); ok && p.state != 'Z' {
		t.Errorf("%v still runs", p)
	}
	if len(judge.errors) != 1 || !strings.Contains(judge.errors[0], "sleep 1000") {
		t.Errorf("errors are %q", judge.errors)
	}
}

// judge keeps the errors of a test that are meant to be.
type judge struct {
	testing.TB
	errors []string
}

func (j *judge) Errorf(format string, args ...any) {
	j.errors = append(j.errors, fmt.Sprintf(format, args...))
}
