package integration

import (
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// faultLetters are the control bytes that anybody knows, encore's modifiers
// included.
const faultLetters = "udoxpchaitkq12wrbyDUOQPCKLl+="

// TestFaultGarbage: bytes that mean nothing do nothing, however many there are;
// what comes after them is obeyed.
func TestFaultGarbage(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/web/run!": faultTracer})
	pid := f.wait("web", up).PID
	waitLines(t, f.dir("web/trace"), 1)
	random := rand.New(rand.NewPCG(1, 2))
	garbage := make([]byte, 0, 20000)
	for len(garbage) < cap(garbage) {
		if b := byte(random.UintN(256)); !strings.Contains(faultLetters, string(rune(b))) {
			garbage = append(garbage, b)
		}
	}
	f.tell("web", string(garbage)+"p")
	f.wait("web", paused)
	f.tell("web", string(garbage)+"c")
	if now := f.wait("web", running).PID; now != pid {
		t.Errorf("the service is %d now, was %d", now, pid)
	}
	if got := f.read("service/web/trace"); got != "start\n" {
		t.Errorf("the service got %q", got)
	}
}

// TestFaultAllBytes: every byte there is but those that end the service or its
// supervision.
func TestFaultAllBytes(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/web/run!": faultTracer})
	pid := f.wait("web", up).PID
	waitLines(t, f.dir("web/trace"), 1)
	var bytes []byte
	for b := range 256 {
		// "+" is left out for the two letters that follow it: there is no
		// process group to be signalled.
		if !strings.ContainsRune("dxtkq+", rune(b)) {
			bytes = append(bytes, byte(b))
		}
	}
	f.tell("web", string(bytes))
	f.wait("web", paused)
	f.tell("web", "cu")
	if now := f.wait("web", running).PID; now != pid {
		t.Errorf("the service is %d now, was %d", now, pid)
	}
	got := waitLines(t, f.dir("web/trace"), 7)
	slices.Sort(got)
	want := []string{"SIGALRM", "SIGHUP", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "start"}
	if !slices.Equal(got, want) {
		t.Errorf("the service got %q, want %q", got, want)
	}
}

// TestFaultControlFlood: ten thousand bytes at once are obeyed in order, and
// nobody else has to wait for that.
func TestFaultControlFlood(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/web/run!": faultTracer})
	pid := f.wait("web", up).PID
	waitLines(t, f.dir("web/trace"), 1)
	for _, c := range []struct {
		bytes string
		then  condition
	}{
		{strings.Repeat("pc", 5000) + "p", paused},
		{strings.Repeat("cp", 5000) + "c", running},
		{strings.Repeat("h", 10000) + "p", paused},
		{"c", running},
	} {
		f.tell("web", c.bytes)
		f.tell("bystander", "p")
		f.wait("bystander", paused)
		f.tell("bystander", "c")
		f.wait("bystander", running)
		if now := f.wait("web", c.then).PID; now != pid {
			t.Fatalf("the service is %d now, was %d", now, pid)
		}
	}
	// Signals that come faster than they are taken are one.
	got := strings.Split(strings.TrimSpace(waitFile(t, f.dir("web/trace"), func(c string) bool {
		return strings.Contains(c, "SIGHUP\n")
	})), "\n")
	for _, line := range got[1:] {
		if line != "SIGHUP" {
			t.Errorf("the service got %q", line)
		}
	}
}

// TestFaultControlOrder: a flood in which each byte changes what the last one
// did, and ends with the service down.
func TestFaultControlOrder(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/web/run!": faultTracer})
	f.wait("web", up)
	waitLines(t, f.dir("web/trace"), 1)
	f.tell("web", strings.Repeat("uopc", 2500)+"d")
	f.wait("web", down)
	if got := f.read("service/web/trace"); got != "start\nSIGTERM\n" {
		t.Errorf("the service got %q", got)
	}
}

// TestFaultControlHeldOpen: a client that keeps control open does not keep others
// from being heard.
func TestFaultControlHeldOpen(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{"service/web/run!": faultTracer})
	f.wait("web", up)
	waitLines(t, f.dir("web/trace"), 1)
	held, err := os.OpenFile(f.dir("web/supervise/control"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	f.tell("web", "p")
	f.wait("web", paused)
	if _, err := held.WriteString("c"); err != nil {
		t.Fatal(err)
	}
	f.wait("web", running)
}
