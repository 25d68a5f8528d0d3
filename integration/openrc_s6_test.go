package integration

import (
	"regexp"
	"testing"
)

// openrcShort has the backend's pauses be shorter than a second and a half.
const openrcShort = "sleep() { /usr/bin/sleep 0.2; }\n"

// openrcS6 is services as OpenRC's guide to s6 has them.
var openrcS6 = tree{
	// OpenRC itself ships one like this, Debian does not. The backend does not wait for it.
	"etc/init.d/s6-svscan!": `#!/sbin/openrc-run
supervisor=supervise-daemon
command=/usr/bin/s6-svscan
command_args="$RC_SVCDIR/s6-scan"
start_pre() { mkdir -p "$RC_SVCDIR/s6-scan"; }
start_post() { until s6-svscanctl "$RC_SVCDIR/s6-scan" 2>/run/refused; do /usr/bin/sleep 0.02; done; }
`,
	"etc/init.d/demo!": "#!/sbin/openrc-run\nsupervisor=s6\n" + openrcShort + "s6_service_path=/etc/sv/demo\ndepend() { need s6-svscan; }\n",
	"etc/init.d/ready!": "#!/sbin/openrc-run\nsupervisor=s6\n" + openrcShort + "s6_service_path=/etc/sv/ready\n" +
		"s6_svwait_options_start='-U -t 5000'\ndepend() { need s6-svscan; }\n",
	"etc/init.d/deaf!": "#!/sbin/openrc-run\nsupervisor=s6\n" + openrcShort + "s6_service_path=/etc/sv/deaf\n" +
		"s6_service_timeout_stop=200\ndepend() { need s6-svscan; }\n",
	"etc/init.d/dies!":             "#!/sbin/openrc-run\nsupervisor=s6\n" + openrcShort + "s6_service_path=/etc/sv/dies\ndepend() { need s6-svscan; }\n",
	"etc/init.d/above!":            "#!/sbin/openrc-run\nsupervisor=s6\ndepend() { need dies; }\n",
	"etc/init.d/front!":            "#!/sbin/openrc-run\nsupervisor=s6\n" + openrcShort + "s6_service_path=/etc/sv/front\ndepend() { need demo; }\n",
	"etc/init.d/none!":             "#!/sbin/openrc-run\nsupervisor=s6\n" + openrcShort + "s6_service_path=/etc/sv/none\n",
	"etc/sv/demo/run!":             "#!/bin/sh\necho started >>/run/logged\nexec sleep 1000\n",
	"etc/sv/dies/run!":             "#!/bin/sh\nexit 7\n",
	"etc/sv/front/run!":            "#!/bin/sh\nexec sleep 1000\n",
	"etc/sv/demo/finish!":          "#!/bin/sh\necho finished >>/run/logged\n",
	"etc/sv/ready/run!":            "#!/bin/sh\necho ready >>/run/logged\necho >&3\nexec sleep 1000\n",
	"etc/sv/ready/notification-fd": "3\n",
	"etc/sv/deaf/run!":             "#!/bin/sh\ntrap '' TERM\n: >/run/deaf\nexec sleep 1000\n",
}

const openrcS6Script = `
: >/run/logged
pid() { s6-svstat -p /run/openrc/s6-scan/$1; }
logged() { until [ "$(grep -c $1 /run/logged)" = $2 ]; do sleep 0.02; done; echo "$1 $2 times"; }
# another waits until demo is another process than p.
another() { until n=$(pid demo) && [ "$n" -gt 0 ] && [ "$n" != "$p" ]; do sleep 0.02; done; p=$n; }

rc demo start; another; logged started 1
ls -l /run/openrc/s6-scan | grep -o 'demo.*'
rc demo status
rc demo restart; another; logged finished 1; logged started 2
kill -KILL $p; another; logged finished 2; logged started 3
rc demo zap; rc demo start; [ "$(pid demo)" = $p ] && echo same process
rc demo stop; logged finished 3
rc demo status
rc ready start; logged ready 1
s6-svstat -o ready /run/openrc/s6-scan/ready
rc ready stop
rc deaf start
until [ -e /run/deaf ]; do sleep 0.02; done
rc deaf stop
rc none start; rc none status
rc above start
# Who is needed comes first, and takes along who needs it.
rc front start; another; logged started 4
rc demo stop; logged finished 4
rc front status
rc s6-svscan stop
`

// TestOpenRCS6 has OpenRC, as it is, start, stop, restart and show services by s6: ours,
// and the real one to see that it is the same.
func TestOpenRCS6(t *testing.T) {
	t.Parallel()
	var programs []string
	for _, name := range []string{"svscan", "supervise", "svscanctl", "svc", "svstat", "svwait", "svok"} {
		programs = append(programs, "/usr/bin/s6-"+name)
	}
	for name, list := range map[string][]string{"ours": programs, "real": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			peer(t, "s6-svscan")
			got := playOpenRC(t, openrcScene{openrcS6, list, openrcS6Script})
			if got = regexp.MustCompile(`\d+ seconds`).ReplaceAllString(got, "N seconds"); got != openrcS6Said {
				t.Errorf("the scene differs:\n%s", diff(openrcS6Said, got))
			}
		})
	}
}

const openrcS6Said = `# demo start
 * Starting s6-svscan ... [ ok ]
 * Starting demo ... [ ok ]
exit 0
started 1 times
demo -> /etc/sv/demo
# demo status
up (pid N) N seconds
exit 0
# demo restart
 * Stopping demo ... [ ok ]
 * Starting demo ... [ ok ]
exit 0
finished 1 times
started 2 times
finished 2 times
started 3 times
# demo zap
 * Manually resetting demo to stopped state
exit 0
# demo start
 * Starting demo ... [ ok ]
exit 0
same process
# demo stop
 * Stopping demo ... [ ok ]
exit 0
finished 3 times
# demo status
down (signal SIGTERM) N seconds, normally up, ready N seconds
exit 0
# ready start
 * Starting ready ... [ ok ]
exit 0
ready 1 times
true
# ready stop
 * Stopping ready ... [ ok ]
exit 0
# deaf start
 * Starting deaf ... [ ok ]
exit 0
# deaf stop
 * Stopping deaf ...s6-svlisten1: fatal: timed out

 * Sending DOWN & KILL for deaf
 [ ok ]
exit 0
# none start
 * /etc/sv/none does not exist.
 * ERROR: none failed to start
exit 1
# none status
 * status: stopped
exit 3
# above start
 * Starting dies ...
 * Failed to start dies
 [ !! ]
 * ERROR: dies failed to start
 * ERROR: cannot start above as dies would not start
exit 1
# front start
 * Starting demo ... [ ok ]
 * Starting front ... [ ok ]
exit 0
started 4 times
# demo stop
 * Stopping front ... [ ok ]
 * Stopping demo ... [ ok ]
exit 0
finished 4 times
# front status
down (signal SIGTERM) N seconds, normally up, ready N seconds
exit 0
# s6-svscan stop
 * Stopping s6-svscan ... [ ok ]
exit 0
`
