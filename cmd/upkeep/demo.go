package main

import (
	_ "embed"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"upkeep/compat/cli"
	"upkeep/svscan"
)

// The scan directory of the demo. An embed.FS would be 50 KB of the program.
var (
	//go:embed demo/clock/run
	clockRun string
	//go:embed demo/clock/log/run
	clockLogRun string
	//go:embed demo/flaky/run
	flakyRun string
	//go:embed demo/sleeper/run
	sleeperRun string
	//go:embed demo/spare/run
	spareRun string
)

const demoSyntax = "upkeep demo [-t seconds]"

// demo is upkeep demo [-t SECONDS]: it unpacks a small scan directory into a
// temporary place, supervises it as svscan would, and shows what happens: on a
// terminal in a table that is always up to date, else in a line for each change.
//
// INT, TERM, the end of the terminal or of the SECONDS stop the services and
// then their logs. Nothing is left behind.
//
// Exit: 0 after a stop, 100 for wrong usage, 111 when it could not begin, show
// or clean up.
func demo(env *cli.Env, args []string) int {
	limit, ok := demoLimit(env, args)
	if !ok {
		return env.Usage("upkeep", demoSyntax)
	}
	// Before there is anything that could be left behind.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)

	dir, err := os.MkdirTemp("", "upkeep-demo-")
	if err != nil {
		return env.Fatal("upkeep", "unable to make a temporary directory", err)
	}
	code := demoIn(env, dir, stop, limit)
	if err := os.RemoveAll(dir); err != nil {
		return env.Fatal("upkeep", "unable to remove "+dir, err)
	}
	if code == 0 {
		_, _ = env.Stdout.WriteString("Everything is down, and " + dir + " is removed.\n")
	}
	return code
}

// demoLimit is the channel that ends the demo after -t, or nil.
func demoLimit(env *cli.Env, args []string) (limit <-chan time.Time, ok bool) {
	o := cli.NewOptions(env, args, "t:")
	for {
		switch o.Next() {
		case cli.End:
			return limit, len(o.Args()) == 0
		case 't':
			seconds, err := strconv.ParseUint(o.Arg, 10, 31)
			if err != nil {
				return nil, false
			}
			limit = time.After(time.Duration(seconds) * time.Second)
		default:
			return nil, false
		}
	}
}

// demoIn runs the demo in a directory until it is told to stop.
func demoIn(env *cli.Env, dir string, stop <-chan os.Signal, limit <-chan time.Time) int {
	services, bin := dir+"/service", dir+"/bin"
	if err := errors.Join(unpack(services), os.Mkdir(bin, 0o755)); err != nil {
		return env.Fatal("upkeep", "unable to unpack into "+dir, err)
	}
	if code := link(env, bin); code != 0 {
		return code
	}
	if _, err := env.Stdout.WriteString(introduction(dir)); err != nil {
		return env.Fatal("upkeep", "unable to write", err)
	}
	s := newScreen(env, services)
	scanner, err := svscan.New(svscan.Config{Dir: services, Report: s.report, Changed: s.changed})
	if err != nil {
		return env.Fatal("upkeep", "unable to supervise "+services, err)
	}
	go func() { // until the process ends
		select {
		case <-stop:
		case <-limit:
		}
		scanner.Stop()
	}()
	ended := make(chan struct{})
	go func() {
		scanner.Run()
		close(ended)
	}()
	err = s.run(ended)
	scanner.Stop() // without an effect if it has ended
	<-ended
	if err != nil {
		return env.Fatal("upkeep", "unable to write", err)
	}
	return 0
}

// unpack makes the scan directory.
func unpack(to string) error {
	for _, f := range []struct {
		path, content string
		mode          os.FileMode
	}{
		{"clock/run", clockRun, 0o755}, {"clock/log/run", clockLogRun, 0o755}, {"flaky/run", flakyRun, 0o755},
		{"sleeper/run", sleeperRun, 0o755}, {"spare/run", spareRun, 0o755}, {"spare/down", "", 0o644},
	} {
		path := filepath.Join(to, f.path)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = os.WriteFile(path, []byte(f.content), f.mode)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func introduction(dir string) string {
	return `svscan supervises the services in ` + dir + `/service.
Ctrl-C stops them, and then their logs. Meanwhile, in another terminal:

  cd ` + dir + `
  bin/svstat service/* service/*/log
  bin/svc -d service/clock    # down; -u: up again
  bin/svc -t service/sleeper  # a TERM: it is started again
  bin/svc -u service/spare    # normally down
  tail -f service/clock/log/main/current

The svc and svstat of daemontools and the sv of runit will do as well.

`
}
