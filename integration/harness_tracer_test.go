package integration

import (
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// tracer is a service that writes down what happens to it: one line "start" to
// the file trace in its directory, then the name of each signal as it comes. It
// is a program in the PATH of all sites, for run scripts:
//
//	#!/bin/sh
//	exec tracer [-ignore SIGNAME]
//
// TERM ends it with 0 and QUIT with 3, unless ignored. CONT is not traced: it
// comes together with TERM, and whether it is still seen would be a matter of
// luck.
//
// A shell script with traps would not do: a signal that comes between two
// commands may be kept until the next one ends.
func tracer(args []string) {
	ignored := ""
	if len(args) == 2 && args[0] == "-ignore" {
		ignored = args[1]
	}
	signals := make(chan os.Signal, 100)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGALRM,
		syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH)
	trace("start")
	for sig := range signals {
		name := unix.SignalName(sig.(syscall.Signal))
		trace(name)
		if i := slices.Index([]string{"SIGTERM", "SIGQUIT"}, name); i >= 0 && name != ignored {
			syscall.Exit([]int{0, 3}[i])
		}
	}
}

func trace(line string) {
	f, err := os.OpenFile("trace", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err == nil {
		_, err = f.WriteString(line + "\n")
		f.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tracer:", err)
		syscall.Exit(111)
	}
}
