package integration

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
)

// TestRealInputGetty has ours, in the place of runit, supervise Debian's getty-run on a
// terminal that exists in its world only. It has no log service.
func TestRealInputGetty(t *testing.T) {
	t.Parallel()
	const dir = "/etc/sv/getty-tty2"
	w := newPrivateWorld(t, privateService{name: "getty-tty2", pkg: "getty-run", program: "agetty"})
	if r := w.run("/usr/bin/pgrep", "-x", "agetty", "-t", "tty2"); r.code == 0 {
		t.Skip("this machine has a getty on tty2, which its run would find in /proc")
	}
	w.replaceRunit()
	tty := w.terminal("/dev/tty2")
	w.write("/run/utmp", "") // as it is made when a system starts
	w.write("/var/log/wtmp", "")
	scanner := w.svscan(peer(t, "runsvdir"), "-P", "/etc/service")
	scanner.quit = func() error { return scanner.cmd.Process.Signal(unix.SIGHUP) }
	w.ends = cli.ExitFatal

	first := w.becomes(dir, "agetty", up)
	tty.reads("login: ")
	w.loggedIn(fmt.Sprintf("LOGIN tty2 %d", first.PID))
	// It becomes login, which is the same process to who supervises it.
	tty.writes("nobody\n")
	tty.reads("Password: ")
	if login := w.becomes(dir, "login", up); login.PID != first.PID {
		t.Errorf("login is %d, agetty was %d", login.PID, first.PID)
	}
	if err := unix.Kill(int(first.PID), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	second := w.becomes(dir, "agetty", upAnew(first.PID))
	tty.reads("login: ")
	if r := w.run("/usr/bin/sv", "-w10", "restart", "getty-tty2"); !strings.HasPrefix(r.stdout, "ok: run: getty-tty2:") {
		t.Error(r)
	}
	third := w.becomes(dir, "agetty", upAnew(second.PID))
	tty.reads("login: ")
	w.loggedIn(fmt.Sprintf("LOGIN tty2 %d", third.PID))
	// Its finish has utmpset take it out of utmp.
	if r := w.run("/usr/bin/sv", "-w10", "down", "getty-tty2"); !strings.HasPrefix(r.stdout, "ok: down: getty-tty2:") {
		t.Error(r)
	}
	w.loggedIn("")
	if r := w.run("/usr/bin/sv", "-w10", "up", "getty-tty2"); !strings.HasPrefix(r.stdout, "ok: run: getty-tty2:") {
		t.Error(r)
	}
	tty.reads("login: ")
	w.end()
}

// loggedIn waits until utmp has this and nothing else about logins: type, line and pid.
func (w *privateWorld) loggedIn(want string) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		r := w.run("/usr/bin/who", "--login", "/run/utmp")
		var got string
		if f := strings.Fields(r.stdout); len(f) > 4 { // then the time, the pid, the name in inittab
			got = strings.Join([]string{f[0], f[1], f[len(f)-2]}, " ")
		}
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("utmp has %v, not %q", r, want)
		}
	}
}

// terminal is what somebody who sits at a terminal has.
type terminal struct {
	t      testing.TB
	master *os.File
}

// terminal makes a pseudoterminal of this world, which is at path.
func (w *privateWorld) terminal(path string) *terminal {
	w.t.Helper()
	w.must("/bin/mkdir", "-p", "/dev/pts")
	if err := unix.Mount("none", "/dev/pts", "devpts", 0, "newinstance,ptmxmode=0600"); err != nil {
		w.t.Fatal(err)
	}
	master, err := os.OpenFile("/dev/pts/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err := errors.Join(err, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0), unix.SetNonblock(fd, true)); err != nil {
		w.t.Fatal(err)
	}
	w.write(path, "")
	if err := unix.Mount(fmt.Sprintf("/dev/pts/%d", number), path, "", unix.MS_BIND, ""); err != nil {
		w.t.Fatal(err)
	}
	return &terminal{w.t, master}
}

func (s *terminal) writes(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s.master, text); err != nil {
		s.t.Fatal(err)
	}
}

// reads waits until something appears that ends in text.
func (s *terminal) reads(text string) {
	s.t.Helper()
	var all []byte
	deadline := time.Now().Add(patience)
	if err := s.master.SetReadDeadline(deadline); err != nil {
		s.t.Fatal(err)
	}
	for b := make([]byte, 1024); !strings.HasSuffix(string(all), text); {
		n, err := s.master.Read(b)
		all = append(all, b[:n]...)
		if errors.Is(err, unix.EIO) && time.Now().Before(deadline) {
			time.Sleep(5 * time.Millisecond) // nobody has it open
			continue
		}
		if err != nil {
			s.t.Fatalf("%q does not appear, but %q: %v", text, all, err)
		}
	}
}
