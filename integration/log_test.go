package integration

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

// logScene is a tree with two services that have written three lines each, by turns.
func logScene(t *testing.T) *faultScene {
	t.Helper()
	writer := "#!/bin/sh\nfor i in 1 2 3; do while [ ! -e ../../go$i ]; do sleep 0.01; done; echo %s $i; done\n" +
		"while [ ! -e ../../more ]; do sleep 0.01; done; echo %s more; exec sleep 1000\n"
	f := newFaultScene(t, tree{
		"service/web/run!":     fmt.Sprintf(writer, "web", "web"),
		"service/web/log/run!": "#!/bin/sh\nexec " + peer(t, "multilog") + " t ./main\n",
		"service/db/run!":      fmt.Sprintf(writer, "db", "db"),
		"service/db/log/run!":  "#!/bin/sh\nmkdir -p main\nexec " + peer(t, "svlogd") + " -tt ./main\n",
	})
	for _, name := range []string{"web/log", "db/log"} {
		if !waitDir(t, f.dir(name), func() bool { return unix.Access(f.dir(name, "main"), unix.F_OK) == nil }) {
			t.Fatalf("%s does not make its directory", name)
		}
	}
	for i := 1; i <= 3; i++ {
		f.make(tree{fmt.Sprintf("go%d", i): ""})
		waitLines(t, f.dir("web/log/main/current"), i)
		waitLines(t, f.dir("db/log/main/current"), i)
	}
	return f
}

// TestLog: upkeep log shows the logs of several services as one, in local time.
func TestLog(t *testing.T) {
	t.Parallel()
	f := logScene(t)
	f.setenv("TZ", "Asia/Kolkata")
	f.setenv("SVDIR", f.path("service"))
	log := func(args ...string) result {
		t.Helper()
		return f.run(ours(t, "upkeep"), append([]string{"log"}, args...)...)
	}
	when := regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} `)
	got := log("web", "db")
	if got.code != 0 || got.stderr != "" || len(when.FindAllString(got.stdout, -1)) != 6 {
		t.Fatalf("%v", got)
	}
	zone, err := time.LoadLocation("Asia/Kolkata")
	if err != nil {
		missing(t, err.Error()+"; install the package tzdata")
	}
	first, err := time.ParseInLocation("2006-01-02 15:04:05.000000", got.stdout[:26], zone)
	if d := time.Since(first); err != nil || d < 0 || d > time.Minute {
		t.Errorf("%v ago, %v", d, err)
	}
	lines := strings.Split(when.ReplaceAllString(got.stdout, ""), "\n")
	for i := 0; i < 6; i += 2 { // who was first in each turn is not known
		pair := lines[i] + "+" + lines[i+1]
		n := i/2 + 1
		if pair != fmt.Sprintf("web web %d+db  db %d", n, n) && pair != fmt.Sprintf("db  db %d+web web %d", n, n) {
			t.Errorf("line %d: %q", i, pair)
		}
	}
	for _, c := range []struct {
		args string
		want string // without stamps
	}{
		{"-n 2 web", "web 2\nweb 3\n"},
		{"-n1 service/db/log/main", "db 3\n"},
		{"-n 0 web", ""},
		{"--since 1h web", "web 1\nweb 2\nweb 3\n"},
		{"--since=1h -n 1 web", "web 3\n"},
		{"--since 2030-01-01 web", ""},
	} {
		got := log(strings.Fields(c.args)...)
		if got.code != 0 || when.ReplaceAllString(got.stdout, "") != c.want || got.stderr != "" {
			t.Errorf("%s: %v", c.args, got)
		}
	}
	got = log("web", "bystander", "nobody", "-n")
	if got.code != 111 || strings.Count(got.stdout, "\n") != 3 || got.stderr != "upkeep: fatal: unable to show the log of bystander: no log directory found\n"+
		"upkeep: fatal: unable to show the log of nobody: file does not exist\nupkeep: fatal: unable to show the log of -n: file does not exist\n" {
		t.Errorf("%v", got)
	}
	for _, args := range []string{"", "-x web", "-n", "-n x web", "-n -1 web", "--since", "--since never web", "--since"} {
		if got := log(strings.Fields(args)...); got.code != 100 || got.stderr != "upkeep: usage: upkeep log [-f] [-n lines] [--since time] service ...\n" {
			t.Errorf("%q: %v", args, got)
		}
	}

	// It goes on with what comes, also after a rotation.
	follower := f.start(ours(t, "upkeep"), "log", "-f", "-n", "1", "web", "db")
	follower.expected = true
	waitFile(t, follower.stdout, func(c string) bool { return strings.Count(c, "\n") == 1 })
	f.tell("web/log", "a") // multilog begins a new file
	f.until("it is rotated", func() bool {
		names, err := os.ReadDir(f.dir("web/log/main"))
		return err == nil && strings.HasPrefix(names[0].Name(), "@")
	})
	f.make(tree{"more": ""})
	waitFile(t, follower.stdout, func(c string) bool {
		return strings.Contains(c, "web web more\n") && strings.Contains(c, "db  db more\n") && strings.Count(c, "\n") == 3
	})
	f.wait("web", func(r status.Record, alive bool) bool { return up(r, alive) })
	follower.signal(unix.SIGINT)
	follower.wait()
}

// TestLogTerminal: on a terminal names are coloured, and what a service writes cannot
// command it.
func TestLogTerminal(t *testing.T) {
	t.Parallel()
	s := newSite(t, tree{
		"web/current": "@400000006a5f3b1e0bebc200 a\x1b[2Jb\x07\x9b c\xffd\u00e9\n",
		"db/current":  "plain\n",
	})
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	defer terminal.Close()
	n, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(terminal.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	side, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer side.Close()
	for _, colour := range []bool{true, false} {
		cmd := exec.Command(ours(t, "upkeep"), "log", s.path("web"), s.path("db"))
		cmd.Env = append(s.env, "TZ=UTC0")
		if !colour {
			cmd.Env = append(cmd.Env, "NO_COLOR=1")
		}
		cmd.Stdout, cmd.Stderr = side, side
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4096)
		got := ""
		for !strings.Contains(got, "plain\r\n") || !strings.Contains(got, "\u00e9\r\n") {
			n, err := terminal.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			got += string(b[:n])
		}
		if !strings.Contains(got, `a^[[2Jb^G\x9b c\xffdé`) {
			t.Errorf("%q", got)
		}
		if has := strings.Contains(got, "\x1b["); has != colour {
			t.Errorf("colours: %v in %q", has, got)
		}
	}
}
