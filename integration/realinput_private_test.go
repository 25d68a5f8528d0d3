package integration

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/supervise/status"
)

// privateService is a service directory of Debian, written for runit.
type privateService struct {
	name    string // of the directory in /etc/sv
	pkg     string
	program string // what run becomes; its log becomes svlogd
	logs    string // what svlogd writes to, below /var/log; without it there is no log service
	needs   []string
	files   map[string]string     // the administrator's part; not in the directory
	prepare func(w *privateWorld) // what else there is to be
	// use has the service do something. mark is in its log once more after that,
	// or, without use, after each start.
	use  func(w *privateWorld)
	mark string
}

var privateServices = []privateService{
	{
		name: "git-daemon", pkg: "git-daemon-run", program: "git-daemon", logs: "git-daemon",
		use: func(w *privateWorld) {
			if r := w.client("/usr/bin/git", "ls-remote", "git://127.0.0.1/git/project"); r.code != 0 {
				w.t.Error(r)
			}
		},
		mark: "Request upload-pack for '/git/project'",
	},
	{
		name: "mini-httpd", pkg: "mini-httpd-run", program: "mini_httpd", logs: "runit/mini-httpd",
		files: map[string]string{"/var/www/html/index.html": "a page\n"},
		use: func(w *privateWorld) {
			answer := w.ask("tcp", "127.0.0.1:80", "GET /index.html HTTP/1.0\r\n\r\n")
			if !strings.HasSuffix(answer, "\r\n\r\na page\n") {
				w.t.Errorf("it answers %q", answer)
			}
		},
		mark: "GET /index.html",
	},
	{
		name: "socklog-unix", pkg: "socklog-run", program: "socklog", logs: "runit/socklog/main",
		use: func(w *privateWorld) {
			// It has a check script, which sv runs.
			if r := w.run(peer(w.t, "sv"), "-w10", "check", "socklog-unix"); !strings.HasPrefix(r.stdout, "ok: run: socklog-unix:") {
				w.t.Error(r)
			}
			w.send("unixgram", "/dev/log", "<14>a message")
		},
		mark: "user.info: a message",
	},
	{
		name: "socklog-inet", pkg: "socklog-run", program: "socklog", logs: "runit/socklog-inet",
		use:  func(w *privateWorld) { w.send("udp", "127.0.0.1:514", "<14>a message") },
		mark: "127.0.0.1: user.info: a message",
	},
	{
		name: "socklog-ucspi-tcp", pkg: "socklog-run", program: "tcpsvd", logs: "runit/socklog-ucspi-tcp",
		// Nobody here can tell it the name of this machine, so it hangs up.
		use:  func(w *privateWorld) { w.send("tcp", "127.0.0.1:10116", "a message\n") },
		mark: " from 127.0.0.1\n",
	},
	{
		name: "socklog-klog", pkg: "socklog-run", program: "socklog", logs: "runit/socklog-klog",
		prepare: func(w *privateWorld) {
			// What the kernel says is for the machine's own.
			w.must("/usr/bin/mkfifo", "/run/kmsg")
			w.must("/bin/mount", "--bind", "/run/kmsg", "/proc/kmsg")
			kernel, err := os.OpenFile("/run/kmsg", os.O_RDWR, 0)
			if err != nil {
				w.t.Fatal(err)
			}
			w.t.Cleanup(func() { kernel.Close() }) // till then it does not end
		},
		use:  func(w *privateWorld) { w.write("/run/kmsg", "<4>a message\n") },
		mark: "kern.warn: a message",
	},
	{
		// It would send mail, after minutes, if there was anybody to tell.
		name: "socklog-notify", pkg: "socklog-run", program: "uncat",
		prepare: func(w *privateWorld) { w.must("/bin/mkdir", "/var/log/socklog") },
	},
	{
		name: "bcron-update", pkg: "bcron", program: "bcron-update", logs: "runit/bcron-update",
		mark: "bcron-update: +/etc/crontab",
	},
	{
		name: "bcron-sched", pkg: "bcron", program: "bcron-sched", logs: "runit/bcron-sched",
		mark: "bcron-sched: Starting",
	},
	{
		// Its run calls sv for another service.
		name: "bcron-spool", pkg: "bcron", program: "unixserver", logs: "runit/bcron-spool",
		needs: []string{"bcron-update"},
		use: func(w *privateWorld) {
			w.write("/run/table", "# a table\n")
			if r := w.client("/usr/bin/bcrontab", "/run/table"); r.code != 0 {
				w.t.Error(r)
			}
			if r := w.client("/usr/bin/bcrontab", "-l"); !strings.HasSuffix(r.stdout, "# a table\n") {
				w.t.Error(r)
			}
		},
	},
	{
		// Its run is for /lib/runit/invoke-run.
		name: "tinydns", pkg: "tinydns", program: "tinydns", logs: "runit/tinydns",
		files: map[string]string{"/etc/default/tinydns": "IP=127.0.0.1 ROOT=/etc/sv/tinydns/root DATALIMIT=4000000\n"},
		use:   func(w *privateWorld) { w.send("udp", "127.0.0.1:53", dnsQuery) },
		mark:  ":4242 ",
	},
	{
		name: "dnscache", pkg: "dnscache", program: "dnscache", logs: "runit/dnscache",
		files: map[string]string{"/etc/default/dnscache": "IP=127.0.0.1 IPSEND=0.0.0.0 ROOT=/etc/sv/dnscache/root CACHESIZE=1000000 DATALIMIT=4000000\n"},
		mark:  " starting\n",
	},
	{
		// It has a finish. What its run asks for first is not in the package.
		name: "dnsmasq", pkg: "dnsmasq", program: "dnsmasq", logs: "runit/dnsmasq",
		files: map[string]string{
			"/etc/default/dnsmasq":                "DNSMASQ_OPTS='--no-resolv --log-queries'\n",
			"/usr/share/dnsmasq/installed-marker": "",
		},
		use: func(w *privateWorld) {
			if answer := w.ask("udp", "127.0.0.1:53", dnsQuery); !strings.HasPrefix(answer, dnsQuery[:2]) {
				w.t.Errorf("it answers %q", answer)
			}
		},
		mark: "localhost",
	},
	{
		name: "ssh", pkg: "openssh-server", program: "sshd", logs: "runit/ssh",
		use: func(w *privateWorld) {
			w.listens("tcp", "127.0.0.1:22")
			r := w.run("/usr/bin/ssh-keyscan", "-t", "ed25519", "127.0.0.1")
			if !strings.HasPrefix(r.stdout, "127.0.0.1 ssh-ed25519 ") {
				w.t.Error(r)
			}
		},
		mark: "Connection closed by 127.0.0.1 ",
	},
}

// dnsQuery asks for the address of localhost; 4242 is its number, in hex.
const dnsQuery = "\x42\x42\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x09localhost\x00\x00\x01\x00\x01"

// TestRealInputPrivately has our svscan supervise service directories which others wrote,
// as Debian ships them, with their programs and with runit's svlogd, chpst and
// sv. They are at their own paths, in a world of their own (privateWorld).
func TestRealInputPrivately(t *testing.T) {
	t.Parallel()
	superviseRealInput(t, peer, func(w *privateWorld) {
		w.svscan(ours(w.t, "svscan"), "/etc/service")
	})
}

// TestRealInputRunsvdir has ours in the place of all of runit's programs.
func TestRealInputRunsvdir(t *testing.T) {
	t.Parallel()
	superviseRealInput(t, peer, func(w *privateWorld) {
		w.replaceRunit()
		p := w.svscan(peer(w.t, "runsvdir"), "-P", "/etc/service")
		p.quit = func() error { return p.cmd.Process.Signal(unix.SIGHUP) }
		w.ends = cli.ExitFatal
	})
}

func superviseRealInput(t *testing.T, svOf func(testing.TB, string) string, start func(*privateWorld)) {
	for _, c := range privateServices {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			svOf(t, "sv") // is built outside
			w := newPrivateWorld(t, c)
			start(w)
			main, logger := "/etc/sv/"+c.name, "/etc/sv/"+c.name+"/log"
			// Up: run has become the program, and works.
			first := w.becomes(main, c.program, up)
			var loggers status.Record
			if c.logs != "" {
				loggers = w.becomes(logger, "svlogd", up)
			}
			w.works()
			// Restarted after a kill.
			if err := unix.Kill(int(first.PID), unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			second := w.becomes(main, c.program, upAnew(first.PID))
			w.works()
			// So is its log service, alone.
			if c.logs != "" {
				if err := unix.Kill(int(loggers.PID), unix.SIGKILL); err != nil {
					t.Fatal(err)
				}
				loggers = w.becomes(logger, "svlogd", upAnew(loggers.PID))
			}
			if c.use != nil {
				w.works()
			}
			// Restarted by sv, which waits for the new process.
			sv := svOf(t, "sv")
			if r := w.run(sv, "-w10", "restart", c.name); !strings.HasPrefix(r.stdout, "ok: run: "+c.name+":") {
				t.Error(r)
			}
			w.becomes(main, c.program, upAnew(second.PID))
			if c.use != nil {
				w.works() // a TERM before it waits for input is one that socklog forgets
			}
			// Down, and nobody else.
			if r := w.run(sv, "-w10", "down", c.name); !strings.HasPrefix(r.stdout, "ok: down: "+c.name+":") {
				t.Error(r)
			}
			waitStatus(t, main, down)
			if c.logs != "" {
				if now := w.becomes(logger, "svlogd", up); now.PID != loggers.PID {
					t.Errorf("the log service is %d now, was %d", now.PID, loggers.PID)
				}
			}
			// Up again.
			if r := w.run(sv, "-w10", "up", c.name); !strings.HasPrefix(r.stdout, "ok: run: "+c.name+":") {
				t.Error(r)
			}
			w.becomes(main, c.program, up)
			w.works()
			w.end()
		})
	}
}

// privateWorld is a site on a thread with network and file systems of its own: it
// has a loopback interface only, and what is written to the directories that
// services write to is seen by nobody else. The thread ends with the test.
type privateWorld struct {
	*site
	service privateService
	uses    int
	ends    int // with what the scanner exits
}

func newPrivateWorld(t *testing.T, c privateService) *privateWorld {
	needRoot(t)
	for _, pkg := range append([]string{"runit"}, c.pkg) {
		if _, err := os.Stat("/var/lib/dpkg/info/" + pkg + ".list"); err != nil {
			missing(t, "install the package "+pkg+" for the service "+c.name)
		}
	}
	if _, err := os.Stat("/etc/sv/" + c.name + "/run"); err != nil {
		missing(t, "install the package "+c.pkg+" anew: "+err.Error())
	}
	ours(t, "svscan") // is built outside
	w := &privateWorld{site: newSite(t, nil), service: c}
	// The harness starts processes from this thread; they stay in its world.
	if err := enterPrivateWorld(); err != nil {
		missing(t, "this needs namespaces: "+err.Error())
	}
	w.setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
	w.setenv("HOME", "/root")
	w.setenv("LOGNAME", "root")
	w.private("/etc/sv", append([]string{c.name}, c.needs...)...)
	w.private("/etc/runit/runsvdir/default")
	w.private("/etc/default", "runit")
	w.private("/usr/share/dnsmasq")
	w.private("/run")
	w.private("/var/www")
	w.private("/var/lib/git")
	w.private("/var/spool/cron", "crontabs", "tmp")
	w.private("/var/log")
	w.private("/dev", "null", "zero", "full", "random", "urandom", "tty", "stdin", "stdout", "stderr", "fd")
	w.must("/bin/mkdir", "-p", "-m", "755", "/run/runit/supervise", "/run/lock", "/var/log/runit/"+c.name, "/var/www/html", "/var/lib/git/project")
	for _, name := range append([]string{c.name}, c.needs...) {
		w.must("/bin/mkdir", "-p", "/var/log/runit/"+name)
		if err := os.Symlink("/etc/sv/"+name, "/etc/runit/runsvdir/default/"+name); err != nil {
			t.Fatal(err)
		}
	}
	w.must("/usr/bin/git", "init", "-q", "--bare", "/var/lib/git/project")
	w.write("/var/lib/git/project/git-daemon-export-ok", "")
	if c.name == "git-daemon" {
		w.must("/bin/chown", "-R", "gitdaemon", "/var/lib/git")
	}
	for path, content := range c.files {
		w.write(path, content)
	}
	if c.prepare != nil {
		c.prepare(w)
	}
	// Here services are to be started, whatever holds on this machine.
	if _, err := os.Stat("/usr/sbin/policy-rc.d"); err == nil {
		w.must("/bin/mount", "--bind", "/bin/true", "/usr/sbin/policy-rc.d")
	}
	w.unchanged()
	return w
}

// replaceRunit puts the program of the suite at the paths of runit's programs.
func (w *privateWorld) replaceRunit() {
	w.t.Helper()
	for _, path := range runitPrograms {
		w.must("/bin/mount", "--bind", ours(w.t, filepath.Base(path)), path)
	}
}

// runitPrograms are where Debian has what upkeep is, too.
var runitPrograms = []string{
	"/lib/runit/runit-init", "/sbin/runit", "/usr/bin/chpst", "/usr/bin/runsv", "/usr/bin/runsvdir", "/usr/bin/sv", "/usr/bin/svlogd",
	"/usr/sbin/runsvchdir", "/usr/sbin/utmpset",
}

// must runs a program that has to succeed.
func (w *privateWorld) must(path string, args ...string) {
	w.t.Helper()
	if r := w.run(path, args...); r.code != 0 {
		w.t.Fatalf("%s %q: %v", path, args, r)
	}
}

func (w *privateWorld) write(path, content string) {
	w.t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// private replaces a directory by an empty one, with copies of the entries
// named if they exist.
func (w *privateWorld) private(dir string, keep ...string) {
	w.t.Helper()
	if _, err := os.Stat(dir); os.IsNotExist(err) {
		return
	}
	copies := w.path(dir)
	if err := errors.Join(os.MkdirAll(copies, 0o755), unix.Mount("none", copies, "tmpfs", 0, "mode=755")); err != nil {
		w.t.Fatal(err)
	}
	for _, name := range keep {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			w.must("/bin/cp", "-a", filepath.Join(dir, name), copies)
		}
	}
	if err := unix.Mount(copies, dir, "", unix.MS_MOVE, ""); err != nil {
		w.t.Fatal(err)
	}
}

// unchanged holds that the service directories are as they were packed.
func (w *privateWorld) unchanged() {
	w.t.Helper()
	r := w.run("/usr/bin/dpkg", "--verify", w.service.pkg)
	for line := range strings.Lines(r.stdout) {
		for _, name := range append([]string{w.service.name}, w.service.needs...) {
			if strings.Contains(line, " /etc/sv/"+name+"/") {
				w.t.Errorf("%s is not as it is in the package: %s", name, line)
			}
		}
	}
}

// becomes waits until a condition holds of a service and its process has
// executed the program.
func (w *privateWorld) becomes(dir, program string, c condition) (r status.Record) {
	w.t.Helper()
	r = waitStatus(w.t, dir, c)
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", r.PID))
		if err == nil && filepath.Base(exe) == program {
			return r
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s does not become %s: it is %s, %v", dir, program, exe, err)
		}
		if now := waitStatus(w.t, dir, up); now.PID != r.PID {
			r = now // its run has failed; the daemon's port may not be free yet
		}
	}
}

// works has the service do something and finds it in the log.
func (w *privateWorld) works() {
	w.t.Helper()
	if w.service.use != nil {
		w.service.use(w)
	}
	if w.service.mark == "" {
		return
	}
	w.uses++
	dir := filepath.Join("/var/log", w.service.logs)
	var all string
	found := waitDir(w.t, dir, func() bool {
		// What an svlogd that was killed wrote is in a file of its own.
		files, err := filepath.Glob(filepath.Join(dir, "[@c]*"))
		all = ""
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil && !errors.Is(err, os.ErrNotExist) { // it is being renamed
				w.t.Fatal(err)
			}
			all += string(b)
		}
		return err == nil && strings.Count(all, w.service.mark) >= w.uses
	})
	if !found {
		w.t.Fatalf("%q is not logged %d times: %q", w.service.mark, w.uses, all)
	}
}

// send sends something to a service that may have to open its socket first, and
// ask reads the answer to the end.
func (w *privateWorld) send(network, address, text string) {
	w.t.Helper()
	w.dial(network, address, text, func(net.Conn) error { return nil })
}

func (w *privateWorld) ask(network, address, text string) (answer string) {
	w.t.Helper()
	w.dial(network, address, text, func(c net.Conn) error {
		if network == "udp" {
			b := make([]byte, 512)
			n, err := c.Read(b)
			answer = string(b[:n])
			return err
		}
		b, err := io.ReadAll(c)
		answer = string(b)
		return err
	})
	return answer
}

func (w *privateWorld) dial(network, address, text string, then func(net.Conn) error) {
	w.t.Helper()
	w.listens(network, address)
	c, err := net.Dial(network, address)
	// It may listen on the other family first, or have bound only.
	for deadline := time.Now().Add(patience); errors.Is(err, unix.ECONNREFUSED) && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
		c, err = net.Dial(network, address)
	}
	if err == nil {
		defer c.Close()
		err = c.SetDeadline(time.Now().Add(patience))
	}
	if err == nil {
		_, err = io.WriteString(c, text)
	}
	if err == nil {
		err = then(c)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// client runs a client of the service, again for as long as it is refused: a
// program is there some time before it listens, or makes its socket.
func (w *privateWorld) client(path string, args ...string) result {
	w.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		r := w.run(path, args...)
		early := strings.Contains(r.stderr, "onnection refused") || strings.Contains(r.stderr, "No such file or directory")
		if r.code == 0 || !early || time.Now().After(deadline) {
			return r
		}
	}
}

// listens waits until somebody has bound an address in this world.
func (w *privateWorld) listens(network, address string) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("nobody listens on %s", address)
		}
		if network == "unixgram" {
			if c, err := net.Dial(network, address); err == nil {
				c.Close()
				return
			}
			continue
		}
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			w.t.Fatal(err)
		}
		var number int
		if _, err := fmt.Sscan(port, &number); err != nil {
			w.t.Fatal(err)
		}
		for _, file := range []string{"/proc/thread-self/net/" + network, "/proc/thread-self/net/" + network + "6"} {
			b, err := os.ReadFile(file)
			if err != nil {
				w.t.Fatal(err)
			}
			for line := range strings.Lines(string(b)) {
				// A number, the local address, and a remote one of zeros: unconnected.
				f := strings.Fields(line)
				if strings.HasSuffix(f[1], fmt.Sprintf(":%04X", number)) && strings.Trim(f[2], "0:") == "" {
					return
				}
			}
		}
	}
}

// end stops the scanner and looks at what is left.
func (w *privateWorld) end() {
	w.t.Helper()
	scanner := w.processes[0]
	scanner.stop()
	if code := scanner.wait(); code != w.ends {
		w.t.Errorf("the scanner ended with %d", code)
	}
	if said := scanner.said(); said != "" {
		w.t.Errorf("the scanner or its services said %q", said)
	}
	dir := "/etc/sv/" + w.service.name
	waitStatus(w.t, dir, abandoned)
	if w.service.logs != "" {
		waitStatus(w.t, dir+"/log", abandoned)
	}
	w.unchanged()
}
