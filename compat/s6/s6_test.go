package s6

import (
	"bytes"
	"strings"
	"testing"

	"upkeep/compat/cli"
	"upkeep/compat/cli/clitest"
	"upkeep/supervise/status"
)

func TestMain(m *testing.M) {
	clitest.Main(m, map[string]cli.Applet{
		"s6-svc": Svc, "s6-svstat": Svstat, "s6-svok": Svok, "s6-svdt": Svdt, "s6-svdt-clear": SvdtClear,
		"s6-svwait": Svwait, "s6-svlink": Svlink, "s6-svunlink": Svunlink, "s6-svscanctl": Svscanctl,
		"s6-svscan": Svscan, "s6-supervise": Supervise,
	})
}

const now = 1700000000

// TestLine has the human form of s6.md, section 9, piece by piece.
func TestLine(t *testing.T) {
	t.Parallel()
	at := func(age int64) status.Stamp { return status.Stamp{Sec: now - age, Nsec: 999} }
	type rec = status.Record
	const run, finish = status.ProcessRun, status.ProcessFinish
	for _, c := range []struct {
		r             rec
		down, numeric bool
		want          string
	}{
		{rec{Since: at(2), PID: 7, Process: run, Want: 'u'}, false, false, "up (pid 7) 1 seconds"},
		{rec{Since: at(2), PID: 7, Process: run, Want: 'd'}, true, false, "up (pid 7) 1 seconds, normally down, want down"},
		{rec{Since: at(9), ReadySince: at(5), PID: 7, Process: run, Want: 'u', Ready: true, Paused: true}, false, false,
			"up (pid 7) 8 seconds, paused, ready 4 seconds"},
		{rec{Since: at(9), PID: 7, Process: finish, Want: 'u', WaitStatus: 0x300}, false, false,
			"down (exitcode 3) 8 seconds, normally up, want up"},
		{rec{Since: at(9), ReadySince: at(-5), Want: 'd', WaitStatus: 15, Ready: true}, false, false,
			"down (signal SIGTERM) 8 seconds, normally up, ready 0 seconds"},
		{rec{Since: at(9), Want: 'd', WaitStatus: 0x80 | 11}, true, true, "down (signal 11) 8 seconds"},
		{rec{Since: at(9), Want: 'd', WaitStatus: 64}, true, false, "down (signal 64) 8 seconds"},
	} {
		s := view{c.r, c.down, c.numeric, status.Stamp{Sec: now}}
		if got := s.line(); got != c.want+"\n" {
			t.Errorf("got  %q\nwant %q", got, c.want+"\n")
		}
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	since := status.Stamp{Sec: now - 9}
	for _, c := range []struct {
		r    status.Record
		want string
	}{
		{status.Record{Since: since, ReadySince: since, PID: 7, Process: status.ProcessRun, Want: 'u', Ready: true, WaitStatus: 9},
			"true true true true false 7 -1 NA -1 @40000000" + "6553f11c" + "00000000 @40000000" + "6553f11c" + "00000000 9 9"},
		{status.Record{PID: 7, Process: status.ProcessFinish, Ready: true, WaitStatus: 0x500},
			"false false true true false -1 5 NA -1"},
		{status.Record{WaitStatus: 9, Paused: true, Ready: true}, "false false true false true -1 -1 SIGKILL 9"},
	} {
		s := view{Record: c.r, now: status.Stamp{Sec: now}}
		var got []string
		for name := range strings.SplitSeq(fields, ",") {
			got = append(got, s.field(name))
		}
		if text := strings.Join(got, " "); !strings.HasPrefix(text, c.want) {
			t.Errorf("got  %q\nwant %q", text, c.want)
		}
	}
}

// FuzzLine: no status file makes s6-svstat fail.
func FuzzLine(f *testing.F) {
	f.Add(make([]byte, 35), false, true)
	f.Add(bytes.Repeat([]byte{0xff}, 43), true, false)
	f.Fuzz(func(t *testing.T, raw []byte, down, numeric bool) {
		r, err := status.Decode(raw, status.S6)
		if err != nil {
			return
		}
		s := view{r, down, numeric, status.Stamp{Sec: now}}
		if line := s.line(); !strings.HasSuffix(line, "\n") || strings.Count(line, "\n") != 1 || strings.Contains(line, "\x00") {
			t.Errorf("%q", line)
		}
		for name := range strings.SplitSeq(fields, ",") {
			if s.field(name) == "" {
				t.Errorf("nothing for %s", name)
			}
		}
	})
}

// FuzzDeaths: a record of deaths is a line for each that is whole.
func FuzzDeaths(f *testing.F) {
	f.Add([]byte{}, false)
	f.Add((&status.Death{At: status.Stamp{Sec: now}, Code: 143, Signal: 15}).Append(nil), true)
	f.Fuzz(func(t *testing.T, raw []byte, numeric bool) {
		lines := deaths(nil, raw, numeric)
		if got, want := bytes.Count(lines, []byte("\n")), len(raw)/status.TallySize; got != want {
			t.Errorf("%d lines for %d records", got, want)
		}
	})
}

func TestDeaths(t *testing.T) {
	t.Parallel()
	var raw []byte
	for _, d := range []status.Death{
		{At: status.Stamp{Sec: now, Nsec: 1}, Code: 3},
		{At: status.Stamp{Sec: now, Nsec: 2}, Code: 143, Signal: 15},
	} {
		raw = d.Append(raw)
	}
	raw = append(raw, "rest"...)
	const label = "@400000006553f125"
	for numeric, want := range map[bool]string{
		false: label + "00000001 exitcode 3\n" + label + "00000002 signal SIGTERM\n",
		true:  label + "00000001 exitcode 3\n" + label + "00000002 signal 15\n",
	} {
		if got := string(deaths(nil, raw, numeric)); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

// TestHear: what a client makes of the events, whatever comes in one batch.
func TestHear(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		letter       byte
		begin        state
		events       string
		good, failed bool
	}{
		{'u', state{}, "u", true, false},
		{'u', state{}, "udD", true, false}, // what comes after it does not count
		{'u', state{}, "O", false, true},
		{'u', state{}, "x", false, true},
		{'U', state{}, "u", false, false},
		{'U', state{}, "uU", true, false},
		{'d', state{up: true}, "d", true, false},
		{'d', state{up: true}, "OdD", true, false},
		{'D', state{up: true}, "d", false, false},
		{'D', state{up: true}, "dOD", true, false},
		{'D', state{up: true}, "dx", false, true},
		{'r', state{up: true}, "u", false, false},
		{'r', state{up: true}, "dDu", true, false},
		{'R', state{up: true, ready: true}, "dDu", false, false},
		{'R', state{up: true, ready: true}, "dDuU", true, false},
		{'r', state{up: true}, "dO", false, true},
		{'u', state{}, "s?Z", false, false},
	} {
		g, s := goalOf(c.letter), c.begin
		for _, event := range []byte(c.events) {
			s.hear(event, g)
		}
		if good := s.reached(g); good != c.good || s.failed != c.failed {
			t.Errorf("-%c, %q: %v, %+v", c.letter, c.events, good, s)
		}
	}
}
