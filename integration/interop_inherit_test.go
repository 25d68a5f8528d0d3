package integration

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// portrait is a run script that writes down what it was started with: arguments,
// directory, environment, descriptors, limits, signals, rights, and whose child
// it is.
const portrait = `#!/bin/sh
descriptors=$(for fd in 0 1 2; do echo "descriptor $fd: $(readlink /proc/$$/fd/$fd | sed 's/[0-9]*\]$/N]/')"; done)
ls /proc/self/fd >descriptors # and one more, for the list itself
{
	echo "arguments: $0 $#"
	echo "directory: $(pwd -P)"
	env | grep -v -e ^GORACE= -e ^_= -e ^PWD= -e ^UPKEEP_ | sort
	echo "$descriptors"
	echo "umask: $(umask)"
	echo "nice: $(nice)"
	cat /proc/self/limits
	grep -e ^Sig[BI] -e ^ShdPnd -e ^Groups -e ^Cap -e ^NoNewPrivs -e ^Seccomp: -e ^Cpus_allowed: /proc/self/status
	cat /proc/self/oom_score_adj /proc/self/coredump_filter /proc/self/timerslack_ns
	read -r pid name state parent group session rest </proc/$$/stat
	read -r pid name state parent parentgroup parentsession rest </proc/$parent/stat
	test $group = $parentgroup && echo in the process group of its supervisor
	test $session = $parentsession && echo in the session of its supervisor
} >portrait.new
mv portrait.new portrait
exec cat
`

// TestInherited: a service of ours is started with exactly what one of
// daemontools is, except for the descriptors above 2: those with which the
// supervisor was started are passed on by daemontools, and not by ours.
func TestInherited(t *testing.T) {
	t.Parallel()
	for name, launch := range map[string]string{
		"plain":          "exec",
		"low limits":     "ulimit -Sn 200; ulimit -Hn 300; ulimit -Sc 0; ulimit -Sf 100000; exec",
		"umask and nice": "umask 027; exec nice -n 3",
		"descriptors":    "exec 7</etc/group; exec </etc/passwd >/dev/null",
		"environment":    "export EMPTY= EQUALS== BLANK=' '; exec",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for program, log := range map[string]bool{"supervise": false, "svscan": true} {
				t.Run(program, func(t *testing.T) {
					t.Parallel()
					files := tree{"scan/sv/run!": portrait}
					if log {
						files["scan/sv/log/run!"] = portrait
					}
					real := portraits(t, peer, program, launch, files)
					if got := portraits(t, ours, program, launch, files); got != real {
						t.Errorf("%s gives its services something else (- daemontools, + ours):\n%s", program, diff(real, got))
					}
				})
			}
		})
	}
}

// outputs are where the harness has the output of supervisors go.
var outputs = regexp.MustCompile(`/[^ \n]*/(sh-\d+\.std)`)

// portraits has a program, as started by a shell after the commands of launch,
// start the services and returns what they wrote down.
func portraits(t *testing.T, by func(testing.TB, string) string, program, launch string, files tree) string {
	t.Helper()
	s := newSite(t, files)
	shell := []string{"-c", launch + ` "$@"`, "sh", by(t, program)}
	var p *process
	if program == "supervise" {
		p = s.supervise("/bin/sh", append(shell, "scan/sv")...)
	} else {
		p = s.svscan("/bin/sh", append(shell, "scan")...)
	}
	var all strings.Builder
	for _, dir := range []string{"scan/sv", "scan/sv/log"} {
		if _, ok := files[dir+"/run!"]; ok {
			all.WriteString(dir + ":\n" + waitFile(t, s.path(dir, "portrait"), something))
			if fds := s.read(dir + "/descriptors"); fds != "0\n1\n2\n3\n" && filepath.Dir(by(t, program)) != "/usr/bin" {
				t.Errorf("%s was started with the descriptors %q", dir, fds)
			}
		}
	}
	p.stop()
	return outputs.ReplaceAllString(strings.ReplaceAll(all.String(), s.root, "ROOT"), "$1")
}
