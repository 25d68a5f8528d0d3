package runit

import (
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/supervise"
)

// The files of runit (runit.md, section 7.1). A magic file counts if its owner may execute
// it; Debian has its own places for two of them.
const (
	stageFile  = "/etc/runit/" // and the number
	ctrlAltDel = "/etc/runit/ctrlaltdel"
	noSync     = "/etc/runit/nosync"
	console    = "/dev/console"
	runitPath  = "/sbin/runit"
	notFirst   = 111
)

var (
	stopFiles   = [...]string{"/etc/runit/stopit", "/run/runit.stopit"}
	rebootFiles = [...]string{"/etc/runit/reboot", "/run/runit.reboot"}
)

// Exit codes of stages that mean something.
const (
	skipStage2    = 100 // of stage 1
	restartStage2 = 111 // of stage 2
)

const (
	stageGrace   = 5 // seconds that stage 2 has to end, or that are left after its KILL
	powerOffTime = 2 * time.Second
)

// Runit is the applet runit, which is process 1: it runs the scripts 1, 2 and 3 in
// /etc/runit one after the other, reaps what nobody waits for, and then halts, powers off
// or reboots the machine. CONT, INT (ctrl-alt-del) and PWR end stage 2 if the files
// say so. ALRM is passed on to stage 2, where runsvdir scans anew, as in Debian.
//
// Exit: 111 if it is not process 1; otherwise it does not.
func Runit(env *cli.Env, _ []string) int {
	if os.Getpid() != 1 {
		_, _ = env.Stderr.WriteString("- runit: fatal: must be run as process no 1.\n")
		return notFirst
	}
	p := &first{env: env, ends: make(chan end), requests: make(chan os.Signal, 8)}
	p.begin()
	for stage := byte('1'); stage <= '3'; stage++ {
		stage = p.run(stage)
	}
	p.halt()
	select {}
}

// first is process 1.
type first struct {
	env      *cli.Env
	ends     chan end
	requests chan os.Signal // CONT, INT, PWR, ALRM
}

// end is the end of any child.
type end struct {
	pid    int
	status supervise.WaitStatus
}

func (p *first) say(words ...string) {
	_, _ = p.env.Stderr.WriteString("- runit: " + strings.Join(words, "") + "\n")
}

func (p *first) begin() {
	_, _ = unix.Setsid() // it may lead one
	signal.Notify(p.requests, syscall.SIGCONT, syscall.SIGINT, syscall.SIGPWR, syscall.SIGALRM)
	// The kernel spares process 1 the default action of every signal, the Go runtime
	// does not.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGTERM,
		syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGTRAP, syscall.SIGSYS, syscall.SIGSTKFLT,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGVTALRM, syscall.SIGXCPU, syscall.SIGXFSZ, syscall.SIGIO)
	p.openConsole(0, 1, 2)
	// Ctrl-alt-del is a signal to us from now on. In a container there is none.
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF)
	child := make(chan os.Signal, 1)
	signal.Notify(child, syscall.SIGCHLD)
	go p.reap(child) // for ever
	p.say(strings.TrimSuffix(version, "\n"), ": booting.")
}

// openConsole has the console be some of our descriptors. It may have been hung up
// since it was opened.
func (p *first) openConsole(fds ...int) {
	fd, err := open(console, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return
	}
	for _, to := range fds {
		_ = unix.Dup3(fd, to, 0)
	}
	unix.Close(fd)
}

// reap waits for all children, which is all that most of them need.
func (p *first) reap(child <-chan os.Signal) {
	for {
		var st unix.WaitStatus
		switch pid, err := unix.Wait4(-1, &st, 0, nil); {
		case err == nil && pid > 0:
			p.ends <- end{pid, supervise.WaitStatus(st)}
		case err == unix.ECHILD:
			<-child
		}
	}
}

// start starts a script. It is false after a complaint.
func (p *first) start(path string, stdin uintptr, session bool) (pid int, ok bool) {
	p.say("enter stage: ", path)
	pid, err := syscall.ForkExec(path, []string{path}, &syscall.ProcAttr{
		Env: syscall.Environ(), Files: []uintptr{stdin, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: session},
	})
	if err != nil {
		_, _ = p.env.Stderr.WriteString("- runit: fatal: unable to start child: " + path + ": " + cli.ErrText(err) + "\n")
		return 0, false
	}
	return pid, true
}

// run runs a stage to its end and returns it, or the one that is to be passed over,
// or the one before the one that is to come.
func (p *first) run(stage byte) byte {
	path := stageFile + string(rune(stage))
	stdin := 0
	if stage == '1' {
		if fd, err := open(console, unix.O_RDWR|unix.O_NOCTTY, 0); err == nil {
			stdin = fd
		}
	}
	pid, ok := p.start(path, uintptr(stdin), stage != '1')
	if stdin != 0 {
		unix.Close(stdin)
	}
	if !ok {
		p.say("leave stage: ", path)
		return stage
	}
	for {
		select {
		case e := <-p.ends:
			if e.pid != pid {
				continue
			}
			p.openConsole(2)
			return p.ended(stage, path, pid, e.status)
		case sig := <-p.requests:
			p.openConsole(2)
			if stage != '2' {
				p.say("warning: signals only work in stage 2.")
				continue
			}
			switch sig {
			case syscall.SIGINT:
				p.ctrlAltDel(&pid)
			case syscall.SIGALRM:
				_ = unix.Kill(pid, unix.SIGALRM) // it may have ended this moment
				continue
			}
			if pid == 0 || p.wantsStop() {
				p.stop(pid)
				p.say("leave stage: ", path)
				return stage
			}
		}
	}
}

// ended is what comes after the end of a stage's process.
func (p *first) ended(stage byte, path string, pid int, st supervise.WaitStatus) byte {
	switch {
	case st.Signalled():
		p.say("warning: child crashed: ", path)
	case st.Code() != 0:
		p.say("warning: child failed: ", path)
	}
	if stage == '2' && (st.Signalled() || st.Code() == restartStage2) {
		p.say("warning: killing all processes in stage 2...")
		_ = unix.Kill(-pid, unix.SIGKILL) // there may be none
		p.pass(stageGrace*time.Second, func(end) bool { return false })
		p.say("warning: restarting.")
		return stage - 1
	}
	p.say("leave stage: ", path)
	if stage == '1' && (st.Signalled() || st.Code() == skipStage2) {
		p.say("warning: skipping stage 2...")
		return stage + 1
	}
	return stage
}

// pass lets time pass, and children end; it is true if done is of one of them.
func (p *first) pass(d time.Duration, done func(end) bool) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case e := <-p.ends:
			if done(e) {
				return true
			}
		case <-timer.C:
			return false
		}
	}
}

// ctrlAltDel runs the script for ctrl-alt-del to its end. If stage 2 ends meanwhile,
// its pid is 0 after that.
func (p *first) ctrlAltDel(stage2 *int) {
	if !magic(ctrlAltDel) {
		return
	}
	p.say("ctrl-alt-del request...")
	pid, ok := p.start(ctrlAltDel, 0, true)
	for ok {
		e := <-p.ends
		if e.pid == *stage2 {
			*stage2 = 0
		}
		ok = e.pid != pid
	}
	p.openConsole(2)
	p.say("leave stage: ", ctrlAltDel)
}

// wantsStop tells whether there is a request to stop, which is then fulfilled.
func (p *first) wantsStop() bool {
	wanted := false
	for _, f := range stopFiles {
		if magic(f) {
			wanted = true
			_ = unix.Chmod(f, 0) // on a file system that is read-only, it stays
		}
	}
	return wanted
}

// stop ends stage 2.
func (p *first) stop(pid int) {
	if pid == 0 {
		return
	}
	its := func(e end) bool { return e.pid == pid }
	_ = unix.Kill(pid, unix.SIGTERM)
	if !p.pass(stageGrace*time.Second, its) {
		p.say("warning: stage 2 not terminated, sending sigkill...")
		_ = unix.Kill(pid, unix.SIGKILL)
		p.pass(stageGrace*time.Second, its)
	}
}

// halt is the end of everything. In a pid namespace reboot(2) ends that.
func (p *first) halt() {
	p.say("sending KILL signal to all processes...")
	_ = unix.Kill(-1, unix.SIGKILL) // there may be none
	go func() {                     // for the rest of the machine's time
		for range p.ends {
			continue
		}
	}()
	for _, f := range rebootFiles {
		if magic(f) {
			p.say("system reboot.")
			p.reboot(unix.LINUX_REBOOT_CMD_RESTART)
			return
		}
	}
	p.say("power off...")
	p.reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	time.Sleep(powerOffTime)
	p.say("system halt.")
	p.reboot(unix.LINUX_REBOOT_CMD_HALT)
}

// reboot is only ever done by process 1.
func (p *first) reboot(how int) {
	if os.Getpid() != 1 {
		return
	}
	if unix.Access(noSync, unix.F_OK) != nil {
		unix.Sync()
	}
	_ = unix.Reboot(how) // what else is there to do?
}

// magic tells whether a file is there and its owner may execute it.
func magic(path string) bool {
	var st unix.Stat_t
	return unix.Stat(path, &st) == nil && st.Mode&unix.S_IXUSR != 0
}

// RunitInit is the applet runit-init: as process 1 it becomes runit, otherwise it tells
// process 1 to halt or to reboot.
//
//	runit-init 0|6
//
// Exit: 0, also for wrong usage; 111 if it cannot be done.
func RunitInit(env *cli.Env, args []string) int {
	if os.Getpid() == 1 {
		err := syscall.Exec(runitPath, []string{"runit"}, syscall.Environ())
		if missing(err) {
			err = syscall.Exec("/proc/self/exe", []string{"runit"}, syscall.Environ())
		}
		return initFatal(env, "start runit", err)
	}
	if len(args) > 1 && args[1] == "-V" {
		_, _ = env.Stderr.WriteString(version)
	}
	if len(args) < 2 || args[1] == "" || args[1][0] != '0' && args[1][0] != '6' {
		return usage(env, args[0], " 0|6", 0)
	}
	// Stage 1 has made them where they belong.
	stop, again := stopFiles[0], rebootFiles[0]
	if unix.Access(stopFiles[1], unix.F_OK) == nil {
		stop, again = stopFiles[1], rebootFiles[1]
	}
	if code := request(env, stop); code != 0 {
		return code
	}
	if args[1][0] == '6' {
		if code := request(env, again); code != 0 {
			return code
		}
	} else if err := unix.Chmod(again, 0); err != nil && err != unix.ENOENT {
		return initFatal(env, "chmod "+again, err)
	}
	if err := unix.Kill(1, unix.SIGCONT); err != nil {
		return initFatal(env, "signal process no 1", err)
	}
	return 0
}

// request makes a file that asks for something.
func request(env *cli.Env, path string) int {
	fd, err := open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NONBLOCK, 0o100)
	if err != nil {
		return initFatal(env, "create "+path, err)
	}
	defer unix.Close(fd)
	if err := unix.Fchmod(fd, 0o100); err != nil {
		return initFatal(env, "chmod "+path, err)
	}
	return 0
}

func initFatal(env *cli.Env, what string, err error) int {
	return env.Fatal("init", "unable to "+what, err)
}
