package servicedir

import (
	"errors"
	"math"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
)

// defined makes a service directory of files and opens it.
func defined(t *testing.T, files map[string]string) int {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	base := supervise.PolicyFor(supervise.Common)
	for _, c := range []struct {
		files map[string]string
		want  func(p *supervise.Policy)
		said  string
	}{
		{nil, nil, ""},
		{map[string]string{"run": "", "bounce": "0"}, nil, ""},
		{map[string]string{"timeout-kill": "10000\n"}, func(p *supervise.Policy) { p.KillAfter = 10 * time.Second }, ""},
		{map[string]string{"timeout-finish": "70"}, func(p *supervise.Policy) { p.FinishFor = 70 * time.Millisecond }, ""},
		{map[string]string{"down-signal": "2"}, func(p *supervise.Policy) { p.StopSignal = syscall.SIGINT }, ""},
		{map[string]string{"down-signal": "usr1\n"}, func(p *supervise.Policy) { p.StopSignal = syscall.SIGUSR1 }, ""},
		{map[string]string{"down-signal": " SigHUP "}, func(p *supervise.Policy) { p.StopSignal = syscall.SIGHUP }, ""},
		{map[string]string{"reload-signal": "USR2"}, func(p *supervise.Policy) { p.ReloadSignal = syscall.SIGUSR2 }, ""},
		{map[string]string{"reload-signal": "0"}, nil, "reload-signal: not a signal"},
		{map[string]string{"down-signal": "65"}, nil, "down-signal: not a signal"},
		{map[string]string{"down-signal": "NONE"}, nil, "down-signal: not a signal"},
		{map[string]string{"down-signal": ""}, nil, "down-signal: not a signal"},
		{map[string]string{"permanent-status": "33\n"}, func(p *supervise.Policy) { p.PermanentRun = 33 }, ""},
		{map[string]string{"permanent-status": "256"}, nil, "permanent-status: not an exit code"},
		{map[string]string{"permanent-status": "-1"}, nil, "permanent-status: not an exit code"},
		{map[string]string{"min-uptime": "10", "restart-delay": "7\nmore"},
			func(p *supervise.Policy) { p.MinUptime, p.RestartDelay = 10*time.Second, 7*time.Second }, ""},
		{map[string]string{"restart-delay": "7"},
			func(p *supervise.Policy) { p.MinUptime, p.RestartDelay = math.MaxInt64, 7*time.Second }, ""},
		{map[string]string{"max-death-tally": "7\n"}, func(p *supervise.Policy) { p.Tally = 7 }, ""},
		{map[string]string{"max-death-tally": "5000"}, func(p *supervise.Policy) { p.Tally = 4096 }, ""},
		{map[string]string{"timeout-ready": "70", "notification-fd": "3"},
			func(p *supervise.Policy) { p.ReadyFor = 70 * time.Millisecond }, ""},
		{map[string]string{"timeout-ready": "70"}, nil, ""},
		{map[string]string{"timeout-ready": "70", "timeout-watchdog": "80", "notify-socket": ""},
			func(p *supervise.Policy) { p.ReadyFor, p.WatchdogFor = 70*time.Millisecond, 80*time.Millisecond }, ""},
		{map[string]string{"timeout-ready": "70", "timeout-watchdog": "80", "notification-fd": "3"},
			func(p *supervise.Policy) { p.ReadyFor = 70 * time.Millisecond }, ""},
		{map[string]string{"timeout-watchdog": "80"}, nil, ""},
		{map[string]string{"timeout-watchdog": "2s", "notify-socket": ""}, nil, "timeout-watchdog: not a number"},
		{map[string]string{"death-limit": "10 12\n"}, func(p *supervise.Policy) { p.Strikes, p.StrikesIn = 10, 12*time.Second }, ""},
		{map[string]string{"death-limit": "3"}, func(p *supervise.Policy) { p.Strikes = 3 }, ""},
		{map[string]string{"death-limit": "256 1"}, nil, "death-limit: not COUNT SECONDS"},
		{map[string]string{"death-limit": "-1"}, nil, "death-limit: not COUNT SECONDS"},
		{map[string]string{"death-limit": "3 in 12"}, nil, "death-limit: not COUNT SECONDS"},
		{map[string]string{"bounce": "86400"}, func(p *supervise.Policy) { p.Bounce = 24 * time.Hour }, ""},
		{map[string]string{"bounce": "1d", "timeout-kill": "5"},
			func(p *supervise.Policy) { p.KillAfter = 5 * time.Millisecond }, "bounce: not a number"},
		{map[string]string{"bounce": ""}, nil, "bounce: not a number"},
		{map[string]string{"bounce": "99999999999"}, nil, "bounce: not a number"},
	} {
		want := base
		if c.want != nil {
			c.want(&want)
		}
		said := ""
		got := Policy(defined(t, c.files), -1, &base, func(name string, err error) { said += name + ": " + err.Error() })
		if *got != want || said != c.said || c.files == nil && got != &base {
			t.Errorf("%v: %q\n%+v\nwant\n%+v", c.files, said, *got, want)
		}
	}
	fd := defined(t, nil)
	if err := unix.Mkdirat(fd, "bounce", 0o700); err != nil {
		t.Fatal(err)
	}
	Policy(fd, -1, &base, func(name string, err error) {
		if name != "bounce" || err != unix.EISDIR {
			t.Errorf("%s: %v", name, err)
		}
	})
	// What a second directory says counts more; what it does not say does not.
	own := defined(t, map[string]string{"bounce": "5", "timeout-kill": "70", "notification-fd": "3"})
	got := Policy(own, defined(t, map[string]string{"bounce": "6", "timeout-ready": "80"}), &base, nil)
	if got.Bounce != 6*time.Second || got.KillAfter != 70*time.Millisecond || got.ReadyFor != 80*time.Millisecond {
		t.Errorf("%+v", *got)
	}
}

func TestRank(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Rank{
		"-2 0003\n": {Order: -2, Index: 3}, "7": {Order: 7}, "+1\t10\nmore": {Order: 1, Index: 10},
	} {
		got, err := ReadRank(defined(t, map[string]string{"rank": text}), ".")
		if err != nil || *got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "\n", "x", "1 x", "1 -2", "1 2 3", "--1", "+-1 2", "-", "99999999999 1"} {
		if got, err := ReadRank(defined(t, map[string]string{"rank": text}), "."); got != nil || err != ErrRank {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	fd := defined(t, map[string]string{"rank": "1 1", "wait": ""})
	if got, err := ReadRank(fd, "."); err != nil || !got.Waits {
		t.Errorf("%+v, %v", got, err)
	}
	for _, name := range []string{"none", "rank"} { // which is no directory
		if got, err := ReadRank(fd, name); got != nil || err != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestDepends(t *testing.T) {
	t.Parallel()
	got, err := Depends(defined(t, map[string]string{"depends": "/etc/a b\n\n/c"}))
	if err != nil || strings.Join(got, "|") != "/etc/a b|/c" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := Depends(defined(t, nil)); got != nil || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := Depends(defined(t, map[string]string{"depends": "/a\nb\n"})); got != nil || !errors.Is(err, ErrRelative) {
		t.Errorf("%q, %v", got, err)
	}
}

func FuzzDefinition(f *testing.F) {
	for _, seed := range []string{"", "10\n", "-2 0003\n", "/etc/hosts\n", "SIGTERM", "\x00", "/\x00\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := supervise.PolicyFor(supervise.Common)
		for _, name := range policyFiles {
			_ = setPolicy(&p, name, text) // which leaves what is bad as it was
		}
		if p.KillAfter < 0 || p.FinishFor < 0 || p.MinUptime < 0 || p.RestartDelay < 0 || p.Bounce < 0 ||
			p.StopSignal <= 0 || p.StopSignal > 64 || p.PermanentRun > 255 {
			t.Errorf("%q: %+v", text, p)
		}
		parseRank(text)
		paths, _ := parseDepends(text)
		for _, path := range paths {
			if path[0] != '/' || strings.ContainsAny(path, "\x00\n") {
				t.Errorf("%q", path)
			}
		}
	})
}
