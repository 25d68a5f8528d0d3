// Sidebyside kills every supervisor of a running tree, starts a new one as an
// operator would, and counts what that has cost: for Upkeep and, where they are
// installed, for Debian's daemontools, runit and s6.
//
//	go run ./integration/sidebyside [option ...]
//
//	-n N          services, each with a log service. Default 10
//	-suites LIST  run only these: upkeep, daemontools, runit, s6
//	-settle TIME  what a new supervisor gets to put things in order. Default 8s
//	-markdown     print Markdown
//
// Exit: 0, 1 if a suite could not be run to the end, 100 for wrong usage, 111 when
// it could not begin or was interrupted.
//
// # What is done
//
// Each service writes numbered lines into its log service, which is the suite's own
// program; for Upkeep it is multilog. When all of that is under way, all supervisors
// are killed with SIGKILL, the scanner first. The first service ends with 17 while
// there is none. Then the same command as before is run again, and has its time.
// What is there then is counted. After that the second service ends with 17, the
// process that there was from the beginning. At last all processes of services are
// told to end, log services get as long as they still write, and the lines are
// compared with what the services know they have written.
//
// # Fair play
//
// Every suite gets the same tree, and nothing is removed from it between the two
// supervisors. A supervisor "knows" a process if its status file names it. Lines
// that come late are not lost. Nothing but the supervisors is killed: what ends
// besides the two services ends by itself.
//
// All processes are found as our descendants, since we are their subreaper, and
// killed by pid. Those that die as orphans are reaped at once, as an init does it.
// Nothing is left behind by an interrupt either.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	exitFailed = 1
	exitUsage  = 100
	exitFatal  = 111
)

func main() {
	if pace, ok := os.LookupEnv(paceVariable); ok {
		serve(pace)
		return
	}
	o, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "sidebyside: usage:", err)
		os.Exit(exitUsage)
	}
	// Whatever ends us must not leave processes behind, a closed output included.
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGPIPE)
	defer stop()
	complete, err := run(ctx, o, os.Stdout)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "sidebyside: fatal:", err)
		os.Exit(exitFatal)
	case !complete:
		os.Exit(exitFailed)
	}
}

// options are what the command line says.
type options struct {
	n        int
	suites   []string // empty for all
	settle   time.Duration
	markdown bool
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("sidebyside", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.IntVar(&o.n, "n", 10, "")
	f.DurationVar(&o.settle, "settle", 8*time.Second, "")
	f.BoolVar(&o.markdown, "markdown", false, "")
	list := f.String("suites", "", "")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 || o.n < 2 {
		return o, errors.New("sidebyside [-n N] [-suites LIST] [-settle TIME] [-markdown], with 2 services or more")
	}
	if *list != "" {
		o.suites = strings.Split(*list, ",")
	}
	return o, nil
}

// run prints the table. complete is false if a suite has failed.
func run(ctx context.Context, o options, to io.Writer) (complete bool, err error) {
	r, err := measure(ctx, o)
	if err != nil {
		return false, err
	}
	_, err = io.WriteString(to, r.print(o.markdown))
	return len(r.failed) == 0, err
}

// measure runs all suites, one after the other.
func measure(ctx context.Context, o options) (r *report, err error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("unable to become subreaper: %w", err)
	}
	dir, err := os.MkdirTemp("", "sidebyside-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	program, err := build(ctx, dir)
	if err != nil {
		return nil, err
	}
	r = &report{n: o.n, facts: map[string]*facts{}}
	for _, s := range suites(program) {
		if !s.wanted(o.suites) {
			continue
		}
		if missing := s.resolve(); missing != "" {
			r.notes = append(r.notes, s.name+": not run, "+missing)
			continue
		}
		f, err := s.measure(ctx, dir, o)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		r.suites = append(r.suites, s)
		if err != nil {
			r.failed = append(r.failed, s.name)
			r.notes = append(r.notes, s.name+": failed: "+err.Error())
			continue
		}
		r.facts[s.name] = f
	}
	return r, nil
}
