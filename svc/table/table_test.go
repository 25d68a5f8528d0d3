package table_test

import (
	"slices"
	"strings"
	"testing"

	"upkeep/supervise/status"
	"upkeep/svc/svctest"
	"upkeep/svc/table"
)

func TestRead(t *testing.T) {
	t.Parallel()
	file := func(l status.Layout, r status.Record) []byte { return svctest.Status(l, r, 5) }
	site := svctest.Build(t, svctest.Tree{
		"never/run": svctest.File(""),
		"plain":     svctest.File(""),
	}.
		Supervised(".hidden", file(status.Runit, status.Record{})).
		Supervised("down", file(status.Runit, status.Record{Want: status.WantDown})).
		Supervised("finish", file(status.Runit, status.Record{PID: 3, Process: status.ProcessFinish, Want: status.WantUp})).
		Supervised("gone", file(status.Runit, status.Record{PID: 4})).
		Supervised("old", file(status.Daemontools, status.Record{PID: 5, Want: status.WantUp, Paused: true})).
		Supervised("up", file(status.Runit, status.Record{PID: 6, Process: status.ProcessRun, Want: status.WantDown})).
		Supervised("up/log", file(status.Runit, status.Record{PID: 7, Process: status.ProcessRun})))
	site.Hang(t, "gone/supervise/ok")

	rows, err := table.Read(site.Root)
	if err != nil {
		t.Fatal(err)
	}
	now := status.Now()
	for i := range rows {
		if age := now.Sec - rows[i].Since.Sec; rows[i].State != table.Gone && (age < 5 || age > 60) {
			t.Errorf("%s is %d seconds old", rows[i].Service, age)
		}
		rows[i].Since = status.Stamp{}
	}
	want := []table.Row{
		{Service: "down", State: table.Down, Want: status.WantDown},
		{Service: "finish", State: table.Finishing, PID: 3, Want: status.WantUp},
		{Service: "gone", State: table.Gone},
		{Service: "old", State: table.Paused, PID: 5, Want: status.WantUp},
		{Service: "up", State: table.Up, PID: 6, Want: status.WantDown},
		{Service: "up/log", State: table.Up, PID: 7},
	}
	if !slices.Equal(rows, want) {
		t.Errorf("got  %+v\nwant %+v", rows, want)
	}
	if _, err := table.Read(site.Path("missing")); err == nil {
		t.Error("read a directory that is not there")
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	const now = 1700000000
	since := func(age int64) status.Stamp { return status.Stamp{Sec: now - age} }
	rows := []table.Row{
		{Service: "www", State: table.Up, PID: 4194304, Since: since(59), Want: status.WantUp, Said: "serves 7\x1bclients"},
		{Service: "www/log", State: table.Paused, PID: 8, Since: since(61), Want: status.WantOnce},
		{Service: "a\x1b[2Jé", State: table.Finishing, PID: 9, Since: since(2*60*60 + 60), Want: status.WantUp, Restarts: 12},
		{Service: "früher", State: table.Down, Since: since(100 * 24 * 60 * 60), Want: status.WantDown},
		{Service: "later", State: table.Down, Since: since(-9), Want: 'z'},
		{Service: "x", State: table.Gone, Restarts: 1},
	}
	want := []string{
		"SERVICE       STATE          PID      FOR  RESTARTS  WISH",
		"www           up         4194304      59s         0  up  serves 7?clients",
		"www/log       paused           8    1m01s         0  once",
		"a?[2Jé        finishing        9    2h01m        12  up",
		"früher        down             -  100d00h         0  down",
		"later         down             -       0s         0  ?",
		"x             gone             -        -         1  -",
	}
	got := table.Lines(rows, status.Stamp{Sec: now}, 0)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for i, line := range table.Lines(rows, status.Stamp{Sec: now}, 5) {
		if want := string([]rune(want[i])[:5]); line != want {
			t.Errorf("cut to %q, want %q", line, want)
		}
	}
	long := []table.Row{{Service: "a name that is longer than most", State: table.Gone}, {Service: "b", State: table.Gone}}
	lines := table.Lines(long, status.Stamp{Sec: now}, 0)
	if a, b := strings.Index(lines[1], "gone"), strings.Index(lines[2], "gone"); a != b {
		t.Errorf("columns do not line up: %q", lines)
	}
}
