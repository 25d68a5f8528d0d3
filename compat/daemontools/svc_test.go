package daemontools

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli/clitest"
	"upkeep/svc/svctest"
)

// TestControlIsFile: the bytes go to the start of a file and all looks fine.
func TestControlIsFile(t *testing.T) {
	t.Parallel()
	site := svctest.Build(t, tree().And("sv/supervise/control", svctest.File("hello")))
	cmd := clitest.Cmd{Args: []string{"svc", "-du", "sv"}, Dir: site.Root}
	check := func(r clitest.Result, want string) {
		t.Helper()
		b, _ := os.ReadFile(site.Path("sv/supervise/control"))
		if (r != clitest.Result{}) || string(b) != want {
			t.Errorf("%v, file %q; want %q", r, b, want)
		}
	}
	check(clitest.Ours(t, "svc", cmd), "dullo")
	cmd.Args[1] = "-xk"
	check(clitest.Real(t, "daemontools", cmd), "xkllo")
}

// TestReaderGoesAway: SIGPIPE must not kill svc when supervise goes away
// between the open and the write.
func TestReaderGoesAway(t *testing.T) {
	t.Parallel()
	run := func(prog func(clitest.Cmd) clitest.Result) {
		t.Helper()
		site := svctest.Build(t, live(up))
		site.Fill(t, "sv/supervise/control") // so that the write cannot succeed before
		opened := notifyOpen(t, site.Path("sv/supervise/control"))
		result := make(chan clitest.Result)
		go func() { result <- prog(clitest.Cmd{Args: []string{"svc", "-u", "sv", "no"}, Dir: site.Root}) }()
		opened()
		site.Hang(t, "sv/supervise/control")
		want := clitest.Result{Stderr: "svc: warning: error writing commands to sv: broken pipe\n" +
			"svc: warning: unable to chdir to no: file does not exist\n"}
		if got := <-result; got != want {
			t.Errorf("got %v\nwant %v", got, want)
		}
	}
	run(func(c clitest.Cmd) clitest.Result { return clitest.Ours(t, "svc", c) })
	clitest.Find(t, "daemontools", "svc") // not in the goroutine, which must not skip
	run(func(c clitest.Cmd) clitest.Result { return clitest.Real(t, "daemontools", c) })
}

// notifyOpen begins to watch a file. The result waits until it is opened.
func notifyOpen(t *testing.T, path string) (wait func()) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Skip("no inotify: ", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	return func() {
		b := make([]byte, 4096)
		for {
			if _, err := unix.Read(fd, b); err != unix.EINTR {
				return
			}
		}
	}
}

// TestNoOutput: applets survive the loss of their standard output and error.
func TestNoOutput(t *testing.T) {
	t.Parallel()
	site := svctest.Build(t, live(up))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, out := range []*os.File{w, full} {
		for _, line := range []string{"svstat" + strings.Repeat(" sv", 200), "svc -u no sv", "svok sv"} {
			c := clitest.Cmd{Args: words(line, ""), Dir: site.Root, Stdout: out, Stderr: out}
			if r := clitest.Ours(t, c.Args[0], c); r.Code != 0 {
				t.Errorf("%.20s: %v", line, r)
			}
		}
	}
	if got := site.Drain(t, "sv/supervise/control"); got != "uu" {
		t.Errorf("sent %q", got)
	}
}
