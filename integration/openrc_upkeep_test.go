package integration

import (
	"os"
	"regexp"
	"testing"
)

// openrcUpkeep is services under our own backend, and its files where they belong.
func openrcUpkeep(t *testing.T) tree {
	files := tree{
		"etc/init.d/localmount!": "#!/sbin/openrc-run\nstart() { :; }\n",
		"etc/init.d/demo!":       "#!/sbin/openrc-run\nsupervisor=upkeep\ndepend() { need upkeep-scan; }\n",
		"etc/init.d/front!":      "#!/sbin/openrc-run\nsupervisor=upkeep\nupkeep_service=/srv/front\ndepend() { need demo; }\n",
		"etc/init.d/dies!":       "#!/sbin/openrc-run\nsupervisor=upkeep\ndepend() { need upkeep-scan; }\n",
		"etc/init.d/deaf!": "#!/sbin/openrc-run\nsupervisor=upkeep\nsettle=0 timeout_down=100\n" +
			"depend() { need upkeep-scan; }\n",
		"etc/init.d/late!":            "#!/sbin/openrc-run\nsupervisor=upkeep\ntimeout_ready=100\n",
		"etc/init.d/none!":            "#!/sbin/openrc-run\nsupervisor=upkeep\n",
		"etc/sv/demo/run!":            "#!/bin/sh\necho started >>/run/logged\necho >&3\nexec sleep 1000\n",
		"etc/sv/demo/finish!":         "#!/bin/sh\necho finished >>/run/logged\n",
		"etc/sv/demo/notification-fd": "3\n",
		"etc/sv/dies/run!":            "#!/bin/sh\necho no luck\nexit 7\n",
		"etc/sv/dies/log/multilog":    "./main\n",
		"etc/sv/deaf/run!":            "#!/bin/sh\ntrap '' TERM\n: >/run/deaf\nexec sleep 1000\n",
		"etc/sv/late/run!":            "#!/bin/sh\nexec sleep 1000\n",
		"etc/sv/late/notification-fd": "3\n",
		"etc/init.d/above!":           "#!/sbin/openrc-run\nsupervisor=upkeep\nupkeep_service=/srv/front\ndepend() { need dies; }\n",
		"etc/init.d/frail!": "#!/sbin/openrc-run\nsupervisor=upkeep\nrespawn_max=2 respawn_period=60\n" +
			"depend() { need upkeep-scan; }\n",
		"etc/init.d/slow!": "#!/sbin/openrc-run\nsupervisor=upkeep\nupkeep_service=/srv/front\nrespawn_delay=1000 respawn_max=1m\n" +
			"depend() { need upkeep-scan; }\n",
		"etc/init.d/sick!": `#!/sbin/openrc-run
supervisor=upkeep
upkeep_service=/srv/sick
healthcheck_timer=1
healthcheck_timeout=1
depend() { need upkeep-scan; }
healthcheck() {
	echo checked >>/run/logged
	case $(cat /run/health) in
	bad) return 1 ;;
	hangs) sleep 1000 ;;
	esac
}
unhealthy() { echo unhealthy >>/run/logged; echo good >/run/health; }
`,
		"etc/sv/frail/run!": "#!/bin/sh\necho tried >>/run/logged\n[ -e /run/broken ] || exec sleep 1000\nexit 7\n",
		"srv/sick/run!":     "#!/bin/sh\necho started >>/run/logged\nexec sleep 1000\n",
		"srv/front/run!":    "#!/bin/sh\nexec sleep 1000\n",
	}
	for from, to := range map[string]string{
		"upkeep.conf": "etc/rc.conf.d/upkeep.conf", "openrc.sh": "usr/share/upkeep/openrc.sh",
		"openrc-health.sh": "usr/share/upkeep/openrc-health.sh", "upkeep-scan.initd": "etc/init.d/upkeep-scan!",
	} {
		b, err := os.ReadFile("openrc/" + from)
		if err != nil {
			t.Fatal(err)
		}
		files[to] = string(b)
	}
	return files
}

const openrcUpkeepScript = `
tree=/run/openrc/upkeep
: >/run/logged
pid() { upkeep -s $tree state $1 | sed -n 's/^[ru][a-z]* //p'; }
logged() { until [ "$(grep -c $1 /run/logged)" = $2 ]; do sleep 0.02; done; echo "$1 $2 times"; }

rc demo start; p=$(pid demo); logged started 1
ls $tree
rc demo status
rc-status -s | grep demo | tr -s ' ' | grep -o 'demo.*'
rc demo start
rc front start
rc front status
rc front stop
rc front status
# A crash is mended, and the scanner's is none.
kill -KILL $p
until n=$(pid demo) && [ "$n" -gt 0 ] 2>/run/null && [ $n != $p ]; do sleep 0.02; done
logged started 2; p=$n
scanner=$(pgrep -x svscan); kill -KILL $scanner
until n=$(pgrep -x svscan) && [ "$n" != $scanner ]; do sleep 0.02; done
until upkeep -s $tree ping 2>/run/null; do sleep 0.02; done
until [ "$(pid demo)" = $p ]; do sleep 0.02; done; echo same process
rc demo zap; [ "$(pid demo)" = $p ] && echo same process
rc demo start; [ "$(pid demo)" = $p ] && echo same process
rc demo restart; logged finished 2; logged started 3
# A start that fails, fails, and leaves nothing.
rc dies start
ls $tree
rc dies status
rc late start
rc none start
rc none stop
# One that does not end is a failure, and still there.
rc deaf start
until [ -e /run/deaf ]; do sleep 0.02; done
rc deaf stop
rc deaf status
upkeep -s $tree stop --kill-after 1 deaf
rc deaf status
rc deaf stop
# Who is needed takes along who needs it.
rc front start
rc demo stop >/run/null; logged finished 3
ls $tree
rc front status
rc demo status
# And who needs brings up.
rc front start
rc upkeep-scan stop
`

const openrcUpkeepFailing = `
tree=/run/openrc/upkeep
: >/run/logged
echo good >/run/health
pid() { upkeep -s $tree state $1 | sed -n 's/^[ru][a-z]* //p'; }
logged() { until [ "$(grep -c $1 /run/logged)" -ge $2 ]; do sleep 0.02; done; echo "$1 $2 times"; }
shown() { rc-status -s | tr -s ' ' | grep "^ $1 " | sed 's/[0-9:]* (.*)/(TIME)/'; }
state() { until upkeep -s $tree state $1 | grep "$2"; do sleep 0.02; done; }

# Who needs what cannot be started is not started either.
rc above start
rc above status
# What ends too often is down for good, and shown as crashed.
rc frail start; shown frail
p=$(pid frail); kill -KILL $p
until n=$(cat /etc/sv/frail/supervise/pid) && [ "$n" ] && [ $n != $p ]; do sleep 0.02; done; shown frail
: >/run/broken; kill -KILL $n; state frail failed; until [ ! -s /etc/sv/frail/supervise/pid ]; do sleep 0.02; done
rc frail status; shown frail
rc-service --ifstopped frail start >/run/null; shown frail
rm /run/broken; rc-service --ifcrashed frail restart; shown frail
rc frail stop; shown frail
# While it waits for its turn it has crashed.
rc slow start; shown slow
kill -KILL $(pid slow); state slow backoff; until [ ! -s /srv/front/supervise/pid ]; do sleep 0.02; done
rc slow status; shown slow
rc slow stop; ls -A $tree/.policy
# Health.
rc sick start; logged checked 1; p=$(pid sick)
echo bad >/run/health; logged unhealthy 1; logged started 2; [ "$(pid sick)" != $p ] && echo another process
echo hangs >/run/health; logged unhealthy 2; logged started 3
rc sick status
rc sick zap; rc sick start
rc sick stop; ls $tree
n=$(wc -l </run/logged); sleep 1.2; [ $n = $(wc -l </run/logged) ] && echo no checks any more
rc upkeep-scan stop
`

// TestOpenRCUpkeepFailing is what becomes of services that do not work.
func TestOpenRCUpkeepFailing(t *testing.T) {
	t.Parallel()
	playOpenRCUpkeep(t, openrcUpkeepFailing, openrcUpkeepFailingSaid)
}

// playOpenRCUpkeep plays a script that has to print something.
func playOpenRCUpkeep(t *testing.T, script, want string) {
	t.Helper()
	got := playOpenRC(t, openrcScene{openrcUpkeep(t), []string{"/usr/bin/svscan", "/usr/bin/upkeep"}, script})
	got = regexp.MustCompile(`(ready|up|starting|stopping) \d+`).ReplaceAllString(got, "$1 N")
	if got != want {
		t.Errorf("the scene differs:\n%s", diff(want, got))
	}
}

const openrcUpkeepFailingSaid = `# above start
 * /run/openrc/upkeep: creating directory
 * Starting upkeep-scan ... [ ok ]
 * Starting dies ...upkeep: warning: unable to add dies: exited with 7
no luck

 * Failed to start dies
 [ !! ]
 * ERROR: dies failed to start
 * ERROR: cannot start above as dies would not start
exit 1
# above status
 * status: stopped
exit 3
# frail start
 * Starting frail ... [ ok ]
exit 0
 frail [ started ]
 frail [ started ]
failed exited with 7
# frail status
 * status: crashed (failed exited with 7)
exit 32
 frail [ crashed ]
 frail [ crashed ]
 * Stopping frail ... [ ok ]
 * Starting frail ... [ ok ]
 frail [ started ]
# frail stop
 * Stopping frail ... [ ok ]
exit 0
 frail [ stopped ]
# slow start
 * Starting slow ...
 * respawn_max=1m is not a number, and is not used
 [ ok ]
exit 0
 slow [ started ]
backoff 1
# slow status
 * status: crashed (backoff 1)
exit 32
 slow [ crashed ]
# slow stop
 * Stopping slow ... [ ok ]
exit 0
# sick start
 * Starting sick ... [ ok ]
exit 0
checked 1 times
unhealthy 1 times
started 2 times
another process
unhealthy 2 times
started 3 times
# sick status
 * status: started (up N)
exit 0
# sick zap
 * Manually resetting sick to stopped state
exit 0
# sick start
 * Starting sick ... [ ok ]
exit 0
# sick stop
 * Stopping sick ... [ ok ]
exit 0
no checks any more
# upkeep-scan stop
 * Stopping upkeep-scan ... [ ok ]
exit 0
`

// TestOpenRCUpkeep has OpenRC start, stop, restart and show services by the backend of our
// own.
func TestOpenRCUpkeep(t *testing.T) {
	t.Parallel()
	playOpenRCUpkeep(t, openrcUpkeepScript, openrcUpkeepSaid)
}

const openrcUpkeepSaid = `# demo start
 * /run/openrc/upkeep: creating directory
 * Starting upkeep-scan ... [ ok ]
 * Starting demo ... [ ok ]
exit 0
started 1 times
demo
# demo status
 * status: started (ready N)
exit 0
demo [ started ]
# demo start
 * WARNING: demo has already been started
exit 0
# front start
 * Starting front ... [ ok ]
exit 0
# front status
 * status: started (up N)
exit 0
# front stop
 * Stopping front ... [ ok ]
exit 0
# front status
 * status: stopped
exit 3
started 2 times
same process
# demo zap
 * Manually resetting demo to stopped state
exit 0
same process
# demo start
 * Starting demo ... [ ok ]
exit 0
same process
# demo restart
 * Stopping demo ... [ ok ]
 * Starting demo ... [ ok ]
exit 0
finished 2 times
started 3 times
# dies start
 * Starting dies ...upkeep: warning: unable to add dies: exited with 7
no luck

 * Failed to start dies
 [ !! ]
 * ERROR: dies failed to start
exit 1
demo
# dies status
 * status: stopped
exit 3
# late start
 * Starting late ...upkeep: warning: unable to add late: the time is over: starting N

 * Failed to start late
 [ !! ]
 * ERROR: late failed to start
exit 1
# none start
 * Starting none ...upkeep: warning: unable to add none: /etc/sv/none: no such file or directory

 * Failed to start none
 [ !! ]
 * ERROR: none failed to start
exit 1
# none stop
 * WARNING: none is already stopped
exit 0
# deaf start
 * Starting deaf ... [ ok ]
exit 0
# deaf stop
 * Stopping deaf ...upkeep: warning: unable to stop deaf: the time is over: stopping N

 * Failed to stop deaf
 [ !! ]
 * ERROR: deaf failed to stop
exit 1
# deaf status
 * status: stopping (stopping N)
exit 4
# deaf status
 * status: crashed (taken down outside OpenRC)
exit 32
# deaf stop
 * Stopping deaf ... [ ok ]
exit 0
# front start
 * Starting front ... [ ok ]
exit 0
finished 3 times
# front status
 * status: stopped
exit 3
# demo status
 * status: stopped
exit 3
# front start
 * Starting demo ... [ ok ]
 * Starting front ... [ ok ]
exit 0
# upkeep-scan stop
 * Stopping front ... [ ok ]
 * Stopping demo ... [ ok ]
 * Stopping upkeep-scan ... [ ok ]
exit 0
`
