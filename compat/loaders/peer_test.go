package loaders

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli/clitest"
	"upkeep/svc/svctest"
)

// A loader is seen by the program at the end of its chain. These words in a
// command line stand for a shell that shows one thing about itself.
var probes = map[string]string{
	"IDS":     `grep -E '^(Uid|Gid|Groups):' /proc/$$/status; pwd`,
	"LIMITS":  `cat /proc/$$/limits`,
	"NICE":    `set -- $(cat /proc/$$/stat); echo ${19}`,
	"SESSION": `set -- $(cat /proc/$$/stat); [ $5 = $$ ] && echo leader; [ $6 = $$ ] && echo session`,
	"FDS":     `for fd in 0 1 2 3 4 5 6; do [ -e /proc/$$/fd/$fd ] && echo $fd $(readlink /proc/$$/fd/$fd); done; true`,
	"PIPES":   `ls -l /proc/$$/fd >list; grep -c pipe: list`,
	"NAME":    `echo "$0 $*"; tr '\0' ' ' </proc/$$/cmdline | sed 's/ .*//'`,
	"LOCK":    `flock -n lock true; echo busy $?; wc -c <lock; stat -c %a lock`,
	"SIGNALS": `while read -r l; do case $l in Sig[IB]*) echo "$l";; esac; done </proc/$$/status`,
}

// peerCase is a command line that is given to ours and the real program, in trees
// that are the same. All there is to see has to be the same as well, and code and
// out keep that from being two times nothing.
type peerCase struct {
	args   string // '' is an empty word; see probes
	code   int
	out    string // what is somewhere in standard output or standard error
	tree   svctest.Tree
	env    []string // nil for a PATH
	nobody bool
	locked bool // the file lock, by the test
	root   bool // only root can do it
	// usage: the text has options that the installed build has not.
	usage bool
}

func tree(entries ...any) svctest.Tree {
	t := svctest.Tree{}
	for i := 0; i < len(entries); i += 2 {
		switch v := entries[i+1].(type) {
		case string:
			t[entries[i].(string)] = svctest.File(v)
		case svctest.Node:
			t[entries[i].(string)] = v
		}
	}
	return t
}

func env(e ...string) []string { return append([]string{}, e...) }

const path = "PATH=/usr/bin:/bin"

var daemontoolsCases = []peerCase{
	{args: "setuidgid", code: 100, out: "setuidgid: usage: setuidgid account child\n"},
	{args: "setuidgid nobody", code: 100, out: "usage"},
	{args: "setuidgid nobody IDS", root: true, out: "Uid:\t65534"},
	{args: "setuidgid daemon IDS", root: true, out: "Groups:\t1 \n"},
	{args: "setuidgid root IDS", root: true, out: "Groups:\t0 \n"},
	{args: "setuidgid root env", root: true, env: env(path, "A=1", "B="), out: "A=1\n"},
	{args: "setuidgid no-such-user true", code: 111, out: "setuidgid: fatal: unknown account no-such-user\n"},
	{args: "setuidgid '' true", code: 111, out: "unknown account \n"},
	{args: "setuidgid 0 true", code: 111, out: "unknown account 0\n"},
	{args: "setuidgid +0 true", code: 111, out: "unknown account +0\n"},
	{args: "setuidgid -s root true", code: 111, out: "unknown account -s\n"},
	{args: "setuidgid -- root", code: 111, out: "unknown account --\n"},
	{args: "setuidgid root:x true", code: 111, out: "unknown account root:x\n"},
	{args: "setuidgid ROOT true", code: 111, out: "unknown account ROOT\n"},
	{args: "setuidgid nobody true", nobody: true, code: 111, out: "setuidgid: fatal: unable to setgid: permission denied\n"},
	{args: "setuidgid root true", nobody: true, code: 111, out: "unable to setgid: permission denied\n"},
	{args: "setuidgid root no-such-program", root: true, code: 111, out: "setuidgid: fatal: unable to run no-such-program: file does not exist\n"},
	{args: "setuidgid root ''", root: true, code: 111, out: "unable to run : access denied\n"},
	{args: "setuidgid nobody ./secret", root: true, tree: tree("secret", "#!/bin/sh\n"), code: 111, out: "unable to run ./secret: access denied\n"},
	{args: "setuidgid root false", root: true, code: 1},
	{args: "setuidgid root setuidgid nobody IDS", root: true, out: "Uid:\t65534"},
	{args: "setuidgid root sh -c exit\t7", root: true, code: 7},
	{args: "/no/such/setuidgid x", code: 100, out: "setuidgid: usage"},

	{args: "envuidgid", code: 100, out: "envuidgid: usage: envuidgid account child\n"},
	{args: "envuidgid root", code: 100, out: "usage"},
	{args: "envuidgid root env", out: "GID=0\n"},
	{args: "envuidgid nobody env", env: env(path, "UID=7", "GID=", "X=UID=1"), out: "UID=65534\n"},
	{args: "envuidgid nobody env", nobody: true, out: "UID=65534\n"},
	{args: "envuidgid root IDS"},
	{args: "envuidgid no-such-user true", code: 111, out: "envuidgid: fatal: unknown account no-such-user\n"},
	{args: "envuidgid root ./no", code: 111, out: "envuidgid: fatal: unable to run ./no: file does not exist\n"},

	{args: "envdir", code: 111, out: "envdir: usage: envdir dir child\n"},
	{args: "envdir d", code: 111, out: "usage", tree: tree("d", svctest.Dir())},
	{args: "envdir d env", tree: tree("d", svctest.Dir())},
	{args: "envdir d env", tree: tree("d/A", "one"), out: "A=one\n"},
	{args: "envdir d env", tree: tree("d/A", "one\ntwo\n"), out: "A=one\n"},
	{args: "envdir d env", tree: tree("d/A", "one \t \n"), out: "A=one\n"},
	{args: "envdir d env", tree: tree("d/A", "\t one"), out: "A=\t one\n"},
	{args: "envdir d env", tree: tree("d/A", "a\x00b\x00"), out: "A=a\n"},
	{args: "envdir d env", tree: tree("d/A", "a \x00 \n"), out: "A=a \n"},
	{args: "envdir d env", tree: tree("d/A", "\n"), out: "A=\n"},
	{args: "envdir d env", tree: tree("d/A", " \t"), out: "A=\n"},
	{args: "envdir d env", tree: tree("d/A", "one\r\n"), out: "A=one\r\n"},
	{args: "envdir d env", tree: tree("d/A", ""), env: env(path, "A=1", "B=2"), out: "B=2\n"},
	{args: "envdir d env", tree: tree("d/A", "new"), env: env(path, "A=1", "B=2", "AA=3"), out: "A=new\n"},
	{args: "envdir d env", tree: tree("d/.A", "x", "d/B", "y"), out: "B=y\n"},
	{args: "envdir d env", tree: tree("d/A=B", "c"), env: env(path, "A=1"), out: "A=B=c\n"},
	{args: "envdir d env", tree: tree("d/A=B", ""), env: env(path, "A=1"), out: "A=B\n"},
	{args: "envdir d env", tree: tree("d/=", "c")},
	{args: "envdir d env", tree: tree("d/A b", "c d"), out: "A b=c d\n"},
	{args: "envdir d env", tree: tree("d/A\xff", "\xfe"), out: "A\xff=\xfe\n"},
	{args: "envdir d env", tree: tree("d/A", strings.Repeat("x", 5000)+"\n"), out: "xxx\n"},
	{args: "envdir d env", tree: tree("d/A", strings.Repeat("x", 131069)), out: "xxx\n"},
	{args: "envdir d env", tree: tree("d/A", strings.Repeat("x", 131070)), code: 111, out: "unable to run env: argument list too long\n"},
	{args: "envdir d env", tree: tree("d/A", strings.Repeat("x", 400)+strings.Repeat(" ", 9000)), out: "xxx\n"},
	{args: "envdir d env", tree: tree("d/A", svctest.Link("../v"), "v", "x"), out: "A=x\n"},
	{args: "envdir d env", tree: tree("d/A", svctest.Dir()), code: 111, out: "envdir: fatal: unable to read d/A: is a directory\n"},
	{args: "envdir d env", tree: tree("d/A", svctest.Link("A")), code: 111, out: "envdir: fatal: unable to read d/A: symbolic link loop\n"},
	{args: "envdir d/ env", tree: tree("d/A", svctest.Link("A")), code: 111, out: "unable to read d//A"},
	{args: "envdir d env", tree: tree("d/A", svctest.FIFO()), env: env(path, "A=1")},
	{args: "envdir d env", tree: tree("d/A", svctest.Socket()), code: 111, out: "unable to read d/A: device not configured\n"},
	{args: "envdir no env", code: 111, out: "envdir: fatal: unable to switch to directory no: file does not exist\n"},
	{args: "envdir '' env", code: 111, out: "unable to switch to directory : file does not exist\n"},
	{args: "envdir f env", tree: tree("f", "x"), code: 111, out: "unable to switch to directory f: not a directory\n"},
	{args: "envdir d env", tree: tree("d", svctest.Closed()), nobody: true, code: 111, out: "unable to switch to directory d: access denied\n"},
	{args: "envdir d pwd", tree: tree("d/A", "x"), out: "ROOT"},
	{args: "envdir d env", tree: tree("d/PATH", "/nowhere"), out: "PATH=/nowhere\n"},
	{args: "envdir d env", tree: tree("d/PATH", ""), out: ""},
	{args: "envdir d no-such-program", tree: tree("d", svctest.Dir()), code: 111, out: "envdir: fatal: unable to run no-such-program: file does not exist\n"},
	{args: "envdir -p X d env", tree: tree("d/A", "x"), code: 111, out: "unable to switch to directory -p: file does not exist\n"},
	{args: "envdir many env", tree: manyFiles(), out: "V299=299\n"},
	{args: "envdir d FDS", tree: tree("d/A", "x")},

	{args: "softlimit", code: 100, out: "softlimit: usage: softlimit [-a allbytes] [-c corebytes]"},
	{args: "softlimit -z true", code: 100, out: "softlimit: illegal option -- z\nsoftlimit: usage"},
	{args: "softlimit -o", code: 100, out: "softlimit: option requires an argument -- o\n"},
	{args: "softlimit -o 5", code: 100, out: "softlimit: usage"},
	{args: "softlimit -o x true", code: 100, out: "softlimit: usage"},
	{args: "softlimit -o 5x true", code: 100, out: "softlimit: usage"},
	{args: "softlimit -o -1 true", code: 100, out: "softlimit: usage"},
	{args: "softlimit -o - true", code: 100, out: "softlimit: usage"},
	{args: "softlimit -o == true", code: 100, out: "softlimit: usage"},
	{args: "softlimit LIMITS"},
	{args: "softlimit -- LIMITS"},
	{args: "softlimit -a 500000000 LIMITS", out: "500000000"},
	{args: "softlimit -c 1000 LIMITS", out: "1000"},
	{args: "softlimit -d 300000000 LIMITS", out: "300000000"},
	{args: "softlimit -f 12345 LIMITS", out: "12345"},
	{args: "softlimit -l 4096 LIMITS", out: "4096"},
	{args: "softlimit -m 100000000 LIMITS", out: "100000000"},
	{args: "softlimit -o 50 LIMITS", out: "50"},
	{args: "softlimit -o50 LIMITS", out: "50"},
	{args: "softlimit -o = LIMITS"},
	{args: "softlimit -o 99999999999 LIMITS"},
	{args: "softlimit -o 18446744073709551665 LIMITS", out: "49"},
	{args: "softlimit -p 500 LIMITS", out: "500"},
	{args: "softlimit -r 4096000 LIMITS", out: "4096000"},
	{args: "softlimit -s 1000000 LIMITS", out: "1000000"},
	{args: "softlimit -t 1000 LIMITS", out: "1000"},
	{args: "softlimit -c= -d= -f= -l= -m= -o= -p= -r= -s= -t= -a= LIMITS"},
	{args: "softlimit -m 200000000 -s 4000000 -o 40 LIMITS", out: "4000000"},
	{args: "softlimit -s 4000000 -m 200000000 LIMITS", out: "200000000"},
	{args: "softlimit -c '' LIMITS", out: "core"},
	{args: "softlimit -o 20 softlimit LIMITS", out: "20"},
	{args: "softlimit -o 30 softlimit -o = softlimit -o 25 LIMITS", out: "25"},
	{args: "softlimit -o 100 LIMITS", nobody: true, out: "100"},
	{args: "softlimit -c 0 no-such-program", code: 111, out: "softlimit: fatal: unable to run no-such-program: file does not exist\n"},
	{args: "softlimit -o 0 no-such-program", code: 111, out: "unable to run no-such-program: file does not exist\n"},
	{args: "softlimit -p 0 -l 0 -c 0 true"},
	{args: "softlimit -p 0 true", nobody: true},
	{args: "softlimit -f 0 true"},
	{args: "softlimit -t 0 no-such-program", code: 111, out: "file does not exist"},
	{args: "softlimit -a 4096 no-such-program", code: 111, out: "unable to run no-such-program: file does not exist\n"},
	{args: "softlimit -d 0 -m 0 no-such-program", code: 111, out: "unable to run no-such-program: file does not exist\n"},
	{args: "softlimit -s 1 no-such-program", code: 111, out: "unable to run no-such-program"},

	{args: "setlock", code: 100, out: "setlock: usage: setlock [ -nNxX ] file program [ arg ... ]\n"},
	{args: "setlock lock", code: 100, out: "usage"},
	{args: "setlock -z lock true", code: 100, out: "setlock: illegal option -- z\n"},
	{args: "setlock lock LOCK", out: "busy 1\n0\n600\n"},
	{args: "setlock lock LOCK", tree: tree("lock", "kept"), out: "busy 1\n4\n644\n"},
	{args: "setlock -n lock LOCK", out: "busy 1\n"},
	{args: "setlock -N lock LOCK", out: "busy 1\n"},
	{args: "setlock lock FDS", out: "3 ROOT/lock\n"},
	{args: "setlock -n lock true", locked: true, code: 111, out: "setlock: fatal: unable to lock lock: temporary failure\n"},
	{args: "setlock -nx lock true", locked: true},
	{args: "setlock -xn lock false", locked: true},
	{args: "setlock -nxX lock true", locked: true, code: 111, out: "temporary failure"},
	{args: "setlock -Xx -n lock false", locked: true},
	{args: "setlock no/lock true", code: 111, out: "setlock: fatal: unable to open no/lock: file does not exist\n"},
	{args: "setlock -x no/lock false"},
	{args: "setlock d true", tree: tree("d", svctest.Dir()), code: 111, out: "unable to open d: is a directory\n"},
	{args: "setlock p true", tree: tree("p", svctest.FIFO()), code: 111, out: "unable to open p: device not configured\n"},
	{args: "setlock '' true", code: 111, out: "unable to open : file does not exist\n"},
	{args: "setlock d/lock true", tree: tree("d", svctest.Closed()), nobody: true, code: 111, out: "unable to open d/lock: access denied\n"},
	{args: "setlock -x lock no-such-program", code: 111, out: "setlock: fatal: unable to run no-such-program: file does not exist\n"},
	{args: "setlock lock setlock other FDS", out: "4 ROOT/other\n"},

	{args: "pgrphack", code: 100, out: "pgrphack: usage: pgrphack child\n"},
	{args: "pgrphack SESSION", out: "leader\nsession\n"},
	{args: "pgrphack pgrphack SESSION", out: "leader\nsession\n"},
	{args: "pgrphack -x", code: 111, out: "pgrphack: fatal: unable to run -x: file does not exist\n"},
	{args: "pgrphack env", env: env(path, "A=1"), out: "A=1\n"},

	{args: "fghack", code: 100, out: "fghack: usage: fghack child\n"},
	{args: "fghack true"},
	{args: "fghack sh -c exit\t42", code: 42},
	{args: "fghack sh -c kill\t-9\t$$", code: 111, out: "fghack: fatal: child crashed\n"},
	{args: "fghack sh -c (sleep\t0.3;echo\tlate)&", out: "late\n"},
	{args: "fghack no-such-program", code: 111, out: "fghack: fatal: unable to run no-such-program: file does not exist\n"},
	{args: "fghack ./f", tree: tree("f", ""), code: 111, out: "unable to run ./f: access denied\n"},
	{args: "fghack PIPES", out: "3"},
	{args: "fghack env", env: env(path, "A=1"), out: "A=1\n"},

	// Where programs are found, with envuidgid as any other.
	{args: "envuidgid root env", env: env(), out: "UID=0\n"},
	{args: "envuidgid root p", env: env("PATH="), tree: script("p"), out: "ran ./p\n"},
	{args: "envuidgid root p", env: env("PATH=:/nowhere"), tree: script("p"), out: "ran ./p\n"},
	{args: "envuidgid root p", env: env("PATH=/nowhere:"), tree: script("p"), out: "ran ./p\n"},
	{args: "envuidgid root p", env: env("PATH=/nowhere::/bin"), tree: script("p"), out: "ran ./p\n"},
	{args: "envuidgid root p", env: env("PATH=d/"), tree: script("d/p"), out: "ran d//p\n"},
	{args: "envuidgid root p", env: env("PATH=/bin"), tree: script("p"), code: 111, out: "unable to run p: file does not exist\n"},
	{args: "envuidgid root ./p", env: env("PATH=/bin"), tree: script("p"), out: "ran ./p\n"},
	{args: "envuidgid root p", env: env("PATH=f:d"), tree: script("d/p").And("f", svctest.File("")), code: 111, out: "unable to run p: not a directory\n"},
	{args: "envuidgid root p", env: env("PATH=e:d"), tree: script("d/p").And("e/p", svctest.File("")), out: "ran d/p\n"},
	{args: "envuidgid root p", env: env("PATH=e:d"), tree: script("d/p").And("e/p", svctest.Dir()), out: "ran d/p\n"},
	{args: "envuidgid root p", env: env("PATH=e:/nowhere"), tree: tree("e/p", ""), code: 111, out: "unable to run p: access denied\n"},
	{args: "envuidgid root p", env: env("PATH=l:d"), tree: script("d/p").And("l", svctest.Link("l")), code: 111, out: "unable to run p: symbolic link loop\n"},
	{args: "envuidgid root p", env: env("PATH=c:d"), tree: script("d/p").And("c", svctest.Closed()), nobody: true, out: "ran d/p\n"},
	{args: "envuidgid root ./d", tree: tree("d", svctest.Dir()), code: 111, out: "unable to run ./d: access denied\n"},
	{args: "envuidgid root NAME"},
	{args: "envuidgid root ./p", tree: executable("p", "echo no\n"), code: 111, out: "unable to run ./p: exec format error\n"},
	{args: "envuidgid root ./p", tree: executable("p", "#!/no/such/interpreter\n"), code: 111, out: "unable to run ./p: file does not exist\n"},
	{args: "envuidgid root SIGNALS"},
}

var runitCases = []peerCase{
	{args: "chpst", code: 100, out: "usage: chpst [-vVP012] [-u user[:group]]", usage: true},
	{args: "/some/where/chpst", code: 100, out: "usage: chpst [-v", usage: true},
	{args: "chpst -z true", code: 100, out: "chpst: illegal option -- z\nusage: chpst", usage: true},
	{args: "chpst -u", code: 100, out: "chpst: option requires an argument -- u\nusage: chpst", usage: true},
	{args: "chpst -u root", code: 100, out: "usage: chpst", usage: true},
	{args: "chpst true"},
	{args: "chpst -- true"},
	{args: "chpst false", code: 1},
	{args: "dchpst -z", code: 100, out: "dchpst: illegal option -- z\nusage: chpst", usage: true},
	{args: "chpst no-such-program", code: 111, out: "chpst: fatal: unable to run: no-such-program: file does not exist\n"},
	{args: "chpst ./d", tree: tree("d", svctest.Dir()), code: 111, out: "chpst: fatal: unable to run: ./d: access denied\n"},
	{args: "chpst -b name no-such-program", code: 111, out: "chpst: fatal: unable to run: name: file does not exist\n"},
	{args: "chpst -b name NAME", out: "name \nname"},
	{args: "chpst -b '' NAME"},
	{args: "chpst -u nobody IDS", root: true, out: "Groups:\t65534"},
	{args: "chpst -u root IDS", root: true, out: "Groups:\t0 \n"},
	{args: "chpst -u nobody:daemon IDS", root: true, out: "Gid:\t1\t"},
	{args: "chpst -u nobody:daemon:bin:adm IDS", root: true, out: "Groups:\t1 2 4 \n"},
	{args: "chpst -u :7:8:9:10 IDS", root: true, out: "Groups:\t8 9 10 \n"},
	{args: "chpst -u :7:8 IDS", root: true, out: "Uid:\t7\t"},
	{args: "chpst -u :1: IDS", root: true, out: "Gid:\t0\t"},
	{args: "chpst -u :: IDS", root: true, out: "Uid:\t0\t"},
	{args: "chpst -u :1 true", code: 111, out: "chpst: fatal: invalid uid/gids: 1\n"},
	{args: "chpst -u : true", code: 111, out: "chpst: fatal: invalid uid/gids: \n"},
	{args: "chpst -u :a:b true", code: 111, out: "chpst: fatal: invalid uid/gids: a:b\n"},
	{args: "chpst -u :1:b true", code: 111, out: "invalid uid/gids: 1:b\n"},
	{args: "chpst -u :1:2: IDS", root: true},
	{args: "chpst -u :1" + strings.Repeat(":5", 60) + " IDS", root: true},
	{args: "chpst -u :1" + strings.Repeat(":5", 61) + " IDS", code: 111, out: "invalid uid/gids: 1:5"},
	{args: "chpst -u nobody" + strings.Repeat(":daemon", 60) + " IDS", root: true},
	{args: "chpst -u nobody" + strings.Repeat(":daemon", 70) + " IDS", root: true},
	{args: "chpst -u 0:0 true", code: 111, out: "chpst: fatal: unknown user/group: 0:0\n"},
	{args: "chpst -u nobody: true", code: 111, out: "chpst: fatal: unknown user/group: nobody:\n"},
	{args: "chpst -u nobody:no-such-group true", code: 111, out: "unknown user/group: nobody:no-such-group\n"},
	{args: "chpst -u no-such-user:daemon true", code: 111, out: "unknown user/group: no-such-user:daemon\n"},
	{args: "chpst -u nobody:daemon::bin true", code: 111, out: "unknown user/group: nobody:daemon::bin\n"},
	{args: "chpst -u no-such-user true", code: 111, out: "unknown user/group: no-such-user\n"},
	{args: "chpst -u '' true", code: 111, out: "unknown user/group: \n"},
	{args: "chpst -u nobody true", nobody: true, code: 111, out: "chpst: fatal: unable to setgroups: permission denied\n"},
	{args: "chpst -U nobody env", out: "UID=65534\n"},
	{args: "chpst -U nobody:daemon:bin env", out: "GID=1\n"},
	{args: "chpst -U :3:4:5 env", env: env(path, "GID=x", "A=1"), out: "GID=4\n"},
	{args: "chpst -U :3 env", code: 111, out: "invalid uid/gids: 3\n"},
	{args: "chpst -U no-such-user env", code: 111, out: "unknown user/group: no-such-user\n"},
	{args: "chpst -U nobody -u daemon IDS", root: true, out: "Uid:\t1\t"},
	{args: "chpst -e d env", tree: tree("d/A", "x \n", "d/.B", "y", "d/C", "", "d/D", "a\x00b"), env: env(path, "C=1"), out: "A=x\n"},
	{args: "chpst -ed env", tree: tree("d/GID", "x"), out: "GID=x\n"},
	{args: "chpst -e d -U root env", tree: tree("d/GID", "x", "d/UID", ""), out: "GID=0\n"},
	{args: "chpst -e d env", tree: tree("d/A=B", "c"), out: "A=B=c\n"},
	{args: "chpst -e d env", tree: tree("d/A", svctest.Dir(), "d/B", "x"), out: "B=x\n"},
	{args: "chpst -v -e d env", tree: tree("d/A", svctest.Dir(), "d/B", "x"), out: "chpst: warning: unable to read d/A: is a directory\n"},
	{args: "chpst -e d env", tree: tree("d/A", svctest.Link("A")), code: 111, out: "chpst: fatal: unable to read d/A: symbolic link loop\n"},
	{args: "chpst -e no env", code: 111, out: "chpst: fatal: unable to switch to directory: no: file does not exist\n"},
	{args: "chpst -e f env", tree: tree("f", ""), code: 111, out: "unable to switch to directory: f: not a directory\n"},
	{args: "chpst -e d env", tree: tree("d/PATH", "/nowhere"), out: "PATH=/nowhere\n"},
	{args: "chpst -/ / pwd", root: true, out: "/\n"},
	{args: "chpst -/ no true", code: 111, out: "chpst: fatal: unable to change directory: no: file does not exist\n"},
	{args: "chpst -/ d true", root: true, tree: tree("d", svctest.Dir()), code: 111, out: "unable to run: true: file does not exist\n"},
	{args: "chpst -/ d -u root true", root: true, tree: tree("d", svctest.Dir()), code: 111},
	{args: "chpst -/ / true", nobody: true, code: 111, out: "chpst: fatal: unable to change root directory: permission denied\n"},
	{args: "chpst -n 5 NICE", out: "5\n"},
	{args: "chpst -n +3 NICE", out: "3\n"},
	{args: "chpst -n -3 NICE", root: true, out: "-3\n"},
	{args: "chpst -n 100 NICE", out: "19\n"},
	{args: "chpst -n 5 chpst -n 6 NICE", out: "11\n"},
	{args: "chpst -n 0 NICE", out: "0\n"},
	{args: "chpst -n '' NICE", out: "0\n"},
	{args: "chpst -n x NICE", code: 100, out: "usage", usage: true},
	{args: "chpst -n 5x NICE", code: 100, out: "usage", usage: true},
	{args: "chpst -n -5 NICE", nobody: true, code: 111, out: "chpst: fatal: unable to set nice level: permission denied\n"},
	{args: "chpst -P SESSION", out: "leader\nsession\n"},
	{args: "chpst -l lock LOCK", out: "busy 1\n0\n600\n"},
	{args: "chpst -L lock LOCK", tree: tree("lock", "kept"), out: "busy 1\n4\n644\n"},
	{args: "chpst -llock FDS", out: "3 ROOT/lock\n"},
	{args: "chpst -L lock true", locked: true, code: 111, out: "chpst: fatal: unable to lock: lock: temporary failure\n"},
	{args: "chpst -l no/lock true", code: 111, out: "chpst: fatal: unable to open lock: no/lock: file does not exist\n"},
	{args: "chpst -l lock -L lock true", code: 100, out: "usage", usage: true},
	{args: "chpst -l lock -l lock true", code: 100, out: "usage", usage: true},
	{args: "chpst -u nobody -l d/lock true", root: true, tree: tree("d", svctest.Closed()), code: 111, out: "unable to open lock: d/lock: access denied\n"},
	{args: "chpst -0 FDS"},
	{args: "chpst -1 -2 sh -c echo\tx", code: 1},
	{args: "chpst -012 true"},
	{args: "chpst -0 chpst -0 true", code: 111, out: "chpst: fatal: unable to close stdin: file descriptor not open\n"},
	{args: "chpst -2 no-such-program", code: 111},
	{args: "chpst -1 chpst -1 true", code: 111, out: "unable to close stdout: file descriptor not open\n"},
	{args: "chpst LIMITS"},
	{args: "chpst -m 100000000 LIMITS", out: "100000000"},
	{args: "chpst -d 300000000 LIMITS", out: "300000000"},
	{args: "chpst -o 50 LIMITS", out: "50"},
	{args: "chpst -o 999999999999 LIMITS"},
	{args: "chpst -o 18446744073709551615 LIMITS"},
	{args: "chpst -o 18446744073709551614 LIMITS"},
	{args: "chpst -o 9223372036854775808 LIMITS"},
	{args: "chpst -o 18446744073709551700 LIMITS", out: "84"},
	{args: "chpst -p 500 -f 12345 -c 1000 -r 4096000 -t 1000 LIMITS", out: "12345"},
	{args: "chpst -m 100000000 -d 90000000 LIMITS", out: "90000000"},
	{args: "chpst -d 90000000 -m 100000000 LIMITS", out: "100000000"},
	{args: "chpst -o x LIMITS", code: 100, out: "usage", usage: true},
	{args: "chpst -o = LIMITS", code: 100, out: "usage", usage: true},
	{args: "chpst -o -1 LIMITS", code: 100, out: "usage", usage: true},
	{args: "chpst -c '' LIMITS"},
	{args: "chpst -o 30 -u nobody LIMITS", root: true, out: "30"},
	{args: "chpst -p 0 -u nobody true", root: true, code: -2},
	{args: "chpst -P -u nobody -n 2 -o 99 -e d -l lock env", root: true, tree: tree("d/A", "x"), code: 111, out: "unable to open lock: lock: access denied\n"},

	{args: "setuidgid", code: 100, out: "usage: setuidgid account child\n\n"},
	{args: "setuidgid -z", code: 100, out: "usage: setuidgid account child\n\n"},
	{args: "setuidgid nobody IDS", root: true, out: "Uid:\t65534"},
	{args: "dsetuidgid nobody IDS", root: true, out: "Uid:\t65534"},
	{args: "dsetuidgid", code: 100, out: "usage: setuidgid account child\n\n"},
	{args: "setuidgid -- nobody IDS", code: 111, out: "unknown account: --\n"},
	{args: "setuidgid nobody:daemon true", code: 111, out: "chpst: fatal: unknown account: nobody:daemon\n"},
	{args: "setuidgid :1:1 true", code: 111, out: "chpst: fatal: unknown account: :1:1\n"},
	{args: "setuidgid root no-such-program", root: true, code: 111, out: "chpst: fatal: unable to run: no-such-program: file does not exist\n"},
	{args: "envuidgid nobody env", out: "GID=65534\n"},
	{args: "envuidgid", code: 100, out: "usage: envuidgid account child\n\n"},
	{args: "envuidgid x env", code: 111, out: "chpst: fatal: unknown account: x\n"},
	{args: "envdir d env", tree: tree("d/A", "x"), out: "A=x\n"},
	{args: "envdir d env", tree: tree("d/A", svctest.Dir()), code: 111, out: "chpst: fatal: unable to read d/A: is a directory\n"},
	{args: "envdir", code: 100, out: "usage: envdir dir child\n\n"},
	{args: "envdir d", code: 100, out: "usage: envdir dir child\n\n"},
	{args: "pgrphack", code: 100, out: "usage: pgrphack child\n\n"},
	{args: "pgrphack SESSION", out: "session\n"},
	{args: "pgrphack -V", code: 111, out: "chpst: fatal: unable to run: -V: file does not exist\n"},
	{args: "setlock", code: 100, out: "usage: setlock [ -nNxX ] file program [ arg ... ]\n\n"},
	{args: "setlock lock LOCK", out: "busy 1\n"},
	{args: "setlock -n lock LOCK", out: "busy 1\n"},
	{args: "setlock lock true", locked: true, code: 111, out: "chpst: fatal: unable to lock: lock: temporary failure\n"},
	{args: "setlock -N lock true", locked: true, code: 111, out: "temporary failure"},
	{args: "setlock -x lock false", locked: true},
	{args: "setlock -x lock no-such-program"},
	{args: "setlock -xX lock no-such-program", code: 111, out: "chpst: fatal: unable to run: no-such-program"},
	{args: "setlock no/lock true", code: 111, out: "chpst: fatal: unable to open lock: no/lock: file does not exist\n"},
	{args: "softlimit", code: 100, out: "usage: softlimit [-a allbytes]"},
	{args: "softlimit -z", code: 100, out: "softlimit: illegal option -- z\nusage: softlimit [-a allbytes]"},
	{args: "softlimit -o x true", code: 100, out: "usage: softlimit [-vVP012]", usage: true},
	{args: "softlimit -o = LIMITS"},
	{args: "softlimit -m 100000000 -s 4000000 -o 40 LIMITS", out: "4000000"},
	{args: "softlimit -s 4000000 -m 100000000 -l 4096 -a 900000000 LIMITS", out: "900000000"},
	{args: "softlimit -c 5 -d = -f 900000 -p = -r 100000 -t 99 LIMITS", out: "900000"},
	{args: "softlimit no-such-program", code: 111, out: "chpst: fatal: unable to run: no-such-program"},
}

func script(path string) svctest.Tree { return executable(path, "#!/bin/sh\necho ran $0\n") }

// executable is a file that observe makes executable.
func executable(path, text string) svctest.Tree { return tree(path, executableMark+text) }

const executableMark = "EXECUTABLE\n"

func manyFiles() svctest.Tree {
	t := svctest.Tree{}
	for i := range 300 {
		n := string([]byte{'0' + byte(i/100), '0' + byte(i/10%10), '0' + byte(i%10)})
		t["many/V"+n] = svctest.File(n)
	}
	return t
}

func TestPeerDaemontools(t *testing.T) { comparePeers(t, "daemontools", "", daemontoolsCases) }

func TestPeerRunit(t *testing.T) { comparePeers(t, "runit", "chpst", runitCases) }

// comparePeers runs the cases with the programs of a package, or with the one
// program that goes by many names.
func comparePeers(t *testing.T, pkg, single string, cases []peerCase) {
	t.Parallel()
	upkeep := program(t)
	for _, c := range cases {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			if c.root && os.Geteuid() != 0 {
				t.Skip("only root can change users")
			}
			if nice, err := unix.Getpriority(unix.PRIO_PROCESS, 0); strings.HasSuffix(c.args, "NICE") && (err != nil || nice != 20) {
				c.out = "" // which is right where this test is not nice itself
			}
			name := filepath.Base(strings.Fields(c.args)[0])
			real := single
			if real == "" {
				real = name
			}
			exe := clitest.Find(t, pkg, real)
			want := c.observe(t, func(cmd clitest.Cmd) clitest.Result { return clitest.At(t, exe, cmd) })
			got := c.observe(t, func(cmd clitest.Cmd) clitest.Result {
				if single != "" {
					cmd.Env = append(cmd.Env, "UPKEEP_DIALECT="+pkg)
				}
				return clitest.At(t, upkeep, cmd)
			})
			if got != want {
				t.Errorf("%s\n ours %v\ntheir %v", c.args, got, want)
			}
			if code := c.code; want.Code != code && code != -2 || !strings.Contains(want.Stdout+want.Stderr, c.out) {
				t.Errorf("%s\ntheir %v\n want exit %d and %q", c.args, want, code, c.out)
			}
		})
	}
}

var built struct {
	sync.Once
	path string
	err  error
}

// program is the whole suite as it is shipped: a test binary has descriptors open
// that a program has not, and no -b would reach it.
func program(t *testing.T) string {
	t.Helper()
	built.Do(func() {
		built.path = filepath.Join(scratch, "upkeep")
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -E _upkeep_start", "-o", built.path, "upkeep/cmd/upkeep")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("%v\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

// observe runs the case in a tree of its own.
func (c peerCase) observe(t *testing.T, run func(clitest.Cmd) clitest.Result) clitest.Result {
	t.Helper()
	site := svctest.Build(t, c.tree)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for p, n := range c.tree {
		if n == svctest.FIFO() {
			continue
		}
		b, err := os.ReadFile(site.Path(p))
		if text, ok := strings.CutPrefix(string(b), executableMark); ok && err == nil {
			writeScript(t, site.Path(p), text)
		}
	}
	if c.locked {
		f, err := os.Create(site.Path("lock"))
		check(err)
		defer f.Close()
		check(unix.Flock(int(f.Fd()), unix.LOCK_EX))
	}
	cmd := clitest.Cmd{Dir: site.Root, Env: c.env, Nobody: c.nobody}
	if cmd.Env == nil {
		cmd.Env = env(path)
	}
	for _, w := range strings.Split(c.args, " ") {
		if probe, ok := probes[w]; ok {
			cmd.Args = append(cmd.Args, "sh", "-c", probe)
			continue
		}
		cmd.Args = append(cmd.Args, strings.ReplaceAll(strings.Trim(w, "'"), "\t", " "))
	}
	r := run(cmd)
	r.Stdout = c.normal(r.Stdout, site.Root)
	r.Stderr = c.normal(r.Stderr, site.Root)
	return r
}

var varying = regexp.MustCompile(`(pipe|socket):\[\d+\]`)

// normal takes out what has to differ.
func (c peerCase) normal(s, root string) string {
	s = strings.ReplaceAll(s, root, "ROOT")
	s = varying.ReplaceAllString(s, "$1")
	if c.usage {
		s = strings.ReplaceAll(s, " [-C pwd]", "")
	}
	if strings.HasSuffix(c.args, " env") && c.code == 0 {
		lines := strings.SplitAfter(s, "\n")
		lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "UPKEEP_DIALECT=") })
		slices.Sort(lines)
		s = strings.Join(lines, "")
	}
	return s
}
