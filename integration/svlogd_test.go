package integration

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// svlogdDate is a stamp of -tt or -ttt.
var svlogdDate = regexp.MustCompile(`\d{4}-\d\d-\d\d([_T])\d\d:\d\d:\d\d\.\d{5}`)

func svlogdPlain(text string) string {
	return svlogdDate.ReplaceAllString(multilogLabel.ReplaceAllString(text, "@LABEL"), "DATE$1")
}

// memoryDir is a directory on a file system that has nothing to sync, if there is
// one.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "upkeep-svlogd")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// svlogdCase is a command line and the configs of directories.
type svlogdCase struct {
	args    string
	configs map[string]string
}

// one is a command line for one directory with a config.
func svlogdOne(args, config string) svlogdCase {
	return svlogdCase{args, map[string]string{"./d": config}}
}

func svlogdCases() []svlogdCase {
	const small = " -l 30 -b 40"
	cases := []svlogdCase{
		{"./d", nil},
		{"-v ./d ./e", nil},
		{"-v ./d ./d", nil},
		{"-v ./none ./d /dev/null ./plain", nil},
		{"-v ./none", nil},
		{"", nil},
		{"-x ./d", nil},
		{"-l", nil},
		{"-l 2000 ./d", nil},
		{"-l 1024 ./d", nil},
		{"-b 1000 ./d", nil},
		{"-b 0 -l 0 ./d", nil},
		{"-r ab ./d", nil},
		{"-- ./d", nil},
		{"-t ./d", nil},
		{"-tt ./d", nil},
		{"-ttt ./d", nil},
		{"-ttttt ./d", nil},
		{"-r : ./d", nil},
		{"-r: -R fbo ./d", nil},
		{"-R *0x -l 20 -b 200 ./d", nil},
		{"-l 20000 -b 30000 -r . ./d", nil},
		{"-v ./d ./e ./f", map[string]string{"./d": "s20000\nn0\n", "./e": "s30000\n-*o*\ne*x\npE: ", "./f": "/"}},
		{"-t ./d ./e", map[string]string{"./d": "s20000\nn0\n-one*\n", "./e": "s10k\nn100\npprefix \n"}},
	}
	for _, config := range []string{
		"s4096\nn100",
		"s4096\nn100\n",
		"s4097\nn3\n",
		"s5000\n#n2\n\nn5\nunknown\n n1\n",
		"s50kx\nn20\n",
		"s1m\n",
		"s0\n",
		"s18446744073709551616\n",
		"s20000\nn0\nn2\nn4\n",
		"s30000\nn1\n",
		"s",
		"s\n",
		"s12000\nt\nt0\n!\n",
		"t1000m\nt5h\n",
		"pPREFIX \ns9000\nn50\n",
		"pPREFIX \np\n",
		"-*\n",
		"-*\n+one*\n",
		"-*\n+*one*\n+*two*\n-*x\n",
		"-\n",
		"-\n+\n",
		"-**\n-***\n",
		"+\n-o*\n+on*\n-one*\n",
		"-+o*\n",
		"-*: *\n",
		"-+a+ *\n",
		"-error:+ *\n",
		"-\\*\n",
		"e*one *\npP \n",
		"e*\nE*x*\n-*one*\n",
		"E*\ne\n",
		"u1.2.3\nux\nu1.2.3.4:\nu1.2.3.4:0\nU\nU1.2.3.4:x\n",
		"u127.0.0.1:9\nU1.2.3.4:x\n",
		"!cat\ns30000\nn100\n",
		"!tr a-z A-Z\ns30000\nn0\n",
		"!cat; echo x >&5\ns30000\nn100\n",
		"!cat <&4; cat; (cat <&4; echo y) >&5\ns40000\nn100\n",
		"!basename $PWD; echo $0 $#; cat >/dev/null\ns50000\n",
		"!kill $$\ns90000\nn100\n",
		"!n=$(cat cnt 2>/dev/null); echo x$n >cnt; test ${#n} = 1 || exit 3; cat; rm cnt\ns60000\nn100\n",
	} {
		cases = append(cases, svlogdOne("-v ./d", config))
		if strings.HasPrefix(config, "s") && !strings.Contains(config, "!") {
			cases = append(cases, svlogdOne("-t -l 200 -b 300 ./d", config))
		}
	}
	for _, config := range []string{"s20\nn1000\n", "s29\nn1000\n", "s30\nn1000\n", "s31\nn1000\n", "s60\nn1000\n", "s100\nn7\n", "s1\nn20\n"} {
		cases = append(cases, svlogdOne("-v"+small+" ./d", config))
	}
	return cases
}

// TestSvlogdLikeReal: the same input leaves the same directories, byte for byte,
// and has the same said.
func TestSvlogdLikeReal(t *testing.T) {
	t.Parallel()
	real, mine := peer(t, "svlogd"), ours(t, "svlogd")
	cases := svlogdCases()
	t.Logf("%d configurations", len(cases))
	inputs := multilogInputs()
	edges := []byte("a\n" + strings.Repeat("0123456789\n", 9) + strings.Repeat("y", 29) + "\n" + strings.Repeat("z", 30) + "\n" +
		strings.Repeat("x", 31) + "\n\n\n" + strings.Repeat("v", 70) + "\n" + strings.Repeat("0123456789abcd\n", 30) + "\tb\r\x7f\xff\x00o\n")
	for i, c := range cases {
		t.Run(fmt.Sprintf("%d %s %.20q", i, strings.ReplaceAll(c.args, "/", ""), c.configs["./d"]), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil)
			all := append(slices.Clone(inputs), multilogInput{"small edges", edges})
			switch {
			case strings.Contains(c.args, "-b 40") || len(c.configs) == 0 && !strings.Contains(c.args, "t"):
				all = all[len(all)-1:]
			case i%12 != 0: // what is usual, the edges, and the small ones
				all = []multilogInput{all[4], all[7], all[len(all)-1]}
			}
			base := memoryDir(t)
			for k, in := range all {
				var trees, said [2]string
				var codes [2]int
				for side, program := range []string{real, mine} {
					text := in.text
					if side == 0 && len(text) > 0 && text[len(text)-1] != '\n' {
						text = append(slices.Clone(text), '\n') // the original drops such a line
					}
					top := filepath.Join(base, fmt.Sprint(k), fmt.Sprint(side))
					for _, d := range []string{"d", "e", "f"} {
						if err := os.MkdirAll(filepath.Join(top, d), 0o755); err != nil {
							t.Fatal(err)
						}
					}
					if err := os.WriteFile(filepath.Join(top, "plain"), nil, 0o644); err != nil {
						t.Fatal(err)
					}
					for d, config := range c.configs {
						var err error
						if path := filepath.Join(top, d, "config"); config == "/" {
							err = os.Mkdir(path, 0o755)
						} else {
							err = os.WriteFile(path, []byte(config), 0o644)
						}
						if err != nil {
							t.Fatal(err)
						}
					}
					codes[side], said[side] = multilogRun(t, s, program, top, strings.Fields(c.args), text)
					said[side] = svlogdSaid(said[side])
					trees[side] = svlogdPlain(multilogTree(t, top))
				}
				if codes[0] != codes[1] || said[0] != said[1] {
					t.Errorf("%s: exit %d and\n%.2000s\nwant %d and\n%.2000s", in.name, codes[1], said[1], codes[0], said[0])
				}
				compareTrees(t, in.name, trees[1], trees[0])
			}
		})
	}
}

// svlogdSaid leaves out what depends on time: the original hears of a processor's end
// sooner or later, and the lines of a processor mix with those of its parent.
func svlogdSaid(text string) string {
	text = svlogdPlain(text)
	if !strings.Contains(text, "processing: ") {
		return text
	}
	var lines []string
	for line := range strings.Lines(text) {
		if line != "svlogd: info: sigchild received.\n" {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// TestSvlogdAppends: a second run goes on where a clean end was, and with the time
// of a new label where there was none.
func TestSvlogdAppends(t *testing.T) {
	t.Parallel()
	real, mine := peer(t, "svlogd"), ours(t, "svlogd")
	for i, mode := range []os.FileMode{0o744, 0o644, 0o600, 0o700} {
		for _, text := range []string{"", "old\n", "torn", strings.Repeat("x", 99) + "\n"} {
			t.Run(fmt.Sprint(i, len(text)), func(t *testing.T) {
				t.Parallel()
				s := newSite(t, nil)
				var trees, said [2]string
				for side, program := range []string{real, mine} {
					top := s.path(fmt.Sprint(side))
					for name, content := range map[string]string{
						"d/current": text, "d/config": "s100\nn9\n!cat\n",
						"d/@400000006b01e751248a02f4.s": "1", "d/@400000006b01e751248a02f5.t": "2",
						"d/@400000006b01e751248a02f6.s": "3", "d/@short": "4", "d/other": "5", "d/@400000006b01e751248a02f7and more": "6",
					} {
						s.make(tree{fmt.Sprint(side, "/", name): content})
					}
					if err := os.Chmod(filepath.Join(top, "d/current"), mode); err != nil {
						t.Fatal(err)
					}
					code, out := multilogRun(t, s, program, top, []string{"-v", "-l30", "-b40", "./d"}, []byte("one\ntwo\n"))
					said[side] = fmt.Sprint(code, svlogdSaid(out))
					trees[side] = svlogdPlain(multilogTree(t, top))
				}
				if said[0] != said[1] {
					t.Errorf("%s\nwant\n%s", said[1], said[0])
				}
				compareTrees(t, "tree", trees[1], trees[0])
			})
		}
	}
}

// TestSvlogdUDP: what goes over the network is the same.
func TestSvlogdUDP(t *testing.T) {
	t.Parallel()
	real, mine := peer(t, "svlogd"), ours(t, "svlogd")
	s := newSite(t, nil)
	for i, config := range []string{
		"uADDRESS\npP \n-no*\n", "UADDRESS\n", "uADDRESS\nux\n", "UADDRESS\nuADDRESS\n", "uADDRESSxyz\n", "Ux\nuADDRESS\n",
		"u255.255.255.255:99\npP \n", "U255.255.255.255:99\n", // that is not allowed: it is logged
	} {
		var got [2]string
		for side, program := range []string{real, mine} {
			conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			top := s.path(fmt.Sprint(i, side))
			s.make(tree{fmt.Sprint(i, side, "/d/config"): strings.ReplaceAll(config, "ADDRESS", conn.LocalAddr().String())})
			code, out := multilogRun(t, s, program, top, []string{"-t", "-l10", "-b20", "./d"}, []byte("abcdefghijkl\nabcdefghij\nabc\n\nno\n"))
			got[side] = fmt.Sprintln(code, out)
			// What was sent to a local socket is there when the sender has ended.
			if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			for b := make([]byte, 1000); ; {
				n, err := conn.Read(b)
				if err != nil {
					break
				}
				got[side] += fmt.Sprintf("%q\n", b[:n])
			}
			got[side] = svlogdPlain(got[side] + s.read(fmt.Sprint(i, side, "/d/current")))
		}
		if got[0] != got[1] {
			t.Errorf("%q: %s\nwant\n%s", config, got[1], got[0])
		}
	}
}

// TestSvlogdReads: upkeep log reads what it writes.
func TestSvlogdReads(t *testing.T) {
	t.Parallel()
	for i, stamp := range []string{"-v", "-t", "-tt", "-ttt"} {
		t.Run(stamp, func(t *testing.T) {
			t.Parallel()
			config := "s4000\nn0\n"
			if i%2 == 1 {
				config += "!cat\n"
			}
			s := newSite(t, tree{"d/config": config})
			text := strings.TrimSuffix(string(multilogLines(5, 300, 80)), "\n")
			text = strings.ReplaceAll(text, "\x00", "0") + "\nlast"
			if code, out := multilogRun(t, s, ours(t, "svlogd"), s.root, []string{stamp, "./d"}, []byte(text)); code != 0 {
				t.Fatalf("exit %d, %s", code, out)
			}
			if names, _ := multilogFiles(t, s.path("d")); len(names) < 3 {
				t.Errorf("only %q", names)
			}
			r := s.run(ours(t, "upkeep"), "log", "-n", "1000", "./d")
			lines := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
			want := strings.Split(text, "\n")
			if r.code != 0 || len(lines) != len(want) {
				t.Errorf("%s %q: %d lines of %d; exit %d, %s", stamp, config, len(lines), len(want), r.code, r.stderr)
				return
			}
			for i := range lines {
				if !strings.HasSuffix(lines[i], want[i]) {
					t.Errorf("%s: %q is not %q", stamp, lines[i], want[i])
					break
				}
			}
		})
	}
}

// svlogdStart starts ours with its input a pipe.
func svlogdStart(t *testing.T, s *site, args ...string) *logger {
	t.Helper()
	l := newLogger(t, s, args...)
	l.program = ours(t, "svlogd")
	l.start()
	return l
}

func (l *logger) write(text string) {
	l.s.t.Helper()
	if _, err := l.w.WriteString(text); err != nil {
		l.s.t.Fatal(err)
	}
}

// TestSvlogdTerm: TERM in the middle of a line has the line finished, and what
// follows is left for the next one.
func TestSvlogdTerm(t *testing.T) {
	t.Parallel()
	for _, long := range []string{"tw", strings.Repeat("x", 3000)} {
		s := newSite(t, tree{"d/": ""})
		l := svlogdStart(t, s, "-v", "./d")
		l.write("one\n" + long)
		if len(long) > 1000 {
			waitLinesAppear(t, s.path("d"), "one\n"+long)
		} else {
			waitLinesAppear(t, s.path("d"), "one\n")
		}
		l.cmd.Process.Signal(unix.SIGTERM)
		waitFile(t, l.said.Name(), func(said string) bool { return strings.Contains(said, "sigterm received.") })
		l.write("o\nthree\nfour\n")
		if code := l.end(); code != 0 {
			t.Fatalf("exit %d", code)
		}
		if got := s.read("d/current"); got != "one\n"+long+"o\n" {
			t.Errorf("first %q", got)
		}
		l.start()
		l.w.Close()
		if code := l.end(); code != 0 {
			t.Fatalf("exit %d", code)
		}
		if got := s.read("d/current"); got != "one\n"+long+"o\nthree\nfour\n" {
			t.Errorf("then %q", got)
		}
		if st, err := os.Stat(s.path("d/current")); err != nil || st.Mode().Perm() != 0o744 {
			t.Errorf("%v, %v", st, err)
		}
	}
}

// TestSvlogdSignals: ALRM begins new files, HUP has the configs read again, and a
// line that was begun is not lost by either; directories that have gone are left
// out, and taken back.
func TestSvlogdSignals(t *testing.T) {
	t.Parallel()
	s := newSite(t, tree{"d/": "", "e/": ""})
	l := svlogdStart(t, s, "-v", "./d", "./e")
	heard := func(what string, n int) {
		t.Helper()
		waitFile(t, l.said.Name(), func(said string) bool { return strings.Count(said, what) == n })
	}
	l.write("one\ntw")
	waitLinesAppear(t, s.path("e"), "one\n")
	l.cmd.Process.Signal(unix.SIGALRM)
	waitLinesAppear(t, s.path("e"), "")
	l.cmd.Process.Signal(unix.SIGALRM) // they are empty
	heard("sigalarm", 2)
	s.make(tree{"d/config": "pP \n"})
	s.remove("e")
	l.cmd.Process.Signal(unix.SIGHUP)
	heard("unable to open log directory: ./e", 1)
	l.write("o\nthr")
	waitLinesAppear(t, s.path("d"), "P two\n")
	s.make(tree{"e/config": "-*\n"})
	s.remove("d/config")
	l.cmd.Process.Signal(unix.SIGHUP)
	heard("new: ./e/current", 2)
	l.write("ee\n")
	waitLinesAppear(t, s.path("d"), "P two\nthree\n")
	s.remove("d", "e")
	l.cmd.Process.Signal(unix.SIGHUP)
	if code := l.end(); code != 111 {
		t.Errorf("exit %d", code)
	}
	said := svlogdPlain(l.words())
	const want = `svlogd: info: new: ./d/current
svlogd: info: new: ./e/current
svlogd: info: sigalarm received.
svlogd: info: rename: ./d/current @LABEL.s 4
svlogd: info: rename: ./e/current @LABEL.s 4
svlogd: info: sigalarm received.
svlogd: info: sighangup received.
svlogd: info: close: ./d
svlogd: info: read: ./d/config
svlogd: info: append: ./d/current
svlogd: info: close: ./e
svlogd: warning: unable to open log directory: ./e: file does not exist
svlogd: info: sighangup received.
svlogd: info: close: ./d
svlogd: info: append: ./d/current
svlogd: info: read: ./e/config
svlogd: info: new: ./e/current
svlogd: info: sighangup received.
svlogd: info: close: ./d
svlogd: warning: unable to open log directory: ./d: file does not exist
svlogd: info: close: ./e
svlogd: warning: unable to open log directory: ./e: file does not exist
svlogd: fatal: no functional log directories.
`
	if said != want {
		t.Errorf("said\n%s", said)
	}
}

// TestSvlogdAge: a file that is not empty ends after its time, also if nothing
// comes any more.
func TestSvlogdAge(t *testing.T) {
	t.Parallel()
	s := newSite(t, tree{"d/config": "t1\n"})
	l := svlogdStart(t, s, "-v", "./d")
	l.write("one\n")
	waitFile(t, l.said.Name(), func(said string) bool { return strings.Contains(said, "rename: ") })
	l.write("two\n")
	l.w.Close()
	if code := l.end(); code != 0 {
		t.Fatalf("exit %d, %s", code, l.words())
	}
	// The second may have become old as well.
	if _, texts := multilogFiles(t, s.path("d")); len(texts) < 2 || texts[0] != "one\n" || texts[1] != "two\n" {
		t.Errorf("%q", texts)
	}
}

// TestSvlogdHangupWhileProcessing: what is being processed at HUP gets its name.
func TestSvlogdHangupWhileProcessing(t *testing.T) {
	t.Parallel()
	s := newSite(t, tree{"d/config": "s20\n!read x <../fifo; cat\n"})
	if err := unix.Mkfifo(s.path("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := svlogdStart(t, s, "-v", "-l10", "-b20", "./d")
	l.write("0123456789\n")
	waitFile(t, l.said.Name(), func(said string) bool { return strings.Contains(said, "processing: ") })
	l.cmd.Process.Signal(unix.SIGHUP)
	waitFile(t, l.said.Name(), func(said string) bool { return strings.Contains(said, "append: ") })
	if err := os.WriteFile(s.path("fifo"), []byte("\n"), 0); err != nil {
		t.Fatal(err)
	}
	waitFile(t, l.said.Name(), func(said string) bool { return strings.Contains(said, "processed: ") })
	l.w.Close()
	if code := l.end(); code != 0 {
		t.Fatalf("exit %d, %s", code, l.words())
	}
	if names, texts := multilogFiles(t, s.path("d")); len(names) != 2 || !strings.HasSuffix(names[0], ".s") || texts[0] != "0123456789\n" {
		t.Errorf("%q %q", names, texts)
	}
}

// TestSvlogdDiskFull: with the disk full old files are given up as far as the
// config allows, and then the logger waits for room; no line is lost that it did not say.
func TestSvlogdDiskFull(t *testing.T) {
	t.Parallel()
	needRoot(t)
	text := strings.Repeat(strings.Repeat("x", 99)+"\n", 400)
	for _, c := range []struct{ config, said string }{
		{"s6000\\nn5\\nN2\\n", "svlogd: warning: out of disk space, delete: ./m/d/@LABEL.s\n"},
		{"s6000\\nn5\\n", "svlogd: pausing: unable to write to current: ./m/d: out of disk space\n"},
	} {
		t.Run(c.said[8:15], func(t *testing.T) {
			t.Parallel()
			var results [2]string
			t.Cleanup(func() {
				if strings.Contains(c.said, "pausing") && results[0] != results[1] {
					t.Errorf("%s: %.1000q, want %.1000q", c.config, results[1], results[0])
				}
			})
			for side, program := range []string{peer(t, "svlogd"), ours(t, "svlogd")} {
				t.Run(fmt.Sprint(side), func(t *testing.T) {
					t.Parallel()
					s := newSite(t, nil)
					if err := os.WriteFile(s.path("in"), []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
					// In a mount namespace of its own; room is made when it is said.
					script := `mkdir m && mount -t tmpfs -o size=128k tmpfs m && mkdir m/d && printf '` + c.config + `' >m/d/config
head -c 90000 /dev/zero >m/ballast
"$0" -l 100 -b 200 ./m/d <in 2>said & pid=$!
n=0; while ! test -s said && test $n -lt 200; do sleep 0.1; n=$((n+1)); done
rm m/ballast
wait $pid; echo $?; cd m/d; ls -l | cut -c1-10; cat @* current`
					r := s.run("/usr/bin/unshare", "-m", "/bin/sh", "-c", script, program)
					said := svlogdPlain(s.read("said"))
					if n := len(said) / len(c.said); n == 0 || said != strings.Repeat(c.said, n) || !strings.HasPrefix(r.stdout, "0\n") {
						t.Errorf("%s: said %q, %.300q, %q", c.config, said, r.stdout, r.stderr)
					}
					results[side] = r.stdout
				})
			}
		})
	}
}

// TestSvlogdUnwritable: a directory that nobody may write to is left out.
func TestSvlogdUnwritable(t *testing.T) {
	t.Parallel()
	needRoot(t)
	real, mine := peer(t, "svlogd"), ours(t, "svlogd")
	var trees, said [2]string
	for side, program := range []string{real, mine} {
		s := newSite(t, tree{"d/": "", "e/": "", "f/": "", "g/": ""})
		for name, mode := range map[string]os.FileMode{"": 0o755, "d": 0o555, "e": 0o644, "f": 0o333, "g": 0o755} {
			if err := os.Chmod(s.path(name), mode); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chown(s.path("g"), 65534, 65534); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/bin/sh", "-c", `cd "$1" && exec 9<"$0" && echo text | chpst -b svlogd -u nobody /proc/self/fd/9 -v ./d ./e ./f ./g`, program, s.root)
		var out bytes.Buffer
		s.furnish(cmd)
		cmd.Stdout, cmd.Stderr = &out, &out
		// Others may not enter the directories that the site is in.
		for dir := s.root; len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		err := cmd.Run()
		said[side] = fmt.Sprint(err, out.String())
		trees[side] = multilogTree(t, s.root)
	}
	if said[0] != said[1] || !strings.Contains(said[0], "access denied") {
		t.Errorf("%s\nwant\n%s", said[1], said[0])
	}
	compareTrees(t, "tree", trees[1], trees[0])
}

// TestSvlogdKilled is TestMultilogKilled for svlogd.
func TestSvlogdKilled(t *testing.T) {
	t.Parallel()
	pieces := func(r *rand.Rand) int { return 1 + r.IntN(3000) }
	for name, c := range map[string]struct {
		config string
		args   []string
		write  func(*rand.Rand) int // bytes written at a time
	}{
		"blocks":    {"s100000\nn0\n", []string{"./d"}, func(*rand.Rand) int { return 65536 }},
		"pieces":    {"s20000\nn0\n", []string{"-t", "./d"}, pieces},
		"processor": {"s50000\nn0\n!cat\n", []string{"./d"}, func(r *rand.Rand) int { return 1 + r.IntN(30000) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLogger(t, newSite(t, tree{"d/config": c.config}), c.args...)
			l.program = ours(t, "svlogd")
			killLogger(t, l, c.write)
		})
	}
}

// TestSvlogdProcessorFails: a processor that fails is run again until it succeeds,
// while lines are logged; each failure is said, and nothing is lost.
func TestSvlogdProcessorFails(t *testing.T) {
	t.Parallel()
	real, mine := peer(t, "svlogd"), ours(t, "svlogd")
	const config = "s20\n!echo >>../count; if [ $(wc -l <../count) -lt 4 ]; then echo rubbish; echo $0 >&5; exit 7; fi; cat\n"
	var results [2]string
	for side, program := range []string{real, mine} {
		s := newSite(t, tree{"d/config": config})
		code, said := multilogRun(t, s, program, s.root, []string{"-l10", "-b20", "./d"}, []byte("0123456789\nlast\n"))
		results[side] = fmt.Sprint(code, said, multilogTree(t, s.root))
	}
	if results[0] != results[1] || strings.Count(results[0], "svlogd: warning: processor failed, restart: ./d\n") != 3 {
		t.Errorf("%s\nwant\n%s", results[1], results[0])
	}
}
