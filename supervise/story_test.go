package supervise

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Stories are what one service lives through, event by event, with the actions
// that have to follow, in order. The clock stands unless an event moves it: "+2s".

type story struct {
	dialect Dialect
	facts   Facts
	tweak   func(*Policy)
	steps   []string // "event" or "event: action action ..."
}

var stories = map[string]story{
	"daemontools: start, crash after a second, crash at once": {
		dialect: Daemontools,
		steps: []string{
			"boot: spawn-run",
			"started: announce up",
			"+2s exit 0: down D spawn-run", // one write for both changes of pid
			"started: announce up",
			"+300ms exit 1: down announce D arm-restart-700ms",
			"+700ms restart: spawn-run",
			"started: announce up",
		},
	},
	"daemontools: d is TERM, CONT, down": {
		dialect: Daemontools,
		steps: []string{
			"boot: spawn-run", "started: announce up",
			"control p: announce STOP",
			"control d: TERM CONT announce",
			"signal 15: down announce D",
			"control u: arm-restart-1s announce", // a second after the last start
			"+1s restart: spawn-run",
		},
	},
	"daemontools: letters reach the process": {
		dialect: Daemontools,
		steps: []string{
			"boot: spawn-run", "started: announce up",
			"control h: HUP", "control a: ALRM", "control i: INT", "control k: KILL",
			"control t: TERM announce", "control c: announce CONT",
			"control q:", "control 1:", "control 2:", "control w:", "control z:", "control L:",
		},
	},
	"daemontools: once": {
		dialect: Daemontools, facts: Facts{Down: true},
		steps: []string{
			"boot: announce", "control o: announce spawn-run", "started: announce up",
			"+5s exit 0: down announce D", "control o: announce spawn-run",
		},
	},
	"daemontools: x sends no signal and leaves with the process": {
		dialect: Daemontools,
		steps: []string{
			"boot: spawn-run", "started: announce up",
			"control x: announce",
			"+5s exit 0: down D announce x close",
		},
	},
	"daemontools: x with nothing running leaves at once": {
		dialect: Daemontools, facts: Facts{Down: true},
		steps: []string{"boot: announce", "control x: announce announce x close", "control u:"},
	},
	"daemontools: finish means nothing": {
		dialect: Daemontools, facts: Facts{Finish: Present, Controls: Present},
		steps: []string{
			"boot: spawn-run", "started: announce up", "+5s exit 0: down D spawn-run",
		},
	},
	"d during the start takes effect after it": {
		dialect: Common,
		steps: []string{
			"boot: spawn-run", "slow: announce", "control d: announce", "started: announce up TERM CONT",
		},
	},
	"run cannot be executed: as if it had ended with 111": {
		dialect: Common, facts: Facts{Finish: Present},
		steps: []string{
			"boot: spawn-run", "noexec: down spawn-finish", "noexec: announce D arm-restart-1s",
			"+1s restart: spawn-run",
		},
	},
	"run is mended: no need to wait": {
		dialect: Common,
		steps: []string{
			"boot: spawn-run", "noexec: down announce D arm-restart-1s",
			"changed: disarm-restart spawn-run", "started: announce up",
		},
	},
	"run is replaced while it waits: no start comes sooner": {
		dialect: Common,
		steps: []string{
			"boot: spawn-run", "started: announce up", "exit 0: down announce D arm-restart-1s", "changed:",
		},
	},
	"fork refused: again after 1, 2, 4 seconds": {
		dialect: Common,
		steps: []string{
			"boot: spawn-run", "nofork: arm-restart-1s announce",
			"+1s restart: spawn-run", "nofork: arm-restart-2s announce",
			"+2s restart: spawn-run", "nofork: arm-restart-4s announce",
			"+4s restart: spawn-run", "started: announce up",
		},
	},
	"runit: finish runs after every end, then a full second": {
		dialect: Runit, facts: Facts{Finish: Present},
		steps: []string{
			"boot: spawn-run", "started: announce up",
			"exit 0: down announce spawn-finish", "started: announce",
			"exit 7: announce D arm-restart-1s",
			"+1s restart: spawn-run", "started: announce up",
			"+3s exit 0: down announce spawn-finish", "started: announce", "exit 0: announce D spawn-run",
		},
	},
	"runit: control/t vetoes TERM, control/d is run": {
		dialect: Runit, facts: Facts{Controls: Present},
		steps: []string{
			"boot: announce consult-u", "consulted: spawn-run", "started: announce up",
			"control d: consult-t announce",
			"vetoed: CONT consult-d announce", "consulted:",
			"+3s exit 0: down announce D",
		},
	},
	"runit: x stops": {
		dialect: Runit,
		steps: []string{
			"boot: spawn-run", "started: announce up",
			"control x: TERM CONT announce", "exit 0: down D announce x close",
		},
	},
	"runit: u withdraws x, and so do d and o": {
		dialect: Runit,
		steps: []string{
			"boot: spawn-run", "started: announce up",
			"control x: TERM CONT announce", "control u: announce",
			"+3s exit 0: down announce D spawn-run", "started: announce up",
			"control x: TERM CONT announce", "control d: TERM CONT announce",
			"+3s exit 0: down announce D", "control x: announce announce x close",
		},
	},
	"runit: a log service knows no x, no scripts, and is not hurried": {
		dialect: Runit, facts: Facts{Finish: Present, Controls: Present},
		tweak: func(p *Policy) {
			*p = p.ForLogs()
			p.DrainFor = 0
		},
		steps: []string{
			"boot: spawn-run", "started: announce up", "control x:",
			"control h: HUP", "drain: announce", "exit 0: disarm-drain down D announce x close",
		},
	},
	"runit: a vetoed k changes nothing": {
		dialect: Runit, facts: Facts{Controls: Present},
		steps: []string{
			"boot: announce consult-u", "vetoed: spawn-run", "started: announce up",
			"control k: consult-k", "vetoed:", "control u: announce",
		},
	},
	"a death while a control script runs waits for its end": {
		dialect: Runit, facts: Facts{Controls: Present},
		steps: []string{
			"boot: announce consult-u", "consulted: spawn-run", "started: announce up",
			"control h: consult-h", "+2s exit 0: down announce", "consulted: announce D announce consult-u",
		},
	},
	"s6: finish 125 ends it for good": {
		dialect: S6, facts: Facts{Finish: Present},
		steps: []string{
			"boot: announce spawn-run", "started: announce up", "exit 0: down announce spawn-finish",
			"started: arm-finish-5s announce", "exit 125: disarm-finish O announce D",
		},
	},
	"s6: the pause counts from readiness, u cuts it": {
		dialect: S6,
		steps: []string{
			"boot: announce spawn-run", "started: announce up", "exit 0: down announce D arm-restart-1s",
			"control u: announce disarm-restart spawn-run", "started: announce up",
			"ready: announce U", "+400ms exit 0: down announce D arm-restart-600ms",
		},
	},
	"s6: run cannot be executed: no death, ten seconds, u cuts them": {
		dialect: S6, facts: Facts{Finish: Present},
		steps: []string{
			"boot: announce spawn-run", "noexec: arm-restart-10s announce",
			"control u: announce disarm-restart spawn-run", "noexec: arm-restart-10s announce",
			"control d: disarm-restart announce D", "control o: announce spawn-run", "noexec: announce",
		},
	},
	"s6: ready after it was told to stop": {
		dialect: S6,
		steps: []string{
			"boot: announce spawn-run", "started: announce up", "control d: TERM CONT announce",
			"ready: announce U", "ready: ", "exit 0: down announce D",
		},
	},
	"s6: x leaves when finish is over": {
		dialect: S6, facts: Facts{Finish: Present},
		steps: []string{
			"boot: announce spawn-run", "started: announce up", "control x: announce",
			"exit 0: down announce spawn-finish", "started: arm-finish-5s announce",
			"exit 0: disarm-finish D announce x close",
		},
	},
	"timeout-ready": {
		dialect: S6, tweak: func(p *Policy) { p.ReadyFor = 3 * time.Second },
		steps: []string{
			"boot: announce spawn-run", "started: announce up arm-ready-3s", "timer ready: ",
			"+3s timer ready: TERM CONT announce", "exit 0: disarm-ready down announce D arm-restart-1s",
			"+1s timer restart: spawn-run", "started: announce up arm-ready-3s",
			"ready: disarm-ready announce U", "+3s timer ready: ", "exit 0: disarm-ready down announce D spawn-run",
		},
	},
	"s6: a finish script that hangs is killed": {
		dialect: S6, facts: Facts{Finish: Present},
		steps: []string{
			"boot: announce spawn-run", "started: announce up", "exit 0: down announce spawn-finish",
			"started: arm-finish-5s announce", "timer finish: KILL CONT arm-finish-5s",
		},
	},
	"encore: start, run, stop": {
		dialect: Encore, facts: Facts{Start: Present, Stop: Present},
		steps: []string{
			"boot: announce spawn-start", "started: announce up", "exit 0: down announce D arm-restart-1s",
			"+1s restart: spawn-run", "started: announce up",
			"control d: TERM CONT announce", "signal 15: down spawn-stop", "started: announce",
			"control d: announce", // a second d leaves stop alone
			"exit 0: announce D",
		},
	},
	"encore: a failing start is final": {
		dialect: Encore, facts: Facts{Start: Present, Stop: Present},
		steps: []string{"boot: announce spawn-start", "started: announce up", "exit 1: down announce D"},
	},
	"encore: run exits 100": {
		dialect: Encore,
		steps:   []string{"boot: announce spawn-run", "started: announce up", "+9s exit 100: down announce D"},
	},
	"encore: no run": {
		dialect: Encore, facts: Facts{NoRun: true},
		steps: []string{"boot: announce announce", "control x: announce announce x close"},
	},
	"timeout-kill": {
		dialect: S6, tweak: func(p *Policy) { p.KillAfter = 3 * time.Second },
		steps: []string{
			"boot: announce spawn-run", "started: announce up",
			"control d: arm-kill-3s TERM CONT announce",
			"timer kill: KILL CONT arm-kill-5s", "signal 9: disarm-kill down announce D",
		},
	},
	"shutdown kills after ten seconds": {
		dialect: Common,
		steps: []string{
			"boot: spawn-run", "started: announce up",
			"shutdown: arm-kill-10s TERM CONT announce", "timer kill: KILL CONT arm-kill-5s",
			"signal 9: disarm-kill down D announce x close",
		},
	},
	"a final end is followed by finish, and by nothing else": {
		dialect: Common, facts: Facts{Finish: Present},
		steps: []string{
			"boot: spawn-run", "started: announce up",
			"+2s final 17: down spawn-finish", "started: announce arm-kill-10s",
			"shutdown:", "exit 0: disarm-kill D announce x close",
		},
	},
	"a final failure to execute": {
		dialect: Common,
		steps:   []string{"boot: spawn-run", "nofinal: down D announce x close"},
	},
	"past the deadline nothing is started": {
		dialect: Common, facts: Facts{Finish: Present, Controls: Present},
		steps: []string{
			"boot: announce consult-u", "consulted: spawn-run", "started: announce up",
			"shutdown: arm-kill-10s consult-t announce", "consulted: TERM CONT consult-d announce", "consulted:",
			"deadline: KILL CONT arm-kill-5s announce", "timer kill: KILL CONT arm-kill-5s",
			"signal 9: disarm-kill down D announce x close",
		},
	},
	"what is being started at the deadline is killed": {
		dialect: Common,
		steps: []string{
			"boot: spawn-run", "deadline: announce",
			"started: announce up KILL CONT arm-kill-5s TERM CONT", "signal 9: disarm-kill down D announce x close",
		},
	},
	"a finish script that hangs until the deadline": {
		dialect: Common, facts: Facts{Finish: Present},
		steps: []string{
			"boot: spawn-run", "started: announce up", "+2s exit 0: down spawn-finish", "started: announce",
			"deadline: KILL CONT arm-kill-5s announce", "signal 9: disarm-kill D announce x close",
		},
	},
	"a log service drains": {
		dialect: Common,
		steps: []string{
			"boot: spawn-run", "started: announce up",
			"drain: arm-drain-10s", "exit 0: disarm-drain down D announce x close",
		},
	},
	"a log service that does not end is stopped": {
		dialect: Common,
		steps: []string{
			"boot: spawn-run", "started: announce up",
			"drain: arm-drain-10s", "timer drain: arm-kill-10s TERM CONT announce",
			"signal 15: disarm-kill down D announce x close",
		},
	},
	"held until its needs are met, then again when they go": {
		dialect: Common,
		steps: []string{
			"boot: spawn-run", "started: announce up", "unmet:", "+2s exit 0: down D announce",
			"met: spawn-run",
		},
	},
	"a shutdown while a control script runs stops after it": {
		dialect: Runit, facts: Facts{Controls: Present},
		steps: []string{
			"boot: announce consult-u", "consulted: spawn-run", "started: announce up",
			"control h: consult-h", "shutdown: arm-kill-10s announce", "consulted: HUP consult-t",
			"consulted: TERM CONT consult-x announce", "exit 0: disarm-kill down announce", "consulted: D announce x close",
		},
	},
	"down-signal": {
		dialect: Runit, facts: Facts{Controls: Present}, tweak: func(p *Policy) { p.StopSignal = syscall.SIGINT },
		steps: []string{
			"boot: announce consult-u", "consulted: spawn-run", "started: announce up",
			"control t: consult-t", "consulted: TERM announce", // which is what t means
			"control d: consult-t announce", "consulted: INT CONT consult-d announce",
		},
	},
	"reload-signal": {
		dialect: Common, tweak: func(p *Policy) { p.ReloadSignal = syscall.SIGINT },
		steps: []string{"boot: spawn-run", "started: announce up", "control l: INT", "control h: HUP"},
	},
	"the letter l is one of s6": {
		dialect: S6, steps: []string{"boot: announce spawn-run", "started: announce up", "control l: HUP"},
	},
	"the letter l is none elsewhere": {
		dialect: Common, steps: []string{"boot: spawn-run", "started: announce up", "control l:"},
	},
	"permanent-status": {
		dialect: S6, facts: Facts{Finish: Present}, tweak: func(p *Policy) { p.PermanentRun = 33 },
		steps: []string{
			"boot: announce spawn-run", "started: announce up", "exit 33: down announce spawn-finish",
			"started: arm-finish-5s announce", "exit 0: disarm-finish announce D",
			"+5s control u: announce spawn-run", "started: announce up",
			"+5s exit 32: down announce spawn-finish", "started: arm-finish-5s announce",
			"exit 0: disarm-finish announce D arm-restart-1s",
		},
	},
	"permanent-status is no signal": {
		dialect: Daemontools, tweak: func(p *Policy) { p.PermanentRun = 9 },
		steps: []string{
			"boot: spawn-run", "started: announce up", "+5s signal 9: down D spawn-run", "started: announce up",
			"+5s exit 9: down announce D",
		},
	},
	"min-uptime, restart-delay": {
		dialect: Daemontools, tweak: tenSeconds,
		steps: []string{
			"boot: spawn-run", "started: announce up",
			"+9999ms exit 0: down announce D arm-restart-10s", "+10s restart: spawn-run", "started: announce up",
			"+10s exit 0: down D spawn-run", "started: announce up",
			// Whoever ended it.
			"+2s control t: TERM announce", "signal 15: down announce D arm-restart-10s",
			"control u: announce", "control d: disarm-restart announce D",
			"+4s control u: arm-restart-6s announce",
		},
	},
	"min-uptime with a finish script: from the end of run": {
		dialect: Runit, facts: Facts{Finish: Present}, tweak: tenSeconds,
		steps: []string{
			"boot: spawn-run", "started: announce up",
			"+8s exit 0: down announce spawn-finish", "started: announce", "+3s exit 0: announce D arm-restart-7s",
		},
	},
	"min-uptime: what cannot be executed waits as well": {
		dialect: Daemontools, tweak: tenSeconds,
		steps: []string{
			"boot: spawn-run", "noexec: down announce D arm-restart-10s", "changed: disarm-restart spawn-run",
		},
	},
	"min-uptime does not shorten the distance of two starts": {
		dialect: Daemontools, tweak: func(p *Policy) { p.MinUptime = 10 * time.Second },
		steps: []string{
			"boot: spawn-run", "started: announce up", "+300ms exit 0: down announce D arm-restart-700ms",
		},
	},
	"more ends than its limit, and it stays down until it is told to start": {
		dialect: Daemontools, tweak: func(p *Policy) { p.Strikes, p.StrikesIn = 2, 10*time.Second },
		steps: []string{
			"boot: spawn-run", "started: announce up", "+6s exit 1: down D spawn-run", "started: announce up",
			"+11s exit 1: down D spawn-run", "started: announce up", // the first of two
			"+2s exit 1: down D spawn-run", "started: announce up",
			"+8s exit 1: down announce D",
			"+5s control u: announce spawn-run", "started: announce up", "+2s exit 1: down D spawn-run", "started: announce up",
			"+2s exit 1: down D spawn-run", "noexec: down announce D",
		},
	},
	"what is to be started anew has not ended": {
		dialect: Daemontools, tweak: func(p *Policy) { p.Strikes, p.Bounce = 1, 20*time.Second },
		steps: []string{
			"boot: spawn-run", "started: announce up arm-bounce-20s",
			"+20s timer bounce: TERM CONT announce", "exit 0: down D spawn-run", "started: announce up arm-bounce-20s",
			"+20s timer bounce: TERM CONT announce", "exit 0: down D spawn-run", "started: announce up arm-bounce-20s",
			"+2s exit 0: disarm-bounce down D spawn-run", "started: announce up arm-bounce-20s", "control d: TERM CONT announce",
			"exit 0: disarm-bounce down announce D",
		},
	},
	"once": {
		dialect: Daemontools, facts: Facts{Once: true},
		steps: []string{
			"boot: spawn-run", "started: announce up", "exit 1: down announce D", "changed:",
			"control o: arm-restart-1s announce", "+1s restart: spawn-run", "started: announce up",
			"control u: announce", "+5s exit 0: down D spawn-run",
		},
	},
	"once, with down": {
		dialect: Daemontools, facts: Facts{Once: true, Down: true},
		steps: []string{"boot: announce", "control o: announce spawn-run"},
	},
	"once: run that came later is still run": {
		dialect: Daemontools, facts: Facts{Once: true},
		steps: []string{
			"boot: spawn-run", "noexec: down announce D", "changed once: spawn-run", "started: announce up",
			"+2s exit 0: down announce D", "changed once:",
		},
	},
	"once: the kernel's refusal is no run": {
		dialect: Daemontools, facts: Facts{Once: true},
		steps: []string{"boot: spawn-run", "nofork: arm-restart-1s announce", "+1s restart: spawn-run"},
	},
	"bounce": {
		dialect: Daemontools, tweak: func(p *Policy) { p.Bounce = time.Minute; tenSeconds(p); p.KillAfter = 10 * time.Second },
		steps: []string{
			"boot: spawn-run", "started: announce up arm-bounce-1m0s",
			"+1m timer bounce: arm-kill-10s TERM CONT announce",
			"timer kill: KILL CONT arm-kill-5s",
			"signal 9: disarm-kill down D spawn-run", "started: announce up arm-bounce-1m0s",
			"+5s exit 0: disarm-bounce down announce D arm-restart-10s",
		},
	},
	"bounce: even if that is quicker than starts may follow each other": {
		dialect: Runit, tweak: func(p *Policy) { p.Bounce = 500 * time.Millisecond; tenSeconds(p) },
		steps: []string{
			"boot: spawn-run", "started: announce up arm-bounce-500ms", "+500ms timer bounce: TERM CONT announce",
			"signal 15: down announce D spawn-run", "noexec: down announce D arm-restart-10s",
		},
	},
	"bounce is t and not d, and waits for a control script": {
		dialect: Runit, facts: Facts{Controls: Present}, tweak: func(p *Policy) { p.Bounce = time.Minute },
		steps: []string{
			"boot: announce consult-u", "consulted: spawn-run", "started: announce up arm-bounce-1m0s",
			"control h: consult-h", "+1m timer bounce: announce", "consulted: HUP consult-t",
			"consulted: TERM CONT announce", "signal 15: down announce D announce consult-u",
		},
	},
	"bounce of what runs once ends it": {
		dialect: Daemontools, facts: Facts{Once: true}, tweak: func(p *Policy) { p.Bounce = time.Minute },
		steps: []string{
			"boot: spawn-run", "started: announce up arm-bounce-1m0s", "+1m timer bounce: TERM CONT announce",
			"signal 15: down announce D",
		},
	},
	"bounce: a d in between is obeyed": {
		dialect: Daemontools, tweak: func(p *Policy) { p.Bounce = time.Minute },
		steps: []string{
			"boot: spawn-run", "started: announce up arm-bounce-1m0s", "+1m timer bounce: TERM CONT announce",
			"control d: TERM CONT announce", "signal 15: down announce D",
		},
	},
	"depends: a change restarts": {
		dialect: Daemontools, facts: Facts{Content: 1}, tweak: tenSeconds,
		steps: []string{
			"boot: spawn-run", "started: announce up", "content 1:",
			"+20s content 2: TERM CONT announce", "content 3:", "signal 15: down D spawn-run", "started: announce up",
			"content 4: TERM CONT announce", "signal 15: down announce D arm-restart-10s", // the ten-second rule included
			"+3s content 5: disarm-restart spawn-run", // but nobody has to wait with a definition that has no history
			"content 6:", "started: announce up TERM CONT",
		},
	},
	"depends: down while a file is unreadable": {
		dialect: Daemontools, facts: Facts{Content: 1},
		steps: []string{
			"boot: spawn-run", "started: announce up", "+2s lacking: TERM CONT announce", "lacking:",
			"signal 15: down D announce", "content 1: spawn-run", "started: announce up",
			"+2s exit 0: down D spawn-run", "lacking:", "started: announce up TERM CONT",
			"content 1:", "signal 15: down announce D arm-restart-1s", "lacking: disarm-restart announce",
		},
	},
	"depends: no pause once it is readable again": {
		dialect: Daemontools, facts: Facts{Content: 1}, tweak: tenSeconds,
		steps: []string{
			"boot: spawn-run", "started: announce up", "+2s lacking: TERM CONT announce",
			"signal 15: down D announce", "+1s content 1: spawn-run", "started: announce up",
			"exit 0: down announce D arm-restart-10s", "lacking: disarm-restart announce", "content 1: spawn-run",
		},
	},
	"depends: unreadable at boot": {
		dialect: Daemontools, facts: Facts{Lacking: true},
		steps: []string{"boot: announce", "content 7: spawn-run", "started: announce up"},
	},
	"depends: what runs once does so again": {
		dialect: Daemontools, facts: Facts{Content: 1, Once: true},
		steps: []string{
			"boot: spawn-run", "started: announce up", "+2s exit 0: down announce D", "content-once 1:",
			"content-once 2: spawn-run", "started: announce up", "content-once 3: TERM CONT announce",
			"+2s signal 15: down D spawn-run", "started: announce up", "+2s exit 0: down announce D",
		},
	},
	"depends: a wish for down stays": {
		dialect: Daemontools, facts: Facts{Content: 1},
		steps: []string{
			"boot: spawn-run", "started: announce up", "+2s control d: TERM CONT announce",
			"content 2:", "signal 15: down announce D", "content 3:", "lacking:", "content 4:",
		},
	},
	"redefined: what runs is ended and takes its time": {
		dialect: Daemontools, tweak: func(p *Policy) { tenSeconds(p); p.Pause = 0 },
		steps: []string{
			"boot: spawn-run", "started: announce up", "+2s redefined: TERM CONT announce",
			"signal 15: down announce D arm-restart-10s", "redefined: disarm-restart spawn-run", "started: announce up",
			"+10s redefined: TERM CONT announce", "redefined:", "signal 15: down D spawn-run",
			"redefined:", "started: announce up TERM CONT", "signal 15: down announce D arm-restart-10s",
			"redefined-down: disarm-restart announce D", "redefined-down: announce", "redefined: spawn-run", "started: announce up",
			"redefined-down: TERM CONT announce", "redefined:", "+10s signal 15: down D spawn-run",
		},
	},
	"redefined: what runs once does so again, and what is final is not any more": {
		dialect: Daemontools, tweak: func(p *Policy) { p.PermanentRun, p.Pause = 33, 0 },
		steps: []string{
			"boot: spawn-run", "started: announce up", "exit 33: down announce D", "redefined: spawn-run", "started: announce up",
			"redefined-once: TERM CONT announce", "signal 15: down D spawn-run", "started: announce up", "exit 0: down announce D",
			"redefined-once: spawn-run", "started: announce up", "exit 33: down announce D", "redefined: spawn-run",
			"shutdown: announce", "redefined:", "started: announce up arm-kill-10s TERM CONT", "signal 15: disarm-kill down D announce x close",
		},
	},
	"held back by order": {
		dialect: Daemontools,
		steps: []string{
			"boot-held: announce", "control d: announce D", "control u: announce announce", "met: spawn-run", "started: announce up",
		},
	},
	"watchdog: from the time when it is ready on; a missed one is ABRT, then KILL": {
		dialect: Daemontools, tweak: guardedPolicy,
		steps: []string{
			"boot: spawn-run", "started: announce up arm-ready-4s", "beat:",
			"+1s ready: disarm-ready announce U arm-watchdog-3s", "+2s beat: arm-watchdog-3s", "+1s timer watchdog:",
			"+2s timer watchdog: arm-kill-10s ABRT CONT announce disarm-watchdog", "beat:", "timer watchdog:", "+10s timer kill: KILL CONT arm-kill-5s",
			"signal 9: disarm-kill disarm-ready down D spawn-run", "started: announce up arm-ready-4s", "timer watchdog:",
		},
	},
	"watchdog: without a limit for readiness from the first sign of life on": {
		dialect: Daemontools, tweak: func(p *Policy) { p.WatchdogFor, p.KillAfter = 3*time.Second, time.Second },
		steps: []string{
			"boot: spawn-run", "started: announce up", "stale:", "+9s beat: announce arm-watchdog-3s",
			"+2s beat: arm-watchdog-3s", "+3s timer watchdog: arm-kill-1s ABRT CONT announce disarm-watchdog", "signal 6: disarm-kill down D spawn-run",
			"started: announce up", "trigger: arm-kill-1s ABRT CONT announce",
		},
	},
	"watchdog: nothing is due of who is paused, stopping, leaving or told to end": {
		dialect: Daemontools, tweak: guardedPolicy,
		steps: []string{
			"boot: spawn-run", "started: announce up arm-ready-4s", "ready: disarm-ready announce U arm-watchdog-3s",
			"control p: announce STOP disarm-watchdog", "+5s control c: announce CONT arm-watchdog-3s",
			"high: STOP disarm-watchdog", "beat:", "low: CONT arm-watchdog-3s",
			"leaving: announce disarm-watchdog", "beat:", "ready: disarm-ready announce U arm-watchdog-3s",
			"reloading: announce", "+2s beat: arm-watchdog-3s", "timer ready:", "ready: disarm-ready announce U",
			"control d: TERM CONT announce disarm-watchdog",
		},
	},
	"watchdog: the service sets its period": {
		dialect: Daemontools, tweak: guardedPolicy,
		steps: []string{
			"boot: spawn-run", "started: announce up arm-ready-4s", "period 0: announce", "ready: disarm-ready announce U",
			"period 7000: announce arm-watchdog-7s", "period 1: arm-watchdog-1ms announce", "period 0: announce disarm-watchdog", "beat:",
			"+9s exit 0: disarm-ready down D spawn-run", "started: announce up arm-ready-4s", "ready: disarm-ready announce U arm-watchdog-3s",
		},
	},
	"watchdog: without the file, too": {
		dialect: Common,
		steps: []string{
			"boot: spawn-run", "started: announce up", "beat:", "reloading:", "period 2000: announce", "beat: announce arm-watchdog-2s",
			"+2s exit 1: down D spawn-run disarm-watchdog", "started: announce up", "ready: announce U", "+1s reloading: announce", "ready: announce U",
		},
	},
	"extended are the limits for readiness, signs of life and the end": {
		dialect: Daemontools, tweak: func(p *Policy) { guardedPolicy(p); p.KillAfter = 2 * time.Second },
		steps: []string{
			"boot: spawn-run", "started: announce up arm-ready-4s", "extend 1000:", "+3s extend 5000: arm-ready-5s announce",
			"+1s timer ready:", "+3s ready: disarm-ready announce U arm-watchdog-3s", "extend 1000:", "+2s extend 6000: arm-watchdog-6s announce",
			"+1s timer watchdog:", "control d: arm-kill-2s TERM CONT announce disarm-watchdog", "+1s extend 9000: arm-kill-9s announce",
			"deadline: KILL CONT arm-kill-5s announce", "extend 9000:",
		},
	},
	"extended are no others": {
		dialect: Common,
		steps: []string{
			"boot: spawn-run", "started: announce up", "extend 1000:", "ready: announce U", "extend 1000:", "control d: TERM CONT announce", "extend 1000:",
		},
	},
	"not ready in the time that it asked for": {
		dialect: S6, tweak: guardedPolicy,
		steps: []string{
			"boot: announce spawn-run", "started: announce up arm-ready-4s", "extend 9000: arm-ready-9s announce",
			"+4s timer ready:", "+5s timer ready: TERM CONT announce",
		},
	},
	"load above the limit suspends": {
		dialect: Common,
		steps: []string{
			"boot: spawn-run", "started: announce up", "high: STOP", "low: CONT",
		},
	},
}

func guardedPolicy(p *Policy) { p.WatchdogFor, p.ReadyFor = 3*time.Second, 4*time.Second }

// tenSeconds is the rule of pmtr.
func tenSeconds(p *Policy) { p.MinUptime, p.RestartDelay = 10*time.Second, 10*time.Second }

func TestStories(t *testing.T) {
	t.Parallel()
	for name, s := range stories {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := PolicyFor(s.dialect)
			if s.tweak != nil {
				s.tweak(&p)
			}
			var m Machine
			now := 100 * time.Second
			pid := int32(0)
			for i, line := range s.steps {
				event, want, _ := strings.Cut(line, ":")
				ev := parseEvent(t, event, &now, &pid, m)
				if ev.Kind == EvBoot {
					ev.Facts = s.facts
				}
				ev.At = Instant{now, int64(now)}
				var a Actions
				m, a = m.Step(&p, ev)
				want = strings.TrimSpace(want)
				if got := actionText(&a); got != want {
					t.Fatalf("step %d, %q:\n got %s\nwant %s\n%+v", i, event, got, want, m)
				}
			}
		})
	}
}

func parseEvent(t *testing.T, text string, now *time.Duration, pid *int32, m Machine) Event {
	t.Helper()
	words := strings.Fields(text)
	if strings.HasPrefix(words[0], "+") {
		d, err := time.ParseDuration(words[0][1:])
		if err != nil {
			t.Fatal(err)
		}
		*now += d
		words = words[1:]
	}
	number := func() int {
		n, err := strconv.Atoi(words[1])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	switch words[0] {
	case "boot":
		return Event{Kind: EvBoot}
	case "started":
		*pid++
		return Event{Kind: EvStarted, PID: *pid}
	case "noexec":
		return Event{Kind: EvStartFailed, Exec: true}
	case "nofork":
		return Event{Kind: EvStartFailed}
	case "exit":
		return Event{Kind: EvDied, PID: m.PID, Status: Exited(number())}
	case "final":
		return Event{Kind: EvDied, PID: m.PID, Status: Exited(number()), Final: true}
	case "nofinal":
		return Event{Kind: EvStartFailed, Exec: true, Final: true}
	case "signal":
		return Event{Kind: EvDied, PID: m.PID, Status: WaitStatus(number())}
	case "control":
		return Event{Kind: EvControl, Byte: words[1][0]}
	case "restart":
		return Event{Kind: EvTimer, Timer: TimerRestart}
	case "timer":
		for i, name := range timerNames {
			if name == words[1] {
				return Event{Kind: EvTimer, Timer: Timer(i)}
			}
		}
	case "consulted", "vetoed":
		return Event{Kind: EvConsulted, Veto: words[0] == "vetoed"}
	case "boot-held":
		return Event{Kind: EvBoot, Veto: true}
	case "changed":
		return Event{Kind: EvFacts, Flag: true, Facts: Facts{Once: len(words) > 1}}
	case "content", "content-once":
		return Event{Kind: EvFacts, Facts: Facts{Content: uint64(number()), Once: words[0] == "content-once"}}
	case "lacking":
		return Event{Kind: EvFacts, Facts: Facts{Lacking: true}}
	case "redefined", "redefined-once", "redefined-down":
		return Event{Kind: EvRedefined, Facts: Facts{Once: words[0] == "redefined-once", Down: words[0] == "redefined-down"}}
	case "ready":
		return Event{Kind: EvReady}
	case "beat", "trigger":
		return Event{Kind: EvBeat, Flag: words[0] == "trigger", Life: m.Life}
	case "period", "extend":
		kind := EvPeriod
		if words[0] == "extend" {
			kind = EvExtend
		}
		return Event{Kind: kind, After: time.Duration(number()) * time.Millisecond}
	case "reloading":
		return Event{Kind: EvMood, Byte: byte(MoodReloading)}
	case "leaving":
		return Event{Kind: EvMood, Byte: byte(MoodLeaving)}
	case "stale":
		return Event{Kind: EvBeat, Flag: true, Life: m.Life + 1}
	case "slow":
		return Event{Kind: EvSlow}
	case "shutdown":
		return Event{Kind: EvShutdown}
	case "drain":
		return Event{Kind: EvDrain}
	case "deadline":
		return Event{Kind: EvDeadline}
	case "met", "unmet":
		return Event{Kind: EvNeeds, Flag: words[0] == "met"}
	case "high", "low":
		return Event{Kind: EvLoad, Flag: words[0] == "high"}
	}
	t.Fatalf("no event %q", text)
	return Event{}
}

var timerNames = [Timers]string{"restart", "kill", "finish", "ready", "drain", "control", "bounce", "watchdog"}

var signalNames = map[syscall.Signal]string{
	syscall.SIGTERM: "TERM", syscall.SIGCONT: "CONT", syscall.SIGSTOP: "STOP", syscall.SIGKILL: "KILL",
	syscall.SIGHUP: "HUP", syscall.SIGALRM: "ALRM", syscall.SIGINT: "INT", syscall.SIGABRT: "ABRT",
}

var changeNames = map[Change]string{
	ChangeUp: "up", ChangeDown: "down", ChangeReady: "U", ChangeDownReady: "D", ChangeFailed: "O", ChangeGone: "x",
}

func actionText(a *Actions) string {
	var list []string
	for _, x := range a.All() {
		switch x.Kind {
		case Spawn:
			list = append(list, "spawn-"+x.Script.Name())
		case Signal:
			list = append(list, signalNames[x.Signal])
		case Arm:
			list = append(list, fmt.Sprintf("arm-%s-%v", timerNames[x.Timer], x.After))
		case Disarm:
			list = append(list, "disarm-"+timerNames[x.Timer])
		case Announce:
			list = append(list, "announce")
		case Emit:
			list = append(list, changeNames[Change(x.Byte)])
		case Consult:
			list = append(list, "consult-"+string(rune(x.Byte)))
		case MarkDown:
			list = append(list, "mark-down")
		case UnmarkDown:
			list = append(list, "unmark-down")
		case Close:
			list = append(list, "close")
		}
	}
	return strings.Join(list, " ")
}

// FuzzMachine feeds any sequence of events to any dialect: no step may panic, and
// the invariants of the walk have to hold for what a world can really produce.
func FuzzMachine(f *testing.F) {
	f.Add([]byte{0, 0, 1, 2, 3, 4, 5})
	f.Add([]byte{1, 0, 8, 30, 8, 14, 40, 60, 8})
	f.Add([]byte{3, 4, 9, 9, 200, 17, 80, 9, 33, 51})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		p := PolicyFor(Dialect(data[0]) % Dialects)
		events := walkEvents(&p)
		n := node{}
		now := walkNow
		for _, b := range data[1:] {
			ev := events[int(b)%len(events)]
			if b >= 128 {
				now += 700 * time.Millisecond
			}
			ev.At = Instant{now, int64(now)}
			before := n.m
			m, a := n.m.Step(&p, ev)
			if !n.w.possible(&before, &ev) {
				if m != before || a.n != 0 {
					t.Fatalf("%s cannot happen and changed something", describe(ev))
				}
				continue
			}
			n.w.answered(&ev)
			if ev.Kind == EvTimer && ev.Timer == TimerRestart && before.Waiting && before.Due > now {
				n.w.armed[TimerRestart] = true
			}
			n.m = m
			if err := n.w.act(&before, &n.m, &a); err != nil {
				t.Fatalf("%s: %v\n%+v", describe(ev), err, before)
			}
		}
	})
}
