package pmtr

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/conf2dir"
	"upkeep/svscan"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		line string
		want options
		ok   bool
	}{
		{"", options{conf: defaultConf}, true},
		{"-Fc x", options{conf: "x", foreground: true}, true},
		{"-c x -c y", options{conf: "y"}, true},
		{"operand -t more -vv -p pid", options{conf: defaultConf, test: true, verbose: 2, pidfile: "pid"}, true},
		{"-I -F -- -t", options{conf: defaultConf, foreground: true}, true},
		{"-v -- -t -v", options{conf: defaultConf, verbose: 1}, true},
		{"-h", options{}, false},
		{"-F -s", options{}, false},
		{"-p", options{}, false},
	} {
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		o := options{env: &cli.Env{Stderr: cli.FD(null.Fd())}, conf: defaultConf}
		ok := o.read(append([]string{"pmtr"}, strings.Fields(x.line)...))
		null.Close()
		o.env = nil
		if ok != x.ok || ok && o != x.want {
			t.Errorf("pmtr %s: %+v, %v", x.line, o, ok)
		}
	}
}

func parseJob(t *testing.T, text string) *conf2dir.Job {
	t.Helper()
	f, wrong := conf2dir.Parse("conf", "job {\n name web\n"+text+"\n}\n")
	if wrong != nil {
		t.Fatal(wrong)
	}
	return f.Jobs[0]
}

func TestSpec(t *testing.T) {
	t.Parallel()
	p := policy(0)
	for _, x := range []struct {
		text string
		want svscan.JobSpec
	}{
		{"cmd /bin/sleep 5", svscan.JobSpec{Path: "/bin/sleep", Args: []string{"/bin/sleep", "5"}}},
		{"cmd sleep\nonce\nin syslog\nout syslog\nenv A=1\nenv =x\nenv B=\nenv A=2=3",
			svscan.JobSpec{Path: "./sleep", Args: []string{"sleep"}, Once: true, Env: []string{"B=", "A=2=3"}}},
		{"cmd x -a\ndir /d\nnice -3\ncpu 0-2\nulimit -n 77\nin i\nout syslog\nerr e",
			svscan.JobSpec{Path: "./x", Args: []string{"x", "-a"}, JobSettings: svscan.JobSettings{Dir: "/d", Nice: -3, HasNice: true,
				CPUs: &unix.CPUSet{7}, Limits: []svscan.JobLimit{{Resource: unix.RLIMIT_NOFILE, Value: 77}}, Files: [3]string{"i", "", "e"}}}},
		{"cmd x -a\ndir /d\nnice -3\ncpu 0-2\nulimit -n 77\nulimit -c unlimited\nuser bob\nin i\nout o\nerr e",
			svscan.JobSpec{Path: launcher, Args: []string{"pmtr-launch", "-d", "/d", "-n", "-3", "-c", "0x7", "-l", "n=77",
				"-l", "c=unlimited", "-u", "bob", "-i", "i", "-o", "o", "-r", "e", "--", "x", "-a"}}},
	} {
		x.want.Policy = p
		if got := spec(parseJob(t, x.text), p); !reflect.DeepEqual(*got, x.want) {
			t.Errorf("%q is %+v", x.text, *got)
		}
	}
}

func TestParseOrders(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		text string
		want []order
		ok   bool
	}{
		{"enable a b disable c", []order{{true, "a"}, {true, "b"}, {false, "c"}}, true},
		{"  disable   x\n", []order{{false, "x"}}, true},
		{"disable x\r\n\x00", []order{{false, "x"}}, true},
		{"enable", nil, true},
		{"", nil, false},
		{"x", nil, false},
		{"x enable y", nil, false},
	} {
		if got, ok := parseOrders(x.text); ok != x.ok || !slices.Equal(got, x.want) {
			t.Errorf("%q is %v, %v", x.text, got, ok)
		}
	}
}

func FuzzParseOrders(f *testing.F) {
	f.Add("enable a b disable c")
	f.Add(" x\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, ok := parseOrders(text)
		for _, o := range list {
			if !ok || o.job == "" || strings.ContainsAny(o.job, " \t\n\x00") {
				t.Errorf("%q has %+v", text, o)
			}
		}
	})
}

func TestLookUpHost(t *testing.T) {
	t.Parallel()
	const hosts = "# local\n127.0.0.1\tlocalhost  here # there\n::1 six\n10.0.0.7 Web web2\nbad x\n\n10.0.0.8 six"
	for name, want := range map[string]string{
		"localhost": "127.0.0.1", "here": "127.0.0.1", "web": "10.0.0.7", "six": "10.0.0.8", "there": "", "x": "", "127.0.0.1": "", "": "",
	} {
		a, ok := lookUpHost(hosts, name)
		if ok != (want != "") || ok && dotted(a) != want {
			t.Errorf("%s is %v, %v", name, a, ok)
		}
	}
}

func FuzzLookUpHost(f *testing.F) {
	f.Add("1.2.3.4 a b\n", "b")
	f.Fuzz(func(t *testing.T, text, name string) {
		if _, ok := lookUpHost(text, name); ok && !strings.Contains(strings.ToLower(text), strings.ToLower(name)) {
			t.Errorf("%q has no %q", text, name)
		}
	})
}

func TestReport(t *testing.T) {
	t.Parallel()
	f := &front{sockets: &sockets{report: []*socket{{from: "10.1.1.1"}, {from: "10.2.2.2"}, {}}}}
	f.list = []*job{
		{Job: parseJob(t, "cmd /bin/sleep 5"), enabled: true, pid: 1143, last: time.Now().Add(-10 * time.Second)},
		{Job: parseJob(t, "cmd /bin/sleep"), last: time.Now().Add(-5 * time.Second)},
		{Job: parseJob(t, "cmd /bin/false"), enabled: true},
		{Job: parseJob(t, "cmd /bin/true\nonce"), enabled: true, done: true},
		{Job: parseJob(t, "cmd /bin/true\nonce"), enabled: true, done: true, pid: 7, last: time.Now()},
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("report %s 10.2.2.2\nweb e 10 1143 /bin/sleep\nweb d 5 0 /bin/sleep\nweb e 0 0 /bin/false\nweb e 0 7 /bin/true\n", host)
	if got := string(f.appendReport(nil)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
