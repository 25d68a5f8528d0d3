package integration

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Service directories that others wrote, from Debian's packages, run unchanged
// with their real programs: up, restarted after a kill, logged, down.
//
// They use the ports, sockets and log directories of the system, so this runs
// only where it was asked for: UPKEEP_REQUIRE=1, as root.
var realServices = []struct {
	name string
	log  string // what its log service writes
	says string // what can be read there once it is up
}{
	{"bcron-sched", "/var/log/runit/bcron-sched/current", "bcron"},
	{"bcron-spool", "/var/log/runit/bcron-spool/current", ""},
	{"bcron-update", "/var/log/runit/bcron-update/current", ""},
	{"git-daemon", "/var/log/git-daemon/current", "Ready to rumble"},
	{"mini-httpd", "/var/log/runit/mini-httpd/current", "mini_httpd"},
	{"socklog-unix", "/var/log/runit/socklog/main/current", "listening on /dev/log"},
}

// realPackages is what .ci/run installs for this.
const realPackages = "testdata/realinput/packages"

func TestRealServiceDirectories(t *testing.T) {
	packages, err := os.ReadFile(realPackages)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("UPKEEP_REQUIRE") != "1" || os.Geteuid() != 0 {
		t.Skipf("runs services of the system: wants root, UPKEEP_REQUIRE=1, and the packages %s", packages)
	}
	s := newSite(t, tree{"scan/": ""})
	s.setenv("SVDIR", s.path("scan")) // bcron-spool says "sv up bcron-update"
	s.setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	for _, x := range realServices {
		from := "/etc/sv/" + x.name
		if _, err := os.Stat(from + "/run"); err != nil {
			t.Fatalf("%v; install the packages %s", err, packages)
		}
		if out, err := exec.Command("cp", "-a", from, s.path(x.name)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if err := os.Symlink("../"+x.name, s.path("scan", x.name)); err != nil {
			t.Fatal(err)
		}
		os.Remove(x.log)
	}
	// mini-httpd's supervise are links to below this; their targets get made.
	if err := os.MkdirAll("/run/runit/supervise", 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat("/dev/log"); err != nil {
		t.Cleanup(func() { os.Remove("/dev/log") })
	}
	scanner := s.start(ours(t, "svscan"), "scan")

	for _, x := range realServices {
		dir := s.path("scan", x.name)
		before := waitStatus(t, dir, up)
		waitStatus(t, dir+"/log", up)
		if x.says != "" {
			waitFile(t, waitPath(t, x.log), func(c string) bool { return strings.Contains(c, x.says) })
		}
		if err := unix.Kill(int(before.PID), unix.SIGKILL); err != nil {
			t.Fatalf("%s: %v", x.name, err)
		}
		waitStatus(t, dir, upAnew(before.PID))
		// And the log service alone, with what is in its pipe.
		logger := waitStatus(t, dir+"/log", up)
		if err := unix.Kill(int(logger.PID), unix.SIGKILL); err != nil {
			t.Fatalf("%s/log: %v", x.name, err)
		}
		waitStatus(t, dir+"/log", upAnew(logger.PID))
	}
	t.Run("serves", func(t *testing.T) {
		c, err := net.Dial("tcp", "127.0.0.1:80")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write([]byte("GET /real-input HTTP/1.0\r\n\r\n"))
		waitFile(t, "/var/log/runit/mini-httpd/current", func(c string) bool { return strings.Contains(c, "/real-input") })
	})
	t.Run("logs", func(t *testing.T) {
		c, err := net.Dial("unixgram", "/dev/log")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write([]byte("<13>upkeep: a line for the system log"))
		waitFile(t, "/var/log/runit/socklog/main/current", func(c string) bool { return strings.Contains(c, "a line for the system log") })
	})
	for _, x := range realServices {
		if r := s.run(peer(t, "sv"), "down", x.name); r.code != 0 {
			t.Errorf("sv down %s: %v", x.name, r)
		}
		waitStatus(t, s.path("scan", x.name), down)
	}
	scanner.stop()
	if code := scanner.wait(); code != 0 {
		t.Errorf("svscan ends with %d", code)
	}
	if said := scanner.said(); said != "" {
		t.Errorf("svscan said %q", said)
	}
	for _, x := range realServices {
		waitStatus(t, s.path(x.name, "log"), abandoned)
	}
}

// waitPath waits until a file exists whose directory may not exist yet either.
func waitPath(t *testing.T, path string) string {
	t.Helper()
	var missing []string
	for p := path; ; p = filepath.Dir(p) {
		missing = append([]string{p}, missing...)
		if _, err := os.Stat(filepath.Dir(p)); err == nil {
			break
		}
	}
	for _, p := range missing {
		waitDir(t, filepath.Dir(p), func() bool {
			_, err := os.Stat(p)
			return err == nil
		})
	}
	return path
}
