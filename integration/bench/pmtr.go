package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// measurePmtr measures the live pmtr, which has no tree and no suites beside it:
//
//	go run ./integration/bench pmtr
//
// The original cannot be had here; pmtr.md, section 10, has what was measured of it.
func measurePmtr(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p, err := build(ctx, dir, "")
	if err != nil {
		return err
	}
	fmt.Println("jobs  settings  private KiB  PSS KiB  threads  start ms  restart ms (min median max)  edit ms (median max)  idle switches/min  stop ms")
	first := 0
	for _, n := range []int{1, 10, 100} {
		for _, settings := range []bool{false, true} {
			m, err := measurePmtrWith(ctx, dir, p, n, settings)
			if err != nil {
				return err
			}
			fmt.Printf("%4d  %-8v  %11d  %7d  %7d  %8.1f  %6.2f %6.2f %6.2f          %6.1f %6.1f         %6.1f             %6.1f\n",
				n, settings, m.memory.privateDirty, m.memory.pss, m.threads, ms(m.start),
				ms(m.restarts[0]), ms(m.restarts[len(m.restarts)/2]), ms(m.restarts[len(m.restarts)-1]),
				ms(m.edits[len(m.edits)/2]), ms(m.edits[len(m.edits)-1]), m.switches, ms(m.stop))
			switch {
			case settings:
			case n == 1:
				first = m.memory.privateDirty
			case n == 100:
				fmt.Printf("a job: %.2f KiB\n", float64(m.memory.privateDirty-first)/99)
			}
		}
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// pmtrFigures are of one configuration.
type pmtrFigures struct {
	memory          memory
	threads         int
	start, stop     time.Duration
	restarts, edits []time.Duration
	switches        float64
}

// measurePmtrWith measures n jobs, which have a setting or not.
func measurePmtrWith(ctx context.Context, dir string, p programs, n int, settings bool) (m pmtrFigures, err error) {
	s, err := openStamps(filepath.Join(dir, "stamps"))
	if err != nil {
		return m, err
	}
	defer s.close()
	conf, more := filepath.Join(dir, "pmtr.conf"), ""
	if settings {
		more = " nice 0\n"
	}
	text := ""
	for i := range n {
		text += "job {\n name web" + strconv.Itoa(i) + "\n cmd " + p.service + "\n" + more + "}\n"
	}
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return m, err
	}
	c := exec.CommandContext(ctx, filepath.Join(p.dir, "pmtr"), "-F", "-c", conf)
	c.Env = append(os.Environ(), "BENCH_STAMPS="+s.path)
	began := now()
	if err := c.Start(); err != nil {
		return m, err
	}
	defer func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}()
	list, err := s.wait(ctx, kindStart, n, time.Minute)
	if err != nil {
		return m, err
	}
	for _, x := range list {
		m.start = max(m.start, time.Duration(x.at-began))
	}
	const old = 11 * time.Second // jobs are restarted at once from ten on
	if err := sleep(ctx, old); err != nil {
		return m, err
	}
	m.memory = memoryOf([]int{c.Process.Pid})
	m.threads = threadsOf([]int{c.Process.Pid})
	for i := range 20 {
		if i >= n {
			break
		}
		at := now()
		if err := unix.Kill(list[i].pid, unix.SIGKILL); err != nil {
			return m, err
		}
		one, err := s.wait(ctx, kindStart, 1, time.Minute)
		if err != nil {
			return m, err
		}
		m.restarts = append(m.restarts, time.Duration(one[0].at-at))
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return m, err
		}
	}
	slices.Sort(m.restarts)
	for i := range 10 {
		added := text + strings.Replace("job {\n name added\n cmd "+p.service+"\n}\n", "added", "added"+strconv.Itoa(i), 1)
		at := now()
		if i%2 == 0 {
			err = os.WriteFile(conf, []byte(added), 0o644)
		} else if err = os.WriteFile(conf+".new", []byte(added), 0o644); err == nil {
			err = os.Rename(conf+".new", conf)
		}
		if err != nil {
			return m, err
		}
		one, err := s.wait(ctx, kindStart, 1, time.Minute)
		if err != nil {
			return m, err
		}
		m.edits = append(m.edits, time.Duration(one[0].at-at))
	}
	slices.Sort(m.edits)
	if err := sleep(ctx, 6*time.Second); err != nil {
		return m, err
	}
	const idle = 20 * time.Second
	before := switchesOf([]int{c.Process.Pid})
	if err := sleep(ctx, idle); err != nil {
		return m, err
	}
	m.switches = float64(switchesOf([]int{c.Process.Pid})-before) * float64(time.Minute) / float64(idle)
	at := now()
	if err := c.Process.Signal(unix.SIGTERM); err != nil {
		return m, err
	}
	err = c.Wait()
	m.stop = since(at)
	return m, err
}
