package handoff

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
	"upkeep/supervise/servicedir"
)

// sleeper starts a process that lives until the test ends.
func sleeper(t *testing.T, change func(*exec.Cmd)) (*exec.Cmd, servicedir.Mark) {
	t.Helper()
	var m servicedir.Mark
	before := Boottime()
	c := exec.Command("/bin/sh", "-c", "read line; exit 7")
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(c)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	m[servicedir.MarkPID] = uint64(c.Process.Pid)
	m[servicedir.MarkBefore], m[servicedir.MarkAfter] = before, Boottime()
	return c, m
}

func TestFind(t *testing.T) {
	t.Parallel()
	c, m := sleeper(t, nil)
	p, hidden := Find(&m)
	if p == nil || hidden {
		t.Fatalf("not found; hidden %v", hidden)
	}
	defer p.Close()
	if !p.Ours || !p.Alive() || p.Leaving() || reaped(p) {
		t.Errorf("%+v", p)
	}
	if _, known := p.Status(); known {
		t.Error("a status while it runs")
	}

	// Another process that had this pid, before or after.
	const second = 1e9
	for _, back := range []bool{true, false} {
		other := m
		for _, word := range []int{servicedir.MarkBefore, servicedir.MarkAfter} {
			if back {
				other[word] -= second
			} else {
				other[word] += second
			}
		}
		if q, hidden := Find(&other); q != nil || hidden {
			t.Errorf("taken for one that was started at another time, earlier: %v", back)
		}
	}
	if Handles() {
		var own servicedir.Mark
		if !MarkOf(int32(c.Process.Pid), &own) || own[servicedir.MarkHandle] == 0 {
			t.Fatalf("%v", own)
		}
		q, _ := Find(&own)
		if q == nil {
			t.Fatal("not found by its handle")
		}
		q.Close()
		own[servicedir.MarkHandle]++
		if q, _ := Find(&own); q != nil {
			t.Error("found by another handle")
		}
	}

	if err := p.Signal(unix.SIGKILL, false); err != nil {
		t.Fatal(err)
	}
	fds := []unix.PollFd{{Fd: int32(p.FD), Events: unix.POLLIN}}
	if _, err := unix.Poll(fds, 20000); err != nil {
		t.Fatal(err)
	}
	if p.Alive() || !p.Leaving() || reaped(p) {
		t.Error("a zombie is neither alive nor gone")
	}
	if st, known := p.Status(); !known || st != supervise.WaitStatus(unix.SIGKILL) {
		t.Errorf("status %#x, %v", st, known)
	}
	if err := p.Signal(unix.SIGTERM, false); err != unix.ESRCH {
		t.Errorf("signal to a zombie: %v", err)
	}
	_ = c.Wait()
	if !reaped(p) {
		t.Error("not gone after the wait")
	}
	if q, _ := Find(&m); q != nil {
		t.Error("found after the wait")
	}
}

// TestStatusAfterReaping needs Linux 6.15.
func TestStatusAfterReaping(t *testing.T) {
	t.Parallel()
	c, m := sleeper(t, func(c *exec.Cmd) { c.Stdin, c.Args[2] = nil, "exit 7" })
	p, _ := Find(&m)
	if p == nil {
		t.Skip("it has ended already")
	}
	defer p.Close()
	_ = c.Wait()
	st, known := p.Status()
	if !known && st == supervise.UnknownEnd {
		t.Skip("this kernel tells the exit code of a reaped process to nobody")
	}
	if st != supervise.Exited(7) {
		t.Errorf("%#x", st)
	}
}

func TestPipe(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	inode := Inode(int(r.Fd()))
	_, m := sleeper(t, func(c *exec.Cmd) { c.Stdout = w })
	p, _ := Find(&m)
	if p == nil {
		t.Fatal("not found")
	}
	defer p.Close()
	if _, err := w.WriteString("kept\n"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	r.Close() // only the process has the pipe now
	if r, w, _ := p.Pipe(1, inode+1); r >= 0 || w >= 0 {
		t.Error("another pipe")
	}
	if r, w, _ := p.Pipe(1, 0); r >= 0 || w >= 0 {
		t.Error("no pipe")
	}
	for name, get := range map[string]func(int, uint64) (int, int, bool){"proc": p.Pipe, "pidfd": p.fetch} {
		from, to, ended := get(1, inode)
		if from < 0 || to < 0 || ended {
			t.Fatalf("%s: not found", name)
		}
		for _, fd := range []int{from, to} {
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
			if err != nil || flags&unix.O_NONBLOCK != 0 {
				t.Errorf("%s: flags %#o, %v", name, flags, err)
			}
		}
		if name == "proc" {
			if _, err := unix.Write(to, []byte("and more\n")); err != nil {
				t.Error(err)
			}
		}
		unix.Close(to)
		defer unix.Close(from)
		if Inode(from) != inode {
			t.Errorf("%s: inode %d, want %d", name, Inode(from), inode)
		}
	}
	from, to, _ := p.Pipe(1, inode)
	if from < 0 || to < 0 {
		t.Fatal("not found again")
	}
	defer unix.Close(from)
	defer unix.Close(to)
	b := make([]byte, 100)
	n, err := syscall.Read(from, b)
	if err != nil || string(b[:n]) != "kept\nand more\n" {
		t.Errorf("%q, %v", b[:n], err)
	}
}

// Of a pipe that only its reader is left of, whoever takes hold knows that the reader
// sees the end.
func TestPipeEnded(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	inode := Inode(int(r.Fd()))
	_, m := sleeper(t, func(c *exec.Cmd) { c.Stdin, c.Args[2] = r, "exec sleep 1000" })
	p, _ := Find(&m)
	if p == nil {
		t.Fatal("not found")
	}
	defer p.Close()
	for _, want := range []bool{false, true} {
		for name, get := range map[string]func(int, uint64) (int, int, bool){"proc": p.Pipe, "pidfd": p.fetch} {
			// What other tests start has the pipe until it executes something.
			for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
				from, to, ended := get(0, inode)
				unix.Close(from)
				unix.Close(to)
				if from >= 0 && to >= 0 && ended == want {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("%s: %d, %d, ended %v, want %v", name, from, to, ended, want)
				}
			}
		}
		w.Close()
	}
}

func TestWorld(t *testing.T) {
	t.Parallel()
	a, err1 := World()
	b, err2 := World()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if a.Boot != b.Boot || a.PIDs != b.PIDs || a.Boot == (servicedir.World{}.Boot) || a.PIDs == 0 {
		t.Errorf("%v %v", a, b)
	}
	if d := a.Began - b.Began; d > 1e9 || d < -1e9 {
		t.Errorf("the machine was booted at %v and at %v", a.Began, b.Began)
	}
}

func FuzzParseStat(f *testing.F) {
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Skip(err)
	}
	f.Add(string(b))
	f.Add(strings.Replace(string(b), "(", "() 1 (Z) ", 1))
	f.Add("1 (x) Z 1")
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = parseStat([]byte(text)) // does not panic
	})
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	text := "77 (a) b) Z 5 6 7 0 -1 4194308 0 0 0 0 0 0 0 0 20 0 1 0 12345 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 1792\n"
	s, err := parseStat([]byte(text))
	if err != nil || s != (stat{state: 'Z', parent: 5, group: 6, sid: 7, flags: 4194308, start: 123450000000, code: 1792}) {
		t.Errorf("%+v, %v", s, err)
	}
}

// reaped tells whether nothing is left of a process, not even a zombie.
func reaped(p *Process) bool {
	st, err := readStat(p.PID)
	return err != nil || st.start != p.start
}
