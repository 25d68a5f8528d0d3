package daemontools

import (
	"errors"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/svc"
)

// bootPath is all that is in the environment of services.
const bootPath = "PATH=/command:/usr/local/bin:/usr/local/sbin:/bin:/sbin:/usr/bin:/usr/sbin:/usr/X11R6/bin"

// bootDisplay is how much of the messages ps shows.
const bootDisplay = 400

// Svscanboot is svscanboot: it tells services that are supervised to exit, and
// runs svscan on /service, or on /etc/service where there is no /service, with its
// messages in the arguments of a readproctitle. Standard input, output and error
// are /dev/null, and the environment has a PATH and nothing else. There is no
// shell.
//
// The programs are this one, whatever PATH has. It ends when both have, with the
// exit code of readproctitle; 111 if they cannot be run.
func Svscanboot(env *cli.Env, _ []string) int {
	null, err := unix.Open("/dev/null", unix.O_RDWR, 0)
	if err != nil {
		return cli.ExitFatal
	}
	for fd := range 3 {
		if fd != null {
			_ = unix.Dup3(null, fd, 0)
		}
	}
	if null > 2 {
		unix.Close(null)
	}
	dir := "/service"
	if Enterable(dir) != nil {
		dir = "/etc/service"
	}
	Send(env, svc.StateDir, "dx", bootServices(dir))

	self, err := os.Executable()
	if err != nil {
		return cli.ExitFatal
	}
	var pipe [2]int
	if unix.Pipe2(pipe[:], unix.O_CLOEXEC) != nil {
		return cli.ExitFatal
	}
	in, out := uintptr(pipe[0]), uintptr(pipe[1])
	scanner, err := bootRun(self, []uintptr{0, out, out}, "svscan", dir)
	if err != nil {
		return cli.ExitFatal
	}
	display, err := bootRun(self, []uintptr{in, 1, 2}, "readproctitle", "service", "errors:", strings.Repeat(".", bootDisplay))
	unix.Close(pipe[0])
	unix.Close(pipe[1])
	code := cli.ExitFatal
	if err == nil {
		code = bootWait(display)
	}
	bootWait(scanner)
	return code
}

// bootServices are the services and log services in dir, as a shell would name
// them.
func bootServices(dir string) (paths []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.Name()[0] != '.' {
			paths = append(paths, dir+"/"+e.Name())
		}
	}
	for _, path := range paths[:len(paths):len(paths)] {
		if unix.Access(path+"/log", unix.F_OK) == nil {
			paths = append(paths, path+"/log")
		}
	}
	return paths
}

func bootRun(path string, files []uintptr, argv ...string) (pid int, err error) {
	return syscall.ForkExec(path, argv, &syscall.ProcAttr{Env: []string{bootPath}, Files: files})
}

// bootWait returns the exit code of a child, as a shell gives it.
func bootWait(pid int) int {
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(pid, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return cli.ExitFatal
		case status.Signaled():
			return 128 + int(status.Signal())
		}
		return status.ExitStatus()
	}
}
