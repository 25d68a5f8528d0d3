package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// paceVariable makes this program a service, which rests so long after each line.
const paceVariable = "SIDEBYSIDE_PACE"

// The ends of a service that it was told to make.
const (
	toldToEnd  = "told"
	exitStatus = 17
)

// serve writes numbered lines, "PID N", one in a write, and keeps books in its
// directory: its pid in starts; in ends its pid, how many lines it has written, and
// what has ended it. TERM and USR1 do, with 0 and with 17.
func serve(pace string) {
	rest, err := time.ParseDuration(pace)
	if err != nil {
		os.Exit(exitUsage)
	}
	pid := os.Getpid()
	var written atomic.Int64
	end := func(why string, code int) {
		enter("ends", fmt.Sprintf("%d %d %s", pid, written.Load(), why))
		syscall.Exit(code)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM, unix.SIGUSR1, unix.SIGPIPE)
	enter("starts", strconv.Itoa(pid))
	go func() { // until the process ends; a write may block
		for sig := range signals {
			switch sig {
			case unix.SIGTERM:
				end(toldToEnd, 0)
			case unix.SIGUSR1:
				end(toldToEnd, exitStatus)
			}
		}
	}()
	for ; ; time.Sleep(rest) {
		if _, err := unix.Write(1, fmt.Appendf(nil, "%d %d\n", pid, written.Load())); err != nil {
			end(err.Error(), 1)
		}
		written.Add(1)
	}
}

// enter appends a line to a book.
func enter(book, line string) {
	f, err := os.OpenFile(book, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err == nil {
		_, err = f.WriteString(line + "\n")
		f.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "unable to keep books:", err)
		syscall.Exit(exitFatal)
	}
}
