// Logbench compares our loggers, filters and small programs with the real ones of
// daemontools, runit and s6, all in one run:
//
//	go run ./integration/logbench [-reps 5] [-lines 2000000] [-services 1000]
//
// Loggers get lines of 100 bytes with time stamps and rotation, in writes of 64 KiB and
// in writes of one line, on disk and on tmpfs; what counts is lines for each second of
// processor time, and megabytes for each second. Runs of all programs take turns, and
// the best of each counts. The start of a program is that of setuidgid and chpst with
// /bin/true behind them. Memory is the private memory of 1000 loggers with one line
// written to each: as processes, and inside the scanner.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"upkeep/integration/shipped"
)

func main() {
	reps := flag.Int("reps", 5, "runs of each")
	lines := flag.Int("lines", 2_000_000, "lines for each run")
	services := flag.Int("services", 1000, "services whose memory is measured")
	only := flag.String("only", "", "loggers, filters, starts or memory")
	flag.Parse()
	if err := bench(*reps, *lines, *services, *only); err != nil {
		fmt.Fprintln(os.Stderr, "logbench:", err)
		os.Exit(1)
	}
}

func bench(reps, lines, services int, only string) error {
	dir, err := os.MkdirTemp("", "logbench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := build(dir); err != nil {
		return err
	}
	for _, part := range []struct {
		name string
		run  func() error
	}{
		{"loggers", func() error { return loggers(dir, reps, lines) }},
		{"filters", func() error { return filters(dir, reps, lines) }},
		{"starts", func() error { return starts(dir, reps) }},
		{"memory", func() error { return memory(dir, services) }},
	} {
		if only == "" || only == part.name {
			if err := part.run(); err != nil {
				return fmt.Errorf("%s: %w", part.name, err)
			}
		}
	}
	return nil
}

func build(dir string) error {
	bin := filepath.Join(dir, "bin")
	if err := shipped.Build(context.Background(), filepath.Join(bin, "upkeep")); err != nil {
		return err
	}
	return exec.Command(filepath.Join(bin, "upkeep"), "--link", bin).Run()
}

// program is ours if real is false.
type program struct {
	name string
	real bool
	args []string
	conf string // of svlogd
}

func (p *program) String() string {
	if p.real {
		return "real " + p.name
	}
	return "our " + p.name
}

func (p *program) path(dir string) string {
	if p.real {
		path, _ := exec.LookPath(p.name)
		return path
	}
	return filepath.Join(dir, "bin", p.name)
}

// result is what is best of some runs.
type result struct{ perCPU, perSecond float64 }

func (r *result) better(lines int, cpu, wall time.Duration) {
	r.perCPU = max(r.perCPU, float64(lines)/cpu.Seconds())
	r.perSecond = max(r.perSecond, float64(lines)*lineSize/1e6/wall.Seconds())
}

const lineSize = 100

func loggers(dir string, reps, lines int) error {
	var all []program
	for _, real := range []bool{true, false} {
		all = append(all,
			program{"multilog", real, []string{"t", "s1600000", "./main"}, ""},
			program{"svlogd", real, []string{"-t", "./main"}, "s1600000\n"},
			program{"s6-log", real, []string{"t", "s1600000", "./main"}, ""})
	}
	line := []byte(strings.Repeat("x", lineSize-1) + "\n")
	for _, place := range []struct{ name, dir string }{{"disk", dir}, {"tmpfs", "/dev/shm"}} {
		for _, pattern := range []struct {
			name  string
			write []byte
			lines int
		}{{"64 KiB", bytes.Repeat(line, 65536/lineSize), lines}, {"one line", line, lines / 4}} {
			results := make([]result, len(all))
			for range reps {
				for i := range all {
					p := &all[i]
					if p.path(dir) == "" {
						continue
					}
					cpu, wall, err := logOnce(p, dir, place.dir, pattern.write, pattern.lines)
					if err != nil {
						return fmt.Errorf("%v: %w", p, err)
					}
					results[i].better(pattern.lines, cpu, wall)
				}
			}
			fmt.Printf("\nloggers, %s, writes of %s\n", place.name, pattern.name)
			var real result
			for i := range all {
				fmt.Printf("  %-14v %12.0f lines/CPU-s %8.1f MB/s\n", &all[i], results[i].perCPU, results[i].perSecond)
				if all[i].real {
					real.perCPU, real.perSecond = max(real.perCPU, results[i].perCPU), max(real.perSecond, results[i].perSecond)
				}
			}
			for i := range all {
				if !all[i].real {
					fmt.Printf("  %-14v %.2f times the best real one in lines/CPU-s, %.2f times in MB/s\n",
						&all[i], results[i].perCPU/real.perCPU, results[i].perSecond/real.perSecond)
				}
			}
		}
	}
	return nil
}

func logOnce(p *program, dir, place string, write []byte, lines int) (cpu, wall time.Duration, err error) {
	at, err := os.MkdirTemp(place, "logbench")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(at)
	if p.conf != "" {
		if err := os.MkdirAll(filepath.Join(at, "main"), 0o755); err != nil {
			return 0, 0, err
		}
		if err := os.WriteFile(filepath.Join(at, "main", "config"), []byte(p.conf), 0o644); err != nil {
			return 0, 0, err
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 0, 0, err
	}
	c := exec.Command(p.path(dir), p.args...)
	c.Dir, c.Stdin, c.Stderr = at, r, os.Stderr
	began := time.Now()
	err = c.Start()
	r.Close()
	if err != nil {
		w.Close()
		return 0, 0, err
	}
	fd := w.Fd() // which makes it block: nothing of the runtime is between
	for left := lines; left > 0; left -= len(write) / lineSize {
		for b := write[:min(len(write), left*lineSize)]; len(b) > 0; {
			// The writer must not be what limits the logger.
			n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
			if errno == syscall.EINTR {
				continue
			}
			if errno != 0 {
				w.Close()
				return 0, 0, errno
			}
			b = b[n:]
		}
	}
	w.Close()
	err = c.Wait()
	wall = time.Since(began)
	return c.ProcessState.UserTime() + c.ProcessState.SystemTime(), wall, err
}

func filters(dir string, reps, lines int) error {
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, bytes.Repeat([]byte(strings.Repeat("x", lineSize-1)+"\n"), lines), 0o644); err != nil {
		return err
	}
	stamped := filepath.Join(dir, "stamped")
	to, err := os.Create(stamped)
	if err != nil {
		return err
	}
	from, err := os.Open(plain)
	if err != nil {
		return err
	}
	c := exec.Command(filepath.Join(dir, "bin", "tai64n"))
	c.Stdin, c.Stdout = from, to
	if err := c.Run(); err != nil {
		return err
	}
	from.Close()
	to.Close()
	fmt.Println("\nfilters, a file to /dev/null")
	for _, f := range []struct{ name, in string }{{"tai64n", plain}, {"tai64nlocal", stamped}} {
		both := []program{{name: f.name, real: true}, {name: f.name}}
		var results [2]result
		for range reps {
			for i := range both {
				in, err := os.Open(f.in)
				if err != nil {
					return err
				}
				c := exec.Command(both[i].path(dir))
				c.Stdin = in
				began := time.Now()
				err = c.Run()
				in.Close()
				if err != nil {
					return fmt.Errorf("%v: %w", &both[i], err)
				}
				results[i].better(lines, c.ProcessState.UserTime()+c.ProcessState.SystemTime(), time.Since(began))
			}
		}
		for i := range both {
			fmt.Printf("  %-17v %12.0f lines/CPU-s %8.1f MB/s\n", &both[i], results[i].perCPU, results[i].perSecond)
		}
		fmt.Printf("  our %s: %.2f times the real one in lines/CPU-s, %.2f times in MB/s\n", f.name,
			results[1].perCPU/results[0].perCPU, results[1].perSecond/results[0].perSecond)
	}
	return nil
}

// starts measures a program with /bin/true behind it, and /bin/true alone.
func starts(dir string, reps int) error {
	fmt.Println("\nstarts, with /bin/true behind: median ms, and what is over /bin/true alone")
	const each = 200
	for _, s := range []struct {
		name string
		args []string
	}{{"setuidgid", []string{"root", "/bin/true"}}, {"chpst", []string{"-u", "root", "/bin/true"}}} {
		runs := []struct {
			path string
			args []string
		}{
			{"/bin/true", nil},
			{(&program{name: s.name, real: true}).path(dir), s.args},
			{filepath.Join(dir, "bin", s.name), s.args},
		}
		var times [3][]float64
		for range each * reps {
			for i, r := range runs {
				began := time.Now()
				pid, err := syscall.ForkExec(r.path, append([]string{r.path}, r.args...), &syscall.ProcAttr{
					Env: os.Environ(), Files: []uintptr{0, 1, 2},
				})
				if err != nil {
					return err
				}
				var st syscall.WaitStatus
				if _, err := syscall.Wait4(pid, &st, 0, nil); err != nil || st != 0 {
					return fmt.Errorf("%s: %v, %v", r.path, st, err)
				}
				times[i] = append(times[i], float64(time.Since(began))/1e6)
			}
		}
		var median [3]float64
		for i := range times {
			slices.Sort(times[i])
			median[i] = times[i][len(times[i])/2]
		}
		fmt.Printf("  %-10s true %.3f  real %.3f (+%.3f)  ours %.3f (+%.3f): %.2f times the real one\n", s.name,
			median[0], median[1], median[1]-median[0], median[2], median[2]-median[0], median[2]/median[1])
	}
	return nil
}

// memory compares loggers that are processes with loggers inside the scanner.
func memory(dir string, services int) error {
	fmt.Printf("\nmemory of %d loggers, a line written to each\n", services)
	real, err := multilogs(dir, services)
	if err != nil {
		return err
	}
	fmt.Printf("  real multilog              %8.1f KiB each\n", real)
	const few = 10
	var kib [2]float64
	for i, script := range []string{"", "t s1600000 ./main\n"} {
		base, err := scanner(dir, few, script)
		if err != nil {
			return err
		}
		all, err := scanner(dir, services, script)
		if err != nil {
			return err
		}
		fmt.Printf("  scanner: %.0f KiB with %d services, %.0f KiB with %d; logs: %q\n", base, few, all, services, script)
		kib[i] = (all - base) / float64(services-few)
	}
	fmt.Printf("  in the scanner             %8.1f KiB each, service included; %.1f KiB without a log\n", kib[1], kib[0])
	return nil
}

func multilogs(dir string, n int) (each float64, err error) {
	path, err := exec.LookPath("multilog")
	if err != nil {
		return 0, err
	}
	var all []*exec.Cmd
	var pipes []*os.File
	defer func() {
		for _, w := range pipes {
			w.Close()
		}
		for _, c := range all {
			_ = c.Wait()
		}
	}()
	for i := range n {
		at := filepath.Join(dir, "real", strconv.Itoa(i))
		if err := os.MkdirAll(at, 0o755); err != nil {
			return 0, err
		}
		c := exec.Command(path, "t", "s1600000", "./main")
		c.Dir = at
		r, w, err := os.Pipe()
		if err != nil {
			return 0, err
		}
		c.Stdin = r
		err = c.Start()
		r.Close()
		if err != nil {
			w.Close()
			return 0, err
		}
		all, pipes = append(all, c), append(pipes, w)
		if _, err := w.WriteString("a line\n"); err != nil {
			return 0, err
		}
	}
	total := 0.0
	for i, c := range all {
		if err := written(filepath.Join(dir, "real", strconv.Itoa(i), "main/current")); err != nil {
			return 0, err
		}
		p, err := private(c.Process.Pid)
		if err != nil {
			return 0, err
		}
		total += p
	}
	return total / float64(n), nil
}

func scanner(dir string, n int, script string) (kib float64, err error) {
	tree := filepath.Join(dir, fmt.Sprint("tree", n, script != ""))
	for i := range n {
		at := filepath.Join(tree, strconv.Itoa(i))
		if err := os.MkdirAll(filepath.Join(at, "log"), 0o755); err != nil {
			return 0, err
		}
		if script == "" {
			err = os.Remove(filepath.Join(at, "log"))
		} else {
			err = os.WriteFile(filepath.Join(at, "log", "multilog"), []byte(script), 0o644)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(at, "run"), []byte("#!/bin/sh\necho a line\n: >wrote\nexec sleep 100000\n"), 0o755)
		}
		if err != nil {
			return 0, err
		}
	}
	c := exec.Command(filepath.Join(dir, "bin", "svscan"), tree)
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
	}()
	for i := range n {
		name := "wrote"
		if script != "" {
			name = "log/main/current"
		}
		if err := written(filepath.Join(tree, strconv.Itoa(i), name)); err != nil && script != "" {
			return 0, err
		}
	}
	time.Sleep(10 * time.Second) // until it has settled
	return private(c.Process.Pid)
}

// written waits until a file has something in it.
func written(path string) error {
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		st, err := os.Stat(path)
		if err == nil && (st.Size() > 0 || filepath.Base(path) == "wrote") {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("nothing is written to %s", path)
		}
	}
}

// private is the private memory of a process that is not that of a file, in KiB.
func private(pid int) (float64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "Private_Dirty:"); ok {
			return strconv.ParseFloat(strings.Fields(rest)[0], 64)
		}
	}
	return 0, fmt.Errorf("no Private_Dirty of %d", pid)
}
