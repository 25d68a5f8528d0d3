// Package pmtr is the programs of pmtr under their own names (pmtr.md).
package pmtr

import (
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
)

const (
	onconnectUsage = "usage: onconnect [-v] [-a <ip>] -p <port> <program> [<arg> ...]\n"

	// Exit codes. Those of a child that cannot execute its program are a shell's.
	exitUsage    = 255
	exitFailed   = 1
	exitNoAccess = 126
	exitMissing  = 127

	// execute is the first argument of a process that only executes a program.
	execute = "--execute"

	upEvery = 10 * time.Second
)

// onconnect is one onconnect.
type onconnect struct {
	env      *cli.Env
	verbose  bool
	address  [4]byte
	port     int
	argv     []string
	listener int
}

// accepted is a connection, or why there is none.
type accepted struct {
	fd   int
	peer unix.Sockaddr
	err  error
}

// Onconnect is onconnect [-v] [-a IPV4] -p PORT PROGRAM [ARGUMENT...]: it runs PROGRAM,
// which is not looked for in PATH, for each TCP connection, which that has as
// descriptor 3. HUP, INT, QUIT, TERM and IO end it and leave the programs alone.
func Onconnect(env *cli.Env, args []string) int {
	if len(args) > 2 && args[1] == execute {
		return become(env, args[2:])
	}
	o := &onconnect{env: env}
	if !o.options(args) {
		_, _ = env.Stderr.WriteString(onconnectUsage)
		return exitUsage
	}
	signals := make(chan os.Signal, 16)
	ended := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGIO)
	signal.Notify(ended, unix.SIGCHLD)
	// Others do nothing. Unlike ignored ones they do not stay so in the programs.
	signal.Notify(make(chan os.Signal, 1), unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGPIPE, unix.SIGVTALRM,
		unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGPWR, unix.SIGSTKFLT, unix.SIGXCPU, unix.SIGXFSZ, unix.SIGWINCH)
	if step, err := o.listen(); err != nil {
		o.say(step, ": ", cli.Strerror(err))
		return exitFailed
	}
	connections := make(chan accepted)
	go o.accept(connections)
	var tick <-chan time.Time
	if o.verbose {
		o.say("adding fd ", strconv.Itoa(o.listener), " to epoll")
		t := time.NewTicker(upEvery)
		defer t.Stop()
		tick = t.C
	}
	start := time.Now()
	for {
		select {
		case sig := <-signals:
			n, _ := sig.(syscall.Signal)
			o.say("got signal ", strconv.Itoa(int(n)))
			return 0
		case <-ended:
			o.reap()
		case c := <-connections:
			o.serve(c)
		case <-tick:
			o.say("up ", strconv.Itoa(int(time.Since(start).Seconds())), " seconds")
		}
	}
}

func (o *onconnect) say(parts ...string) {
	_, _ = o.env.Stderr.WriteString(strings.Join(parts, "") + "\n")
}

// options reads the command line up to the first operand: what follows is PROGRAM's.
func (o *onconnect) options(args []string) bool {
	options := cli.NewOptions(o.env, args, "va:p:h")
	for letter := options.Next(); letter != cli.End; letter = options.Next() {
		switch letter {
		case 'v':
			o.verbose = true
		case 'a':
			var ok bool
			if o.address, ok = parseIPv4(options.Arg); !ok {
				return false
			}
		case 'p':
			o.port = leadingNumber(options.Arg)
		default:
			return false
		}
	}
	o.argv = options.Args()
	return o.port > 0 && o.port <= 0xffff
}

// leadingNumber is what atoi makes of a port, as far as it could be one.
func leadingNumber(text string) (n int) {
	text = strings.TrimPrefix(text, "+")
	for i := 0; i < len(text) && text[i] >= '0' && text[i] <= '9' && n <= 0xffff; i++ {
		n = n*10 + int(text[i]-'0')
	}
	return n
}

// parseIPv4 reads four numbers with dots. 255.255.255.255 is none, as in inet_addr.
func parseIPv4(text string) (a [4]byte, ok bool) {
	parts := strings.Split(text, ".")
	if len(parts) != len(a) {
		return a, false
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 8)
		if err != nil || p[0] == '+' {
			return a, false
		}
		a[i] = byte(n)
	}
	return a, a != [4]byte{255, 255, 255, 255}
}

func (o *onconnect) listen() (step string, err error) {
	if o.listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return "socket", err
	}
	if err := unix.SetsockoptInt(o.listener, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return "setsockopt", err
	}
	if err := unix.Bind(o.listener, &unix.SockaddrInet4{Port: o.port, Addr: o.address}); err != nil {
		return "bind", err
	}
	return "listen", unix.Listen(o.listener, 1)
}

// accept sends all connections. It ends with the process.
func (o *onconnect) accept(to chan<- accepted) {
	for {
		fd, peer, err := unix.Accept4(o.listener, unix.SOCK_CLOEXEC)
		if err == unix.EINTR || err == unix.ECONNABORTED {
			continue
		}
		to <- accepted{fd, peer, err}
		if err != nil {
			time.Sleep(time.Second) // there may be descriptors again
		}
	}
}

// serve starts the program for a connection.
func (o *onconnect) serve(c accepted) {
	if c.err != nil {
		o.say("accept: ", cli.Strerror(c.err))
		return
	}
	defer unix.Close(c.fd)
	if peer, ok := c.peer.(*unix.SockaddrInet4); ok && o.verbose {
		o.say("connection fd ", strconv.Itoa(c.fd), " from ", dotted(peer.Addr), ":", strconv.Itoa(peer.Port))
		for i, arg := range o.argv {
			o.say("argv[", strconv.Itoa(i), "]: ", arg)
		}
	}
	attr := &syscall.ProcAttr{Env: syscall.Environ(), Files: []uintptr{0, 1, 2, uintptr(c.fd)}}
	argv := o.argv
	if len(argv) == 0 {
		argv = []string{""} // which execv does not find
	}
	pid, err := syscall.ForkExec(argv[0], argv, attr)
	if err != nil {
		// A child has to say so, and to exit as one that could not execute its
		// program. If there are no more processes to be had, there is no child.
		var again error
		if pid, again = syscall.ForkExec("/proc/self/exe", append([]string{"onconnect", execute}, argv...), attr); again != nil {
			o.say("fork: ", cli.Strerror(err))
			return
		}
	}
	o.say("forked pid ", strconv.Itoa(pid))
}

func dotted(a [4]byte) string {
	b := make([]byte, 0, 15)
	for i, n := range a {
		if i > 0 {
			b = append(b, '.')
		}
		b = strconv.AppendUint(b, uint64(n), 10)
	}
	return string(b)
}

// become executes a program in place of this process, as execv does.
func become(env *cli.Env, argv []string) int {
	err := syscall.Exec(argv[0], argv, syscall.Environ())
	_, _ = env.Stderr.WriteString("execv: " + cli.Strerror(err) + "\n")
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return exitMissing
	}
	return exitNoAccess
}

// reap waits for all programs that have ended.
func (o *onconnect) reap() {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if status.Signaled() {
			o.say("pid ", strconv.Itoa(pid), " exited: signal ", strconv.Itoa(int(status.Signal())))
		} else {
			o.say("pid ", strconv.Itoa(pid), " exited: status ", strconv.Itoa(status.ExitStatus()))
		}
	}
}
