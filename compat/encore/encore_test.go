package encore

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"upkeep/compat/cli"
	"upkeep/compat/cli/clitest"
	"upkeep/supervise/status"
	"upkeep/svc/svctest"
)

func TestMain(m *testing.M) {
	clitest.Main(m, map[string]cli.Applet{
		"svc": Svc, "svok": Svok, "svstat": Svstat, "svup": Svup, "svup-default": SvupDefault,
	})
}

const now = 1700000000

// file is a status file of encore with records of the given ages.
func file(records ...status.Record) []byte {
	var b []byte
	for _, r := range records {
		b = r.Append(b, status.EncoreLayout)
	}
	return b
}

func aged(age int64, r status.Record) status.Record {
	r.Since = status.Stamp{Sec: now - age, Nsec: 999}
	return r
}

// TestLines has the examples of daemontools.md, section 7.3.
func TestLines(t *testing.T) {
	t.Parallel()
	const (
		stopped  = status.EncoreStopped
		starting = status.EncoreStarting
		started  = status.EncoreStarted
		running  = status.EncoreRunning
		stopping = status.EncoreStopping
		failed   = status.EncoreFailed
	)
	type rec = status.Record
	log := aged(9, rec{PID: 99, Want: 'u', Encore: running})
	for _, c := range []struct {
		raw   []byte
		down  bool
		which slots
		want  string
	}{
		{file(aged(1, rec{PID: 1601, Want: 'u', Encore: running})), false, mainAndLog, "sv: up (pid 1601) 1 seconds, running\n"},
		{file(aged(2, rec{PID: 1601, Want: 'u', Encore: running, Paused: true})), false, mainAndLog,
			"sv: up (pid 1601) 2 seconds, paused, running\n"},
		{file(aged(0, rec{PID: 1698, Encore: running})), false, mainAndLog, "sv: up (pid 1698) 0 seconds, once, running\n"},
		{file(aged(1, rec{PID: 3, Encore: running})), true, mainAndLog,
			"sv: up (pid 3) 1 seconds, normally down, once, running\n"},
		{file(aged(2, rec{PID: 5109, Want: 'd', Encore: stopping})), false, mainAndLog,
			"sv: up (pid 5109) 2 seconds, want down, stopping\n"},
		{file(aged(2, rec{PID: 4722, Want: 'u', Encore: starting})), false, mainAndLog,
			"sv: up (pid 4722) 2 seconds, starting\n"},
		{file(aged(0, rec{PID: 5406, Want: 'd', Encore: stopped})), false, mainAndLog,
			"sv: up (pid 5406) 0 seconds, want down, stopped\n"},
		{file(aged(0, rec{Want: 'u', Encore: stopped})), false, mainAndLog,
			"sv: down 0 seconds, normally up, want up, stopped\n"},
		{file(aged(0, rec{Want: 'd', Encore: failed})), false, mainAndLog, "sv: down 0 seconds, normally up, failed\n"},
		{file(aged(1, rec{Encore: started})), false, mainAndLog, "sv: down 1 seconds, normally up, started\n"},
		{file(aged(0, rec{Want: 'd', Encore: stopped})), true, mainAndLog, "sv: down 0 seconds, stopped\n"},
		{file(aged(0, rec{Want: 'd', Encore: 6})), true, mainAndLog, "sv: down 0 seconds, status unknown\n"},
		{file(aged(1, rec{PID: 7}))[:18], false, mainAndLog, "sv: up (pid 7) 1 seconds\n"},
		{file(aged(1, rec{PID: 7, Encore: running}))[:19], false, mainAndLog, "sv: up (pid 7) 1 seconds, once, running\n"},

		{file(aged(1, rec{PID: 7, Want: 'u', Encore: running}), log), true, mainAndLog,
			"sv: up (pid 7) 1 seconds, normally down, running\nsv log: up (pid 99) 9 seconds, normally down, running\n"},
		{file(aged(1, rec{PID: 7, Want: 'u', Encore: running}), log), false, mainOnly,
			"sv: up (pid 7) 1 seconds, running\n"},
		{file(aged(1, rec{PID: 7, Want: 'u', Encore: running}), log), false, logOnly,
			"sv log: up (pid 99) 9 seconds, running\n"},
		{file(aged(1, rec{PID: 7, Want: 'u', Encore: running}), log)[:39], false, logOnly,
			"sv log: up (pid 99) 9 seconds, running\n"},
		{file(aged(1, rec{PID: 7, Want: 'u', Encore: running}), log)[:38], false, logOnly,
			"sv log: up (pid 99) 9 seconds\n"},
		{file(aged(1, rec{PID: 7, Want: 'u', Encore: running}), log)[:37], false, mainAndLog,
			"sv: up (pid 7) 1 seconds, running\n"},
		{file(aged(1, rec{PID: 7, Want: 'u', Encore: running}), log)[:37], false, logOnly, "sv: no log service\n"},
		{file(aged(1, rec{PID: 7}))[:18], false, logOnly, "sv: no log service\n"},
	} {
		got := string(appendLines(nil, "sv", c.which, c.raw, c.down, status.Stamp{Sec: now}))
		if got != c.want {
			t.Errorf("%d bytes\ngot  %q\nwant %q", len(c.raw), got, c.want)
		}
	}
}

// FuzzLines: no status file may make svstat or svup fail.
func FuzzLines(f *testing.F) {
	f.Add(make([]byte, 18), false, uint8(0))
	f.Add(bytes.Repeat([]byte{0xff}, 40), true, uint8(2))
	f.Fuzz(func(t *testing.T, raw []byte, down bool, which uint8) {
		if len(raw) < status.DaemontoolsSize || len(raw) > status.MaxSize {
			return // what svc.Look never returns
		}
		lines := appendLines(nil, "sv", slots(which%3), raw, down, status.Stamp{Sec: now})
		if n := bytes.Count(lines, []byte("\n")); n < 1 || n > 2 || !bytes.HasPrefix(lines, []byte("sv")) ||
			lines[len(lines)-1] != '\n' || bytes.Contains(lines, []byte("\x00")) {
			t.Errorf("%q", lines)
		}
		main, log := split(raw)
		if (flavour{}).up(main) && !(flavour{states: true}).up(main) || !log.present && (flavour{states: true}).up(log) {
			t.Errorf("%+v, %+v", main, log)
		}
	})
}

func tree() svctest.Tree { return svctest.Tree{} }

const (
	options = "svc options: + kill process group, = kill parent process, L kill log, l kill main, u up, d down, " +
		"o once, x exit, p pause, c continue, h hup, a alarm, i interrupt, t term, k kill, " +
		"q quit, 1 SIGUSR1, 2 SIGUSR2, w SIGWINCH\n"
	svstatUsage = "svstat: usage: svstat [-L] [-l] dir [dir ...]\n"
	svupUsage   = "svup: usage: svup [-L] [-l] dir\n"
)

// TestPrograms runs command lines. The texts are those of daemontools.md,
// section 7.
func TestPrograms(t *testing.T) {
	t.Parallel()
	var (
		running = file(status.Record{PID: 7, Want: 'u', Encore: status.EncoreRunning})
		between = file(status.Record{Want: 'u', Encore: status.EncoreRunning})
		noRun   = file(status.Record{Encore: status.EncoreStarted})
		stopped = file(status.Record{Want: 'd', Encore: status.EncoreStopped})
		failed  = file(status.Record{Want: 'd', Encore: status.EncoreFailed})
		runit   = (&status.Record{Want: 'u', GotTerm: true}).Append(nil, status.Runit) // state 1 to encore
		finish  = (&status.Record{PID: 7, Process: status.ProcessFinish}).Append(nil, status.Runit)
		join    = func(a, b []byte) []byte { return append(a[:len(a):len(a)], b...) }
	)
	live := func(statusFile []byte) svctest.Tree { return tree().Supervised("sv", statusFile) }
	elsewhere := tree().Supervised("sv", running).And("sv/here/control", svctest.FIFO()).And("sv/here/ok", svctest.FIFO())
	for _, c := range []struct {
		tree           svctest.Tree
		args           string
		env            string
		stdout, stderr string
		code           int
		sent           string
		nobody         bool
	}{
		{tree: live(running), args: "svc sv", sent: "l"},
		{tree: live(running), args: "svc -u sv", sent: "lu"},
		{tree: live(running), args: "svc -udopchaitkq12wx sv", sent: "ludopchaitkq12wx"},
		{tree: live(running), args: "svc -uu -du sv", sent: "lud"},
		{tree: live(running), args: "svc -+t=k+h sv", sent: "l+t=kh"},
		{tree: live(running), args: "svc -Lolox sv", sent: "lLolox"},
		{tree: live(running), args: "svc -dLdldLd sv", sent: "ldLdldLd"},
		{tree: live(running), args: "svc", sent: ""},
		{tree: live(running), args: "svc -Lulululululululululululululululu sv", code: 111,
			stderr: "svc: fatal: too many options\n"},
		{tree: live(running), args: "svc -Ldldldldldldldldldldldldldldldl sv",
			sent: "lLdldldldldldldldldldldldldldldl"},
		{tree: live(running), args: "svc -uz sv", code: 100, stderr: "svc: illegal option -- z\n" + options},
		{tree: live(running), args: "/bin/svc -z sv", code: 100, stderr: "svc: illegal option -- z\n" + options},
		{args: "svc no", stderr: "svc: warning: unable to chdir to no: file does not exist\n"},
		{tree: tree().And("sv", svctest.Dir()), args: "svc sv", stderr: "svc: warning: unable to control sv: file does not exist\n"},
		{tree: elsewhere, args: "svc -u sv", env: "SUPERVISEDIR=here", stderr: "svc: warning: unable to control sv: supervise not running\n"},
		{tree: elsewhere, args: "svc -u sv", env: "SUPERVISEDIR=", sent: "lu"},

		{tree: live(running), args: "svok sv"},
		{args: "svok", code: 100, stderr: "svok: usage: svok dir\n"},
		{args: "svok no", code: 111, stderr: "svok: fatal: unable to chdir to no: file does not exist\n"},
		{tree: tree().And("sv", svctest.Dir()), args: "svok sv", code: 100},
		{tree: elsewhere, args: "svok sv", env: "SUPERVISEDIR=here", code: 100},
		{tree: live(running).And("sv/here/ok", svctest.Dir()), args: "svok sv", env: "SUPERVISEDIR=here", code: 111,
			stderr: "svok: fatal: unable to open here/ok: is a directory\n"},
		{tree: live(running).And("sv/supervise", svctest.Closed()), args: "svok sv", code: 111, nobody: true,
			stderr: "svok: fatal: unable to open supervise/ok: access denied\n"},

		{args: "svstat", code: 100, stderr: svstatUsage},
		{args: "svstat -l", code: 100, stderr: svstatUsage},
		{args: "svstat -x sv", code: 100, stderr: "svstat: illegal option -- x\n" + svstatUsage},
		{args: "svstat -L no", stdout: "no: unable to chdir: file does not exist\n"},
		{tree: live(running), args: "svstat sv no ./sv",
			stdout: "sv: up (pid 7) N seconds, running\nno: unable to chdir: file does not exist\n./sv: up (pid 7) N seconds, running\n"},
		{tree: live(join(running, stopped)), args: "svstat sv",
			stdout: "sv: up (pid 7) N seconds, running\nsv log: down N seconds, normally up, stopped\n"},
		{tree: live(join(running, stopped)), args: "svstat -L -l sv", stdout: "sv: up (pid 7) N seconds, running\n"},
		{tree: live(join(running, stopped)), args: "svstat -lL sv", stdout: "sv log: down N seconds, normally up, stopped\n"},
		{tree: live(running), args: "svstat -L sv", stdout: "sv: no log service\n"},
		{tree: live(running[:17]), args: "svstat sv", stdout: "sv: unable to read supervise/status: bad format\n"},
		{tree: elsewhere, args: "svstat sv", env: "SUPERVISEDIR=here", stdout: "sv: supervise not running\n"},
		{tree: elsewhere, args: "svstat sv", env: "SUPERVISEDIR=there", stdout: "sv: unable to open there/ok: file does not exist\n"},
		{tree: tree().And("a/b", svctest.Dir()), args: "svstat a/b", env: "SUPERVISEDIR=ROOT/base",
			stdout: "a/b: unable to open ROOT/base/NAME:a:b/ok: file does not exist\n"},

		{args: "svup", code: 100, stderr: svupUsage},
		{args: "svup -L", code: 100, stderr: svupUsage},
		{args: "svup -q sv", code: 100, stderr: "svup: illegal option -- q\n" + svupUsage},
		{args: "svup no", code: 111, stderr: "svup: fatal: unable to chdir to : file does not exist\n"},
		{tree: live(running), args: "svup sv"},
		{tree: live(running), args: "svup -l sv"},
		{tree: live(running), args: "svup -L sv", code: 100},
		{tree: live(running), args: "svup -L -l sv"},
		{tree: live(between), args: "svup sv"},
		{tree: live(noRun), args: "svup sv"},
		{tree: live(stopped), args: "svup sv", code: 100},
		{tree: live(failed), args: "svup sv", code: 100},
		{tree: live(running[:18]), args: "svup sv"},
		{tree: live(between[:18]), args: "svup sv", code: 100},
		{tree: live(join(running, stopped)), args: "svup sv", code: 100},
		{tree: live(join(running, stopped)), args: "svup -l sv"},
		{tree: live(join(running, stopped)), args: "svup -L sv", code: 100},
		{tree: live(join(stopped, between)), args: "svup -L sv"},
		{tree: live(join(stopped, running)[:37]), args: "svup -L sv", code: 100},
		{tree: live(join(stopped, running)[:38]), args: "svup -L sv"},
		{tree: live(join(stopped, between)), args: "svup sv", code: 100},
		{tree: live(join(running, between)), args: "svup sv"},
		{tree: live(running[:17]), args: "svup sv", code: 111,
			stderr: "svup: fatal: bad data in supervise/status: truncated file\n"},
		{tree: live(nil), args: "svup sv", code: 111,
			stderr: "svup: fatal: bad data in supervise/status: truncated file\n"},
		{tree: tree().And("sv", svctest.Dir()), args: "svup sv", code: 100},
		{tree: tree().And("sv/supervise/ok", svctest.FIFO()), args: "svup sv", code: 100},
		{tree: tree().And("sv/supervise/ok", svctest.Reader()), args: "svup sv", code: 100},
		{tree: tree().And("sv/supervise/ok", svctest.Dir()), args: "svup sv", code: 111,
			stderr: "svup: fatal: unable to open supervise/ok: is a directory\n"},
		{tree: tree().And("sv/supervise/ok", svctest.Reader()).And("sv/supervise/status", svctest.Link("status")),
			args: "svup sv", code: 111, stderr: "svup: fatal: unable to open supervise/status: symbolic link loop\n"},
		{tree: tree().And("sv/supervise/ok", svctest.Reader()).And("sv/supervise/status", svctest.Dir()),
			args: "svup sv", code: 111, stderr: "svup: fatal: unable to read supervise/status: is a directory\n"},
		{tree: elsewhere, args: "svup sv", env: "SUPERVISEDIR=here", code: 100},

		{args: "svup-default", code: 100, stderr: svupUsage},
		{args: "svup-default no", code: 111, stderr: "svup: fatal: unable to chdir to no: file does not exist\n"},
		{tree: live(running), args: "svup-default sv"},
		{tree: live(running[:18]), args: "svup-default sv"},
		{tree: live(finish), args: "svup-default sv"},
		{tree: live(runit), args: "svup-default sv", code: 100},
		{tree: live(between), args: "svup-default sv", code: 100},
		{tree: live(running), args: "svup-default -L sv", code: 100},
		{tree: elsewhere, args: "svup-default sv", env: "SUPERVISEDIR=here"},
	} {
		t.Run(c.args+" "+c.env, func(t *testing.T) {
			t.Parallel()
			site := svctest.Build(t, c.tree)
			fill := strings.NewReplacer("ROOT", site.Root, "NAME", strings.ReplaceAll(site.Root[1:], "/", ":")).Replace
			cmd := clitest.Cmd{Args: strings.Fields(c.args), Dir: site.Root, Nobody: c.nobody}
			if c.env != "" {
				cmd.Env = []string{fill(c.env)}
			}
			got := clitest.Ours(t, cmd.Args[0][strings.LastIndexByte(cmd.Args[0], '/')+1:], cmd)
			got.Stdout = seconds.ReplaceAllString(got.Stdout, "N seconds")
			want := clitest.Result{Stdout: fill(c.stdout), Stderr: c.stderr, Code: c.code}
			if got != want {
				t.Errorf("got  %v\nwant %v", got, want)
			}
			if sent := site.Drain(t, "sv/supervise/control"); sent != c.sent {
				t.Errorf("sent %q, want %q", sent, c.sent)
			}
		})
	}
}

var seconds = regexp.MustCompile(`\d+ seconds`)
