package integration

import (
	"os"
	"strings"
	"testing"
)

// bootScript runs svscanboot and shows what comes of it. $1 is svscanboot, $2 the
// real supervise, $3 a directory for output. It runs in namespaces of its own, as
// process 1: the host's directories are out of sight, and nothing is left over.
const bootScript = `
mount -t tmpfs none /etc && mkdir -p /etc/service/good /etc/service/logged/log /etc/service/.hidden || exit 1
cat >/etc/service/good/run <<END
#!/bin/sh
tr '\0' '\n' </proc/\$\$/environ >$3/env.new
readlink /proc/\$\$/fd/0 >>$3/env.new
mv $3/env.new $3/env
exec sleep 1000
END
printf '#!/bin/sh\nexec sleep 1000\n' >/etc/service/logged/run
cp /etc/service/logged/run /etc/service/logged/log/run
cp /etc/service/logged/run /etc/service/.hidden/run
chmod +x /etc/service/*/run /etc/service/*/log/run /etc/service/.hidden/run
ln -s nowhere /etc/service/broken

await() { n=0; while test $n -lt 1000 && ! "$@"; do sleep 0.02; n=$((n+1)); done; }
up() { test -p "$1/supervise/ok" && svok "$1"; }
"$2" /etc/service/logged & main=$!
"$2" /etc/service/logged/log & log=$!
"$2" /etc/service/.hidden & hidden=$!
for d in logged logged/log .hidden; do await up /etc/service/$d; done

FOO=bar "$1" ignored <"$0" & boot=$!
wait $main; echo "the old one: $?"
wait $log; echo "its logger: $?"
kill -0 $hidden && echo "the hidden one goes on"

shows() { for p in /proc/[0-9]*; do
	case "$(tr '\0' ' ' <$p/cmdline)" in "$1"*) pid=${p#/proc/}; return 0;; esac
done; return 1; }
await test -e $3/env; echo "run:"; cat $3/env
await shows 'svscan '; scanner=$pid
await shows 'readproctitle '; display=$pid
told() { tr '\0' ' ' </proc/$display/cmdline | grep -q 'unable to stat broken'; }
await told
for p in $scanner $display; do
	tr '\0' '|' </proc/$p/cmdline | head -1 | cut -d '|' -f 1-3
	tr '\0' '\n' </proc/$p/environ
	for f in 0 1 2; do readlink /proc/$p/fd/$f | sed 's/[0-9]*//g'; done
	test "$(ps -o ppid= $p)" -eq $boot && echo "a child"
done
tr '\0' '\n' </proc/$display/cmdline | tail -n +4 | wc -c
kill $scanner; kill -KILL $display 2>/dev/null; wait $boot; echo "exit $?"
`

// TestSvscanbootLikeReal: the processes, their arguments, environment and files.
func TestSvscanbootLikeReal(t *testing.T) {
	t.Parallel()
	needRoot(t)
	if _, err := os.Stat("/service"); err == nil {
		t.Skip("this host has a /service, which ours would take")
	}
	var seen [2]string
	for k, program := range []string{peer(t, "svscanboot"), ours(t, "svscanboot")} {
		s := newSite(t, tree{"out/": "", "boot": bootScript})
		r := s.run("/usr/bin/unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
			"/bin/sh", s.path("boot"), program, peer(t, "supervise"), s.path("out"))
		seen[k] = strings.TrimSpace(r.String())
		if !strings.Contains(r.stdout, "\n401\n") {
			t.Errorf("%s: %v", program, r)
		}
		if r.stderr != "" {
			t.Errorf("%s: %q", program, r.stderr)
		}
	}
	compareTrees(t, "what is seen", seen[1], seen[0])
}
