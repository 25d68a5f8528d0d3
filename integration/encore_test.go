package integration

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// encoreScene is a shell script with our programs in its PATH. svc and the others are
// encore's.
type encoreScene struct {
	name   string
	files  tree
	script string
	want   string // what it prints, with N for pids and S for few seconds
}

// The behaviours are those of daemontools.md, section 11, in its order; then come those
// of which encore has another, as a defect (section 12).
var encoreScenes = []encoreScene{
	{"nonexistent", tree{"fresh/": ""}, `
		svstat fresh missing; echo $?; svc fresh missing; echo $?; svok fresh; echo $?; svok missing; echo $?
		supervise missing; echo $?`, `fresh: unable to open supervise/ok: file does not exist
missing: unable to chdir: file does not exist
0
svc: warning: unable to control fresh: file does not exist
svc: warning: unable to chdir to missing: file does not exist
0
100
svok: fatal: unable to chdir to missing: file does not exist
111
supervise: fatal: unable to chdir to missing: file does not exist
111
`},
	{"base: down", tree{"sv/run!": "#!/bin/sh\nsleep 1000\n", "sv/down": ""}, `
		begin; svup sv; echo $?; svup -l sv; echo $?; svup -L sv; echo $?; svstat sv; svc -x sv; wait; svstat sv`,
		"100\n100\n100\nsv: down S seconds, stopped\nsv: supervise not running\n"},
	{"base: once", tree{"sv/run!": "#!/bin/sh\necho ran\n", "sv/down": ""}, `begin; svc -ox sv; wait; svstat sv`,
		"ran\nsv: supervise not running\n"},
	{"base: inside", tree{"sv/run!": `#!/bin/sh
until svstat . | grep -q pid; do :; done # it is written when the process is there
svstat .; svstat -l .; svstat -L .; svup .; echo $?; svup -l .; echo $?; svup -L .; echo $?
svc -dx .
exec sleep 1000
`}, `begin; wait`, `.: up (pid N) S seconds, running
.: up (pid N) S seconds, running
.: no log service
0
0
100
`},
	{"base: inside, with a log", tree{"sv/log!": "#!/bin/sh\nexec cat\n", "sv/run!": `#!/bin/sh
until svup -L . && svup .; do sleep 0.02; done
svstat .; svstat -l .; svstat -L .; svup .; echo $?; svup -l .; echo $?; svup -L .; echo $?
svc -Lolox .
`}, `begin; wait`, `.: up (pid N) S seconds, running
. log: up (pid N) S seconds, running
.: up (pid N) S seconds, running
. log: up (pid N) S seconds, running
0
0
0
`},
	{"base: u", tree{"sv/run!": "#!/bin/sh\necho one\nmv next run\n", "sv/next!": "#!/bin/sh\necho two\nsvc -x .\n", "sv/down": ""},
		`begin; svc -u sv; wait`, "one\ntwo\n"},
	{"downtime", tree{"sv/run!": "#!/bin/sh\nsleep 1000\n", "sv/log!": "#!/bin/sh\nexec cat\n", "sv/down": ""},
		`begin; svstat sv; kill -TERM $p; wait`,
		"sv: down S seconds, stopped\nsv log: down S seconds, stopped\n"},
	{"lock", tree{"sv/": ""}, `
		begin; list() { (cd sv/supervise; for f in *; do stat -c '%n %A' $f; done; stat -c %s status); }
		list; before=$(stat -c '%n %Y %i' sv/supervise/*); supervise sv; echo $?
		[ "$before" = "$(stat -c '%n %Y %i' sv/supervise/*)" ] && echo untouched
		kill -TERM $p; wait`, `control prw-------
lock -rw-------
ok prw-------
status -rw-r--r--
20
supervise: fatal: unable to acquire supervise/lock: temporary failure
111
untouched
`},
	{"notify", tree{"sv/start!": "#!/bin/sh\n", "sv/run!": "#!/bin/sh\nsvc -dx .\nexit 1\n", "sv/stop!": "#!/bin/sh\n",
		"sv/notify!": "#!/bin/sh\necho $1 $2 $4 >>../notes\n"}, `
		begin; wait; until [ $(wc -l <notes) = 6 ]; do sleep 0.02; done; sort notes`,
		"run exit 1\nrun start 0\nstart exit 0\nstart start 0\nstop exit 0\nstop start 0\n"},
	{"notify: killed, log", tree{"sv/run!": "#!/bin/sh\nexec sleep 1000\n", "sv/log!": "#!/bin/sh\nexec cat\n",
		"sv/notify!": "#!/bin/sh\n[ $3 -gt 1 ] && echo $1 $2 $4 >>../notes\n"}, `
		begin; until svup sv; do sleep 0.02; done; svc -dx sv; wait; until [ $(wc -l <notes) = 4 ]; do sleep 0.02; done; sort notes`,
		"log killed 15\nlog start 0\nrun killed 15\nrun start 0\n"},
	{"notify: cannot be executed", tree{
		"sv/start!": "#!/bin/sh\n", "sv/run!": "#!/nonexistent\n", "sv/log!": "#!/nonexistent\n",
		"sv/notify!": "#!/bin/sh\n[ $1 = start ] || [ $3 -lt 2 ] || echo $1 $2 $4 $3 >>../notes\n"}, `
		begin 2>said; until grep -q log notes && [ $(grep -c '^run exit' notes) -gt 1 ]; do sleep 0.02; done 2>said
		svc -Ldlxd sv; wait
		for s in log run; do
			n=$(sed -n "s/^$s start 0 //p" notes | head -n 1); sed -n "s/ $n\$//p" notes | sort
		done`,
		"log exit 111\nlog start 0\nrun exit 111\nrun start 0\n"},
	{"restart", tree{"sv/start!": "#!/bin/sh\necho start\n", "sv/run!": `#!/bin/sh
echo x >>../runs; n=$(wc -l <../runs); echo run $n
case $n in 1) exit 0;; 2) exit 1;; esac; exit 100
`}, `begin; until svstat sv | grep failed; do sleep 0.02; done; svc -xk sv; wait`,
		"start\nrun 1\nrun 2\nrun 3\nsv: down S seconds, normally up, failed\n"},
	{"start", tree{"sv/start!": "#!/bin/sh\necho start\n", "sv/run!": "#!/bin/sh\necho run\nsvc -x .\n", "sv/down": ""},
		`begin; svc -o sv; wait`, "start\nrun\n"},
	{"start fails", tree{"sv/start!": "#!/bin/sh\necho start\nexit 3\n", "sv/run!": "#!/bin/sh\necho run\nsvc -x .\n", "sv/stop!": "#!/bin/sh\necho stop\n"},
		`begin; until svstat sv | grep failed; do sleep 0.02; done; svc -o sv; wait`,
		"start\nsv: down S seconds, normally up, failed\nrun\nstop\n"},
	{"no run", tree{"sv/start!": "#!/bin/sh\necho start\n", "sv/stop!": "#!/bin/sh\necho stop\n"},
		`begin; until svstat sv | grep started; do sleep 0.02; done; svc -d sv; until svstat sv | grep 'down .*stopped'; do sleep 0.02; done; svc -x sv; wait`,
		"start\nsv: down S seconds, normally up, started\nstop\nsv: down S seconds, normally up, stopped\n"},
	{"stop", tree{"sv/run!": "#!/bin/sh\nsvc -dx .\nexec sleep 1000\n", "sv/stop!": "#!/bin/sh\necho stop\n"},
		`begin; wait`, "stop\n"},
	{"stop, with a log", tree{"sv/run!": "#!/bin/sh\necho last\nsvc -dx .\n", "sv/stop!": "#!/bin/sh\necho stop\n", "sv/log!": `#!/bin/sh
trap 'echo CONT' CONT; trap 'echo TERM; exit' TERM
read line; echo "$line"; read line; echo "$line"
while :; do sleep 0.05; done
`}, `begin; wait`, "last\nstop\nCONT\nTERM\n|last\nstop\nTERM\n"},
	{"svc: signals", tree{"sv/run!": "#!/bin/sh\necho ran >>../runs\nexec tracer\n"}, `
		begin; runs() { until [ "$(wc -l <runs)" = $1 ]; do sleep 0.02; done; until svup sv; do sleep 0.02; done; }
		n=1; : >>runs; runs 1
		for c in a h i t q 1 2 w k; do svc -k sv; n=$((n+1)); runs $n; done
		svc -c sv; svc -d sv; until svstat sv | grep stopped; do sleep 0.02; done; svc -xk sv; wait; wc -l <runs`,
		"sv: down S seconds, normally up, stopped\n10\n"},
	{"svscan", tree{"plain/run!": "#!/bin/sh\nexec sleep 1000\n",
		"file/run!": "#!/bin/sh\nexec sleep 1000\n", "file/log!": "#!/bin/sh\nexec cat\n",
		"dir/run!": "#!/bin/sh\nexec sleep 1000\n", "dir/log/run!": "#!/bin/sh\nexec cat\n",
		"scan/svc0@": "../plain", "scan/svc1@": "../file", "scan/svc2@": "../dir"}, `
		svscan $PWD/scan & p=$!
		for s in plain file dir dir/log; do until svup $s; do sleep 0.02; done; done
		until svup -L file; do sleep 0.02; done
		kill -TERM $p; wait $p; echo $?
		for s in plain file dir dir/log; do svok $s; echo $?; done`, "0\n100\n100\n100\n100\n"},
	{"multilog", tree{}, `
		echo foo | multilog; echo $?; echo foo | multilog e; printf foo | multilog e; printf 'a\nb\n' | multilog e e
		echo foo | multilog '-*' e; printf 'one\ntwo\n' | multilog '-*' +one e
		printf 'one\ntwo one\nthree\n' | multilog F '-*' '+*on[a-f]' S '-two*' e
		for n in 199 200 201; do printf "%0${n}d\n" 0 | multilog e 2>&1 | tr -d 0; done
		echo foo | multilog =status; wc -c <status; tail -c +4 status | tr -d '\n' | wc -c; printf 'longer\nfoo\n' | multilog =status; head -n 1 status
		echo foo | multilog t e 2>&1 | sed 's/^@[0-9a-f]\{24\} /LABEL /'; echo foo | multilog T e 2>&1 | sed 's/^[0-9]\{10\}\.[0-9]\{6\} /TIME /'`,
		"0\nfoo\nfoo\na\na\nb\nb\none\none\n\n\n...\n1001\n0\nfoo\nLABEL foo\nTIME foo\n"},
	{"match", tree{}, `
		m() { p=$1; shift; for s; do echo "$s" | multilog '-*' "+$p" e >out 2>&1; [ -s out ] && echo "$p: $s"; done; }
		m one one onex xone; m '' '' x; m '*' '' any; m 'a*' a abc ba; m '* one' 'x one' 'x  one' ' one'; m '* * one' 'a b one' 'a one'
		m() { p=$1; shift; for s; do echo "$s" | multilog F '-*' "+$p" e >out 2>&1; [ -s out ] && echo "F $p: $s"; done; }
		m '* one' 'x  one'; m '[a-c]?' bz dz; m '*x*y' axbxy ab; :`,
		"one: one\n: \n*: \n*: any\na*: a\na*: abc\n* one: x one\n* one:  one\n* * one: a b one\nF * one: x  one\nF [a-c]?: bz\nF *x*y: axbxy\n"},

	{"not a defect: empty scan directory", tree{"scan/": "", "late/run!": "#!/bin/sh\nexec sleep 1000\n"}, `
		svscan scan & p=$!
		until [ -e scan/.svscan ]; do sleep 0.02; done
		ln -s ../late scan/late; until svup late; do sleep 0.02; done; echo up; kill -TERM $p; wait $p; echo $?`, "up\n0\n"},
	{"not a defect: slow stop", tree{"scan/sv/run!": "#!/bin/sh\nexec sleep 1000\n",
		"scan/sv/stop!": "#!/bin/sh\ntrap 'echo killed' TERM\necho stop\nsleep 2.5\necho stopped\n"}, `
		svscan scan & p=$!
		until svup scan/sv; do sleep 0.02; done; kill -TERM $p; wait $p; echo $?`, "stop\nstopped\n0\n"},
	{"not a defect: x on a service with a log", tree{"sv/run!": "#!/bin/sh\necho ran; sleep 1.2\n", "sv/log!": "#!/bin/sh\nexec cat\n"},
		`begin; until svup sv; do sleep 0.02; done; svc -x sv; wait; svstat sv`, "ran\nsv: supervise not running\n"},
	{"not a defect: service and log die at once", tree{"sv/run!": "#!/bin/sh\necho $$ >../main\nexec sleep 1000\n", "sv/log!": "#!/bin/sh\necho $$ >../log\nexec cat\n"}, `
		begin; until [ -s main ] && [ -s log ]; do sleep 0.02; done; a=$(cat main); b=$(cat log)
		kill -KILL $a $b; until [ "$(cat main)" != $a ] && [ "$(cat log)" != $b ]; do sleep 0.02; done; echo again
		svc -dx sv; wait`, "again\n"},
	{"not a defect: once twice, stop twice", tree{"sv/run!": "#!/bin/sh\necho run\n", "sv/stop!": "#!/bin/sh\necho stop >>../stops\n", "sv/down": ""}, `
		begin; for n in 1 2; do svc -o sv; until [ -e stops ] && [ $(wc -l <stops) = $n ] && ! svup sv; do sleep 0.02; done; done; svc -x sv; wait`,
		"run\nrun\n"},
	{"not a defect: second d while stop runs", tree{"sv/run!": "#!/bin/sh\nexec sleep 1000\n", "sv/stop!": "#!/bin/sh\ntrap 'echo killed' TERM\necho stop\n: >../begun\nsleep 1.5\necho stopped\n"}, `
		begin; until svup sv; do sleep 0.02; done; svc -d sv; until [ -e begun ]; do sleep 0.02; done; svc -d sv; svc -x sv; wait`, "stop\nstopped\n"},
	{"log without down", tree{"sv/run!": "#!/bin/sh\nexec sleep 1000\n", "sv/log!": "#!/bin/sh\nexec cat\n", "sv/down": ""}, `
		begin; svc -u sv; until svup -l sv; do sleep 0.02; done; svup -L sv; echo $?; svc -Lu sv; until svup -L sv; do sleep 0.02; done; echo log
		svc -Ld sv; until svstat -L sv | grep stopped; do sleep 0.02; done; svc -dx sv; wait`,
		"100\nlog\nsv log: down S seconds, stopped\n"},
	{"killed and upgraded", tree{
		"scan/sv/run!": "#!/bin/sh\ntrap 'echo hup' HUP\necho $$ >../../main\nwhile :; do sleep 0.05; done\n",
		"scan/sv/log!": "#!/bin/sh\necho $$ >../../log\nexec cat >>../../logged\n"}, `
		same() {
			until svup scan/sv; do sleep 0.02; done
			[ "$main $log" = "$(cat main log | tr '\n' ' ')" ] && kill -0 $main && kill -0 $log && echo same
			n=$(wc -l <logged); until [ "$(wc -l <logged)" -gt $n ]; do svc -h scan/sv; sleep 0.1; done
		}
		svscan scan & p=$!; until svup scan/sv && [ -s main ] && [ -s log ] && [ -e logged ]; do sleep 0.02; done
		main=$(cat main); log="$(cat log) "
		same; kill -KILL $p; wait $p 2>kill; svscan scan & p=$!; same; upkeep upgrade scan; echo $?; same
		svc -Lt scan/sv; until [ "$(cat log) " != "$log" ] && svup scan/sv; do sleep 0.02; done; log="$(cat log) "; same
		kill -TERM $p; wait $p; echo $?`, "same\nsame\n0\nsame\nsame\n0\n"},
	{"SUPERVISEDIR", tree{"sv/run!": "#!/bin/sh\nexec sleep 1000\n", "sv/log!": "#!/bin/sh\nexec cat\n"}, `
		export SUPERVISEDIR=here; begin; until svup sv; do sleep 0.02; done; ls -d sv/*/; ls sv/here; svstat sv; svc -dx sv; wait; svstat sv; supervise other; :`,
		"sv/here/\ncontrol\nlock\nok\nstatus\nsv: up (pid N) S seconds, running\nsv log: up (pid N) S seconds, running\nsv: supervise not running\n" +
			"supervise: fatal: unable to chdir to other: file does not exist\n"},
	{"SUPERVISEDIR, absolute", tree{"scan/sv/run!": "#!/bin/sh\necho $$ >>../../main\nexec sleep 1000\n", "scan/sv/log!": "#!/bin/sh\nexec cat\n", "run/": ""}, `
		export SUPERVISEDIR=$PWD/run; at=$(pwd -P | tr / :); at=run/${at#:}:scan:sv
		svscan scan & p=$!; until svup scan/sv && [ -s main ]; do sleep 0.02; done; ls $at; ls scan/sv; svstat -l scan/sv
		kill -KILL $p; wait $p 2>kill; svscan scan & p=$!; until svup scan/sv; do sleep 0.02; done; wc -l <main
		upkeep upgrade scan; echo $?; until svup scan/sv; do sleep 0.02; done; wc -l <main; kill -TERM $p; wait $p; echo $?; ls $at`,
		"control\nlock\nok\nstatus\nlog\nrun\nscan/sv: up (pid N) S seconds, running\n1\n0\n1\n0\ncontrol\nlock\nok\nstatus\n"},
	{"LOGSERVICE", tree{"scan/.log/run!": "#!/bin/sh\necho $$ >../../logger\nexec cat >>../../logged\n",
		"scan/a/run!": "#!/bin/sh\necho from a\nexec sleep 1000\n"}, `
		begins() { svscan scan .log 2>&1 & p=$!; }
		said() { until [ "$(grep -c "$1" logged)" = $2 ]; do sleep 0.02; done; }
		: >logged; begins; said 'from a' 1; said 'svscan: info: starting' 1; logger=$(cat logger)
		kill -KILL $p; wait $p 2>kill; begins; said starting 2; svc -t scan/a; said 'from a' 2
		upkeep upgrade scan; echo $?; svc -t scan/a; said 'from a' 3; [ $logger = $(cat logger) ] && kill -0 $logger && echo same
		svc -t scan/.log; until [ $logger != $(cat logger) ]; do sleep 0.02; done; svc -t scan/a; said 'from a' 4
		kill -TERM $p; wait $p; echo $?; kill -0 $(cat logger) 2>gone || echo gone; said starting 2`,
		"0\nsame\n0\ngone\n"},
	{"no LOGSERVICE", tree{"scan/a/run!": "#!/bin/sh\necho from a\nexec sleep 1000\n"}, `
		svscan scan .log & p=$!; until svup scan/a; do sleep 0.02; done; kill -TERM $p; wait $p; echo $?`, "from a\n0\n"},
	{"tstp", tree{"sv/run!": "#!/bin/sh\nexec sleep 1000\n"}, `
		begin; until svup sv; do sleep 0.02; done; kill -TSTP $p; until svstat sv | grep paused; do sleep 0.02; done
		kill -CONT $p; until ! svstat sv | grep -q paused; do sleep 0.02; done; kill -INT $p; wait $p; echo $?`,
		"sv: up (pid N) S seconds, paused, running\n0\n"},
}

var (
	encorePIDs    = regexp.MustCompile(`pid \d+`)
	encoreSeconds = regexp.MustCompile(`\b\d\d? seconds`)
)

func TestEncore(t *testing.T) {
	t.Parallel()
	programs := filepath.Dir(ours(t, "svc"))
	for _, c := range encoreScenes {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, c.files)
			s.setenv("PATH", programs+":/usr/bin:/bin:"+workshop)
			s.setenv("UPKEEP_DIALECT", "encore")
			const begin = "begin() { supervise sv & p=$!; until svok sv || ! kill -0 $p; do sleep 0.02; done 2>/dev/null; }\n"
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, "/bin/sh", "-c", begin+c.script)
			s.furnish(cmd)
			cmd.Stdin = nil
			out, err := os.CreateTemp(s.outputs, "out")
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			cmd.Stdout, cmd.Stderr = out, out
			if err := cmd.Run(); err != nil {
				t.Error(err)
			}
			b, err := os.ReadFile(out.Name())
			if err != nil {
				t.Fatal(err)
			}
			got := encoreSeconds.ReplaceAllString(encorePIDs.ReplaceAllString(string(b), "pid N"), "S seconds")
			for _, want := range strings.Split(c.want, "|") { // any of them
				if got == want {
					return
				}
			}
			t.Errorf("it says\n%s\nexpected is\n%s", got, c.want)
		})
	}
}
