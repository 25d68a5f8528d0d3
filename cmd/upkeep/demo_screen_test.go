package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/supervise/status"
	"upkeep/svc/table"
)

// openTerminal makes a terminal, of which ours is the far end.
func openTerminal(t *testing.T, width, height uint16) (ours, theirs *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		if os.Getenv("UPKEEP_REQUIRE") == "1" {
			t.Fatalf("/dev/ptmx: %v", err)
		}
		t.Skipf("/dev/ptmx: %v; mount devpts to test on a terminal", err)
	}
	ours = os.NewFile(uintptr(fd), "/dev/ptmx")
	t.Cleanup(func() { ours.Close() })
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		theirs, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	resize(t, fd, width, height)
	return ours, theirs
}

func resize(t *testing.T, fd int, width, height uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}); err != nil {
		t.Fatal(err)
	}
}

// TestScreenFits: the table stays within a terminal whose size changes, and is
// always drawn over the one before.
func TestScreenFits(t *testing.T) {
	t.Parallel()
	_, theirs := openTerminal(t, 80, 24)
	defer theirs.Close()
	fd := int(theirs.Fd())
	env := cli.System()
	env.Stdout, env.Getenv = cli.FD(fd), func(string) (string, bool) { return "", false }
	s := newScreen(env, "")
	if !s.terminal {
		t.Fatal("it is a terminal")
	}
	var rows []table.Row
	for i := range 9 {
		rows = append(rows, table.Row{Service: fmt.Sprint("service", i), State: table.Gone})
	}
	full := len(table.Lines(nil, status.Stamp{}, 0)[0])
	for _, step := range []struct {
		width, height  uint16
		up             int // over the lines drawn before, as broken by now
		lines, longest int
	}{
		{80, 24, 0, 10, full},
		{80, 24, 10, 10, full},
		{uint16(full), 24, 10, 10, full},
		{uint16(full) - 1, 24, 11, 10, full - 1}, // a heading is longer than what says "gone"
		{20, 5, 30, 4, 20},
		{80, 24, 4, 10, full},
		{80, 1, 10, 0, 0},
		{0, 0, 0, 10, full},
	} {
		resize(t, fd, step.width, step.height)
		out := s.redraw(rows)
		home := "\r"
		if step.up > 0 {
			home = fmt.Sprintf("\r\x1b[%dA", step.up)
		}
		body, ok := strings.CutPrefix(out, home)
		body, below := strings.CutSuffix(body, "\x1b[J")
		if !ok || !below {
			t.Errorf("%+v: %q", step, out)
		}
		lines, longest := 0, 0
		for line := range strings.Lines(body) {
			lines, longest = lines+1, max(longest, len(line)-len("\x1b[K\n"))
		}
		if lines != step.lines || longest != step.longest {
			t.Errorf("%+v: %d lines of up to %d columns", step, lines, longest)
		}
	}
	env.Getenv = func(string) (string, bool) { return "dumb", true }
	if newScreen(env, "").terminal {
		t.Error("TERM=dumb cannot move its cursor")
	}
}

// TestDemoTerminal is an operator at one terminal who gives commands at another.
func TestDemoTerminal(t *testing.T) {
	t.Parallel()
	ours, theirs := openTerminal(t, 80, 24)
	p := start(t, ours, theirs, true)
	v := &view{process: p, lines: []string{""}}

	v.until("some seconds and a crash", func(rows map[string]row) bool {
		age := rows["sleeper"].age
		return len(rows) == len(services) && age != "0s" && age != "1s" && rows["flaky"].restarts != "0"
	})
	dir := p.dir()
	for _, args := range [][]string{{"-d", "service/sleeper"}, {"-u", "service/spare"}, {"-p", "service/flaky"}} {
		svc := exec.Command(dir+"/bin/svc", args...)
		svc.Dir, svc.Env = dir, []string{asUpkeep}
		if out, err := svc.CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("%s: %v, %q", svc, err, out)
		}
	}
	v.until("what the commands do", func(rows map[string]row) bool {
		sleeper := rows["sleeper"]
		return sleeper.state == "down" && sleeper.wish == "down" &&
			rows["spare"].state == "up" && rows["flaky"].state == "paused"
	})
	p.check(os.Mkdir(dir+"/bad", 0o755))
	p.check(os.WriteFile(dir+"/bad/run", nil, 0o644))
	p.check(os.Rename(dir+"/bad", dir+"/service/bad"))
	v.until("a report above the table", func(rows map[string]row) bool {
		above := v.lines[:max(v.heading(), 0)]
		return rows["bad"].state != "" && slices.Contains(above, "supervise: fatal: unable to start bad/run: access denied")
	})

	log := p.openLog()
	_, err := ours.Write([]byte{3}) // Ctrl-C, which the services get as well
	p.check(err)
	for err == nil {
		err = v.read()
	}
	if !errors.Is(err, unix.EIO) { // nobody has the terminal open any more
		t.Error(err)
	}
	p.ends(0)
	p.checkLog(log)
	rows := v.rows()
	if len(rows) != len(services)+1 {
		t.Errorf("%d services are shown", len(rows))
	}
	for service, r := range rows {
		if r.state != "gone" {
			t.Errorf("%s is %s at the end", service, r.state)
		}
	}
	if n := len(v.lines); v.lines[n-2] != removed(dir) || v.lines[n-1] != "" {
		t.Error("the last line is missing, or the cursor is not below it")
	}
	if screen := v.String(); strings.Count(screen, "SERVICE ") != 1 || strings.Contains(screen, "^C") {
		t.Error("something is left of what was drawn over")
	}
	if t.Failed() {
		t.Log(v)
	}
}

// TestDemoHangup: the terminal is closed.
func TestDemoHangup(t *testing.T) {
	t.Parallel()
	ours, theirs := openTerminal(t, 80, 24)
	p := start(t, ours, theirs, true)
	v := &view{process: p, lines: []string{""}}
	v.until("the services", func(rows map[string]row) bool { return rows["sleeper"].state == "up" })
	p.check(ours.Close())
	p.ends(111) // it could not say that everything is down
}

// view is what the demo shows on a terminal that is large enough for all of it.
// It knows just what the demo may send.
type view struct {
	*process
	lines    []string
	line     int // of the cursor
	column   int
	sequence string // that has begun
}

// row is a line of the table.
type row struct{ state, pid, age, restarts, wish string }

// until waits until the table is as it should be.
func (v *view) until(what string, done func(rows map[string]row) bool) {
	v.t.Helper()
	for !done(v.rows()) {
		if err := v.read(); err != nil {
			v.t.Fatalf("waiting for %s: %v\n%s", what, err, v)
		}
	}
}

func (v *view) String() string { return strings.Join(v.lines, "\n") }

// heading is the line where the table begins, or -1.
func (v *view) heading() int {
	return slices.IndexFunc(v.lines, func(l string) bool { return strings.HasPrefix(l, "SERVICE ") })
}

// rows is the table, by service.
func (v *view) rows() map[string]row {
	all := map[string]row{}
	if h := v.heading(); h >= 0 {
		for _, l := range v.lines[h+1:] {
			if f := strings.Fields(l); len(f) == 6 {
				all[f[0]] = row{f[1], f[2], f[3], f[4], f[5]}
			}
		}
	}
	return all
}

func (v *view) read() error {
	var b [4096]byte
	n, err := v.out.Read(b[:])
	for _, c := range b[:n] {
		v.show(c)
	}
	return err
}

// show is one byte.
func (v *view) show(c byte) {
	switch {
	case v.sequence != "" || c == '\x1b':
		v.sequence += string(c)
		if c >= '@' && c != '[' {
			v.obey(v.sequence)
			v.sequence = ""
		}
	case c == '\r':
		v.column = 0
	case c == '\n':
		if v.line++; v.line == len(v.lines) {
			v.lines = append(v.lines, "")
		}
	case c < ' ':
		v.t.Errorf("control character %q", c)
	default:
		l := v.lines[v.line]
		l += strings.Repeat(" ", max(v.column+1-len(l), 0))
		v.lines[v.line] = l[:v.column] + string(c) + l[v.column+1:]
		v.column++
	}
}

func (v *view) obey(sequence string) {
	var n int
	switch _, err := fmt.Sscanf(sequence, "\x1b[%dA", &n); {
	case err == nil && n > 0 && n <= v.line:
		v.line -= n
	case sequence == "\x1b[K" && v.column == 0:
		v.lines[v.line] = ""
	case sequence == "\x1b[J" && v.column == 0:
		v.lines = append(v.lines[:v.line], "")
	default:
		v.t.Errorf("sequence %q in line %d, column %d", sequence, v.line, v.column)
	}
}
