package integration

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// multilogKills is how often TestMultilogKilled kills in each of its runs.
func multilogKills(t *testing.T) int {
	t.Helper()
	v, ok := os.LookupEnv("UPKEEP_LOG_KILLS")
	if !ok {
		return 50
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// logger is a multilog, or another program, that reads from a pipe which the test holds.
type logger struct {
	s    *site
	r, w *os.File
	said *os.File
	cmd  *exec.Cmd
	args []string
	// program is the path of another program than our multilog.
	program string
}

func newLogger(t *testing.T, s *site, args ...string) *logger {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := os.CreateTemp(s.outputs, "said")
	if err != nil {
		t.Fatal(err)
	}
	l := &logger{s: s, r: r, w: w, said: said, args: args}
	t.Cleanup(func() {
		w.Close()
		r.Close()
		if l.cmd != nil {
			_ = l.cmd.Process.Kill()
			_ = l.cmd.Wait()
		}
		said.Close()
	})
	return l
}

func (l *logger) start() {
	l.s.t.Helper()
	program := l.program
	if program == "" {
		program = ours(l.s.t, "multilog")
	}
	l.cmd = exec.Command(program, l.args...)
	l.s.furnish(l.cmd)
	l.cmd.Stdin, l.cmd.Stderr = l.r, l.said
	if err := l.cmd.Start(); err != nil {
		l.s.t.Fatal(err)
	}
}

// end waits for the logger and returns its exit code.
func (l *logger) end() int {
	l.s.t.Helper()
	late := time.AfterFunc(patience, func() {
		l.s.t.Errorf("%s does not end", l.cmd)
		_ = l.cmd.Process.Kill()
	})
	defer late.Stop()
	cmd := l.cmd
	l.cmd = nil
	if err := cmd.Wait(); err != nil && cmd.ProcessState == nil {
		l.s.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

// multilogFiles is all that was logged in a directory, oldest first.
func multilogFiles(t *testing.T, dir string) (names []string, texts []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "@") {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	names = append(names, "current")
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join(dir, n))
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(b))
	}
	return names, texts
}

// TestMultilogKilled kills the logger at random points while the pipe lives on.
// No line is lost, and what is repeated was in flight.
func TestMultilogKilled(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args  []string
		write func(r *rand.Rand) int // bytes written at a time
	}{
		"blocks":    {[]string{"s100000", "n1000000", "./d"}, func(*rand.Rand) int { return 65536 }},
		"pieces":    {[]string{"t", "s20000", "n1000000", "./d"}, func(r *rand.Rand) int { return 1 + r.IntN(3000) }},
		"processor": {[]string{"!cat", "s50000", "n1000000", "./d"}, func(r *rand.Rand) int { return 1 + r.IntN(30000) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			killLogger(t, newLogger(t, newSite(t, nil), c.args...), c.write)
		})
	}
}

// killLogger kills a logger to ./d at random points while the pipe lives on, and
// looks for all lines. write is how many bytes are written at a time.
func killLogger(t *testing.T, l *logger, write func(r *rand.Rand) int) {
	t.Helper()
	kills, s := multilogKills(t), l.s
	r := rand.New(rand.NewPCG(1, uint64(len(l.args))))
	stop, written := make(chan struct{}), make(chan int)
	go func() { // ends when stop is closed, since the logger reads on
		n := 0
		var b []byte
		for r := rand.New(rand.NewPCG(2, 2)); ; {
			size := write(r)
			for len(b) < size {
				b = fmt.Appendf(b, "%d %s\n", n, strings.Repeat("x", n%150))
				n++
			}
			select {
			case <-stop:
				_, err := l.w.Write(b)
				written <- map[bool]int{true: n, false: -1}[err == nil]
				return
			default:
			}
			if _, err := l.w.Write(b[:size]); err != nil {
				<-stop
				written <- -1
				return
			}
			b = append(b[:0], b[size:]...)
		}
	}()
	for range kills {
		waitUnlocked(t, s.path("d"))
		l.start()
		// The point is meant to be random.
		time.Sleep(time.Duration(r.IntN(12000)) * time.Microsecond)
		_ = l.cmd.Process.Kill()
		if code := l.end(); code != -1 {
			t.Fatalf("ended with %d: %s", code, l.words())
		}
	}
	waitUnlocked(t, s.path("d"))
	l.start()
	close(stop)
	n := <-written
	l.w.Close()
	if code := l.end(); code != 0 || n < 0 {
		t.Fatalf("exit %d, %d lines written; %s", code, n, l.words())
	}
	checkKilled(t, s.path("d"), n, kills)
	// The real svlogd leaves it as well.
	if _, err := os.Lstat(s.path("d/newstate")); err == nil && filepath.Base(l.program) != "svlogd" {
		t.Error("newstate is left")
	}
}

// waitUnlocked waits until nobody has a log directory locked: a processor that was
// being started when its logger was killed has the lock until its exec.
func waitUnlocked(t *testing.T, dir string) {
	t.Helper()
	// No child of this process shall get the descriptor.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Open(filepath.Join(dir, "lock"), unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for {
		if err := unix.Flock(fd, unix.LOCK_EX); err != unix.EINTR {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
	}
}

func (l *logger) words() string {
	b, err := os.ReadFile(l.said.Name())
	return string(b) + map[bool]string{false: "?"}[err == nil]
}

// checkKilled looks for the lines 0 to n-1 in a log directory.
func checkKilled(t *testing.T, dir string, n, kills int) {
	t.Helper()
	names, texts := multilogFiles(t, dir)
	next, repeated, again, torn, unfinished := 0, 0, 0, 0, 0
	for i, text := range texts {
		u := strings.HasSuffix(names[i], ".u")
		if u {
			unfinished++
		}
		lines := strings.SplitAfter(text, "\n")
		for k, line := range lines {
			if line == "" {
				continue
			}
			number, ok := loggedNumber(line)
			if !ok {
				if !u || k != len(lines)-1 {
					t.Fatalf("%s, line %d: %q", names[i], k, line)
				}
				torn++
				continue
			}
			if number > next {
				t.Fatalf("%s, line %d is %d; %d to %d are lost", names[i], k, number, next, number-1)
			}
			if number < next {
				repeated++
				again += len(strconv.Itoa(number)) + 2 + number%150
			} else {
				next++
			}
		}
	}
	t.Logf("%d lines in %d files, %d of them unfinished; %d lines repeated, %d torn", n, len(names), unfinished, repeated, torn)
	if next != n {
		t.Errorf("%d lines of %d", next, n)
	}
	if again > kills*65536 {
		t.Errorf("%d bytes repeated in %d kills", again, kills)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name := e.Name(); name == "previous" || name == "processed" {
			t.Errorf("%s is left", name)
		}
	}
	if st, err := os.Stat(filepath.Join(dir, "current")); err != nil || st.Mode().Perm() != 0o744 {
		t.Errorf("current: %v, %v", st, err)
	}
}

// loggedNumber checks a line of TestMultilogKilled, with or without its label.
func loggedNumber(line string) (int, bool) {
	if strings.HasPrefix(line, "@") {
		if len(line) < 26 {
			return 0, false
		}
		line = line[26:]
	}
	word, rest, ok := strings.Cut(line, " ")
	n, err := strconv.Atoi(word)
	return n, ok && err == nil && rest == strings.Repeat("x", n%150)+"\n"
}

// leftFile is a file in a log directory; to is the name that it is a link to.
type leftFile struct {
	name string
	mode os.FileMode
	to   string
}

// afterCrash is what there may be in a log directory after a crash.
var afterCrash = [][]leftFile{
	{},
	{{"current", 0o644, ""}},
	{{"current", 0o744, ""}, {"previous", 0o744, ""}, {"processed", 0o744, ""}, {"newstate", 0o644, ""}, {"state", 0o644, ""}},
	{{"current", 0o644, ""}, {"previous", 0o744, ""}},
	{{"previous", 0o644, ""}},
	{{"current", 0o644, ""}, {"previous", 0o744, ""}, {"processed", 0o644, ""}, {"newstate", 0o644, ""}},
	{{"current", 0o644, ""}, {"previous", 0o744, ""}, {"processed", 0o744, ""}, {"newstate", 0o644, ""}, {"state", 0o600, ""}},
	{{"processed", 0o744, ""}, {"newstate", 0o644, ""}},
	{{"current", 0o644, ""}, {"previous", 0o744, ""}, {"@400000006b01e751248a02f4.s", 0o744, "previous"}},
	{{"current", 0o644, ""}, {"@400000006b01e751248a02f4.s", 0o744, "current"}},
	{{"processed", 0o744, ""}, {"@400000006b01e751248a02f4.s", 0o744, "processed"}},
	{{"current", 0o644, ""}, {"@400000006b01e751248a02f4.s", 0o744, ""}, {"@400000006b01e751248a02f5.u", 0o644, ""}, {"other", 0o644, ""}},
	{{"current/", 0o755, ""}},
	{{"state/", 0o755, ""}},
	{{"lock/", 0o755, ""}},
}

// leave makes a log directory with what there is after a crash.
func leave(t *testing.T, dir string, files []leftFile) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		path := filepath.Join(dir, f.name)
		var err error
		switch {
		case strings.HasSuffix(f.name, "/"):
			err = os.Mkdir(path, f.mode)
		case f.to != "":
			err = os.Link(filepath.Join(dir, f.to), path)
		default:
			err = errors.Join(os.WriteFile(path, []byte("content of "+f.name+"\n"), 0o600), os.Chmod(path, f.mode))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestMultilogRecovery: what a crash may leave is put in order as by the real one.
func TestMultilogRecovery(t *testing.T) {
	t.Parallel()
	real, mine := peer(t, "multilog"), ours(t, "multilog")
	for i, files := range append(slices.Clip(afterCrash), [][]leftFile{
		{{"processed/", 0o644, ""}},
		{{"current", 0o644, ""}, {"@400000006b01e751248a02f4.s", 0o744, ""}, {"@400000006b01e751248a02f5.u", 0o644, ""},
			{"@short", 0o644, ""}, {"@400000006b01e751248a02f6and more", 0o644, ""}, {"other", 0o644, ""}},
	}...) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil)
			var trees, said [2]string
			var codes [2]int
			for k, program := range []string{real, mine} {
				top := s.path(fmt.Sprint(k))
				leave(t, filepath.Join(top, "d"), files)
				codes[k], said[k] = multilogRun(t, s, program, top, []string{"n3", "!cat", "./d"}, []byte("new\n"))
				trees[k] = multilogTree(t, top)
			}
			if codes[0] != codes[1] || said[0] != said[1] {
				t.Errorf("exit %d and %q, want %d and %q", codes[1], said[1], codes[0], said[0])
			}
			compareTrees(t, "tree", trees[1], trees[0])
		})
	}
}

// TestMultilogTerm: TERM in the middle of a line has the line finished, and what
// follows is left for the next one.
func TestMultilogTerm(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	l := newLogger(t, s, "./d")
	l.start()
	write := func(text string) {
		t.Helper()
		if _, err := l.w.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	write("one\ntw")
	waitLinesAppear(t, s.path("d"), "one\n")
	l.cmd.Process.Signal(unix.SIGTERM)
	write("o\nthree\nfour\n")
	// Which of the two comes first is open: then all lines are there already.
	if code := l.end(); code != 0 {
		t.Fatalf("exit %d", code)
	}
	first := s.read("d/current")
	l.start()
	l.w.Close()
	if code := l.end(); code != 0 {
		t.Fatalf("exit %d", code)
	}
	if got := s.read("d/current"); !strings.HasPrefix(first, "one\ntwo\n") || got != "one\ntwo\nthree\nfour\n" {
		t.Errorf("first %q, then %q", first, got)
	}
}

// TestMultilogAlarm: ALRM begins a new file, and the beginning of a line goes to
// it.
func TestMultilogAlarm(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	l := newLogger(t, s, "./d")
	l.start()
	if _, err := l.w.WriteString("one\ntw"); err != nil {
		t.Fatal(err)
	}
	waitLinesAppear(t, s.path("d"), "one\n")
	l.cmd.Process.Signal(unix.SIGALRM)
	waitLinesAppear(t, s.path("d"), "")
	if _, err := l.w.WriteString("o"); err != nil {
		t.Fatal(err)
	}
	l.w.Close()
	if code := l.end(); code != 0 {
		t.Fatalf("exit %d", code)
	}
	if _, texts := multilogFiles(t, s.path("d")); !slices.Equal(texts, []string{"one\n", "two\n"}) {
		t.Errorf("%q", texts)
	}
}

// waitLinesAppear waits until current in a log directory, that may not be there
// yet, has just this text.
func waitLinesAppear(t *testing.T, dir, text string) {
	t.Helper()
	if !waitDir(t, filepath.Dir(dir), func() bool { return unix.Access(dir, unix.F_OK) == nil }) {
		t.Fatalf("there is no %s", dir)
	}
	ok := waitDir(t, dir, func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "current"))
		return err == nil && bytes.Equal(b, []byte(text))
	})
	if !ok {
		t.Fatalf("%s/current is not %q", dir, text)
	}
}

// TestMultilogPausedWriter: a writer that has to wait in the middle of a large
// write, with the beginning of a line before it, is not forgotten.
func TestMultilogPausedWriter(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	l := newLogger(t, s, "s16000000", "./d")
	l.start()
	line := strings.Repeat("x", 99) + "\n"
	text := strings.Repeat(line, 5*65536/100+1)
	for rest := text; rest != ""; {
		n := min(len(rest), 65536)
		if _, err := l.w.WriteString(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	l.w.Close()
	if code := l.end(); code != 0 {
		t.Fatalf("exit %d", code)
	}
	if got := s.read("d/current"); got != text {
		t.Errorf("%d bytes of %d", len(got), len(text))
	}
}

// TestMultilogProcessorFails: a processor that fails is run again until it
// succeeds; it is said once, and nothing is lost.
func TestMultilogProcessorFails(t *testing.T) {
	t.Parallel()
	for how, said := range map[string]string{
		"exit 1":     "multilog: warning: processor failed in ./d, pausing\n",
		"kill -9 $$": "multilog: warning: processor crashed in ./d, pausing\n",
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil)
			text := strings.Repeat(strings.Repeat("x", 99)+"\n", 50)
			// The third attempt works.
			script := "echo >>../count; if [ $(wc -l <../count) -lt 3 ]; then echo rubbish; " + how + "; fi; cat"
			code, stderr := multilogRun(t, s, ours(t, "multilog"), s.root, []string{"s4096", "!" + script, "./d"}, []byte(text))
			if code != 0 || stderr != said {
				t.Errorf("exit %d, %q", code, stderr)
			}
			if _, texts := multilogFiles(t, s.path("d")); strings.Join(texts, "") != text {
				t.Errorf("%q", texts)
			}
		})
	}
}

// TestMultilogDiskFull: with the disk full the writer waits, says so once, and
// goes on when there is room.
func TestMultilogDiskFull(t *testing.T) {
	t.Parallel()
	needRoot(t)
	s := newSite(t, nil)
	text := strings.Repeat(strings.Repeat("x", 99)+"\n", 3000)
	f := s.path("in")
	if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// In a mount namespace of its own; room is made when the warning is there.
	script := `mkdir m && mount -t tmpfs -o size=200k tmpfs m && cat /dev/zero >m/ballast 2>/dev/null
"$0" s16000000 ./m/d <in 2>said & pid=$!
n=0; while ! test -s said && test $n -lt 200; do sleep 0.1; n=$((n+1)); done
mount -o remount,size=1m m && rm m/ballast
wait $pid; echo $?; cat said; cat m/d/current`
	r := s.run("/usr/bin/unshare", "-m", "/bin/sh", "-c", script, ours(t, "multilog"))
	head, log, ok := strings.Cut(r.stdout, "\nmultilog: warning: unable to write to ./m/d/current, pausing: out of disk space\n")
	if !ok || head != "0" || log != text {
		t.Errorf("exit %q, %d bytes of %d; %.300q, stderr %q", head, len(log), len(text), r.stdout, r.stderr)
	}
}
