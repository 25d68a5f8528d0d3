package integration

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// firstCase is a life of runit as process 1 of a namespace of its own, where the end of
// the machine is only the end of the namespace.
type firstCase struct {
	name  string
	files tree           // below /etc/runit
	want  string         // on the console
	end   syscall.Signal // of it, and of who waits for it
	ours  bool           // runit 2.1.2 has a bug there
}

// How the kernel ends a namespace that is switched off, or rebooted.
const (
	poweredOff = syscall.SIGINT
	rebooted   = syscall.SIGHUP
)

// later runs a command once stage 2 is there, which has made the file ready.
const later = `#!/bin/sh
echo stage 1
install -m 0 /dev/null /run/runit.stopit
(until test -e /run/ready; do sleep 0.02; done; `

const stage2 = "#!/bin/sh\necho stage 2\n>/run/ready\nexec sleep 1000\n"

const (
	booting = "- runit: $Id: X $: booting.\n- runit: enter stage: /etc/runit/1\nstage 1\n- runit: leave stage: /etc/runit/1\n"
	second  = "- runit: enter stage: /etc/runit/2\nstage 2\n"
	third   = "- runit: leave stage: /etc/runit/2\n- runit: enter stage: /etc/runit/3\nstage 3\n- runit: leave stage: /etc/runit/3\n- runit: sending KILL signal to all processes...\n"
	off     = "- runit: power off...\n"
)

var firstCases = []firstCase{
	{
		name: "power off", end: poweredOff, want: booting + second + third + off,
		files: tree{"1!": later + "runit-init 0) & :\n", "2!": stage2},
	},
	{
		name: "reboot", end: rebooted, want: booting + second + third + "- runit: system reboot.\n",
		files: tree{"1!": later + "runit-init 6) & :\n", "2!": stage2},
	},
	{
		name: "ctrl-alt-del", end: poweredOff,
		want: booting + second + "- runit: ctrl-alt-del request...\n- runit: enter stage: /etc/runit/ctrlaltdel\nkeys\n- runit: leave stage: /etc/runit/ctrlaltdel\n" + third + off,
		files: tree{"1!": later + "kill -INT 1) & :\n", "2!": stage2,
			"ctrlaltdel!": "#!/bin/sh\necho keys\nchmod 100 /run/runit.stopit\n"},
	},
	{
		name: "signals that mean nothing", end: poweredOff, want: booting + second + third + off,
		files: tree{"1!": later + "for s in CONT HUP TERM PIPE; do kill -$s 1; sleep 0.05; done; runit-init 0) & :\n", "2!": stage2},
	},
	{
		// Debian's packages send it after they have enabled a service.
		name: "ALRM is for stage 2", end: poweredOff,
		want: booting + second + "scan\n" + third + off,
		files: tree{"1!": later + "kill -ALRM 1; until test -e /run/scanned; do sleep 0.02; done; runit-init 0) & :\n",
			"2!": "#!/bin/sh\ntrap 'echo scan; >/run/scanned' ALRM\necho stage 2\n>/run/ready\nwhile :; do sleep 0.02; done\n"},
	},
	{
		name: "signals in stage 1", end: poweredOff,
		want:  strings.Replace(booting, "stage 1\n", "stage 1\n- runit: warning: signals only work in stage 2.\n", 1) + second + third + off,
		files: tree{"1!": "#!/bin/sh\necho stage 1\nkill -CONT 1\nsleep 0.3\n", "2!": "#!/bin/sh\necho stage 2\n"},
	},
	{
		name: "stage 1 wants no stage 2", end: poweredOff,
		want: "- runit: $Id: X $: booting.\n- runit: enter stage: /etc/runit/1\n- runit: warning: child failed: /etc/runit/1\n- runit: leave stage: /etc/runit/1\n- runit: warning: skipping stage 2...\n" +
			strings.TrimPrefix(third, "- runit: leave stage: /etc/runit/2\n") + off,
		files: tree{"1!": "#!/bin/sh\nexit 100\n", "2!": stage2},
	},
	{
		name: "stages that fail", end: poweredOff,
		want: "- runit: $Id: X $: booting.\n- runit: enter stage: /etc/runit/1\n- runit: warning: child failed: /etc/runit/1\n- runit: leave stage: /etc/runit/1\n" +
			"- runit: enter stage: /etc/runit/2\n- runit: warning: child failed: /etc/runit/2\n" + third + off,
		files: tree{"1!": "#!/bin/sh\nexit 1\n", "2!": "#!/bin/sh\nexit 2\n"},
	},
	{
		name: "stages that are not there", end: poweredOff,
		want: "- runit: $Id: X $: booting.\n- runit: enter stage: /etc/runit/1\n- runit: fatal: unable to start child: /etc/runit/1: file does not exist\n- runit: leave stage: /etc/runit/1\n" +
			"- runit: enter stage: /etc/runit/2\n- runit: fatal: unable to start child: /etc/runit/2: access denied\n" + third + off,
		files: tree{"2": ""},
	},
	{
		name: "stage 2 again", end: poweredOff,
		want: booting + second + "- runit: warning: child failed: /etc/runit/2\n- runit: warning: killing all processes in stage 2...\n- runit: warning: restarting.\n" + second + third + off,
		files: tree{"1!": "#!/bin/sh\necho stage 1\n",
			"2!": "#!/bin/sh\necho stage 2\ntest -e /run/again && exit 0\n>/run/again\nexit 111\n"},
	},
	{
		name: "stage 2 is killed", end: poweredOff, ours: true,
		want: booting + second + "- runit: warning: child crashed: /etc/runit/2\n- runit: warning: killing all processes in stage 2...\n- runit: warning: restarting.\n" + second + third + off,
		files: tree{"1!": "#!/bin/sh\necho stage 1\n",
			"2!": "#!/bin/sh\necho stage 2\ntest -e /run/again && exit 0\n>/run/again\nkill -9 $$\n"},
	},
	{
		name: "stage 1 is killed", end: poweredOff, ours: true,
		want: "- runit: $Id: X $: booting.\n- runit: enter stage: /etc/runit/1\n- runit: warning: child crashed: /etc/runit/1\n- runit: leave stage: /etc/runit/1\n- runit: warning: skipping stage 2...\n" +
			strings.TrimPrefix(third, "- runit: leave stage: /etc/runit/2\n") + off,
		files: tree{"1!": "#!/bin/sh\nkill -9 $$\n", "2!": stage2},
	},
	{
		name: "stage 2 ignores TERM", end: poweredOff,
		want:  booting + second + "- runit: warning: stage 2 not terminated, sending sigkill...\n" + third + off,
		files: tree{"1!": later + "runit-init 0) & :\n", "2!": "#!/bin/sh\ntrap '' TERM\necho stage 2\n>/run/ready\nexec sleep 1000\n"},
	},
	{
		name: "magic files of upstream", end: rebooted, ours: true, want: booting + second + third + "- runit: system reboot.\n",
		files: tree{"1!": strings.Replace(later, "/run/runit.stopit", "/etc/runit/stopit", 1) + "runit-init 6) & :\n", "2!": stage2},
	},
	{
		// Services with log services, orphans that nobody waits for, and a stage 3 that
		// stops everything, as the manual has it.
		name: "services", end: poweredOff,
		want: booting + "- runit: enter stage: /etc/runit/2\n" +
			strings.Replace(third, "stage 3\n", "ok: down: /etc/runit/service/a: Ns, normally up\nzombies: 0\nlast words\nstate: down down\n", 1) + off,
		files: tree{
			"1!": later + `(sleep 0.01 &) ; until sv status /etc/runit/service/a >/dev/null; do sleep 0.02; done; sleep 0.1; runit-init 0) & :
`,
			"2!":                 "#!/bin/sh\n>/run/ready\nexec runsvdir -P /etc/runit/service 'log: ..............'\n",
			"service/a/run!":     "#!/bin/sh\ntrap 'echo last words; exit' TERM\n(true &)\n(sh -c 'true &')\n>/etc/runit/up\nwhile :; do sleep 0.02; done\n",
			"service/a/log/run!": "#!/bin/sh\nexec cat >>lines\n",
			"3!": `#!/bin/sh
sv -w5 force-stop /etc/runit/service/a | sed 's/[0-9][0-9]*s/Ns/'
sv exit /etc/runit/service/a
cd /etc/runit/service/a
while sv status . >/dev/null; do sleep 0.02; done
for i in $(seq 100); do
	zombies=$(cat /proc/[0-9]*/status 2>/dev/null | grep -c '^State:.*Z')
	[ $zombies = 0 ] && break
	sleep 0.02
done
echo zombies: $zombies
cat log/lines
echo state: $(cat supervise/stat log/supervise/stat)
`,
		},
	},
}

// TestRunitAsFirst has runit be process 1: ours, and Debian's to see that it is the same.
func TestRunitAsFirst(t *testing.T) {
	t.Parallel()
	for _, c := range firstCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			t.Run("ours", func(t *testing.T) {
				t.Parallel()
				playFirst(t, c, filepath.Dir(ours(t, "runit")))
			})
			if !c.ours {
				t.Run("real", func(t *testing.T) {
					t.Parallel()
					peer(t, "runsv")
					playFirst(t, c, "/lib/runit:/sbin")
				})
			}
		})
	}
}

var versionID = regexp.MustCompile(`\$Id: [^$]* \$`)

func playFirst(t *testing.T, c firstCase, path string) {
	t.Helper()
	needRoot(t)
	if _, err := os.Stat("/etc/runit"); err != nil {
		missing(t, "install the package runit: "+err.Error())
	}
	words, err := namespaceWords()
	if err != nil {
		missing(t, err.Error())
	}
	s := newSite(t, tree{"etc/nosync": "", "etc/3!": "#!/bin/sh\necho stage 3\n"})
	for name, content := range c.files {
		s.make(tree{"etc/" + name: content})
	}
	s.setenv("PATH", path+":/usr/bin:/bin")
	if err := unix.Mkfifo(s.path("console"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Its end is the end of all that have the console.
	console := s.start("/bin/cat", s.path("console"))
	const prepare = `mount --bind "$0/etc" /etc/runit
		mount -t tmpfs none /run
		mount --bind "$0/console" /dev/console
		exec runit`
	first := s.start(words[0], append(append([]string{}, words[1:]...), "/bin/sh", "-ec", prepare, s.root)...)
	first.wait()
	end, _ := first.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if end.Signal() != c.end {
		t.Errorf("it ended with %v, want %v; it said %q", first.cmd.ProcessState, c.end, first.said())
	}
	console.wait()
	got, err := os.ReadFile(console.stdout)
	if err != nil {
		t.Fatal(err)
	}
	if text := versionID.ReplaceAllString(string(got), "$$Id: X $$"); text != c.want {
		t.Errorf("the console differs:\n%s", diff(c.want, text))
	}
}
