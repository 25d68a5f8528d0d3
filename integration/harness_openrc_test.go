package integration

import (
	"path/filepath"
	"regexp"
	"strings"
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

// openrcPrepare makes the root directory, of this machine and what is put over it. The
// overlay and what it consists of go with the namespace.
const openrcPrepare = `
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
packages=$0 site=$1
mount -t tmpfs none $site/over
cd $site/over # a comma in its name would be one of the options
mkdir up work root
mount -t overlay -o lowerdir=/,upperdir=up,workdir=work none root
r=$site/over/root
for d in run etc/init.d etc/sv etc/runlevels var/log; do
	mkdir -p $r/$d
	mount -t tmpfs -o mode=755 none $r/$d
done
mount --rbind /dev $r/dev
mount -t proc none $r/proc
for p in $packages/*.deb; do
	dpkg-deb --fsys-tarfile $p | tar -C $r -x --keep-directory-symlink
done
: >$r/etc/insserv.conf
mkdir -p $r/run/openrc
cp -a $site/files/. $r
while read -r ours path; do
	[ -e $r$path ] || : >$r$path
	mount --bind $ours $r$path
done <$site/ours
chroot $r /bin/sh /run/openrc-script # while this shell waits for all orphans
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
	needRoot(t)
	if found, _ := filepath.Glob(openrcPackages + "/openrc_*.deb"); found == nil {
		missing(t, "download the packages openrc, librc1 and libeinfo1 to "+openrcPackages)
	}
	words, err := namespaceWords()
	if err != nil {
		missing(t, err.Error())
	}
	s := newSite(t, tree{
		"over/": "",
		// OpenRC has this directory in the PATH of its scripts, before all others.
		"files/usr/lib/rc/bin/sleep!": "#!/bin/sh\necho >>/run/sleeps\nexec /usr/bin/sleep \"$@\"\n",
		"files/run/openrc-script":     openrcPrelude + c.script,
	})
	for name, content := range c.files {
		s.make(tree{"files/" + name: content})
	}
	var list strings.Builder
	for _, path := range c.ours {
		list.WriteString(ours(t, filepath.Base(path)) + " " + path + "\n")
	}
	s.make(tree{"ours": list.String()})
	r := s.runFor(6*patience, words[0], append(append([]string{}, words[1:]...), "/bin/sh", "-ec", openrcPrepare, openrcPackages, s.root)...)
	if r.code != 0 || r.stderr != "" {
		t.Errorf("the scene ends with %v", r)
	}
	return openrcNumbers.ReplaceAllStringFunc(r.stdout, func(n string) string {
		if n[0] == '(' {
			return "(pid N)"
		}
		return "Ns"
	})
}

var openrcNumbers = regexp.MustCompile(`\(pid \d+\)|\b\d+s\b`)
