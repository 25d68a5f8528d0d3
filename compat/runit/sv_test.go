package runit

import (
	"regexp"
	"strings"
	"testing"

	"upkeep/compat/cli/clitest"
	"upkeep/supervise/status"
	"upkeep/svc/svctest"
)

// old is the age of status records: a number nothing else makes.
const old = 7000000

func record(r status.Record) []byte { return svctest.Status(status.Runit, r, old) }

var (
	up   = record(status.Record{PID: 7, Want: status.WantUp, Process: status.ProcessRun})
	down = record(status.Record{Want: status.WantDown})
)

// svCase is a command line beside services that nobody supervises in truth, and all
// there is to see of it in runit 2.1.2.
type svCase struct {
	name           string
	tree           svctest.Tree
	args           string // blanks between words
	env            []string
	stdout, stderr string
	code           int
	sent           string // to sv/supervise/control
}

func live(statusFile []byte) svctest.Tree {
	return svctest.Tree{}.Supervised("sv", statusFile)
}

func state(name string, n svctest.Node) svctest.Tree {
	return live(up).And("sv/supervise/"+name, n)
}

const upLine = "run: ./sv: (pid 7) 7000000s"

var svCases = []svCase{
	{name: "status", tree: live(up), args: "status ./sv", stdout: upLine + "\n"},
	{name: "no service", args: "status", stderr: "usage: sv [-v] [-w sec] command service ...\n\n", code: 100},
	{name: "all flags", tree: live(record(status.Record{PID: 7, Want: status.WantDown, Process: status.ProcessRun, Paused: true, GotTerm: true})).And("sv/down", svctest.File("")),
		args: "status ./sv", stdout: upLine + ", normally down, paused, want down, got TERM\n"},
	{name: "down, wanted up", tree: live(record(status.Record{Want: status.WantUp, Paused: true})), args: "status ./sv",
		stdout: "down: ./sv: 7000000s, normally up, want up\n"},
	{name: "finish", tree: live(record(status.Record{PID: 8, Want: status.WantDown, Process: status.ProcessFinish})), args: "status ./sv",
		stdout: "finish: ./sv: (pid 8) 7000000s, want down\n"},
	{name: "between run and finish", tree: live(record(status.Record{Want: status.WantUp, Process: status.ProcessFinish})), args: "status ./sv",
		stdout: "finish: ./sv: (pid 0) 7000000s, normally up, want up\n"},
	{name: "from the future", tree: live(svctest.Status(status.Runit, status.Record{Want: status.WantDown}, -100)), args: "status ./sv",
		stdout: "down: ./sv: 0s, normally up\n"},
	{name: "with a log", tree: live(up).Supervised("sv/log", down), args: "status ./sv", stdout: upLine + "; down: log: 7000000s, normally up\n"},
	{name: "with a log that nobody supervises", tree: live(up).And("sv/log/supervise/ok", svctest.FIFO()), args: "status ./sv",
		stdout: upLine + "; fail: ./sv/log: runsv not running\n", code: 1},
	{name: "with a log that is none", tree: live(up).And("sv/log", svctest.File("")), args: "status ./sv",
		stdout: upLine + "; warning: ./sv/log: unable to change directory: not a directory\n", code: 1},
	{name: "no supervisor", tree: state("ok", svctest.FIFO()), args: "status ./sv", stdout: "fail: ./sv: runsv not running\n", code: 1},
	{name: "ok is a link to itself", tree: state("ok", svctest.Link("ok")), args: "status ./sv",
		stdout: "warning: ./sv: unable to open supervise/ok: symbolic link loop\n", code: 1},
	{name: "no status", tree: state("status", svctest.Link("nowhere")), args: "status ./sv",
		stdout: "warning: ./sv: unable to open supervise/status: file does not exist\n", code: 1},
	{name: "short status", tree: state("status", svctest.File("1234567890123456789")), args: "status ./sv",
		stdout: "warning: ./sv: unable to read supervise/status: bad format\n", code: 1},
	{name: "status is a directory", tree: state("status", svctest.Dir()), args: "status ./sv",
		stdout: "warning: ./sv: unable to read supervise/status: is a directory\n", code: 1},
	{name: "no way to control", tree: state("control", svctest.FIFO()), args: "term ./sv",
		stdout: "fail: ./sv: runsv not running\n", code: 1},
	{name: "no way to control what is to leave", tree: state("control", svctest.FIFO()), args: "-v exit ./sv",
		stdout: "ok: ./sv: runsv not running\n"},
	{name: "a full disk", tree: state("control", svctest.Link("/dev/full")), args: "term ./sv",
		stdout: "warning: ./sv: unable to write to supervise/control: out of disk space\n", code: 1},
	{name: "the name as given", tree: live(up), args: "status sv ./sv sv/", env: []string{"SVDIR=."},
		stdout: "run: sv: (pid 7) 7000000s\n" + upLine + "\nrun: sv/: (pid 7) 7000000s\n"},
	{name: "an empty name", tree: live(up), args: "status ''", stdout: "fail: : unable to change to service directory: file does not exist\n", code: 1},
	{name: "below a service directory that is not there", args: "up sv", env: []string{"SVDIR=/nowhere"},
		stdout: "fail: sv: unable to change to service directory: file does not exist\n", code: 1},
	{name: "up of what is wanted up sends nothing", tree: live(up), args: "up ./sv"},
	{name: "up of what is not", tree: live(down), args: "up ./sv", sent: "u"},
	{name: "down of what is wanted down", tree: live(down), args: "down ./sv", sent: "d"},
	{name: "down of what got TERM sends nothing", args: "down ./sv",
		tree: live(record(status.Record{PID: 7, Want: status.WantDown, Process: status.ProcessRun, GotTerm: true}))},
	{name: "restart sends all at once", tree: live(up), args: "-w0 restart ./sv", sent: "tcu", stdout: "timeout: " + upLine + "\n", code: 1},
	{name: "force-restart sends k as well", tree: live(up), args: "-w0 force-restart ./sv", sent: "tcuk", stdout: "kill: " + upLine + "\n", code: 1},
	{name: "SVWAIT", tree: live(up), args: "stop ./sv", env: []string{"SVWAIT=x"}, sent: "d", stdout: "timeout: " + upLine + "\n", code: 1},
	{name: "-w wins over SVWAIT", tree: live(up), args: "-w 0 stop ./sv", env: []string{"SVWAIT=9"}, sent: "d", stdout: "timeout: " + upLine + "\n", code: 1},
	{name: "-v waits", tree: live(up), args: "-v up ./sv", stdout: "ok: " + upLine + "\n"},
	{name: "each letter", tree: live(up), args: "exit ./sv", sent: "x"},
	{name: "more troubles than can be told", tree: live(up), args: "hup" + strings.Repeat(" /nowhere", 120), code: 99,
		stdout: strings.Repeat("fail: /nowhere: unable to change to service directory: file does not exist\n", 120)},
}

// TestSv: sv and the real one.
func TestSv(t *testing.T) {
	t.Parallel()
	for _, c := range svCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			want := clitest.Result{Stdout: c.stdout, Stderr: c.stderr, Code: c.code}
			t.Run("ours", func(t *testing.T) {
				t.Parallel()
				c.play(t, want, func(cmd clitest.Cmd) clitest.Result { return clitest.Ours(t, "sv", cmd) })
			})
			t.Run("real", func(t *testing.T) {
				t.Parallel()
				c.play(t, want, func(cmd clitest.Cmd) clitest.Result { return clitest.Real(t, "runit", cmd) })
			})
		})
	}
}

// aged is the age of records that were made when the tests began.
var aged = regexp.MustCompile(`7000\d\d\ds`)

func (c *svCase) play(t *testing.T, want clitest.Result, run func(clitest.Cmd) clitest.Result) {
	t.Helper()
	tree := c.tree
	if tree == nil {
		tree = svctest.Tree{}
	}
	site := svctest.Build(t, tree)
	args := []string{"sv"}
	for _, w := range strings.Fields(c.args) {
		args = append(args, strings.Trim(w, "'"))
	}
	got := run(clitest.Cmd{Args: args, Dir: site.Root, Env: c.env})
	got.Stdout = aged.ReplaceAllString(got.Stdout, "7000000s")
	if got != want {
		t.Errorf("sv %s:\ngot  %v\nwant %v", c.args, got, want)
	}
	if sent := site.Drain(t, "sv/supervise/control"); sent != c.sent {
		t.Errorf("sv %s sent %q, want %q", c.args, sent, c.sent)
	}
}

// TestSvWithAService holds what differs from 2.1.2 on purpose: sv does not take what it
// sees for the effect of a command that cannot have been obeyed yet.
func TestSvWithAService(t *testing.T) {
	t.Parallel()
	fresh := func(r status.Record) []byte { return svctest.Status(status.Runit, r, 0) }
	running := status.Record{PID: 7, Want: status.WantUp, Process: status.ProcessRun}
	between := status.Record{Want: status.WantUp}
	for _, c := range []struct {
		args string
		file []byte
		want string
	}{
		{"-w0 term ./sv", fresh(running), "timeout: run: ./sv: (pid 7) 0s\n"},
		{"-w0 down ./sv", fresh(between), "timeout: down: ./sv: 0s, normally up, want up\n"},
		{"-w0 once ./sv", fresh(status.Record{Want: status.WantDown}), "timeout: down: ./sv: 0s, normally up\n"},
		{"-w0 check ./sv", fresh(between), "timeout: down: ./sv: 0s, normally up, want up\n"},
		{"-w0 check ./sv", fresh(status.Record{PID: 7, Want: status.WantDown, Process: status.ProcessRun}), "ok: run: ./sv: (pid 7) 0s, want down\n"},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			site := svctest.Build(t, live(c.file))
			got := clitest.Ours(t, "sv", clitest.Cmd{Args: append([]string{"sv"}, strings.Fields(c.args)...), Dir: site.Root})
			got.Stdout = regexp.MustCompile(`\b\ds`).ReplaceAllString(got.Stdout, "0s")
			if got.Stdout != c.want {
				t.Errorf("sv %s: got %v, want %q", c.args, got, c.want)
			}
		})
	}
}

// FuzzCommand: every word is a command or wrong usage, and what is sent and tested are
// letters that there are.
func FuzzCommand(f *testing.F) {
	for _, w := range []string{"", "up", "start", "force-stop", "try-restart", "check", "Exit", "status", "\xff", "1", "fo"} {
		f.Add(w)
	}
	f.Fuzz(func(t *testing.T, word string) {
		c, ok := commandOf(word)
		if !ok {
			return
		}
		if strings.Trim(c.letters, "udopchaiq12tkx") != "" || strings.Trim(c.tests, "udopchaiq12tkxC") != "" {
			t.Errorf("%q: %+v", word, c)
		}
		if c.status != (c.tests == "") || c.force && !c.waits {
			t.Errorf("%q: %+v", word, c)
		}
	})
}
