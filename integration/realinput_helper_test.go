package integration

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// helperStages are the stages of runit beside Debian's own: the first, and what comes
// after the third has stopped all services.
var helperStages = tree{
	"1!": `#!/bin/sh
install -m 0 /dev/null /run/runit.stopit
install -m 0 /dev/null /run/runit.reboot
sh /etc/runit/packages >/run/said 2>&1 &
`,
	"early!":          "#!/bin/sh\n: >/run/early\nexec sleep 1000\n",
	"native.boot.run": "",
	"no.emulate.sysv": "",
	"shutdown-run/":   "",
	"packages": `
maint() {
	echo "# $*"
	script=$1; shift
	# What dh_runit has put there.
	grep "runit-helper $script" /var/lib/dpkg/info/openssh-server.$script >/run/script
	sh -e /run/script "$@" || echo "exit $?"
}
serves() {
	until ssh-keyscan -t ed25519 127.0.0.1 2>/run/refused | grep -q ssh-ed25519; do sleep 0.02; done
	sv status ssh
	set -- $(cat /etc/sv/ssh/supervise/pid) $1
	[ "$1" = "$2" ] || echo another process
	pid=$1
}
ended() {
	while pgrep 'sshd|svlogd' >/run/left; do /etc/runit/look; sleep 0.02; done
	sv status ssh
}
list() { ls /etc/service | grep -v early; }
# What the scripts tell the first process goes on to stage 2, which has to be runsvdir.
until [ -e /run/early ]; do sleep 0.02; done
# Whether there is a supervisor at once, which is told to start the service, is luck.
anew() { maint postinst configure $1 | grep -v '^ok: run: ssh:'; readlink /etc/service/ssh; }
anew; serves
maint prerm upgrade 2; maint postinst configure 1; serves $pid
maint prerm remove; sv status ssh; maint postrm remove; list; ended
anew 1; serves $pid
mv /etc/service/ssh /etc/service/.ssh; ended
maint prerm upgrade 2; maint postinst configure 1; list; ended
mv /etc/service/.ssh /etc/service/ssh; serves $pid
maint prerm remove; maint postrm remove; ended; ls /var/log/runit; maint postrm purge; ls /var/log/runit
mkdir /var/log/runit/ssh # it is in the package
anew; serves $pid
/lib/runit/runit-init 0
`,
}

// helperSaid is what they say, with numbers of seconds and pids left out.
const helperSaid = `# postinst configure
/etc/sv/ssh
run: ssh: (pid N) Ns; run: log: (pid N) Ns
another process
# prerm upgrade 2
# postinst configure 1
ok: run: ssh: (pid N) Ns
run: ssh: (pid N) Ns; run: log: (pid N) Ns
another process
# prerm remove
ok: down: ssh: Ns, normally up
down: ssh: Ns, normally up; run: log: (pid N) Ns
# postrm remove
fail: ssh: unable to change to service directory: file does not exist
# postinst configure 1
/etc/sv/ssh
run: ssh: (pid N) Ns; run: log: (pid N) Ns
another process
fail: ssh: unable to change to service directory: file does not exist
# prerm upgrade 2
# postinst configure 1
fail: ssh: unable to change to service directory: file does not exist
run: ssh: (pid N) Ns; run: log: (pid N) Ns
another process
# prerm remove
ok: down: ssh: Ns, normally up
# postrm remove
fail: ssh: unable to change to service directory: file does not exist
ssh
# postrm purge
# postinst configure
/etc/sv/ssh
run: ssh: (pid N) Ns; run: log: (pid N) Ns
another process
`

// TestRunitHelper has openssh-server enabled, upgraded, removed and purged by Debian's
// runit-helper under ours as the first process, with all that Debian's own stages 2 and
// 3 run, and under the real ones, which do not see at once that a service is gone.
func TestRunitHelper(t *testing.T) {
	t.Parallel()
	t.Run("ours", func(t *testing.T) {
		t.Parallel()
		playHelper(t, (*privateWorld).replaceRunit, "")
	})
	t.Run("real", func(t *testing.T) {
		t.Parallel()
		peer(t, "runsvdir")
		playHelper(t, func(*privateWorld) {}, "kill -ALRM 1")
	})
}

var helperNumbers = regexp.MustCompile(`\(pid \d+\)|\b\d+s\b`)

func playHelper(t *testing.T, prepare func(*privateWorld), look string) {
	if _, err := os.Stat("/lib/runit-helper/runit-helper"); err != nil {
		missing(t, "install the package runit-helper: "+err.Error())
	}
	words, err := namespaceWords()
	if err != nil {
		missing(t, err.Error())
	}
	w := newPrivateWorld(t, privateService{name: "ssh", pkg: "openssh-server"})
	prepare(w)
	// As before it is installed for the first time.
	w.must("/bin/rm", "-f", "/etc/sv/ssh/supervise", "/etc/sv/ssh/log/supervise")
	w.private("/etc/runit", "2", "3")
	w.make(helperStages)
	w.must("/bin/mkdir", "-p", "/etc/runit/runsvdir/default")
	w.must("/bin/ln", "-s", "default", "/etc/runit/runsvdir/current")
	w.must("/bin/mkdir", "-p", "/etc/runit/runsvdir/default/early")
	w.must("/bin/cp", w.path("early"), "/etc/runit/runsvdir/default/early/run")
	w.make(tree{"look!": "#!/bin/sh\n" + look + "\n"})
	w.must("/bin/cp", "-a", w.root+"/.", "/etc/runit")
	w.write("/dev/console", "")
	if err := unix.Mkfifo(w.path("console"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.must("/bin/mount", "--bind", w.path("console"), "/dev/console")
	console := w.start("/bin/cat", w.path("console"))
	// Who finds no reader does without a console.
	writer, err := os.OpenFile(w.path("console"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	first := w.start(words[0], append(append([]string{}, words[1:]...), "/sbin/runit")...)
	first.wait()
	writer.Close()
	console.wait()
	stages, err := os.ReadFile(console.stdout)
	if err != nil {
		t.Fatal(err)
	}
	said, err := os.ReadFile("/run/said")
	if err != nil {
		t.Fatal(err)
	}
	normal := func(s string) string {
		return helperNumbers.ReplaceAllStringFunc(s, func(n string) string {
			if strings.HasPrefix(n, "(") {
				return "(pid N)"
			}
			return "Ns"
		})
	}
	if got := normal(string(said)); got != helperSaid {
		t.Errorf("the packages' scripts differ:\n%s", diff(helperSaid, got))
	}
	if got := normal(string(stages)); !strings.Contains(got, "ok: down: /etc/service/ssh: Ns, normally up\n") {
		t.Errorf("stage 3 does not stop it:\n%s", got)
	}
}
