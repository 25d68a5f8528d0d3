package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
	"upkeep/svc"
)

// scribe is a service that writes numbered lines, "PID N", one in a write, and
// keeps books in its directory: its pid in the file starts; "PID N" in ends when
// TERM asks it to end after N lines; and its pid in double if another one lives.
// The argument is how long it rests after each line.
func scribe(args []string) {
	pace, err := time.ParseDuration(strings.Join(args, ""))
	if err != nil {
		fmt.Fprintln(os.Stderr, "scribe:", err)
		syscall.Exit(100)
	}
	lock, err := unix.Open("life", unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
	if err != nil || unix.Flock(lock, unix.LOCK_EX|unix.LOCK_NB) != nil {
		enter("double", strconv.Itoa(os.Getpid()))
		syscall.Exit(111)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	enter("starts", strconv.Itoa(os.Getpid()))
	for n := 0; ; n++ {
		select {
		case <-stop:
			enter("ends", fmt.Sprintf("%d %d", os.Getpid(), n))
			syscall.Exit(0)
		case <-time.After(pace):
		}
		if _, err := unix.Write(1, fmt.Appendf(nil, "%d %d\n", os.Getpid(), n)); err != nil {
			enter("double", err.Error())
			syscall.Exit(111)
		}
	}
}

// keeper is its log service: it appends what it reads to the file lines.
func keeper() {
	enter("starts", strconv.Itoa(os.Getpid()))
	f, err := unix.Open("lines", unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND|unix.O_CLOEXEC, 0o644)
	b := make([]byte, 64<<10)
	for err == nil {
		var n int
		if n, err = unix.Read(0, b); n == 0 || err != nil {
			break
		}
		_, err = unix.Write(f, b[:n])
	}
	if err != nil {
		enter("double", err.Error())
		syscall.Exit(111)
	}
	syscall.Exit(0)
}

// enter appends a line to one of the books.
func enter(book, line string) {
	f, err := os.OpenFile(book, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err == nil {
		_, err = f.WriteString(line + "\n")
		f.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "unable to keep books:", err)
		syscall.Exit(111)
	}
}

// torture is a tree of scribes whose scanner is killed or upgraded again and again.
type torture struct {
	*faultScene
	names  []string
	random *rand.Rand
	want   map[string]status.Want
	killed map[string]bool // processes, by service and pid
	gaps   map[string]int  // log services that were killed
	wrote  bool            // there are none: the scanner writes the logs itself
	kills  int             // of the scanner
	twice  int             // lines that were there again
}

// TestTorture kills or upgrades the scanner at random instants, and kills services and
// log services with it, before, meanwhile, in the middle of starts and stops: nothing is started twice, nothing ends that was not told to, no line is lost or
// doubled but by a killed log service, and every wish is fulfilled in the end.
//
// UPKEEP_TORTURE=SERVICESxROUNDS changes the size.
func TestTorture(t *testing.T) {
	t.Parallel()
	tortureScanner(t, false, false)
}

// TestTortureApart is the same with the state apart from the definitions.
func TestTortureApart(t *testing.T) {
	t.Parallel()
	tortureScanner(t, true, false)
}

// TestTortureLogger is the same with logs that the scanner writes itself, which are
// rotated all the time: no line is lost, and none is there twice but those of a block
// that was being written when the scanner was killed.
func TestTortureLogger(t *testing.T) {
	t.Parallel()
	tortureScanner(t, false, true)
}

func tortureScanner(t *testing.T, apart, logger bool) {
	services, rounds := 12, 12
	if size := os.Getenv("UPKEEP_TORTURE"); size != "" {
		if _, err := fmt.Sscanf(size, "%dx%d", &services, &rounds); err != nil {
			t.Fatal(err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("%d services, %d rounds, seed %d", services, rounds, seed)
	v := &torture{
		random: rand.New(rand.NewPCG(seed, 0)),
		want:   map[string]status.Want{}, killed: map[string]bool{}, gaps: map[string]int{}, wrote: logger,
	}
	files := tree{}
	// All together write at most ten thousand lines a second: more would only
	// show how much the machine can take.
	pace := max(time.Millisecond, time.Duration(services)*100*time.Microsecond)
	for i := range services {
		name := fmt.Sprintf("s%d", i)
		files["service/"+name+"/run!"] = "#!/bin/sh\nexec scribe " + pace.String() + "\n"
		if logger {
			files["service/"+name+"/log/multilog"] = "t s4096 n1000000 ./main\n"
		} else {
			files["service/"+name+"/log/run!"] = "#!/bin/sh\nexec keeper\n"
		}
		v.names = append(v.names, name)
		v.want[name] = status.WantUp
	}
	v.faultScene = prepareFault(t, files)
	if apart {
		v.keepApart()
	}
	v.begin()
	for _, name := range v.names {
		v.wait(name+"/log", up) // from then on somebody holds each pipe
	}
	upgrades := 0
	for range rounds {
		for range 1 + v.random.IntN(4) {
			v.disturb(true)
		}
		v.pause()
		if v.random.IntN(2) == 0 {
			v.upgradeAmid()
			upgrades++
			continue
		}
		v.kills++
		v.crash(func() {
			for range v.random.IntN(3) {
				v.disturb(false)
			}
			v.pause()
		})
	}
	t.Logf("%d times upgraded, %d times killed", upgrades, rounds-upgrades)
	for name, want := range v.want {
		v.wait(name, func(r status.Record, alive bool) bool {
			return alive && r.Want == want && (r.PID != 0) == (want == status.WantUp)
		})
		v.wait(name+"/log", up)
	}
	v.scanner.stop()
	total, lost := 0, 0
	for _, name := range v.names {
		n, missing := v.audit(name)
		total, lost = total+n, lost+missing
	}
	t.Logf("%d lines, and %d missing, of killed log services; %d twice, of killed writers", total, lost, v.twice)
}

// pause lets a random time pass: what is done next comes at any instant.
func (v *torture) pause() { time.Sleep(time.Duration(v.random.IntN(150)) * time.Millisecond) }

// upgradeAmid upgrades the scanner while something happens to services. One that is
// about to take over what another has left listens a little later.
func (v *torture) upgradeAmid() {
	v.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		v.until("it can be upgraded", func() bool {
			got := v.upgrade()
			if got.code != 0 && !strings.Contains(got.stderr, "unable to reach") {
				v.t.Errorf("upgrade: %v", got)
			}
			return got.code == 0
		})
	}()
	for range v.random.IntN(3) {
		v.disturb(true)
	}
	<-done
}

// disturb does something to some service. While there is no scanner only
// processes can be killed.
func (v *torture) disturb(scanner bool) {
	name := v.names[v.random.IntN(len(v.names))]
	switch what := v.random.IntN(6); {
	case what == 0:
		v.killLast(name)
	case what == 1 && v.wrote:
		if scanner {
			v.tell(name+"/log", []string{"t", "h", "a", "pc"}[v.random.IntN(4)])
		}
	case what == 1:
		if v.killLast(name + "/log") {
			v.gaps[name]++
		}
	case !scanner:
	case what == 2:
		v.tell(name, "t")
	case what == 3:
		v.wish(name, "d", status.WantDown)
	default:
		v.wish(name, "u", status.WantUp)
	}
}

// wish tells a service until its status shows it: while a scanner takes over, a child
// that the killed one was about to start may still hold the FIFO, and takes what is in
// it along.
func (v *torture) wish(name, letter string, w status.Want) {
	v.t.Helper()
	v.want[name] = w
	for end := time.Now().Add(patience); ; {
		if time.Now().After(end) {
			v.t.Fatalf("%s does not obey %q", name, letter)
		}
		v.wait(name, supervised)
		v.tell(name, letter)
		d, err := svc.Open(v.state(name), svc.StateDir)
		if err != nil {
			v.t.Fatal(err)
		}
		_, err = d.Wait(status.Daemontools, time.Now().Add(2*time.Second),
			func(r status.Record, alive bool) bool { return alive && r.Want == w })
		d.Close()
		if err == nil {
			return
		}
	}
}

// killLast kills the process of a service that was started last.
func (v *torture) killLast(name string) bool {
	book, err := os.ReadFile(v.dir(name, "starts"))
	starts := strings.Fields(string(book))
	if err != nil || len(starts) == 0 {
		return false
	}
	last := starts[len(starts)-1]
	pid, err := strconv.Atoi(last)
	if err != nil {
		v.t.Fatal(err)
	}
	if r, ok := lookAt(pid); !ok || r.state == 'Z' || !strings.HasPrefix(r.command, "scribe") && !strings.HasPrefix(r.command, "keeper") {
		return false
	}
	v.killed[name+" "+last] = true
	return unix.Kill(pid, unix.SIGKILL) == nil
}

// book reads one of the books. A service that was told to stay down before it could
// begin has none.
func (v *torture) book(name string) string {
	v.t.Helper()
	b, err := os.ReadFile(v.dir(name))
	if err != nil && !os.IsNotExist(err) {
		v.t.Fatal(err)
	}
	return string(b)
}

// logged is what is in the log of a service, in its order.
func (v *torture) logged(name string) string {
	v.t.Helper()
	if !v.wrote {
		return v.book(name + "/log/lines")
	}
	main := v.dir(name, "log/main")
	files, err := os.ReadDir(main) // in the order of their names
	if err != nil && !os.IsNotExist(err) {
		v.t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range files {
		if f.Name()[0] != '@' && f.Name() != "current" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(main, f.Name()))
		if err != nil {
			v.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if len(line) < 26 || line[0] != '@' || line[25] != ' ' {
				v.t.Fatalf("%s: %q has no label", name, line)
			}
			b.WriteString(line[26:])
		}
	}
	return b.String()
}

// audit looks at the books of a service and its log service.
func (v *torture) audit(name string) (lines, missing int) {
	t := v.t
	for _, book := range []string{"double", "log/double"} {
		if b, err := os.ReadFile(v.dir(name, book)); err == nil {
			t.Errorf("%s/%s: %q", name, book, b)
		}
	}
	ended := map[string]int{}
	if b, err := os.ReadFile(v.dir(name, "ends")); err == nil {
		for line := range strings.Lines(string(b)) {
			pid, n, _ := strings.Cut(strings.TrimSpace(line), " ")
			if ended[pid], err = strconv.Atoi(n); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, pid := range strings.Fields(v.book(name + "/starts")) {
		if _, ok := ended[pid]; !ok && !v.killed[name+" "+pid] {
			t.Errorf("%s: process %s ended without a reason", name, pid)
		}
	}
	next, gaps, twice := map[string]int{}, 0, 0
	var places []string
	for line := range strings.Lines(v.logged(name)) {
		pid, number, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatalf("%s: %q", name, line)
		}
		switch want := next[pid]; {
		case n < want && v.wrote:
			twice++
			continue
		case n < want:
			t.Errorf("%s: line %q is there twice", name, line)
		case n > want:
			gaps++
			missing += n - want
			places = append(places, fmt.Sprintf("%s from %d to %d", pid, want, n-1))
		}
		next[pid] = n + 1
		lines++
	}
	// What a pipe holds is the most that can be in flight.
	if most := (v.kills + 1) * 64 << 10 / len("1 1\n"); twice > most {
		t.Errorf("%s: %d lines are there twice", name, twice)
	}
	v.twice += twice
	for pid, n := range ended {
		if next[pid] < n {
			gaps++
			missing += n - next[pid]
			places = append(places, fmt.Sprintf("%s from %d to %d, its end", pid, next[pid], n-1))
		}
	}
	// What a killed log service had in its hands may be the end of one process and the
	// beginning of the next.
	if gaps > 2*v.gaps[name] {
		t.Errorf("%s: lines are missing: %q; its log service was killed %d times", name, places, v.gaps[name])
	}
	return lines, missing
}
