package integration

import "testing"

// openrcRunit is services with supervisor=runit.
var openrcRunit = tree{
	// OpenRC itself ships one like this, Debian does not.
	"etc/init.d/runsvdir!": `#!/sbin/openrc-run
supervisor=supervise-daemon
command=/usr/bin/runsvdir
command_args="-P $RC_SVCDIR/sv 'log: ...........'"
start_pre() { mkdir -p "$RC_SVCDIR/sv"; }
`,
	"etc/init.d/demo!":   "#!/sbin/openrc-run\nsupervisor=runit\ndepend() { need runsvdir; }\n",
	"etc/init.d/front!":  "#!/sbin/openrc-run\nsupervisor=runit\ndepend() { need demo; }\n",
	"etc/init.d/none!":   "#!/sbin/openrc-run\nsupervisor=runit\n",
	"etc/init.d/above!":  "#!/sbin/openrc-run\nsupervisor=runit\ndepend() { need none; }\n",
	"etc/sv/demo/run!":   "#!/bin/sh\necho started\nexec sleep 1000\n",
	"etc/sv/front/run!":  "#!/bin/sh\nexec sleep 1000\n",
	"etc/sv/demo/finish": "#!/bin/sh\necho finished\n",
	"etc/sv/demo/log/run!": `#!/bin/sh
exec cat >>/run/logged
`,
}

const openrcRunitScript = `
chmod +x /etc/sv/demo/finish
pid() { cat /etc/sv/demo/supervise/pid; }
# another waits until the service is another process than p.
another() {
	until n=$(pid); [ "$n" ] && [ "$n" != "$p" ] && grep -qs sleep /proc/$n/comm; do /usr/bin/sleep 0.02; done
	p=$n
}
same() { [ "$(pid)" = $p ] && kill -0 $p && echo same process; }
logged() { until [ "$(grep -c $1 /run/logged)" = $2 ]; do sleep 0.02; done; echo "$1 $2 times"; }

rc demo start; another; logged started 1
ls -l /run/openrc/sv | grep -o 'demo.*'
rc demo status
rc demo start
rc demo restart; another; logged finished 1; logged started 2
kill -KILL $p; another; logged finished 2; logged started 3
rc demo status
# The scanner dies, and OpenRC starts another one.
scanner=$(pgrep -x runsvdir); kill -KILL $scanner
until n=$(pgrep -x runsvdir) && [ "$n" != $scanner ]; do sleep 0.02; done
until sv status /run/openrc/sv/demo >/run/status; do sleep 0.02; done
same; rc demo status
kill -KILL $p; another; logged started 4
rc demo zap; same
rc demo start; same
rc demo stop; logged finished 4; kill -0 $p 2>/run/gone || echo gone
ls /run/openrc/sv
rc demo status
rc demo stop
rc none start; rc none status; rc none stop; rc above start
# Who is needed comes first, and takes along who needs it.
rc front start; another; logged started 5
rc runsvdir stop; logged finished 5
`

const openrcRunitSaid = `# demo start
 * Starting runsvdir ... [ ok ]
 * Starting demo ... [ ok ]
exit 0
started 1 times
demo -> /etc/sv/demo
# demo status
run: /run/openrc/sv/demo: (pid N) Ns; run: log: (pid N) Ns
exit 0
# demo start
 * WARNING: demo has already been started
exit 0
# demo restart
 * Stopping demo ... [ ok ]
 * Starting demo ... [ ok ]
exit 0
finished 1 times
started 2 times
finished 2 times
started 3 times
# demo status
run: /run/openrc/sv/demo: (pid N) Ns; run: log: (pid N) Ns
exit 0
same process
# demo status
run: /run/openrc/sv/demo: (pid N) Ns; run: log: (pid N) Ns
exit 0
started 4 times
# demo zap
 * Manually resetting demo to stopped state
exit 0
same process
# demo start
 * Starting demo ... [ ok ]
exit 0
same process
# demo stop
 * Stopping demo ... [ ok ]
exit 0
finished 4 times
gone
# demo status
fail: /run/openrc/sv/demo: unable to change to service directory: file does not exist
exit 1
# demo stop
 * WARNING: demo is already stopped
exit 0
# none start
 * Runit service /etc/sv/none not found
 * ERROR: none failed to start
exit 1
# none status
 * Runit service /etc/sv/none not found
exit 1
# none stop
 * WARNING: none is already stopped
exit 0
# above start
 * Runit service /etc/sv/none not found
 * ERROR: none failed to start
 * ERROR: cannot start above as none would not start
exit 1
# front start
 * Starting demo ... [ ok ]
 * Starting front ... [ ok ]
exit 0
started 5 times
# runsvdir stop
 * Stopping front ... [ ok ]
 * Stopping demo ... [ ok ]
 * Stopping runsvdir ... [ ok ]
exit 0
finished 5 times
`

// openrcFailing is services that do not start, or do not stop.
var openrcFailing = tree{
	"etc/init.d/runsvdir!": openrcRunit["etc/init.d/runsvdir!"],
	// The backend's pauses need not be a second for this.
	"etc/init.d/unready!":   "#!/sbin/openrc-run\nsupervisor=runit\nexport SVWAIT=0\nsleep() { /usr/bin/sleep 0.1; }\ndepend() { need runsvdir; }\n",
	"etc/init.d/deaf!":      "#!/sbin/openrc-run\nsupervisor=runit\nexport SVWAIT=1\ndepend() { need runsvdir; }\n",
	"etc/sv/unready/run!":   "#!/bin/sh\nexec sleep 1000\n",
	"etc/sv/unready/check!": "#!/bin/sh\nexit 1\n",
	"etc/sv/deaf/run!":      "#!/bin/sh\ntrap '' TERM\necho >/run/deaf\nwhile :; do sleep 0.02; done\n",
}

const openrcFailingScript = `
rc unready start
ls /run/openrc/sv
rc unready status
while pgrep -f 'sleep 1000' >/run/left; do sleep 0.02; done; echo gone
rc deaf start
until [ -e /run/deaf ]; do sleep 0.02; done
rc deaf stop
rc-status -s | grep deaf | tr -s ' '
ls /run/openrc/sv
rc deaf status
sv kill /run/openrc/sv/deaf
until sv status /run/openrc/sv/deaf | grep -q ^down; do sleep 0.02; done
rc deaf stop
rc runsvdir stop
`

const openrcFailingSaid = `# unready start
 * Starting runsvdir ... [ ok ]
 * Starting unready ...
 * Failed to start unready
 [ !! ]
 * ERROR: unready failed to start
exit 1
# unready status
fail: /run/openrc/sv/unready: unable to change to service directory: file does not exist
exit 1
gone
# deaf start
 * Starting deaf ... [ ok ]
exit 0
# deaf stop
 * Stopping deaf ...
 * Failed to stop deaf
 [ !! ]
 * ERROR: deaf failed to stop
exit 1
 deaf [ started ]
deaf
# deaf status
run: /run/openrc/sv/deaf: (pid N) Ns, want down, got TERM
exit 0
# deaf stop
 * Stopping deaf ... [ ok ]
exit 0
# runsvdir stop
 * Stopping runsvdir ... [ ok ]
exit 0
`

// TestOpenRCRunit has OpenRC, as it is, start, stop, restart and show a service by runit:
// ours, and the real one to see that it is the same.
func TestOpenRCRunit(t *testing.T) {
	t.Parallel()
	programs := []string{"/usr/bin/runsvdir", "/usr/bin/runsv", "/usr/bin/sv"}
	check := func(t *testing.T, c openrcScene, want string) {
		t.Helper()
		if got := playOpenRC(t, c); got != want {
			t.Errorf("the scene differs:\n%s", diff(want, got))
		}
	}
	t.Run("ours", func(t *testing.T) {
		t.Parallel()
		// Nothing is left of it. Of runit there is runsv, until a scan that nobody makes.
		check(t, openrcScene{openrcRunit, programs, openrcRunitScript + "while pgrep 'runsv|cat' >/run/left; do sleep 0.02; done\n"}, openrcRunitSaid)
	})
	t.Run("real", func(t *testing.T) {
		t.Parallel()
		peer(t, "runsvdir")
		check(t, openrcScene{openrcRunit, nil, openrcRunitScript}, openrcRunitSaid)
	})
	t.Run("failing, ours", func(t *testing.T) {
		t.Parallel()
		check(t, openrcScene{openrcFailing, programs, openrcFailingScript}, openrcFailingSaid)
	})
	t.Run("failing, real", func(t *testing.T) {
		t.Parallel()
		peer(t, "runsvdir")
		check(t, openrcScene{openrcFailing, nil, openrcFailingScript}, openrcFailingSaid)
	})
	// The script of the backend tries six times, with a second between. Ours is there for
	// the first time, whenever that is.
	t.Run("soon", func(t *testing.T) {
		t.Parallel()
		check(t, openrcScene{openrcRunit, programs, `
rc-service runsvdir start >/run/said
slept >/run/said
for pause in 0 0.1 0.3 0.5 0.7; do
	/usr/bin/sleep $pause
	rc-service demo start >/run/said && [ $(slept) = 0 ] && echo soon
	rc-service demo stop >/run/said
done
`}, "soon\nsoon\nsoon\nsoon\nsoon\n")
	})
}
