package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"upkeep/integration/shipped"
)

// TestEarlySvc runs svc as it is shipped, which does the plain case before the
// runtime starts, and as it is without that: nobody may tell the difference.
func TestEarlySvc(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	if err := shipped.Build(t.Context(), filepath.Join(bin, "early", "svc")); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(bin, "plain", "svc"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, c := range []struct {
		args string
		env  string
		sent string // what has to arrive, "" for nothing
	}{
		{args: "-d DIR", sent: "d"},
		{args: "-dx DIR", sent: "dx"},
		{args: "-udopchaitkx DIR", sent: "udopchaitkx"},
		{args: "-xktiahcpodu DIR", sent: "xktiahcpodu"},
		{args: "-dd DIR", sent: "d"},
		{args: "-d -x DIR", sent: "dx"},
		{args: "-d -- DIR", sent: "d"},
		{args: "-d DIR/", sent: "d"},
		{args: "-d LINK", sent: "d"},
		{args: "DIR"},
		{args: "- DIR"},
		{args: "-d"},
		{args: ""},
		{args: "-b DIR"},
		{args: "-dz DIR"},
		{args: "-d1 DIR"},
		{args: "-d{ DIR"},
		{args: "-D DIR"},
		{args: "-d MISSING"},
		{args: "-d FILE"},
		{args: "-d DEAD"},
		{args: "-d NEVER"},
		{args: "-d DIR DIR", sent: "dd"},
		{args: "-d DIR", env: "UPKEEP_DIALECT=encore", sent: "ld"},
		{args: "-d DIR", env: "UPKEEP_DIALECT=", sent: "d"},
	} {
		t.Run(c.args+c.env, func(t *testing.T) {
			t.Parallel()
			var got [2]string
			for i, name := range []string{"early", "plain"} {
				got[i] = runSvc(t, filepath.Join(bin, name, "svc"), c.args, c.env)
			}
			if got[0] != got[1] {
				t.Errorf("early\n%splain\n%s", got[0], got[1])
			}
			if !strings.HasPrefix(got[0], "sent \""+c.sent+"\"\n") {
				t.Errorf("%swant %q", got[0], c.sent)
			}
		})
	}
}

func runSvc(t *testing.T, svc, args, env string) string {
	t.Helper()
	top := t.TempDir()
	dir := filepath.Join(top, "DIR")
	for _, d := range []string{dir, filepath.Join(top, "DEAD")} {
		if err := os.MkdirAll(filepath.Join(d, "supervise"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mkfifo(filepath.Join(d, "supervise/control"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	os.Mkdir(filepath.Join(top, "NEVER"), 0o755)
	os.WriteFile(filepath.Join(top, "FILE"), nil, 0o644)
	os.Symlink("DIR", filepath.Join(top, "LINK"))
	fifo, err := unix.Open(filepath.Join(dir, "supervise/control"), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fifo)

	cmd := exec.Command(svc, strings.Fields(args)...)
	cmd.Dir = top
	cmd.Env = []string{"PATH=/bin", env}
	if env == "" {
		cmd.Env = cmd.Env[:1]
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.Run()
	var sent [64]byte
	n, _ := unix.Read(fifo, sent[:])
	return "sent \"" + string(sent[:max(n, 0)]) + "\"\nexit " + cmd.ProcessState.String() + "\n" + stderr.String()
}
