package integration

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var s6logDate = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{9}`)

// s6logMask hides labels and dates.
func s6logMask(s string) string {
	return s6logDate.ReplaceAllString(multilogLabel.ReplaceAllString(s, "@LABEL"), "DATE")
}

// s6logRun is runLogger for an s6-log. It returns all there is to see.
func s6logRun(t *testing.T, s *site, path, dir string, script []string, in []byte) string {
	t.Helper()
	code, stdout, stderr := runLogger(t, s, path, dir, script, in)
	return fmt.Sprintf("exit %d\n%s\nstdout\n%s\nstderr\n%s", code,
		s6logMask(multilogTree(t, dir)), s6logMask(stdout), s6logMask(stderr))
}

// s6logInputs end in newlines, but for the empty one: see TestS6logUnfinished.
func s6logInputs() []multilogInput {
	line := func(n int) string { return strings.Repeat("0123456789", n/10+1)[:n] + "\n" }
	var edge strings.Builder
	for _, at := range []int{97, 198, 998, 8189, 8190, 4094, 8189} {
		for d := range 5 {
			edge.WriteString(line(at + d))
		}
	}
	return []multilogInput{
		{"nothing", nil},
		{"one newline", []byte("\n")},
		{"one", []byte("one\n")},
		{"short", multilogLines(1, 300, 30)},
		{"usual", multilogLines(2, 250, 200)},
		{"edges", []byte(edge.String())},
		{"one very long", []byte(strings.Repeat("z", 30000) + "\nend\n")},
		{"hundred", []byte(strings.Repeat(line(99), 400))},
	}
}

func TestS6logLikeReal(t *testing.T) {
	t.Parallel()
	scripts := []string{
		"./d",
		"t ./d",
		"T ./d",
		"t T ./d ./e",
		"T t n3 ./d",
		"s4096 ./d",
		"s1 n20 ./d",
		"t s4096 n3 ./d",
		"s12000 n0 ./d",
		"s9000 n1 ./d",
		"s9000 l0 n100 ./d",
		"l2048 s5000 n100 ./d",
		"s20000 l10000 n100 ./d",
		"l2500 n7 s9000 S90000 r0 E3 ^2 ./d",
		"l 1", "n 1", "p 1", "p 2", "t pa p ./d",
		"s8000 S20000 n100 ./d",
		"s8000 S1000 n100 ./d",
		"s8000 S16383 n2 ./d",
		"n2147483648 s999999999 r0 ./d",
		"-l 48 s9000 n100 ./d",
		"-l 1 1",
		"-l 100 t s9000 n100 ./d",
		"-l0 s9000 n100 ./d",
		"-l 0 2",
		"-bp -v -- ./d",
		"-qq 2",
		"- +one 1 f 2",
		"- +^one 1 f -two T 2 f ./d",
		"1 f 2 f 1",
		"f 1 - 2 + ./d f 1",
		"- +o+n{1}e|x$ ./d",
		"- +(^|[^[:alpha:]])(two|\\*)\\ + ./d",
		"- +[\\]x|[^]a-z0-9\\ ]+$ ./d",
		"- +^.{5}$ ./d -^.{3,5}$ ./e",
		"- +\xff\xfe ./d +[\x80-\xff]. ./e",
		"- +^\\w+\\s\\W ./d",
		"- +[[.x.]][[=x=]]* ./d",
		"- +a**b|x++ ./d",
		"t pPRE:\\  - +^one 1 p 2",
		"2",
		"E0 2",
		"E1 t 2 E5 T 2 E100 2",
		"=st",
		"t =st",
		"^5 =a ^0 T =b ^100 - +two =c",
		"^2000 p\\ x t =st 1",
		"n3 s9000 !tr\\ a-z\\ A-Z ./d",
		// With one directory only the real one closes descriptor 5 of its processor.
		"n2 ./e s7000 ?tr\\ a-z\\ A-Z;echo\\ x>&5 ./d",
		"1 +x",
		"1 f -x n5",
		"./none/d",
		"/dev/null",
		"=/dev 2",
		"",
		"t",
		"n3 +x !cat",
		"x", "1 e", "tt", "T1 1", "f1 1", "22", "1 =", "n-1 1", "n+1 1", "n1x 1", "n4294967296 1",
		"S18446744073709551616 1", "r2147483648 1", "r2147483647 1", "E4294967296 1",
		"l50000 1", "s5000 l2501 1", "s5000 l2500 1", "s1000 l3000 1",
		"+( 1", "+* 1", "++ 1", "+a{1 1", "+a{2,1} 1", "+\\ 1", "+() 1", "+) 1", "+a| 1", "+[b-a] 1", "+[a 1",
		"+[[:foo:]] 1", "+a{} 1", "+{1} 1", "+(* 1", "+^* 1", "+a|* 1", "+$a 1",
		"1 n-1 +x", "-q 1 +( +x", "1 f f +x", "nx tx", "nx e", "+( tx 1", "n-1 +( 1", "n5", "!cat", "+(^*) 1", "+a{,2} 1", "+a{1a} 1", "+a{2 1",
		"-x 1", "-Z", "-l", "-l x 1", "-l -1 1", "-d 1 1", "-d x 1", "-d 3 1", "-d 77 1", "--",
	}
	inputs := s6logInputs()
	real, mine := peer(t, "s6-log"), ours(t, "s6-log")
	for i, line := range scripts {
		t.Run(fmt.Sprint(i, " ", strings.ReplaceAll(line, "/", "")), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil)
			script := multilogWords(line)
			if line == "" {
				script = nil
			}
			inputs := inputs
			if !strings.Contains(line, "./") && !strings.ContainsAny(line, "2=E") || strings.Contains(line, "none") {
				inputs = inputs[2:4]
			}
			for i, in := range inputs {
				text := in.text
				if strings.ContainsAny(line, "!?") {
					// The real one reads on while the processor works.
					text = text[:min(len(text), 16382)]
					text = text[:bytes.LastIndexByte(text, '\n')+1]
				}
				if strings.Contains(line, "=/dev") {
					// It warns for each line.
					first, _, _ := bytes.Cut(text, []byte("\n"))
					text = append(first[:min(len(first), 100):min(len(first), 100)], '\n')
				}
				a := s6logRun(t, s, real, s.path(fmt.Sprint("a", i), "x"), script, text)
				b := s6logRun(t, s, mine, s.path(fmt.Sprint("b", i), "x"), script, text)
				compareTrees(t, in.name, b, a)
			}
		})
	}
}

// TestS6logBlocks: input that is much more than either reads at a time.
func TestS6logBlocks(t *testing.T) {
	t.Parallel()
	real, mine := peer(t, "s6-log"), ours(t, "s6-log")
	for name, in := range map[string][]byte{
		"usual": multilogLines(2, 2500, 200),
		"long":  append(multilogLines(3, 60, 9000), '\n'),
		"short": multilogLines(4, 40000, 15),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil)
			for i, script := range []string{"s40000 n100 ./d", "t s50000 n3 ./d", "-l 5000 s30000 n100 ./d", "-l 0 s50000 n100 ./d"} {
				a := s6logRun(t, s, real, s.path(fmt.Sprint("a", i), "x"), multilogWords(script), in)
				b := s6logRun(t, s, mine, s.path(fmt.Sprint("b", i), "x"), multilogWords(script), in)
				compareTrees(t, script, b, a)
			}
		})
	}
}

// TestS6logUnfinished: the real one forgets a last line without newline. Ours does
// with it what the real one does with a line that ends.
func TestS6logUnfinished(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	real, mine := peer(t, "s6-log"), ours(t, "s6-log")
	for i, text := range []string{"abc", "one\ntwo", strings.Repeat("z", 9000), strings.Repeat("y", 20000)} {
		a := s6logRun(t, s, real, s.path(fmt.Sprint("a", i), "x"), []string{"t", "./d", "1"}, []byte(text+"\n"))
		b := s6logRun(t, s, mine, s.path(fmt.Sprint("b", i), "x"), []string{"t", "./d", "1"}, []byte(text))
		compareTrees(t, text[:3], b, a)
	}
}

// TestS6logRecovery: what a crash may leave is put in order as by the real one.
func TestS6logRecovery(t *testing.T) {
	t.Parallel()
	real, mine := peer(t, "s6-log"), ours(t, "s6-log")
	for i, files := range append(slices.Clip(afterCrash), [][]leftFile{
		{{"current", 0o600, ""}, {"lock", 0o600, ""}},
	}...) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil)
			var seen [2]string
			for k, program := range []string{real, mine} {
				top := s.path(fmt.Sprint(k))
				leave(t, filepath.Join(top, "d"), files)
				seen[k] = s6logRun(t, s, program, top, []string{"n2", "!cat", "./d"}, []byte("new\n"))
			}
			if strings.Contains(seen[0], "for logdir ./d: File exists\n") {
				// It gives two files the same label.
				if !strings.HasPrefix(seen[1], "exit 0\n") || strings.Count(seen[1], "d/@LABEL.") != 2 {
					t.Error(seen[1])
				}
				return
			}
			compareTrees(t, "tree", seen[1], seen[0])
		})
	}
}

// TestS6logUmask: unlike multilog s6-log has a use for the umask.
func TestS6logUmask(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	var seen [2]string
	for k, program := range []string{peer(t, "s6-log"), ours(t, "s6-log")} {
		dir := s.path(fmt.Sprint(k))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		r := s.run("/bin/sh", "-c", `cd "$1" && umask 027 && yes 2>/dev/null | head -5000 | "$0" s4096 ./d =st`, program, dir)
		entries := multilogTree(t, dir)
		// When the files end depends on how much yes writes at a time.
		seen[k] = fmt.Sprint(r, regexp.MustCompile(`(?m)^(\S+ \S+).*\n`).ReplaceAllString(entries, "$1\n"))
		seen[k] = regexp.MustCompile(`(?m)(^d/@LABEL.s \S+\n)+`).ReplaceAllString(seen[k], "$1")
	}
	compareTrees(t, "modes", seen[1], seen[0])
}

// TestS6logReady: there is a newline on the notification descriptor once the
// directories are open.
func TestS6logReady(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	for _, program := range []string{peer(t, "s6-log"), ours(t, "s6-log")} {
		r := s.run("/bin/sh", "-c", `"$0" -d 5 ./d 5>ready </dev/null; cat ready; "$0" -d 5 ./no/d 5>ready </dev/null 2>&-; cat ready`, program)
		if r.stdout != "\n" || r.stderr != "" {
			t.Errorf("%s: %v", program, r)
		}
	}
}

// TestS6logLocked: a directory that is in use by the one is locked to the other.
func TestS6logLocked(t *testing.T) {
	t.Parallel()
	programs := []string{peer(t, "s6-log"), ours(t, "s6-log")}
	for _, holder := range programs {
		for _, other := range programs {
			s := newSite(t, nil)
			l := newLogger(t, s, "./d")
			l.program = holder
			l.start()
			if _, err := l.w.WriteString("x\n"); err != nil {
				t.Fatal(err)
			}
			waitLinesAppear(t, s.path("d"), "x\n")
			r := s.run("/bin/sh", "-c", `exec "$0" ./d </dev/null`, other)
			if r.code != 111 || r.stderr != "s6-log: fatal: unable to lock ./d/lock: Device or resource busy\n" {
				t.Errorf("%s, then %s: %v", holder, other, r)
			}
			l.w.Close()
			if code := l.end(); code != 0 {
				t.Errorf("exit %d", code)
			}
		}
	}
}

// TestS6logSignals: TERM and HUP have the line that was begun finished and no more;
// ALRM begins a new file. -p is proof against TERM only.
func TestS6logSignals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sig    unix.Signal
		option string
		ends   bool
	}{
		{unix.SIGTERM, "-v", true},
		{unix.SIGTERM, "-p", false},
		{unix.SIGHUP, "-v", true},
		{unix.SIGHUP, "-p", true},
		{unix.SIGALRM, "-v", false},
	} {
		t.Run(fmt.Sprint(c.sig, c.option), func(t *testing.T) {
			t.Parallel()
			for _, program := range []string{peer(t, "s6-log"), ours(t, "s6-log")} {
				s := newSite(t, nil)
				l := newLogger(t, s, c.option, "./d")
				l.program = program
				l.start()
				write := func(text string) {
					if _, err := l.w.WriteString(text); err != nil {
						t.Fatal(err)
					}
				}
				write("one\ntw")
				waitLinesAppear(t, s.path("d"), "one\n")
				l.cmd.Process.Signal(c.sig)
				if c.sig == unix.SIGALRM {
					waitLinesAppear(t, s.path("d"), "")
				}
				write("o\nthree\n")
				if !c.ends {
					want := map[bool]string{true: "two\nthree\n", false: "one\ntwo\nthree\n"}[c.sig == unix.SIGALRM]
					waitLinesAppear(t, s.path("d"), want)
					l.w.Close()
				}
				if code := l.end(); code != 0 {
					t.Errorf("%s: exit %d", program, code)
				}
				_, texts := multilogFiles(t, s.path("d"))
				// Which comes first, the signal or the lines, is open.
				got := strings.Join(texts, "")
				if got != "one\ntwo\nthree\n" && (!c.ends || got != "one\ntwo\n") {
					t.Errorf("%s: %q", program, got)
				}
			}
		})
	}
}

// TestS6logPatience: after TERM a line that does not end stays in the pipe.
func TestS6logPatience(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	l := newLogger(t, s, "-t", "50", "./d")
	l.program = ours(t, "s6-log")
	l.start()
	if _, err := l.w.WriteString("one\ntw"); err != nil {
		t.Fatal(err)
	}
	waitLinesAppear(t, s.path("d"), "one\n")
	l.cmd.Process.Signal(unix.SIGTERM)
	if code := l.end(); code != 0 {
		t.Errorf("exit %d", code)
	}
	l.start()
	if _, err := l.w.WriteString("o\n"); err != nil {
		t.Fatal(err)
	}
	l.w.Close()
	if code := l.end(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if got := s.read("d/current"); got != "one\ntwo\n" {
		t.Errorf("%q", got)
	}
}

// TestS6logProcessorFails: a processor that fails is run again until it succeeds.
func TestS6logProcessorFails(t *testing.T) {
	t.Parallel()
	for how, said := range map[string]string{
		"exit 1":     "s6-log: warning: processor failed in ./d\n",
		"kill -9 $$": "s6-log: warning: processor crashed in ./d\n",
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			text := strings.Repeat(strings.Repeat("x", 99)+"\n", 50)
			// The third attempt works. The real one warns twice.
			script := "?echo >>../count; if [ $(wc -l <../count) -lt 3 ]; then echo rubbish; " + how + "; fi; cat"
			for _, program := range []string{peer(t, "s6-log"), ours(t, "s6-log")} {
				s := newSite(t, nil)
				seen := s6logRun(t, s, program, s.path("x"), []string{"r10", "s4096", script, "./d"}, []byte(text))
				if _, texts := multilogFiles(t, s.path("x/d")); strings.Join(texts, "") != text {
					t.Errorf("%s: %q", program, texts)
				}
				if !strings.HasPrefix(seen, "exit 0\n") || !strings.HasSuffix(strings.TrimSuffix(seen, said), "stderr\n") &&
					!strings.HasSuffix(strings.TrimSuffix(seen, said+said), "stderr\n") {
					t.Errorf("%s: %s", program, seen)
				}
			}
		})
	}
}

// TestS6logStdoutGone: standard output that fails is closed, and the rest goes on.
func TestS6logStdoutGone(t *testing.T) {
	t.Parallel()
	for _, program := range []string{peer(t, "s6-log"), ours(t, "s6-log")} {
		s := newSite(t, nil)
		r := s.run("/bin/sh", "-c", `echo x | "$0" 1 ./d >/dev/full; echo $?; cat d/current`, program)
		if r.stdout != "0\nx\n" || r.stderr != "s6-log: warning: unable to write to stdout, closing the stream - error was: No space left on device\n" {
			t.Errorf("%s: %v", program, r)
		}
	}
}
