package integration

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReadproctitleLikeReal: what ps shows, at each point of the input.
func TestReadproctitleLikeReal(t *testing.T) {
	t.Parallel()
	pieces := []string{"hello", "\n", "a\x00b\x00\x00c", strings.Repeat("0123456789", 50), "x", "\xff\xfe\x01\n\n"}
	for _, args := range [][]string{
		{"service", "errors:", strings.Repeat(".", 400)},
		{"....."},
		{"other text"},
		{"", "", "      "},
	} {
		var seen [2][]string
		for k, program := range []string{peer(t, "readproctitle"), ours(t, "readproctitle")} {
			s := newSite(t, nil)
			l := newLogger(t, s, args...)
			l.program = program
			l.start()
			path := fmt.Sprintf("/proc/%d/cmdline", l.cmd.Process.Pid)
			shown := func(end string) {
				t.Helper()
				seen[k] = append(seen[k], waitCmdline(t, path, end))
			}
			last := len(args[len(args)-1])
			shown(strings.Repeat(".", last))
			all := ""
			for _, p := range pieces {
				if _, err := l.w.WriteString(p); err != nil {
					t.Fatal(err)
				}
				all += strings.ReplaceAll(p, "\x00", "")
				shown(all[max(len(all)-last+3, 0):])
			}
			ps, err := exec.Command("/usr/bin/ps", "-o", "args=", "-p", fmt.Sprint(l.cmd.Process.Pid)).Output()
			if err != nil {
				t.Fatal(err)
			}
			seen[k] = append(seen[k], string(ps))
			l.w.Close()
			if code := l.end(); code != 0 || l.words() != "" {
				t.Errorf("%s: exit %d, %q", program, code, l.words())
			}
		}
		compareTrees(t, args[0], fmt.Sprintf("%q", seen[1]), fmt.Sprintf("%q", seen[0]))
	}
}

// waitCmdline waits until what a process shows as its arguments ends with end,
// and returns all of it. There is no event for that: it is looked at again and
// again.
func waitCmdline(t *testing.T, path, end string) string {
	t.Helper()
	for range int(patience.Milliseconds()) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(string(b), end+"\x00") {
			return string(b)
		}
		pause := unix.NsecToTimespec(1e6)
		_ = unix.Nanosleep(&pause, nil)
	}
	b, _ := os.ReadFile(path)
	t.Fatalf("%s is %q, and does not end with %q", path, b, end)
	return ""
}

// TestReadproctitleFails: usage is refused without a word.
func TestReadproctitleFails(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	for _, c := range []string{
		`"$0" </dev/null`, `"$0" .... </dev/null`, `"$0" ..... </dev/null`, `"$0" a b '' </dev/null`, `"$0" a ..... </`,
	} {
		real, mine := s.run("/bin/sh", "-c", c, peer(t, "readproctitle")), s.run("/bin/sh", "-c", c, ours(t, "readproctitle"))
		if real != mine {
			t.Errorf("%s: %v, want %v", c, mine, real)
		}
	}
}
