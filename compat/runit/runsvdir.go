package runit

import (
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/supervise"
	"upkeep/supervise/status"
	"upkeep/svscan"
)

// runsvdirFatal is runsvdir's exit code if it cannot begin.
const runsvdirFatal = 100

// Runsvdir is runsvdir [-P] DIR [LOG]: it supervises every service directory below DIR
// and their log services, all in this process. With -P each process gets a session and a
// process group of its own. The end of what is written to standard error is shown in LOG,
// for ps to see.
//
// TERM ends it at once. All services go on, and one process supervises them in its place
// until they are told to exit. HUP ends it, too; that process stops them all. ALRM makes it
// scan, and write the file .forced-rescan. PID 1, whose end would be that of all, stops the
// services itself after TERM and HUP.
//
// Exit: 0 after TERM, 111 after HUP, 1 for wrong usage, 100 when it could not begin.
func Runsvdir(env *cli.Env, args []string) int {
	operands := args[1:]
	sessions := false
	if len(operands) > 0 {
		switch {
		case strings.HasPrefix(operands[0], "-P"):
			sessions, operands = true, operands[1:]
		case strings.HasPrefix(operands[0], "--"):
			operands = operands[1:]
		}
	}
	if len(operands) == 0 {
		return usage(env, args[0], " [-P] dir", 1)
	}
	dir := operands[0]
	prog := "runsvdir " + dir
	if len(operands) > 1 && titleOf(env, prog, operands[1]) {
		if err := serveTitle(operands[1]); err != nil {
			env.Warn(prog, "unable to create pipe for log, disabling log service", err)
		}
	}
	say := &speaker{env: env, prog: prog}
	term, hup := svscan.OrderBequeath, svscan.OrderDismiss
	if os.Getpid() == 1 {
		term, hup = svscan.OrderStop, svscan.OrderAbort
	}
	s, err := svscan.New(svscan.Config{
		Dir: dir, Dialect: supervise.Runit, Report: say.say, Patient: true, Sessions: sessions,
		Orders: map[os.Signal]svscan.Order{
			syscall.SIGTERM: term,
			syscall.SIGHUP:  hup,
			syscall.SIGALRM: svscan.OrderRescan,
			syscall.SIGUSR2: svscan.OrderUpgrade,
		},
		Rescanned: func() { markRescan(dir) },
		Heritage:  []string{"runsv", dir},
	})
	if err != nil {
		env.Fatal(prog, "unable to begin", err)
		return runsvdirFatal
	}
	return s.Run()
}

// inherit is what is left of a runsvdir that was told to end: it supervises the services
// that are there, as many runsv would, until they are told to exit. To tell it to end is
// to tell them all.
func inherit(env *cli.Env, c svscan.Config, dir string) int {
	say := &speaker{env: env, prog: "runsv"}
	c.Dir, c.Dialect, c.Report = dir, supervise.Runit, say.say
	c.Orders = map[os.Signal]svscan.Order{syscall.SIGTERM: svscan.OrderStop, syscall.SIGHUP: svscan.OrderStop}
	s, err := svscan.New(c)
	if err != nil {
		return env.Fatal("runsv", "unable to begin", err)
	}
	return s.Run()
}

// markRescan tells who sent ALRM that the scan is over. The directory may be one that
// cannot be written to; then there is nobody to tell.
func markRescan(dir string) {
	fd, err := open(dir+"/.forced-rescan", unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, 0o644)
	if err != nil {
		return
	}
	_, _ = cli.FD(fd).Write(status.Now().AppendTAI64N(nil))
	unix.Close(fd)
}
