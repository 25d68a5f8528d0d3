package daemontools

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"upkeep/compat/cli/clitest"
	"upkeep/supervise/status"
	"upkeep/svc/svctest"
)

// old is the age of status records: a number nothing else makes.
const old = 7000000

func record(r status.Record) []byte { return svctest.Status(status.Daemontools, r, old) }

var (
	up   = record(status.Record{PID: 7, Want: status.WantUp})
	down = record(status.Record{Want: status.WantDown})
)

// peerCase is a command line in a tree, and all there is to see of it in the
// program of daemontools 0.76.
type peerCase struct {
	name           string
	tree           svctest.Tree
	args           string // with the program; blanks between words, '' for an empty one
	stdout, stderr string
	code           int
	sent           string // to sv/supervise/control
	nobody         bool
}

const options = "svc options: u up, d down, o once, x exit, p pause, c continue, h hup, a alarm, i interrupt, t term, k kill\n"

func tree() svctest.Tree { return svctest.Tree{} }

func live(statusFile []byte) svctest.Tree { return tree().Supervised("sv", statusFile) }

// state is a service with something wrong in its state directory.
func state(name string, n svctest.Node) svctest.Tree {
	return live(up).And("sv/supervise/"+name, n)
}

var peerCases = []peerCase{
	{name: "svc sends in order", tree: live(up), args: "svc -xu -d sv", sent: "xud"},
	{name: "svc sends all letters", tree: live(up), args: "svc -udopchaitkx sv", sent: "udopchaitkx"},
	{name: "svc sends a letter once", tree: live(up), args: "svc -uuu -d -udu sv", sent: "ud"},
	{name: "svc without letters", tree: live(up), args: "svc sv"},
	{name: "svc without directories", args: "svc -u"},
	{name: "svc without anything", args: "svc"},
	{name: "svc bare dash dash", tree: live(up), args: "svc -u -- sv", sent: "u"},
	{name: "svc word of dash dash", tree: live(up), args: "svc -u --dx sv", sent: "u"},
	{name: "svc bare dash", tree: live(up), args: "svc -u - sv", sent: "u",
		stderr: "svc: warning: unable to chdir to -: file does not exist\n"},
	{name: "svc options after a directory", tree: live(up), args: "svc -u sv -d sv", sent: "uu",
		stderr: "svc: warning: unable to chdir to -d: file does not exist\n"},
	{name: "svc unknown option", tree: live(up), args: "svc -uz sv", code: 100,
		stderr: "svc: illegal option -- z\n" + options},
	{name: "svc dash in a cluster", tree: live(up), args: "svc -u- sv", code: 100,
		stderr: "svc: illegal option -- -\n" + options},
	{name: "svc colon", tree: live(up), args: "svc -: sv", code: 100,
		stderr: "svc: illegal option -- :\n" + options},
	{name: "svc byte that is no UTF-8", tree: live(up), args: "svc -\xe4 sv", code: 100,
		stderr: "svc: illegal option -- \xe4\n" + options},
	{name: "svc letter of encore", tree: live(up), args: "svc -q sv", code: 100,
		stderr: "svc: illegal option -- q\n" + options},
	{name: "svc by a path", args: "/no/such/svc -z", code: 100, stderr: "svc: illegal option -- z\n" + options},
	{name: "svc forms of a path", tree: live(up).And("link", svctest.Link("sv")), args: "svc -u sv/ ./sv sv/. link link/../sv ROOT/sv",
		sent: "uuuuuu"},
	{name: "svc missing directory", args: "svc -u no", stderr: "svc: warning: unable to chdir to no: file does not exist\n"},
	{name: "svc empty name", args: "svc -u ''", stderr: "svc: warning: unable to chdir to : file does not exist\n"},
	{name: "svc file as directory", tree: tree().And("f", svctest.File("")), args: "svc -u f",
		stderr: "svc: warning: unable to chdir to f: not a directory\n"},
	{name: "svc loop as directory", tree: tree().And("l", svctest.Link("l")), args: "svc -u l",
		stderr: "svc: warning: unable to chdir to l: symbolic link loop\n"},
	{name: "svc long name", args: "svc " + strings.Repeat("x", 256),
		stderr: "svc: warning: unable to chdir to " + strings.Repeat("x", 256) + ": file name too long\n"},
	{name: "svc goes on after a failure", tree: live(up), args: "svc -u no sv", sent: "u",
		stderr: "svc: warning: unable to chdir to no: file does not exist\n"},
	{name: "svc never supervised", tree: tree().And("sv", svctest.Dir()), args: "svc -u sv",
		stderr: "svc: warning: unable to control sv: file does not exist\n"},
	{name: "svc not running", tree: state("control", svctest.FIFO()), args: "svc -u sv",
		stderr: "svc: warning: unable to control sv: supervise not running\n"},
	{name: "svc not running without letters", tree: state("control", svctest.FIFO()), args: "svc sv",
		stderr: "svc: warning: unable to control sv: supervise not running\n"},
	{name: "svc socket", tree: state("control", svctest.Socket()), args: "svc -u sv",
		stderr: "svc: warning: unable to control sv: supervise not running\n"},
	{name: "svc directory as control", tree: state("control", svctest.Dir()), args: "svc -u sv",
		stderr: "svc: warning: unable to control sv: is a directory\n"},
	{name: "svc file as state directory", tree: tree().And("sv/supervise", svctest.File("")), args: "svc -u sv",
		stderr: "svc: warning: unable to control sv: not a directory\n"},
	{name: "svc closed directory", tree: live(up).And("sv", svctest.Closed()), args: "svc -u sv", nobody: true,
		stderr: "svc: warning: unable to chdir to sv: access denied\n"},
	{name: "svc closed state directory", tree: state("", svctest.Closed()), args: "svc -u sv", nobody: true,
		stderr: "svc: warning: unable to control sv: access denied\n"},

	{name: "svok alive", tree: live(up), args: "svok sv"},
	{name: "svok ignores more arguments", tree: live(up), args: "svok sv no"},
	{name: "svok takes no options", tree: live(up), args: "svok -- sv", code: 111,
		stderr: "svok: fatal: unable to chdir to --: file does not exist\n"},
	{name: "svok no reader", tree: state("ok", svctest.FIFO()), args: "svok sv", code: 100},
	{name: "svok never supervised", tree: tree().And("sv", svctest.Dir()), args: "svok sv", code: 100},
	{name: "svok file as ok", tree: state("ok", svctest.File("")), args: "svok sv"},
	{name: "svok directory as ok", tree: state("ok", svctest.Dir()), args: "svok sv", code: 111,
		stderr: "svok: fatal: unable to open sv/supervise/ok: is a directory\n"},
	{name: "svok loop as ok", tree: state("ok", svctest.Link("ok")), args: "svok sv/", code: 111,
		stderr: "svok: fatal: unable to open sv//supervise/ok: symbolic link loop\n"},
	{name: "svok without arguments", args: "svok", code: 100, stderr: "svok: usage: svok dir\n"},
	{name: "svok empty name", args: "svok ''", code: 111, stderr: "svok: fatal: unable to chdir to : file does not exist\n"},
	{name: "svok missing directory", args: "svok no", code: 111,
		stderr: "svok: fatal: unable to chdir to no: file does not exist\n"},
	{name: "svok closed state directory", tree: state("", svctest.Closed()), args: "svok sv", code: 111, nobody: true,
		stderr: "svok: fatal: unable to open sv/supervise/ok: access denied\n"},

	{name: "svstat up", tree: live(up), args: "svstat sv", stdout: "sv: up (pid 7) OLD seconds\n"},
	{name: "svstat echoes names", tree: live(up).And("-l", svctest.Link("sv")), args: "svstat -- sv -l ./sv sv/ ''",
		stdout: "--: unable to chdir: file does not exist\nsv: up (pid 7) OLD seconds\n-l: up (pid 7) OLD seconds\n" +
			"./sv: up (pid 7) OLD seconds\nsv/: up (pid 7) OLD seconds\n: unable to chdir: file does not exist\n"},
	{name: "svstat without arguments", args: "svstat"},
	{name: "svstat many", tree: live(up), args: "svstat" + strings.Repeat(" sv", 100),
		stdout: strings.Repeat("sv: up (pid 7) OLD seconds\n", 100)},
	{name: "svstat down", tree: live(down), args: "svstat sv", stdout: "sv: down OLD seconds, normally up\n"},
	{name: "svstat normally down", tree: live(up).And("sv/down", svctest.File("")), args: "svstat sv",
		stdout: "sv: up (pid 7) OLD seconds, normally down\n"},
	{name: "svstat down as it should be", tree: live(down).And("sv/down", svctest.Dir()), args: "svstat sv",
		stdout: "sv: down OLD seconds\n"},
	{name: "svstat down that dangles", tree: live(up).And("sv/down", svctest.Link("no")), args: "svstat sv",
		stdout: "sv: up (pid 7) OLD seconds\n"},
	{name: "svstat everything", tree: live(record(status.Record{PID: 4294967295, Paused: true, Want: status.WantDown})).
		And("sv/down", svctest.File("")), args: "svstat sv",
		stdout: "sv: up (pid 4294967295) OLD seconds, normally down, paused, want down\n"},
	{name: "svstat want up", tree: live(record(status.Record{Want: status.WantUp})), args: "svstat sv",
		stdout: "sv: down OLD seconds, normally up, want up\n"},
	{name: "svstat odd paused and want", tree: live([]byte("@\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x2a?")),
		args: "svstat sv", stdout: "sv: up (pid 7) EPOCH seconds, paused\n"},
	{name: "svstat bytes that mean nothing when down", tree: live([]byte("@\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01d")),
		args: "svstat sv", stdout: "sv: down EPOCH seconds, normally up\n"},
	{name: "svstat future", tree: live(svctest.Status(status.Daemontools, status.Record{PID: 7}, -old)), args: "svstat sv",
		stdout: "sv: up (pid 7) 0 seconds\n"},
	{name: "svstat zeros", tree: live(make([]byte, 18)), args: "svstat sv", stdout: "sv: down ZERO seconds, normally up\n"},
	{name: "svstat ones", tree: live([]byte(strings.Repeat("\xff", 18))), args: "svstat sv",
		stdout: "sv: up (pid 4294967295) 0 seconds, paused\n"},
	{name: "svstat 0 bytes", tree: live(nil), args: "svstat sv", stdout: badFormat},
	{name: "svstat 1 byte", tree: live(up[:1]), args: "svstat sv", stdout: badFormat},
	{name: "svstat 17 bytes", tree: live(up[:17]), args: "svstat sv", stdout: badFormat},
	{name: "svstat 19 bytes", tree: live(append(up[:18:18], 3)), args: "svstat sv", stdout: "sv: up (pid 7) OLD seconds\n"},
	{name: "svstat runit", tree: live(append(up[:18:18], 1, 1)), args: "svstat sv", stdout: "sv: up (pid 7) OLD seconds\n"},
	{name: "svstat encore", tree: live([]byte(strings.Repeat(string(up)+"\x03\x00", 2))), args: "svstat sv",
		stdout: "sv: up (pid 7) OLD seconds\n"},
	{name: "svstat long file", tree: live([]byte(strings.Repeat(string(up), 500))), args: "svstat sv",
		stdout: "sv: up (pid 7) OLD seconds\n"},
	{name: "svstat FIFO as status", tree: state("status", svctest.FIFO()), args: "svstat sv", stdout: badFormat},
	{name: "svstat not running", tree: state("ok", svctest.FIFO()), args: "svstat sv", stdout: "sv: supervise not running\n"},
	{name: "svstat never supervised", tree: tree().And("sv", svctest.Dir()), args: "svstat sv",
		stdout: "sv: unable to open supervise/ok: file does not exist\n"},
	{name: "svstat without status", tree: state("status", svctest.Link("no")), args: "svstat sv",
		stdout: "sv: unable to open supervise/status: file does not exist\n"},
	{name: "svstat missing directory", args: "svstat no", stdout: "no: unable to chdir: file does not exist\n"},
	{name: "svstat file as directory", tree: tree().And("f", svctest.File("")), args: "svstat f",
		stdout: "f: unable to chdir: not a directory\n"},
	{name: "svstat file with a slash", tree: tree().And("f", svctest.File("")), args: "svstat f/",
		stdout: "f/: unable to chdir: not a directory\n"},
	{name: "svstat looks for down first", tree: state("ok", svctest.FIFO()).And("sv/down", svctest.Link("down")), args: "svstat sv",
		stdout: "sv: unable to stat down: symbolic link loop\n"},
	{name: "svstat looks for ok before status", tree: state("ok", svctest.Dir()).And("sv/supervise/status", svctest.Dir()),
		args: "svstat sv", stdout: "sv: unable to open supervise/ok: is a directory\n"},
	{name: "svstat closed directory", tree: live(up).And("sv", svctest.Closed()), args: "svstat sv", nobody: true,
		stdout: "sv: unable to chdir: access denied\n"},
	{name: "svstat closed state directory", tree: state("", svctest.Closed()), args: "svstat sv", nobody: true,
		stdout: "sv: unable to open supervise/ok: access denied\n"},
}

const badFormat = "sv: unable to read supervise/status: bad format\n"

// TestPeer holds ours and the real programs to the same words.
func TestPeer(t *testing.T) {
	t.Parallel()
	for _, c := range peerCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			site := svctest.Build(t, c.tree)
			want := clitest.Result{Stdout: c.stdout, Stderr: c.stderr, Code: c.code}
			cmd := clitest.Cmd{Args: words(c.args, site.Root), Dir: site.Root, Nobody: c.nobody}
			check := func(t *testing.T, r clitest.Result) {
				t.Helper()
				r.Stdout = ages(r.Stdout)
				if r != want {
					t.Errorf("%s\n got %v\nwant %v", c.args, r, want)
				}
				if sent := site.Drain(t, "sv/supervise/control"); sent != c.sent {
					t.Errorf("%s\nsent %q\nwant %q", c.args, sent, c.sent)
				}
			}
			program := cmd.Args[0][strings.LastIndexByte(cmd.Args[0], '/')+1:]
			check(t, clitest.Ours(t, program, cmd))
			check(t, clitest.Real(t, "daemontools", cmd))
		})
	}
}

func words(line, root string) []string {
	w := strings.Split(line, " ")
	for i := range w {
		w[i] = strings.Replace(strings.Trim(w[i], "'"), "ROOT", root, 1)
	}
	return w
}

var seconds = regexp.MustCompile(`\d+ seconds`)

// ages puts words for the ages which cannot be foretold to the second.
func ages(s string) string {
	return seconds.ReplaceAllStringFunc(s, func(m string) string {
		n, err := strconv.ParseUint(strings.TrimSuffix(m, " seconds"), 10, 64)
		now := uint64(status.Now().Sec)
		switch {
		case err != nil:
		case n >= old && n < old+600:
			return "OLD seconds"
		case n > now-600 && n <= now+10: // 10 s lie between the labels 2^62 and 2^62 + 10
			return "EPOCH seconds"
		case n == uint64(float64(1<<62+10+now)):
			return "ZERO seconds"
		}
		return m
	})
}
