// Bench measures Upkeep beside the suites whose place it takes, all in one run:
// Debian's daemontools (svscan, supervise), runit (runsvdir) and s6 (s6-svscan),
// where they are installed, and the floor, a C program that spawns the services
// again and again and does nothing else.
//
//	go run ./integration/bench [option ...]
//
// It prints what it measured, and then each claim of the suite with its bound
// and whether it holds. A claim is judged only if it was measured as it is
// claimed, for instance with 1000 services.
//
//	-only LIST    measure only these: memory, startup, restart, spawn, detect,
//	              storm, clients
//	-suites LIST  run only these: upkeep, daemontools, runit, s6, "bare loop"
//	-n LIST       services in the trees for memory and startup; the largest also
//	              for spawn and clients. Default 1,10,100,1000
//	-reps K       repetitions of startup, restart and detect; the others take
//	              longer or vary less and get half of them. Default 4
//	-place PLACE  where the trees are, disk or tmpfs; startup takes both.
//	              Default disk
//	-settle TIME  until a tree is at rest. Default 6s
//	-idle TIME    for counting context switches. Default 30s
//	-upkeep FILE  measure this upkeep and not one built from the source
//	-json FILE    write all samples there, a JSON line each, and the claims
//	-markdown     print Markdown, and less of it: for the README
//
// The one argument pmtr has the live pmtr measured instead: memory, start, restart, the time from
// an edit of the configuration to its effect, and wake-ups.
//
// Exit: 0, 1 if a claim that was judged does not hold or a measurement failed,
// 100 for wrong usage, 111 when it could not begin or was interrupted.
//
// # What is measured
//
// The service is a static C program that stamps CLOCK_MONOTONIC into a FIFO as
// the first thing it does, so what the benchmark itself does is not in the
// figures. Suites take turns, A B B A; figures are medians over all repetitions.
// Supervisors are all processes below the scanner, and itself, which are not
// services.
//
//   - memory: PSS and private dirty memory of the supervisors at rest
//     (smaps_rollup), their threads and, with the largest tree, their context
//     switches while nothing happens.
//   - startup: from the fork of the scanner to the first instruction of the last
//     service, in a tree that no supervisor has seen before.
//   - restart: from the SIGKILL of a service that has outlived the throttle to
//     the first instruction of its successor.
//   - spawn: the same in a small and in a large tree. Of a restart's cost only
//     the spawn could depend on the size of the tree; the start of a whole tree
//     would count the creation of files with it.
//   - detect: from the link in the scan directory to the first instruction of
//     the service.
//   - storm: processor time of the supervisors for a restart, while 200 services
//     exit after 1.05 s again and again.
//   - clients: wall time of svstat over all services and of svc -h for one, ours
//     and the real ones on the same tree, which ours supervises.
//
// # Fair play
//
// ext4 is slow to create files for minutes after many were removed. As root, and
// with mkfs.ext4, every tree on disk gets a new file system in an image on a loop
// device; else a directory that stays until the end. The report says which.
// Programs are on disk and written back before they run, or their pages would
// count as private dirty memory. runsvdir is spared the second that it waits
// after a change of the scan directory. All suites get the same environment, and
// the hard limit of open files.
//
// The processes are found as our descendants, since we are their subreaper, and
// killed by pid, scanners before services. Nothing is left behind by an
// interrupt either.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	exitFailed = 1
	exitUsage  = 100
	exitFatal  = 111
)

func main() {
	if stamps := os.Getenv("BENCH_STAMPS"); stamps != "" && filepath.Base(os.Args[0]) == "run" {
		serve(stamps)
		return
	}
	if len(os.Args) == 2 && os.Args[1] == "pmtr" {
		if err := measurePmtr(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, "bench: fatal:", err)
			os.Exit(exitFatal)
		}
		return
	}
	o, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: usage:", err)
		os.Exit(exitUsage)
	}
	// Whatever ends us must not leave processes behind, a closed output included.
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGPIPE)
	defer stop()
	held, err := run(ctx, o)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench: fatal:", err)
		os.Exit(exitFatal)
	case !held:
		os.Exit(exitFailed)
	}
}

// options are what the command line says.
type options struct {
	only     []string
	suites   []string
	n        []int
	reps     int
	place    string
	settle   time.Duration
	idle     time.Duration
	upkeep   string
	json     string
	markdown bool
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(io.Discard) // the error says it all, and the manual is above
	var only, names, n string
	f.StringVar(&only, "only", "", "")
	f.StringVar(&names, "suites", "", "")
	f.StringVar(&n, "n", "1,10,100,1000", "")
	f.IntVar(&o.reps, "reps", 4, "")
	f.StringVar(&o.place, "place", onDisk, "")
	f.DurationVar(&o.settle, "settle", 6*time.Second, "")
	f.DurationVar(&o.idle, "idle", claimedIdle, "")
	f.StringVar(&o.upkeep, "upkeep", "", "")
	f.StringVar(&o.json, "json", "", "")
	f.BoolVar(&o.markdown, "markdown", false, "")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %s", f.Arg(0))
	}
	var known []string
	for _, m := range measurements {
		known = append(known, m.name)
	}
	if o.only, err = choose(only, known); err != nil {
		return o, err
	}
	if o.suites, err = choose(names, []string{ours, reference, runit, s6, floor}); err != nil {
		return o, err
	}
	if _, err = choose(o.place, []string{onDisk, onTmpfs}); err != nil {
		return o, err
	}
	for _, word := range strings.Split(n, ",") {
		v, err := strconv.Atoi(word)
		if err != nil || v < 1 || v > claimedServices { // svscan and runsvdir take no more
			return o, fmt.Errorf("-n takes numbers from 1 to %d, not %q", claimedServices, word)
		}
		o.n = append(o.n, v)
	}
	slices.Sort(o.n)
	o.n = slices.Compact(o.n)
	if o.reps < 1 {
		return o, errors.New("-reps must be at least 1")
	}
	return o, nil
}

// choose reads a list of known words, all of them if it is empty.
func choose(list string, known []string) ([]string, error) {
	if list == "" {
		return known, nil
	}
	words := strings.Split(list, ",")
	for _, w := range words {
		if !slices.Contains(known, w) {
			return nil, fmt.Errorf("%q is none of %s", w, strings.Join(known, ", "))
		}
	}
	return words, nil
}

// run does it all. held tells whether there is nothing to complain about.
func run(ctx context.Context, o options) (held bool, err error) {
	if err := prepare(); err != nil {
		return false, err
	}
	b := &bench{options: o, progress: os.Stderr}
	if b.dir, err = os.MkdirTemp("", "upkeep-bench-"); err != nil {
		return false, err
	}
	defer os.RemoveAll(b.dir)
	lines, err := sink(o.json)
	if err != nil {
		return false, err
	}
	b.results = newResults(lines)
	if b.programs, err = build(ctx, b.dir, o.upkeep); err != nil {
		return false, err
	}
	notes := []string{machine()}
	removeTmpfs, err := b.choosePlaces(o.place)
	if err != nil {
		return false, err
	}
	defer removeTmpfs()
	var missing []string
	b.suites, missing = suites(b.programs, func(name string) bool { return slices.Contains(o.suites, name) })

	for _, m := range measurements {
		if !slices.Contains(o.only, m.name) {
			continue
		}
		if err := m.run(b, ctx); err != nil {
			return false, err
		}
	}

	notes = append(notes, "after: load "+load())
	notes = append(notes, packages("daemontools", "runit", "s6")...)
	notes = append(notes, b.programs.notes...)
	notes = append(notes, b.placeNotes()...)
	notes = append(notes, missing...)
	list := claims(b.results, b.place.name, o)
	if err := b.logClaims(list); err != nil {
		return false, err
	}
	var columns []string
	for _, s := range b.suites {
		columns = append(columns, s.name)
	}
	r := report{notes, figures(b.results, columns, o.markdown), verdicts(list), b.failures}
	return len(b.failures) == 0 && !slices.ContainsFunc(list, claim.failed), r.print(os.Stdout, o.markdown)
}

// prepare makes this process the one that orphans come to, and gives those that
// it starts as many descriptors as they may have.
func prepare() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("unable to become a subreaper: %w", err)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("unable to get limit of open files: %w", err)
	}
	limit.Cur = limit.Max
	// Go gives children the soft limit from before its own start, unless the
	// program has set one itself.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("unable to set limit of open files: %w", err)
	}
	return nil
}

// sink opens the file for JSON lines, nil without one.
func sink(path string) (io.Writer, error) {
	if path == "" {
		return nil, nil
	}
	return os.Create(path)
}

// choosePlaces finds out where trees can be.
func (b *bench) choosePlaces(name string) (remove func(), err error) {
	remove = func() {}
	b.disk = disk(b.dir)
	if fileSystem("/dev/shm") == onTmpfs {
		dir, err := os.MkdirTemp("/dev/shm", "upkeep-bench-")
		if err != nil {
			return nil, err
		}
		remove = func() { os.RemoveAll(dir) }
		b.tmpfs = &place{name: onTmpfs, note: "plain directories below /dev/shm", dir: dir, scratch: true}
	}
	// Only the start of a fresh tree suffers from what was done before it. The
	// rest is measured where an operator's services are, on the disk itself.
	b.place = b.disk.plain()
	if name == onTmpfs {
		b.place = b.tmpfs
	}
	if b.place == nil {
		return nil, errors.New("there is no tmpfs on /dev/shm")
	}
	return remove, nil
}

func (b *bench) placeNotes() []string {
	notes := []string{"disk, for starts: " + b.disk.note, "disk, otherwise: plain directories below " + filepath.Dir(b.dir) + " (" + fileSystem(b.dir) + ")"}
	if b.tmpfs == nil {
		return append(notes, "tmpfs: none on /dev/shm")
	}
	return append(notes, "tmpfs: "+b.tmpfs.note)
}

// machine says what this was measured on.
func machine() string {
	var u unix.Utsname
	unix.Uname(&u) // cannot fail
	return fmt.Sprintf("%s, Linux %s, %d CPUs, %s; before: load %s",
		time.Now().UTC().Format(time.DateOnly), unix.ByteSliceToString(u.Release[:]), runtime.NumCPU(), runtime.Version(), load())
}

// logClaims writes the claims to the JSON file.
func (b *bench) logClaims(list []claim) error {
	for _, c := range list {
		err := b.results.line(struct {
			Claim   string  `json:"claim"`
			Value   float64 `json:"value"`
			Unit    string  `json:"unit,omitempty"`
			Bound   float64 `json:"bound"`
			Verdict string  `json:"verdict"`
		}{c.text, c.value, c.unit, c.bound, c.verdict()})
		if err != nil {
			return err
		}
	}
	return nil
}
