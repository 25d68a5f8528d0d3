package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// runitCheck is a shell script, and what it writes to both outputs.
type runitCheck struct {
	program string
	script  string
	want    string
	// ours says that it is nowhere else: retired, or without the version's line.
	ours bool
}

// runitChecks are what the check scripts of runit's sources observe (runit.md,
// section 9).
var runitChecks = []runitCheck{
	{program: "chpst", script: `chpst; echo $?`, want: "usage: chpst [-vVP012] [-u user[:group]] [-U user[:group]] [-b argv0] [-e dir] [-/ root] [-C pwd] [-n nice] [-l|-L lock] [-m n] [-d n] [-o n] [-p n] [-f n] [-c n] [-t n] prog\n\n100\n", ours: true},
	{program: "chpst", script: `mkdir e; echo 1 >e/test; chpst -e./e env | grep ^test; echo $?`, want: "test=1\n0\n"},
	{program: "chpst", script: `for o in -l./lock -L./lock -P -012; do chpst $o true; echo $?; done`, want: "0\n0\n0\n0\n"},
	{program: "runit", script: `runit; echo $?`, want: "- runit: fatal: must be run as process no 1.\n111\n"},
	{program: "runit-init", script: `runit-init; echo $?`, want: "usage: runit-init 0|6\n\n0\n"},
	{program: "runit-init", script: `runit-init 1; echo $?; runit-init -V; echo $?`, want: "usage: runit-init 0|6\n\n0\n$Id: upkeep $\nusage: runit-init 0|6\n\n0\n", ours: true},
	{program: "runsv", script: `runsv; echo $?; runsv a b; echo $?`, want: "usage: runsv dir\n\n1\nusage: runsv dir\n\n1\n"},
	{program: "runsv", script: `
		mkdir -p sv/control
		printf '#!/bin/sh\necho starting\nexec sleep 1000\n' >sv/run
		printf '#!/bin/sh\necho term\nexit 1\n' >sv/control/t
		chmod 755 sv/run sv/control/t
		runsv sv >out & r=$!
		line out 1; stat sv run
		printf 't\n' >sv/supervise/control
		line out 3; stat sv run
		printf 'x\n' >sv/supervise/control
		wait $r; echo $?; cat out`,
		want: "run\nrun\n0\nstarting\nterm\nstarting\nterm\n"},
	{program: "runsv", script: `
		mkdir -p sv/control sv/log
		printf '#!/bin/sh\necho starting\nexec sleep 1000\n' >sv/run
		printf '#!/bin/sh\necho no interrupt\n' >sv/control/i
		printf '#!/bin/sh\necho term\nexit 1\n' >sv/control/t
		printf '#!/bin/sh\nexec cat >foo\n' >sv/log/run
		chmod 755 sv/run sv/log/run sv/control/?
		runsv sv & r=$!
		line sv/log/foo 1; stat sv run
		echo i >sv/supervise/control
		line sv/log/foo 2; stat sv run
		echo x >sv/supervise/control
		wait $r; echo $?; cat sv/log/foo`,
		want: "run\nrun\n0\nstarting\nno interrupt\nterm\n"},
	{program: "runsv", script: `
		mkdir -p sv/control sv/log
		printf '#!/bin/sh\necho starting\nexec sleep 1000\n' >sv/run
		printf '#!/bin/sh\necho term\nexit 1\n' >sv/control/t
		printf '#!/bin/sh\nexec cat >foo\n' >sv/log/run
		chmod 755 sv/run sv/log/run sv/control/?
		ln -s foo sv/supervise; ln -s bar sv/log/supervise
		runsv sv & r=$!
		line sv/log/foo 1; cat sv/foo/stat sv/log/bar/stat
		echo x >sv/foo/control
		wait $r; echo $?; cat sv/log/foo sv/foo/stat sv/log/bar/stat`,
		want: "run\nrun\n0\nstarting\nterm\ndown\ndown\n"},
	{program: "runsvchdir", script: `runsvchdir; echo $?`, want: "usage: runsvchdir dir\n\n1\n"},
	{program: "runsvdir", script: `runsvdir; echo $?; runsvdir -P; echo $?`, want: "usage: runsvdir [-P] dir\n\n1\nusage: runsvdir [-P] dir\n\n1\n"},
	{program: "runsvdir", script: `
		mkdir d; runsvdir d log: & r=$!
		while ! ps -o args= -p $r | grep -q runsvdir; do sleep 0.02; done
		sleep 0.2; kill $r; wait $r; echo $?`,
		want: "runsvdir d: warning: log must have at least seven characters.\nrunsvdir d: warning: log service disabled.\n0\n"},
	{program: "sv", script: `sv; echo $?; sv -V | cat; echo $?`, want: "usage: sv [-v] [-w sec] command service ...\n\n100\n$Id: upkeep $\nusage: sv [-v] [-w sec] command service ...\n\n0\n", ours: true},
	{program: "sv", script: `
		mkdir sv; printf '#!/bin/sh\necho up\nexec sleep 1000\n' >sv/run; chmod 755 sv/run
		runsv sv >out & r=$!
		line out 1; stat sv run
		sv down ./sv; echo $?
		stat sv down
		sv exit ./sv; echo $?
		wait $r; echo $?`,
		want: "run\n0\ndown\n0\n0\n"},
	{program: "svlogd", script: `svlogd; echo $?`, want: "usage: svlogd [-ttv] [-r c] [-R abc] [-l len] [-b buflen] dir ...\n\n111\n"},
	{program: "svlogd", script: `
		mkdir log; echo foo | svlogd log; echo bar | svlogd log; cat log/current
		echo foobar | svlogd -r: -Rfb log; echo foobar | svlogd -r : -R fb log; cat log/current; echo $?`,
		want: "foo\nbar\nfoo\nbar\n:oo:ar\n:oo:ar\n0\n"},
	{program: "utmpset", script: `utmpset; echo $?`, want: "usage: utmpset [-w] line\n\n1\n"},
	{program: "utmpset", script: `utmpset -V; echo $?`, want: "$Id: upkeep $\nusage: utmpset [-w] line\n\n1\n", ours: true},
	{program: "runsvctrl", ours: true, script: `runsvctrl; echo $?; runsvctrl u; echo $?; runsvctrl z sv; echo $?`, want: strings.Repeat("usage: runsvctrl u|d|o|p|c|h|a|i|q|1|2|t|k|x|e service ...\n\n1\n", 3)},
	{program: "runsvstat", ours: true, script: `runsvstat; echo $?; runsvstat -x; echo $?`,
		want: "usage: runsvstat [ -l ] service ...\n\n1\nrunsvstat: illegal option -- x\nusage: runsvstat [ -l ] service ...\n\n1\n"},
	{program: "svwaitup", ours: true, script: `svwaitup; echo $?; svwaitup -s 0 sv; echo $?`, want: strings.Repeat("usage: svwaitup [-v] [-s 1..600] service ...\n\n1\n", 2)},
	{program: "svwaitdown", ours: true, script: `svwaitdown; echo $?; svwaitdown -t 6001 sv; echo $?`, want: strings.Repeat("usage: svwaitdown [-v] [-x] [-k] [-t 1..6000] service ...\n\n1\n", 2)},
	{program: "runsvctrl", ours: true, script: `
		mkdir -p sv/log gone/supervise; mkfifo gone/supervise/ok gone/supervise/control
		printf '#!/bin/sh\ntrap "" TERM\necho start\nwhile :; do sleep 0.1; done\n' >sv/run
		printf '#!/bin/sh\nexec cat\n' >sv/log/run; chmod 755 sv/run sv/log/run
		runsv sv >out & r=$!; line out 1
		runsvctrl d gone nobody; echo $?
		runsvstat sv gone nobody 2>&1 | norm; runsvstat -l sv | norm
		svwaitup -v -s 1 sv | norm; svwaitup gone nobody; echo $?
		svwaitdown -t 1 sv; echo $?; runsvstat sv | norm
		svwaitup sv; echo $?
		svwaitdown -v -k -t 1 sv; echo $?
		svwaitdown -v -t 5 sv; svwaitup sv; echo $?
		runsvstat sv | norm
		runsvctrl up sv; line out 2; runsvctrl k sv; line out 3
		svwaitdown -vk -t1 sv gone; echo $?
		svwaitdown -vx sv; wait $r; echo $?`,
		want: `runsvctrl: warning: gone: runsv not running.
runsvctrl: warning: nobody: unable to change directory: file does not exist
2
sv: run (pid N) N seconds
runsvstat: warning: gone: runsv not running.
runsvstat: warning: nobody: unable to change directory: file does not exist
sv: run (pid N) N seconds
  log: run (pid N) N seconds
svwaitup: sv: is up (N seconds)
svwaitup: warning: gone: runsv not running.
svwaitup: warning: nobody: unable to change directory: file does not exist
2
svwaitdown: warning: sv: timeout.
111
sv: run (pid N) N seconds, want down, got TERM
0
svwaitdown: warning: sv: timeout.
svwaitdown: sv: send KILL.
111
svwaitdown: sv: down.
svwaitup: warning: sv: is down.
1
sv: down N seconds, normally up
svwaitdown: warning: gone: runsv not running.
svwaitdown: warning: sv: timeout.
svwaitdown: sv: send KILL.
111
svwaitdown: sv: down.
0
`},
}

// runitPrelude are commands of the scripts: wait for the nth line of a file, show what a
// service's state is when it has become so, and leave out what differs each time.
const runitPrelude = `exec 2>&1
line() { until [ "$(cat $1 2>/dev/null | wc -l)" -ge $2 ]; do sleep 0.02; done; }
stat() { until [ "$(cat $1/supervise/stat)" = "$2" ]; do sleep 0.02; done; cat $1/supervise/stat; }
norm() { sed 's/[0-9][0-9]*/N/g'; }
`

// TestRunitChecks runs them with our programs, and with the real ones where there are
// such.
func TestRunitChecks(t *testing.T) {
	t.Parallel()
	for _, c := range runitChecks {
		t.Run(c.program, func(t *testing.T) {
			t.Parallel()
			t.Run("ours", func(t *testing.T) {
				t.Parallel()
				checkRunit(t, c, filepath.Dir(ours(t, c.program)))
			})
			if c.ours {
				return
			}
			t.Run("real", func(t *testing.T) {
				t.Parallel()
				peer(t, "runsv")
				checkRunit(t, c, "/lib/runit:/usr/sbin:/sbin")
			})
		})
	}
}

func checkRunit(t *testing.T, c runitCheck, path string) {
	t.Helper()
	s := newSite(t, nil)
	s.setenv("PATH", path+":/usr/bin:/bin")
	if r := s.run("/bin/sh", "-c", runitPrelude+c.script); r.stdout != c.want {
		t.Errorf("%s\nwants:\n%s\ngot:\n%s", c.script, c.want, r.stdout)
	}
}

// TestRunitIsNotFirst: what is for process 1 only does nothing in another.
func TestRunitIsNotFirst(t *testing.T) {
	t.Parallel()
	if os.Getpid() == 1 {
		t.Skip("this is process 1")
	}
	s := newSite(t, nil)
	want := result{"", "- runit: fatal: must be run as process no 1.\n", 111}
	for _, args := range [][]string{nil, {"0"}, {"6"}} {
		if got := s.run(ours(t, "runit"), args...); got != want {
			t.Errorf("%q: got %v, want %v", args, got, want)
		}
	}
}
