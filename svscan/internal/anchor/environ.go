package anchor

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Variable is the environment variable that tells the scanner of its anchor: the
// number of its socket, and ",stop" if what a former scanner was about to stop is to
// be stopped. No service must get it, nor the socket; who executes another scanner in
// its place passes both on.
const Variable = "UPKEEP_ANCHOR"

// FromEnv is the socket to the anchor that started us. ok is false if there is none:
// no variable, or none that our parent has set. stop tells that everything is to be
// stopped.
func FromEnv() (fd int, stop, ok bool) {
	fd, stop, ok = parse(os.Getenv(Variable))
	if !ok {
		return -1, false, false
	}
	domain, err1 := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	kind, err2 := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	peer, err3 := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err1 != nil || err2 != nil || err3 != nil || domain != unix.AF_UNIX || kind != unix.SOCK_SEQPACKET ||
		int(peer.Pid) != os.Getppid() {
		return -1, false, false
	}
	return fd, stop, true
}

func parse(value string) (fd int, stop, ok bool) {
	number, stop := strings.CutSuffix(value, ",stop")
	n, err := strconv.ParseUint(number, 10, 16)
	return int(n), stop, err == nil && n > 2
}

func format(fd int, stop bool) string {
	value := Variable + "=" + strconv.Itoa(fd)
	if stop {
		value += ",stop"
	}
	return value
}

// Environ is the environment without Variable.
func Environ() []string {
	all := os.Environ()
	kept := all[:0]
	for _, v := range all {
		if !strings.HasPrefix(v, Variable+"=") {
			kept = append(kept, v)
		}
	}
	return kept
}
