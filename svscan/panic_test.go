package svscan

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
	"upkeep/supervise/status"
	"upkeep/svc"
)

// A test runs this program as "panicker DIR STATE": a scanner in which code of a service
// panics where a file "panic" in its directory says so, once.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == KeeperArgs[0] {
		Keep()
		return
	}
	if c, ok := IsHeir(); ok {
		c.Dir, c.Dialect = os.Args[1], supervise.Runit
		c.Orders = map[os.Signal]Order{unix.SIGTERM: OrderStop}
		superviseAs(c)
	}
	if os.Args[0] == "bequeather" {
		// What happens to the disk of a service takes as long as there is a file "slow".
		inject = func(service, where string) {
			for where == "write" && unix.Access(filepath.Join(os.Args[1], service, "slow"), unix.F_OK) == nil {
				time.Sleep(time.Millisecond)
			}
		}
		superviseAs(Config{
			Dir: os.Args[1], Dialect: supervise.Runit, Heritage: []string{"heir", os.Args[1]},
			Orders: map[os.Signal]Order{unix.SIGTERM: OrderBequeath},
		})
	}
	if os.Args[0] == "jobber" {
		jobber()
		return
	}
	if filepath.Base(os.Args[0]) != "panicker" {
		os.Exit(m.Run())
	}
	dir := os.Args[1]
	var again atomic.Pointer[string] // the service whose next write panics as well
	inject = func(service, where string) {
		path := filepath.Join(dir, service, "panic")
		b, err := os.ReadFile(path)
		if twice := string(b) == "twice" && where == "write"; err == nil && (string(b) == where || twice) && os.Remove(path) == nil {
			if twice {
				again.Store(&service)
			}
			panic("injected")
		}
		if s := again.Load(); s != nil && *s == service && where == "write" && again.CompareAndSwap(s, nil) {
			panic("injected")
		}
	}
	s, err := New(Config{Dir: dir, StateDir: os.Args[2], Signals: true, Report: func(r Report) {
		fmt.Println(strings.TrimSpace(fmt.Sprint(r.Verb, " ", r.Object)))
	}})
	if err != nil {
		fmt.Println(err)
		os.Exit(111)
	}
	s.Run()
	os.Exit(0)
}

// superviseAs is the rest of a scanner's life.
func superviseAs(c Config) {
	c.Report = func(r Report) { fmt.Println(r.Verb, r.Object, r.Err) }
	s, err := New(c)
	if err != nil {
		fmt.Println(err)
		os.Exit(111)
	}
	os.Exit(s.Run())
}

// await waits until a service is as it should be.
func await(t *testing.T, dir string, want func(r status.Record) bool) status.Record {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		d, err := svc.Open(dir, svc.StateDir)
		if err == nil {
			r, err := d.Wait(status.Daemontools, deadline, func(r status.Record, alive bool) bool { return alive && want(r) })
			d.Close()
			if err != nil {
				t.Fatalf("%s: %v, %+v", dir, err, r)
			}
			return r
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

// obey tells a service something until it obeys: what it was told while it was given up
// is lost.
func obey(t *testing.T, dir, letters string, done func(r status.Record) bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		d, err := svc.Open(dir, svc.StateDir)
		if err == nil {
			_ = d.Control(letters)
			_, err = d.Wait(status.Daemontools, time.Now().Add(2*time.Second),
				func(r status.Record, alive bool) bool { return alive && done(r) })
			d.Close()
		}
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q is not obeyed: %v", letters, err)
		}
	}
}

// TestPanic: a panic in one service's code, wherever it is, leaves the others alone;
// its process is taken over like after a crash, and the service obeys.
func TestPanic(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"control", "write", "twice"} {
		for _, name := range []string{"web", "web/log"} {
			for _, apart := range []bool{false, true} {
				t.Run(fmt.Sprint(where, " of ", name, ", state apart: ", apart), func(t *testing.T) {
					t.Parallel()
					testPanic(t, where, name, apart)
				})
			}
		}
	}
}

// TestPanicLogger: the same of a log that the scanner writes; and what is written
// meanwhile is not lost.
func TestPanicLogger(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"control", "write", "twice", "log"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			for name, text := range map[string]string{
				"web/run":            "#!/bin/sh\nfor i in 0 1 2; do while ! [ -e go$i ]; do sleep 0.01; done; echo $i; done; exec sleep 1000\n",
				"web/log/multilog":   "./main\n",
				"other/run":          "#!/bin/sh\nexec sleep 1000\n",
				"other/log/multilog": "./main\n",
			} {
				path := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			output, err := os.Create(filepath.Join(t.TempDir(), "output"))
			if err != nil {
				t.Fatal(err)
			}
			defer output.Close()
			scanner := &exec.Cmd{Path: self, Args: []string{"panicker", root, ""}, Stdout: output, Stderr: output}
			if err := scanner.Start(); err != nil {
				t.Fatal(err)
			}
			running := func(r status.Record) bool { return r.PID != 0 }
			other := await(t, filepath.Join(root, "other/log"), running)
			await(t, filepath.Join(root, "web/log"), running)
			logs := func(want string) {
				t.Helper()
				for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
					names, _ := filepath.Glob(filepath.Join(root, "web/log/main/@*"))
					var all strings.Builder
					for _, name := range append(names, filepath.Join(root, "web/log/main/current")) {
						b, _ := os.ReadFile(name)
						all.Write(b)
					}
					if all.String() == want {
						return
					}
					if time.Now().After(deadline) {
						t.Fatalf("it has %q, want %q", all.String(), want)
					}
				}
			}
			for i := range 3 {
				if i > 0 {
					if err := os.WriteFile(filepath.Join(root, "web/log/panic"), []byte(where), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				if err := os.WriteFile(filepath.Join(root, fmt.Sprint("web/go", i)), nil, 0o644); err != nil {
					t.Fatal(err)
				}
				if i > 0 && where != "log" {
					obey(t, filepath.Join(root, "web/log"), "pc", func(status.Record) bool {
						_, err := os.Stat(filepath.Join(root, "web/log/panic"))
						return err != nil
					})
				}
				logs("0\n1\n2\n"[:2*i+2])
				obey(t, filepath.Join(root, "web/log"), "p", func(r status.Record) bool { return r.Paused })
				obey(t, filepath.Join(root, "web/log"), "c", func(r status.Record) bool { return !r.Paused })
			}
			await(t, filepath.Join(root, "other/log"), func(r status.Record) bool { return r.PID != 0 && r.Since == other.Since })
			_ = scanner.Process.Signal(unix.SIGTERM)
			if err := scanner.Wait(); err != nil {
				t.Errorf("the scanner: %v", err)
			}
			said, err := os.ReadFile(output.Name())
			times := 2
			if where == "twice" {
				times *= 2
			}
			if want := strings.Repeat("internal error: injected (in web/log)\n", times); err != nil || string(said) != want {
				t.Errorf("it said %q, %v", said, err)
			}
		})
	}
}

func testPanic(t *testing.T, where, name string, apart bool) {
	root, state := t.TempDir(), ""
	view := root
	if apart {
		state = t.TempDir()
		view = state
	}
	services := []string{"web", "web/log", "other", "other/log"}
	for _, s := range services {
		script := "#!/bin/sh\necho $$ >>starts\nexec sleep 1000\n"
		if strings.HasSuffix(s, "/log") {
			script = "#!/bin/sh\necho $$ >>starts\nexec cat >/dev/null\n"
		}
		if err := os.MkdirAll(filepath.Join(root, s), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, s, "run"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	output, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	scanner := &exec.Cmd{Path: self, Args: []string{"panicker", root, state}, Stdout: output, Stderr: output}
	if err := scanner.Start(); err != nil {
		t.Fatal(err)
	}
	over := false
	end := func() {
		if over {
			return
		}
		over = true
		_ = scanner.Process.Signal(unix.SIGTERM)
		if err := scanner.Wait(); err != nil {
			t.Errorf("the scanner: %v", err)
		}
	}
	defer end()
	was := map[string]status.Record{}
	for _, s := range services {
		was[s] = await(t, filepath.Join(view, s), func(r status.Record) bool { return r.PID != 0 })
	}
	obeys := func(letters string, done func(r status.Record) bool) {
		t.Helper()
		obey(t, filepath.Join(view, name), letters, done)
	}
	panicked := func(status.Record) bool {
		_, err := os.Stat(filepath.Join(root, name, "panic"))
		return err != nil
	}
	for range 2 {
		if err := os.WriteFile(filepath.Join(root, name, "panic"), []byte(where), 0o644); err != nil {
			t.Fatal(err)
		}
		obeys("pc", panicked)
		for _, s := range services {
			await(t, filepath.Join(view, s), func(r status.Record) bool { return r.PID == was[s].PID && r.Since == was[s].Since })
		}
		obeys("p", func(r status.Record) bool { return r.Paused })
		obeys("c", func(r status.Record) bool { return !r.Paused && r.PID == was[name].PID })
	}
	// Its end is heard of, too.
	obeys("t", func(r status.Record) bool { return r.PID != 0 && r.PID != was[name].PID })
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		book, err := os.ReadFile(filepath.Join(root, name, "starts"))
		if err == nil && strings.Count(string(book), "\n") == 2 {
			break
		}
	}
	for _, s := range services {
		if s != name {
			await(t, filepath.Join(view, s), func(r status.Record) bool { return r.PID == was[s].PID })
		}
	}
	end()
	said, err := os.ReadFile(output.Name())
	times := 2
	if where == "twice" {
		times *= 2
	}
	if want := strings.Repeat("internal error: injected (in "+name+")\n", times); err != nil || string(said) != want {
		t.Errorf("it said %q, %v", said, err)
	}
	for _, s := range services {
		book, err := os.ReadFile(filepath.Join(root, s, "starts"))
		want := 1
		if s == name {
			want = 2
		}
		if n := strings.Count(string(book), "\n"); err != nil || n != want {
			t.Errorf("%s was started %d times, %v", s, n, err)
		}
	}
}
