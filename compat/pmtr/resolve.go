package pmtr

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/conf2dir"
	"upkeep/svscan"
)

// getent is who knows names that are not in the hosts file: the C library's resolver.
var getent = [...]string{"/usr/bin/getent", "/bin/getent", "/usr/local/bin/getent"}

const (
	hostsFile    = "/etc/hosts"
	askPatience  = 5 * time.Second
	addressBytes = 4
)

// resolver finds the addresses of hosts. Where getent has to be asked, that is done by jobs,
// which are made for that if there are none.
type resolver struct{ jobs *svscan.Jobs }

// resolve is the IPv4 address of a host; none is all.
func (r *resolver) resolve(host string) (a [addressBytes]byte, err error) {
	if host == "" {
		return a, nil
	}
	if a, ok := parseIPv4(host); ok || host == "255.255.255.255" {
		if !ok {
			a = [addressBytes]byte{255, 255, 255, 255}
		}
		return a, nil
	}
	if text, err := conf2dir.ReadFile(hostsFile); err == nil {
		if a, ok := lookUpHost(text, host); ok {
			return a, nil
		}
	}
	if r.jobs == nil {
		if r.jobs, err = svscan.NewJobs(svscan.JobsConfig{Report: func(svscan.Report) {}}); err != nil {
			return a, err
		}
	}
	err = unix.ENOENT
	for _, path := range getent {
		var text []byte
		if text, err = r.jobs.Ask(askPatience, path, "ahostsv4", "--", host); err == nil {
			first, _, _ := strings.Cut(string(text), " ")
			if a, ok := parseIPv4(first); ok {
				return a, nil
			}
			return a, unix.ENOENT
		}
	}
	return a, err
}

// lookUpHost finds a name in the text of a hosts file.
func lookUpHost(text, host string) (a [addressBytes]byte, ok bool) {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		for _, name := range fields[min(1, len(fields)):] {
			if strings.EqualFold(name, host) {
				if a, ok = parseIPv4(fields[0]); ok {
					return a, true
				}
			}
		}
	}
	return a, false
}
