package integration

import (
	"strings"
	"testing"
)

// openrcGeneric is the init script for any supervision suite (openrc.md, section 9), and a
// service. OpenRC's own start-stop-daemon waits 5 s for an end if nobody says otherwise;
// that of Debian does not, and has to be told.
var openrcGeneric = tree{
	"etc/init.d/supervision!": `#!/sbin/openrc-run
command=$SV_CMD
command_args=$SV_OPTS
command_background=yes
pidfile=/run/$(basename $SV_CMD).pid
stop_pre() {
	$SVC_CMD $SVC_OPTS $SV_RUNDIR/*
	return 0
}
`,
	"etc/service/demo@": "/etc/sv/demo",
	"etc/service/gone@": "/etc/sv/gone",
	"etc/service/file":  "",
	"etc/sv/demo/run!":  "#!/bin/sh\necho started >>/run/logged\nexec sleep 1000\n",
}

const openrcGenericScript = `
pid() { pgrep -xf '.*sleep 1000'; }
logged() { until [ "$(grep -c started /run/logged)" = $1 ]; do sleep 0.02; done 2>/run/null; echo started $1 times; }
# crash kills, and waits until that is seen.
crash() { kill -KILL $1; while kill -0 $1 2>/run/null; do sleep 0.02; done; }
rc supervision start; logged 1
s=$(cat /run/$S.pid); tr '\0' ' ' </proc/$s/cmdline; echo
rc supervision status
rc supervision start
until p=$(pid); do sleep 0.02; done
rc supervision restart; eval "$AGAIN"
p=$(pid); crash $p; logged 3
# A crash of the scanner is nobody else's. Debian's start-stop-daemon has nothing recorded.
until p=$(pid); do sleep 0.02; done
crash $(cat /run/$S.pid)
rc supervision status
rc supervision zap
rc supervision start; [ "$(pid)" = $p ] && echo same process
crash $p; logged 4
until p=$(pid); do sleep 0.02; done
rc supervision stop
[ "$(pid)" = $p ] && echo still there
rc supervision status
`

const openrcGenericSaid = `# supervision start
 * Starting supervision ... [ ok ]
exit 0
started 1 times
/usr/bin/SCANNER /etc/service 
# supervision status
 * status: started
exit 0
# supervision start
 * WARNING: supervision has already been started
exit 0
# supervision restart
WARNINGS * Stopping supervision ... [ ok ]
 * Starting supervision ... [ ok ]
exit 0
AGAINstarted 3 times
# supervision status
 * status: started
exit 0
# supervision zap
 * Manually resetting supervision to stopped state
exit 0
# supervision start
 * Starting supervision ... [ ok ]
exit 0
same process
started 4 times
# supervision stop
WARNINGS * Stopping supervision ... [ ok ]
exit 0
LEFT# supervision status
 * status: stopped
exit 3
`

// TestOpenRCGeneric has the scanners started, stopped and restarted by that script as it
// is, and killed. As the wiki has it, with svc -x, the real ones leave their services behind.
func TestOpenRCGeneric(t *testing.T) {
	t.Parallel()
	const anew, stays = "logged 2", `[ "$(pid)" = $p ] && echo same process; echo started >>/run/logged`
	for _, c := range []struct{ name, scanner, client, options, again string }{
		{"ours, as written", "svscan", "svc", "-x", anew},
		{"ours, -dx", "svscan", "svc", "-dx", anew},
		{"ours, runit", "runsvdir", "sv", "exit", anew},
		{"real, as written", "svscan", "svc", "-x", stays},
		{"real, runit", "runsvdir", "sv", "exit", anew},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			files := tree{"etc/conf.d/supervision": "SV_CMD=/usr/bin/" + c.scanner + "\nSV_RUNDIR=/etc/service\nSV_OPTS=$SV_RUNDIR\n" +
				"SVC_CMD=" + c.client + "\nSVC_OPTS=" + c.options + "\nretry=TERM/5\n"}
			for name, content := range openrcGeneric {
				files[name] = content
			}
			var programs []string
			again, left := "started 2 times\n", ""
			if strings.HasPrefix(c.name, "ours") {
				programs = strings.Fields("/usr/bin/svscan /usr/bin/supervise /usr/bin/svc /usr/bin/runsvdir /usr/bin/runsv /usr/bin/sv")
				files["etc/sv/demo/log/run!"] = faultCat
			} else {
				peer(t, c.scanner)
			}
			got := playOpenRC(t, openrcScene{files, programs, "S=" + c.scanner + " AGAIN='" + c.again + "'\n: >/run/logged\n" + openrcGenericScript})
			if c.again == stays {
				again, left = "same process\n", "still there\n"
			}
			warnings := "svc: warning: unable to chdir to /etc/service/file: not a directory\nsvc: warning: unable to chdir to /etc/service/gone: file does not exist\n"
			if c.client == "sv" {
				warnings = "fail: /etc/service/file: unable to change to service directory: not a directory\nfail: /etc/service/gone: unable to change to service directory: file does not exist\n"
			}
			if want := strings.NewReplacer("SCANNER", c.scanner, "WARNINGS", warnings, "AGAIN", again, "LEFT", left).Replace(openrcGenericSaid); got != want {
				t.Errorf("the scene differs:\n%s", diff(want, got))
			}
		})
	}
}
