package integration

import (
	"strings"
	"testing"
)

// rootScene is a shell script in a root directory of its own, which begins as this
// machine's: what it changes is gone when it ends, and so are all processes.
type rootScene struct {
	fresh   []string // directories that are empty there, before files
	prepare string   // done before files, for the root directory $r
	files   tree     // below the root directory, which has real directories in /usr only
	ours    []string // absolute paths where the program of the suite is, in place of others
	script  string
}

// rootPrepare makes the root directory, of this machine and what is put over it. The
// overlay and what it consists of go with the namespace.
const rootPrepare = `
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
site=$0
mount -t tmpfs none $site/over
cd $site/over # a comma in its name would be one of the options
mkdir up work root
mount -t overlay -o lowerdir=/,upperdir=up,workdir=work none root
r=$site/over/root
for d; do
	[ ! -h $r/$d ] || rm $r/$d
	mkdir -p $r/$d
	mount -t tmpfs -o mode=755 none $r/$d
done
mount --rbind /dev $r/dev
mount -t proc none $r/proc
. $site/prepare
cp -a $site/files/. $r
while read -r ours path; do
	# What is a link leads to what may have a name already.
	[ ! -h $r$path ] || rm $r$path
	[ -e $r$path ] || : >$r$path
	mount --bind $ours $r$path
done <$site/ours
chroot $r /bin/sh /run/script # while this shell waits for all orphans
`

// playRoot plays a scene and returns what its script prints.
func playRoot(t *testing.T, c rootScene) string {
	t.Helper()
	needRoot(t)
	words, err := namespaceWords()
	if err != nil {
		missing(t, err.Error())
	}
	s := newSite(t, tree{"over/": "", "prepare": c.prepare, "files/run/script": c.script})
	for name, content := range c.files {
		s.make(tree{"files/" + name: content})
	}
	var list strings.Builder
	for _, path := range c.ours {
		list.WriteString(ours(t, "upkeep") + " " + path + "\n")
	}
	s.make(tree{"ours": list.String()})
	args := append(append([]string{}, words[1:]...), "/bin/sh", "-ec", rootPrepare, s.root)
	r := s.runFor(6*patience, words[0], append(args, c.fresh...)...)
	if r.code != 0 || r.stderr != "" {
		t.Errorf("the scene ends with %v", r)
	}
	return r.stdout
}
