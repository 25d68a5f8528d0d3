package integration

import (
	"path/filepath"
	"regexp"
	"testing"
)

// openrcScene is a shell script on a machine that was started by OpenRC, as far as its
// services can tell: Debian's OpenRC and all programs of this machine are in a root
// directory of its own, with namespaces of its own. It begins when the runlevel is
// reached, and has no init scripts but those in files.
//
// Beside what any script has, there is
//
//	rc SERVICE COMMAND	runs rc-service, and shows what and with which exit code
//	slept			prints how often OpenRC has slept since the last time
type openrcScene struct {
	files  tree     // below the root directory, which has real directories in /usr only
	ours   []string // absolute paths where programs of the suite are, in place of others
	script string
}

// openrcPackages is where .ci/run leaves the packages; they are not installed, since this
// machine has an init already.
const openrcPackages = "/var/cache/upkeep/openrc"

const openrcPrepare = `
for p in ` + openrcPackages + `/*.deb; do
	dpkg-deb --fsys-tarfile $p | tar -C $r -x --keep-directory-symlink
done
: >$r/etc/insserv.conf
mkdir -p $r/run/openrc
`

const openrcPrelude = `
export EINFO_COLOR=no
rc() {
	echo "# $*"
	rc-service "$@" >/run/rc 2>&1
	code=$?
	tr -s ' ' </run/rc
	echo "exit $code"
}
slept() { wc -l </run/sleeps; : >/run/sleeps; }
: >/run/sleeps
rc-status -a >/run/openrc/first 2>&1 # makes the state
echo default >/run/openrc/softlevel
`

// playOpenRC plays a scene and returns what its script prints, with (pid N) and Ns for
// pids and seconds.
func playOpenRC(t *testing.T, c openrcScene) string {
	t.Helper()
	if found, _ := filepath.Glob(openrcPackages + "/openrc_*.deb"); found == nil {
		missing(t, "download the packages openrc, librc1 and libeinfo1 to "+openrcPackages)
	}
	files := tree{
		// OpenRC has this directory in the PATH of its scripts, before all others.
		"usr/lib/rc/bin/sleep!": "#!/bin/sh\necho >>/run/sleeps\nexec /usr/bin/sleep \"$@\"\n",
	}
	for name, content := range c.files {
		files[name] = content
	}
	said := playRoot(t, rootScene{
		fresh:   []string{"run", "etc/init.d", "etc/sv", "etc/service", "etc/runlevels", "var/log"},
		prepare: openrcPrepare,
		files:   files,
		ours:    c.ours,
		script:  openrcPrelude + c.script,
	})
	return openrcNumbers.ReplaceAllStringFunc(said, func(n string) string {
		if n[0] == '(' {
			return "(pid N)"
		}
		return "Ns"
	})
}

var openrcNumbers = regexp.MustCompile(`\(pid \d+\)|\b\d+s\b`)
