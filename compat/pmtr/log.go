package pmtr

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
)

// Priorities, with pmtr's facility local0, or daemon for what jobs write.
const (
	local0  = 16 << 3
	crit    = local0 | 2
	errs    = local0 | 3
	warning = local0 | 4
	info    = local0 | 6
	debug   = local0 | 7
	output  = 3<<3 | 6
)

// devLog is where the system's log listens.
const devLog = "/dev/log"

// journal is pmtr's log: the system's log, and standard error (pmtr.md, section 3.13).
type journal struct {
	env  *cli.Env
	zone *time.Location
	path string // of the socket of the system's log

	mu     sync.Mutex
	fd     int // of that, or -1
	stream bool
	buffer []byte
}

func newJournal(env *cli.Env) *journal {
	return &journal{env: env, zone: cli.Local(env), path: devLog, fd: -1}
}

// tag is what an entry of a process begins with.
func tag(pid int) string { return "pmtr[" + strconv.Itoa(pid) + "]: " }

// say makes an entry of ours.
func (l *journal) say(priority int, parts ...string) {
	l.mu.Lock()
	l.add(priority, unix.Getpid(), strings.Join(parts, ""))
	l.flush()
	l.mu.Unlock()
}

// add makes an entry, which is on standard error after flush. mu is held.
func (l *journal) add(priority, pid int, text string) {
	l.buffer = append(append(append(l.buffer, tag(pid)...), text...), '\n')
	l.send(priority, pid, text)
}

func (l *journal) flush() {
	_, _ = l.env.Stderr.Write(l.buffer)
	l.buffer = l.buffer[:0]
}

// send makes an entry in the system's log, if there is one, as syslog(3) does.
func (l *journal) send(priority, pid int, text string) {
	b := make([]byte, 0, 64+len(text))
	b = append(strconv.AppendInt(append(b, '<'), int64(priority), 10), '>')
	b = time.Now().In(l.zone).AppendFormat(b, time.Stamp)
	b = append(append(append(b, ' '), tag(pid)...), strings.TrimRight(text, "\n")...)
	for try := range 2 { // it may have been started again
		if l.fd < 0 && !l.connect() {
			return
		}
		message := b
		if l.stream {
			message = append(b, 0)
		}
		err := unix.Sendto(l.fd, message, unix.MSG_NOSIGNAL, nil)
		if err == nil || err == unix.EAGAIN || err == unix.EMSGSIZE || try > 0 {
			return
		}
		unix.Close(l.fd)
		l.fd = -1
	}
}

func (l *journal) connect() bool {
	for _, kind := range [...]int{unix.SOCK_DGRAM, unix.SOCK_STREAM} {
		fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return false
		}
		// One that does not read is to hold nobody up for good.
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 1})
		if err = unix.Connect(fd, &unix.SockaddrUnix{Name: l.path}); err == nil {
			l.fd, l.stream = fd, kind == unix.SOCK_STREAM
			return true
		}
		unix.Close(fd)
		if err != unix.EPROTOTYPE {
			return false
		}
	}
	return false
}

// output makes entries of lines that a job has written, each as PROGRAM[PID]: TEXT. What the
// launcher of the job says is an entry of that process.
func (l *journal) output(job string, pid int, text []byte) {
	if exe, err := readlink("/proc/" + strconv.Itoa(pid) + "/exe"); err == nil {
		job = exe[strings.LastIndexByte(exe, '/')+1:]
	}
	launcher, prefix := tag(pid), job+"["+strconv.Itoa(pid)+"]: "
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(string(text)) {
		line = printable(strings.TrimSuffix(line, "\n"))
		if said, ok := strings.CutPrefix(line, launcher); ok {
			l.add(errs, pid, said)
		} else if line != "" {
			l.add(output, unix.Getpid(), prefix+line)
		}
	}
	l.flush()
}

// printable has control characters other than tabs be question marks.
func printable(line string) string {
	var b []byte
	for i := range len(line) {
		if c := line[i]; c < ' ' && c != '\t' || c == 0x7f {
			if b == nil {
				b = []byte(line)
			}
			b[i] = '?'
		}
	}
	if b == nil {
		return line
	}
	return string(b)
}

func readlink(path string) (string, error) {
	var b [unix.PathMax]byte
	n, err := unix.Readlink(path, b[:])
	return string(b[:max(n, 0)]), err
}
