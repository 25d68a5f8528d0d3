package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Definitions as Avery Payne's supervision-scripts have them (supervision-scripts.md): all
// that can be shared is, by links that are relative to the real parent of a definition,
// and what differs between three systems is in .bin and .env.

// The script of nearly every definition.
const sharedRun = `#!/bin/sh
exec 2>&1
PATH=$PWD/../.bin:$PATH
if test -f ./broken; then
	cat ./broken
	exit 1
fi
SELF=$( basename $PWD )
DO_UP="$( cat ../.env/TOOLCMD ) $( cat ../.env/CMDUP )"
DO_CHECK="$( cat ../.env/TOOLCHECK ) $( cat ../.env/CMDCHECK )"
if test "$( cat ../.env/NEEDS_ENABLED )" -gt 0; then
	. ../.run/needs.sh
fi
T_UID=$( cat ./env/T_UID )
T_GID=$( cat ./env/T_GID )
if test -f ./env/STATEDIR; then
	STATEDIR=$( cat ./env/STATEDIR )
	mkdir -p $STATEDIR
	chmod 755 $STATEDIR
	chown $T_UID $STATEDIR
	chgrp $T_GID $STATEDIR && chmod 775 $STATEDIR
fi
if test -f ./env/FIFO; then
	FIFO=$( cat ./env/FIFO )
	mkfifo $FIFO
	chmod 600 $FIFO
	chown $T_UID $FIFO
	chgrp $T_GID $FIFO && chmod 660 $FIFO
fi
exec envdir ../.env envdir ./env sh -c 'exec $PRELAUNCH $DAEMON $DAEMONOPTS'
`

const sharedNeeds = `if test -d ./needs; then
	cd ./needs
	for PEER in $( ls ); do
		if test -h ./$PEER; then
			$DO_UP ./$PEER || { echo "$SELF: $PEER is not brought up, aborting"; exit 1; }
			$DO_CHECK ./$PEER || { echo "$SELF: $PEER is not up, aborting"; exit 1; }
		fi
	done
	cd ..
fi
`

const sharedGetty = `#!/bin/sh
exec 2>&1
PATH=../.bin:$PATH
exec envdir ../.env envdir ./env sh -c 'exec $PRELAUNCH $GETTY $GETTYOPTS $TTY $SECONDARYOPTS'
`

const sharedUser = `#!/bin/sh
exec 2>&1
PATH=$PWD/../.bin:$PATH
SELF=$( basename $PWD )
WHOSE=${SELF##*-}
SCANNER=${SELF%-*}
case $SCANNER in
runsvdir)
	OPTS=-P
	chmod 755 ./supervise || exit 1
	chown $WHOSE ./supervise/* || exit 1
	;;
s6-svscan) OPTS="-c 1000" ;;
*) OPTS= ;;
esac
exec setuidgid $WHOSE $SCANNER $OPTS /home/$WHOSE/service
`

// sharedLog is the script of a log service that ends in a command.
func sharedLog(command string) string {
	return `#!/bin/sh
exec 2>&1
NAME=$( basename $( pwd | sed 's/log//' ) )
LOGDIR=$( cat ../../.env/LOGDIR )
mkdir -p $LOGDIR/$NAME
chgrp adm $LOGDIR/$NAME
test -h ./main || ln -s $LOGDIR/$NAME ./main
exec ` + command + "\n"
}

// sharedTools are the names in .bin, and what they lead to for each system.
var sharedTools = map[string][3]string{ // daemontools, runit, s6
	"envdir":      {"envdir", "chpst", "s6-envdir"},
	"envuidgid":   {"envuidgid", "chpst", "s6-envuidgid"},
	"fghack":      {"fghack", "fghack", "s6-fghack"},
	"pgrphack":    {"pgrphack", "chpst", "s6-setsid"},
	"setlock":     {"setlock", "chpst", "s6-setlock"},
	"setuidgid":   {"setuidgid", "chpst", "s6-setuidgid"},
	"softlimit":   {"softlimit", "chpst", "s6-softlimit"},
	"tai64n":      {"tai64n", "tai64n", "s6-tai64n"},
	"tai64nlocal": {"tai64nlocal", "tai64nlocal", "s6-tai64nlocal"},
}

// sharedWords are the files of .env that say how a supervisor is told something.
var sharedWords = map[string][3]string{
	"FRAMEWORK": {"daemontools", "runit", "s6"},
	"TOOLCMD":   {"svc", "sv", "s6-svc"}, "TOOLCHECK": {"svok", "sv", "s6-svok"}, "TOOLSTAT": {"svstat", "sv", "s6-svstat"},
	"CMDUP": {"-u", "up", "-u"}, "CMDDOWN": {"-d", "down", "-d"}, "CMDONCE": {"-o", "once", "-o"},
	"CMDCHECK": {"", "check", ""}, "CMDPAUSE": {"-p", "pause", "-p"}, "CMDCONT": {"-c", "cont", "-c"},
	"CMDHUP": {"-h", "hup", "-h"}, "CMDALRM": {"-a", "alarm", "-a"}, "CMDINT": {"-i", "interrupt", "-i"},
	"CMDTERM": {"-t", "term", "-t"}, "CMDKILL": {"-k", "kill", "-k"}, "CMDEXIT": {"-x", "quit", "-x"},
}

// frameworks are the systems, in the order of these tables, with their scanners.
var frameworks = []struct{ name, scanner, logger string }{
	{"daemontools", "svscan", "run-multilog"},
	{"runit", "runsvdir", "run-svlogd"},
	{"s6", "s6-svscan", "run-s6-log"},
}

// sharedUse is the script by which .bin and .env are set to a system, run by hand in .bin.
func sharedUse(i int) string {
	var b strings.Builder
	b.WriteString("#!/bin/sh\n")
	for name, to := range sharedTools {
		fmt.Fprintf(&b, "rm %s\nln -s /usr/bin/%s %s\n", name, to[i], name)
	}
	for name, words := range sharedWords {
		fmt.Fprintf(&b, "echo '%s' >../.env/%s\n", words[i], name)
	}
	return b.String()
}

// defined makes a definition that runs the shared script, with an environment of pairs.
func defined(files tree, name string, environment ...string) {
	files[name+"/run@"] = "../.run/run"
	files[name+"/log/run@"] = "../../.log/run"
	files[name+"/env@"] = "./data/version/current"
	files[name+"/data/version/current@"] = "./1"
	for i := 0; i < len(environment); i += 2 {
		files[name+"/data/version/1/"+environment[i]] = environment[i+1]
	}
}

// needed has one definition need others.
func needed(files tree, name string, peers ...string) {
	for _, peer := range peers {
		files[name+"/needs/"+peer+"@"] = "../../" + peer
	}
}

// sharedSite is what all definitions below a directory use together.
func sharedSite(dir, logger string) tree {
	files := tree{
		".run/run.sh!":              sharedRun,
		".run/run@":                 "run.sh",
		".run/run-getty.sh!":        sharedGetty,
		".run/run-getty@":           "run-getty.sh",
		".run/run-user-service.sh!": sharedUser,
		".run/run-user-service@":    "run-user-service.sh",
		".run/needs.sh":             sharedNeeds,
		".run/broken":               "does not work, and is not run\n",
		".run/untested":             "nobody has tried\n",
		".log/run-multilog!":        sharedLog("/usr/bin/multilog n15 s1048576 t ./main"),
		".log/run-svlogd!":          sharedLog("/usr/bin/svlogd -tt main"),
		".log/run-s6-log!":          sharedLog("/usr/bin/s6-log -b n15 s1048576 S16777216 l16738 r1000 T ./main"),
		".log/run@":                 logger,
		".finish/finish-simple!":    "#!/bin/sh\nexit 0\n",
		".finish/finish@":           "finish-simple",
		".env/LOGDIR":               "/var/log\n",
		".env/NEEDS_ENABLED":        "1\n",
		".env/PATH":                 "../.bin:/sbin:/bin:/usr/sbin:/usr/bin\n",
		".env/STATEDIR":             "/var/run\n",
	}
	for i, f := range frameworks {
		files[".bin/use-"+f.name+"!"] = sharedUse(i)
	}
	for name := range sharedTools {
		files[".bin/"+name+"@"] = "/usr/bin/" + name
	}
	return below(dir, files)
}

// below has the paths of a tree begin with a directory.
func below(dir string, files tree) tree {
	moved := make(tree)
	for name, content := range files {
		moved[dir+"/"+name] = content
	}
	return moved
}

// sharedDefinitions are those that the scene has supervised, and some that nobody does.
func sharedDefinitions() tree {
	d := tree{}
	owner := []string{"T_UID", "root\n", "T_GID", "root\n"}
	define := func(name string, environment ...string) { defined(d, name, append(environment, owner...)...) }

	define("httpd", "DAEMON", "facts\n", "DAEMONOPTS", "-f [d]ata  two\n", "PRELAUNCH", "pgrphack setuidgid avery\n",
		"STATEDIR", "/var/run/httpd\n", "FIFO", "/var/run/httpd/fifo\n", "EMPTY", "\n", "LOGDIR", "", "TRAILING", "x \t \nmore\n")
	d["httpd/data/version/1/T_UID"], d["httpd/data/version/1/T_GID"] = "avery\n", "avery\n"
	d["httpd/untested@"] = "../.run/untested"
	define("rsyslogd", "DAEMON", "facts\n", "PRELAUNCH", "\n")
	define("mysqld", "DAEMON", "facts\n", "PRELAUNCH", "pgrphack setuidgid avery\n", "PATH", "/usr/sbin:/usr/bin:/sbin:/bin\n")
	define("limited", "DAEMON", "facts\n", "PRELAUNCH", "envdir ./more softlimit -o 64 setlock -n ./lock envuidgid avery pgrphack\n")
	d["limited/more/MORE"] = "of it\n"
	define("bad", "DAEMON", "nothing-of-that-name\n", "PRELAUNCH", " \n")
	define("bare", "PRELAUNCH", "pgrphack setuidgid\n", "DAEMON", "", "DAEMONOPTS", "")

	// A chain of needs: who comes first is the one that is supervised, the others are down.
	define("front", "DAEMON", "facts\n", "DAEMONOPTS", "front\n")
	needed(d, "front", "mid")
	d["front/needs/remark"] = "no link\n"
	define("mid", "DAEMON", "facts\n", "DAEMONOPTS", "mid\n")
	needed(d, "mid", "db")
	define("db", "DAEMON", "facts\n", "DAEMONOPTS", "db\n")
	d["db/finish@"] = "../.finish/finish"
	d["db/check!"] = "#!/bin/sh\ntest -e /run/facts.db\nN=$?\nreturn $N\n"
	d["mid/down"], d["db/down"] = "", ""
	define("absent", "DAEMON", "facts\n")
	define("lonely", "DAEMON", "facts\n")
	needed(d, "lonely", "absent")

	// What does not work.
	define("unfinished", "DAEMON", "facts\n")
	d["unfinished/broken@"] = "../.run/broken"
	d["dangling/run@"] = "../.run/run-of-another-time"
	d["dangling/log/run@"] = "../../.log/run"
	d["runless/needs/"] = ""
	d["odd/run!"] = "#!/bin/sh\necho odd >/run/odd; exec sleep 1000\n" // it does not care for env
	d["odd/env@"] = "./data/version/current"
	defined(d, "envless")
	d["envless/data/version/current@"] = "./2"

	d["getty-9/run@"] = "../.run/run-getty"
	d["getty-9/env@"] = "./data/version/current"
	d["getty-9/data/version/current@"] = "./1"
	d["getty-9/data/version/1/GETTY"] = "lines\n"
	d["getty-9/data/version/1/TTY"] = "tty9\n"
	for _, f := range frameworks {
		d[f.scanner+"-avery/run@"] = "../.run/run-user-service"
		d[f.scanner+"-avery/log/run@"] = "../../.log/run"
	}
	d["signals/run!"] = `#!/bin/sh
for s in HUP ALRM INT QUIT; do trap "echo got $s >>/run/signals" $s; done
trap 'echo got TERM >>/run/signals; exit' TERM
echo up >>/run/signals
sleep 1000 &
while :; do wait; done
`
	return below("etc/svcdef", d)
}

// sharedPrograms are daemons: facts says all that it was given, lines what it may
// speak to.
var sharedPrograms = tree{
	"usr/sbin/facts!": `#!/bin/sh
say() {
	echo "arguments: $0 $*"
	echo "directory: $( readlink /proc/$$/cwd )"
	echo "user: $( id -un ) $( id -gn ) $( id -G )"
	# GIDLIST is s6-envuidgid's.
	echo "environment: $( tr '\0' '\n' </proc/$$/environ | grep -v -e ^UPKEEP_TEST= -e ^GORACE= -e ^GIDLIST= | sort | tr '\n' ' ' )"
	echo "files: $( ulimit -n ), umask $( umask )"
	read -r pid name state parent group session rest </proc/$$/stat
	test $session = $$ && echo "leads a session"
}
case $* in
front|mid|db) say $1 >/run/facts.new.$1; mv /run/facts.new.$1 /run/facts.$1 ;;
esac
say "$@"
exec sleep 1000
`,
	"usr/sbin/lines!": `#!/bin/sh
fds=$( for fd in 0 1 2; do readlink /proc/$$/fd/$fd; done )
echo "$fds for $*" >/run/lines.new
mv /run/lines.new /run/lines
exec sleep 1000
`,
}

// sharedScript is the scene: F is the framework.
const sharedScript = `
umask 022
ulimit -n 1024
defs=/etc/svcdef
for dir in $defs /etc/plain; do (cd $dir/.bin && ./use-$F); done
for word in TOOLCMD TOOLCHECK TOOLSTAT CMDUP CMDDOWN CMDONCE CMDCHECK CMDPAUSE CMDCONT CMDHUP CMDALRM CMDINT CMDTERM CMDKILL CMDEXIT; do
	eval "$word=\$(cat $defs/.env/$word)"
done
[ $F = runit ] && TOOLSTAT="sv status"
tell() { $TOOLCMD $1 $2; echo "tell $1 ${2##*/}: $?"; }
# s6-setsid remarks what is no change.
lines() { grep -v s6-setsid: $1 2>/run/null; }
show() { echo "== $1"; until [ "$( lines $1 | wc -l )" -ge ${2:-1} ]; do sleep 0.02; done; lines $1 | head -n ${2:-1}; }
heard() { until [ "$( tail -n 1 /run/signals )" = "$1" ]; do sleep 0.02; done; echo "$1"; : >/run/signals; }
runs='(^|: )(up|run)'
is_down='(^|: )down'
status() { until $TOOLSTAT $1 | grep -qE "$2"; do sleep 0.02; done; $TOOLSTAT $1 | sed "s/; .*: log: .*//"; }
exec 2>&1

# The definitions are in a directory of their own, and some are linked from another.
mkdir -p /service /home/avery/service/own
for name in signals rsyslogd mysqld limited bad bare front mid db lonely unfinished dangling runless odd envless getty-9 $SCANNER-avery; do
	ln -s $defs/$name /service/$name
done
ln -s ../etc/svcdef/httpd /service/web
printf '#!/bin/sh\necho own >/home/avery/own\nexec sleep 1000\n' >/home/avery/service/own/run
chmod +x /home/avery/service/own/run
chown -R avery /home/avery
: >/run/signals
export SVDIR=/service
cd /
env --default-signal=INT,QUIT $SCANNER /service </dev/null >/run/scanner.out 2>&1 &
env --default-signal=INT,QUIT $SCANNER /etc/plain </dev/null >/run/plain.out 2>&1 &

heard up
show /var/log/httpd/current 6
stat -c '%A %U %G' /run/httpd /run/httpd/fifo /var/log/httpd
readlink $defs/httpd/log/main
show /var/log/log/current 5
show /var/log/mysqld/current 6
show /var/log/limited/current 6
show /var/log/bad/current
show /var/log/bare/current | grep -o usage
show /var/log/unfinished/current
show /var/log/envless/current
until [ -e /run/odd ]; do sleep 0.02; done
show /run/lines 3
# Control files are in the real directory, whichever way it is looked at.
ls -d $defs/httpd/supervise $defs/httpd/log/supervise
tell $CMDTERM /service/web
until grep 'cannot create fifo' /var/log/httpd/current; do sleep 0.02; done
status /service/web "$runs" >/run/null && status $defs/httpd "$runs" >/run/null && echo both

echo "# needs"
for name in front mid db; do show /run/facts.$name; done
show /var/log/lonely/current
$TOOLCMD $CMDUP $defs/absent; echo "up: $?"
$TOOLCHECK $CMDCHECK $defs/absent; echo "check: $?"
$TOOLCMD $CMDUP $defs/nowhere; echo "up: $?"
$TOOLCHECK $CMDCHECK $defs/db; echo "check: $?"
[ $F = runit ] && { sv up web; sv check db; }

echo "# words"
for verb in $CMDHUP $CMDALRM $CMDINT; do tell $verb /service/signals; tail -n 1 /run/signals >/run/null; case $verb in
	$CMDHUP) heard "got HUP" ;; $CMDALRM) heard "got ALRM" ;; $CMDINT) heard "got INT" ;; esac; done
tell $CMDPAUSE $defs/signals; status /service/signals paused
tell $CMDCONT $defs/signals; until ! $TOOLSTAT /service/signals | grep -q paused; do sleep 0.02; done
tell $CMDTERM $defs/signals; heard up
tell $CMDKILL $defs/signals; heard up
tell $CMDDOWN $defs/signals; heard "got TERM"; status $defs/signals "$is_down"
tell $CMDONCE $defs/signals; heard up; tell $CMDKILL $defs/signals; status $defs/signals "$is_down"
tell $CMDUP $defs/signals; heard up
tell $CMDEXIT $defs/signals
case $F in
runit) heard "got QUIT" ;;
# It is over with its process, until a scanner that looks every 5 s looks again.
daemontools) tell $CMDTERM $defs/signals; while svok $defs/signals; do sleep 0.02; done; echo over ;;
s6) tell $CMDTERM $defs/signals; heard up ;;
esac

echo "# a tree of a user"
until [ -e /home/avery/own ]; do sleep 0.02; done
stat -c %U /home/avery/own
p=$( pgrep -u avery -x "$SCANNER" ); $TOOLCMD $CMDTERM /service/$SCANNER-avery
until n=$( pgrep -u avery -x "$SCANNER" ) && [ "$n" != "$p" ]; do sleep 0.02; done; echo another one
[ $F = runit ] && setpriv --reuid avery --clear-groups sv hup /service/$SCANNER-avery

echo "# the definitions are the scan directory, and the logger is true(1)"
until [ -e /run/plain ] && [ -e /run/chatty ]; do sleep 0.02; done
status /etc/plain/plain "$runs"
status /etc/plain/chatty "$runs"
show /run/chatty
ls -d /etc/plain/.*/supervise 2>/run/null
grep '/\.[a-z]' /run/plain.out /run/scanner.out
exit 0
`

// sharedNumbers are what is not the same in each run.
var sharedNumbers = regexp.MustCompile(`\(pid \d+\)|\b\d+s\b|\b\d+ seconds|(?m)^\d{4}-\d\d-\d\d[ _]\d\d:\d\d:\d\d\.\d+`)

// playShared plays the scene by programs of ours, or by the real ones.
func playShared(t *testing.T, i int, programs []string) string {
	f := frameworks[i]
	files := sharedDefinitions()
	for _, more := range []tree{sharedPrograms, sharedSite("etc/svcdef", f.logger), sharedSite("etc/plain", "/bin/true"), {
		"etc/plain/plain/run!":       "#!/bin/sh\n: >/run/plain\nexec sleep 1000\n",
		"etc/plain/plain/log/run@":   "../../.log/run",
		"etc/plain/chatty/run!":      "#!/bin/sh\nexec 2>&1\nhead -c 32768 /dev/zero\necho half >/run/chatty\nhead -c 65536 /dev/zero\necho never >/run/chatty\n",
		"etc/plain/chatty/log/run@":  "../../.log/run",
		"etc/plain/hidden/broken@":   "../.run/broken",
		"etc/plain/.cache/run!":      "#!/bin/sh\n: >/run/hidden\n",
		"etc/plain/.cache/log/run!":  "#!/bin/sh\n: >/run/hidden\n",
		"etc/plain/plain/log/.keep":  "",
		"etc/plain/plain/data/.keep": "",
	}} {
		for name, content := range more {
			files[name] = content
		}
	}
	said := playRoot(t, rootScene{
		fresh:   []string{"run", "service", "etc/svcdef", "etc/plain", "var/log", "home"},
		prepare: "echo avery:x:4711:4711::/home/avery:/bin/sh >>$r/etc/passwd; echo avery:x:4711: >>$r/etc/group\n",
		files:   files,
		ours:    programs,
		script:  "F=" + f.name + " SCANNER=" + f.scanner + sharedScript,
	})
	return sharedNumbers.ReplaceAllStringFunc(said, func(n string) string {
		switch {
		case n[0] == '(':
			return "(pid N)"
		case strings.HasSuffix(n, "seconds"):
			return "N seconds"
		case strings.HasSuffix(n, "s"):
			return "Ns"
		}
		return "TIME"
	})
}

// TestSupervisionScripts has definitions of supervision-scripts run as they are under each
// of the three systems: with nothing but ours in /usr/bin, and with the real programs to see
// that it is the same.
func TestSupervisionScripts(t *testing.T) {
	t.Parallel()
	for i, f := range frameworks {
		golden := filepath.Join("testdata", "supervision-scripts", f.name)
		t.Run(f.name+", real", func(t *testing.T) {
			t.Parallel()
			peer(t, f.scanner)
			got := playShared(t, i, nil)
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			compareShared(t, golden, got)
		})
		t.Run(f.name+", ours", func(t *testing.T) {
			t.Parallel()
			var programs []string
			for _, name := range strings.Fields("svscan supervise svc svok svstat multilog runsvdir runsv sv svlogd chpst s6-svscan s6-supervise s6-svc s6-svok s6-svstat s6-svscanctl s6-log") {
				programs = append(programs, "/usr/bin/"+name)
			}
			for name, to := range sharedTools {
				for _, n := range append(to[:], name) {
					if path := "/usr/bin/" + n; !strings.Contains(strings.Join(programs, " ")+" ", path+" ") {
						programs = append(programs, path)
					}
				}
			}
			compareShared(t, golden, playShared(t, i, programs))
		})
	}
}

func compareShared(t *testing.T, golden, got string) {
	t.Helper()
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the scene differs:\n%s", diff(string(want), got))
	}
}

// TestSupervisionScriptsMany has as many definitions as the project has supervised at
// once, half of which do not work, by a scanner that was started with & from a script.
func TestSupervisionScriptsMany(t *testing.T) {
	t.Parallel()
	files := below("defs", tree{
		".run/run!":    "#!/bin/sh\nexec 2>&1\nPATH=$PWD/../.bin:$PATH\nexec envdir ../.env envdir ./env sh -c 'exec $PRELAUNCH $DAEMON $DAEMONOPTS'\n",
		".run/fails!":  "#!/bin/sh\necho again >>./tries\nexit 1\n",
		".log/run@":    "/bin/true",
		".env/PATH":    "../.bin:/bin:/usr/bin\n",
		".bin/envdir@": ours(t, "chpst"),
	})
	const n = 160
	works := func(i int) bool { return i%2 == 0 }
	for i := range n {
		name := fmt.Sprintf("s%d", i)
		d := tree{"log/run@": "../../.log/run", "run@": "../.run/run", "env/DAEMON": "sleep\n", "env/DAEMONOPTS": "1000\n"}
		switch i % 8 {
		case 1:
			d["run@"] = "../.run/nowhere"
		case 3:
			delete(d, "run@")
		case 5, 7:
			d["run@"] = "../.run/fails"
		}
		for file, content := range below("defs/"+name, d) {
			files[file] = content
		}
		files["service/"+name+"@"] = "../defs/" + name
	}
	f := prepareFault(t, files)
	begun := time.Now()
	f.begin("/bin/sh", "-c", `trap "" INT QUIT; exec "$@"`, "sh")
	for i := range n {
		name := fmt.Sprintf("s%d", i)
		switch {
		case works(i):
			f.wait(name, up)
		case i%8 < 5:
			f.says("supervise: fatal: unable to start " + name + "/run: file does not exist")
		default:
			waitLines(t, f.path("defs", name, "tries"), 3)
		}
	}
	tries := waitLines(t, f.path("defs/s5/tries"), 4)
	if limit := int(time.Since(begun)/time.Second) + 1; len(tries) > limit {
		t.Errorf("what ends at once was started %d times in %v", len(tries), time.Since(begun))
	}
	// Who ignores INT does not have its services do so.
	if set := faultFields(t, fmt.Sprintf("/proc/%d/status", f.runs("s0", 0)))["SigIgn"]; strings.Trim(set, "0") != "" {
		t.Errorf("the service ignores %s", set)
	}
	f.make(tree{"defs/late/run!": faultSleeper})
	f.make(tree{"service/late@": "../defs/s0/../late"})
	f.wait("late", up)
	for _, name := range []string{".run", ".bin", ".env", ".log"} {
		if _, err := os.Stat(f.path("defs", name, "supervise")); err == nil {
			t.Error(name + " is supervised")
		}
	}
}
