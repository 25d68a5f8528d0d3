package main

import (
	"os"
	"os/signal"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// serve is helpers/tinysvc.c for machines without a C compiler: the benchmark
// itself, started as the run of a service directory.
func serve(stamps string) {
	write(stamps, kindStart)
	hup := make(chan os.Signal, 8)
	signal.Notify(hup, unix.SIGHUP)
	var end <-chan time.Time
	if ms, err := strconv.Atoi(os.Getenv("BENCH_EXIT_MS")); err == nil {
		end = time.After(time.Duration(ms) * time.Millisecond)
	}
	for {
		select {
		case <-hup:
			write(stamps, kindHangup)
		case <-end:
			return
		}
	}
}

func write(fifo string, kind byte) {
	record := appendStamp(nil, stamp{kind: kind, pid: os.Getpid(), at: now()})
	fd, err := unix.Open(fifo, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return // nobody reads: then nobody misses it
	}
	unix.Write(fd, record)
	unix.Close(fd)
}
