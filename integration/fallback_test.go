package integration

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

// fallback is a scanner in a place that lacks something. It has to do its job all
// the same, and to say in each of its lives what the operator should know.
type fallback struct {
	name string
	// launch are words in front of the scanner's.
	launch []string
	says   []string
	later  []string // the same, of scanners that take over
	// users are shell commands in a user namespace, in which the scanner will be.
	users string
	// lost: the log pipe is not found again.
	lost bool
	// unknown: of a process that was reaped by others nobody can say how it ended.
	unknown bool
	// blind: nor of one that was not.
	blind bool
	user  bool // without the rights of root
	uid   int  // likewise, as this user
	// static: programs of a C library that makes threads do not run there.
	static bool
}

// fallScene is the tree of all these scanners.
type fallScene struct {
	*torture
	fallback
	words []string // of the scanner
	dead  []string // what former scanners said
	// booted is when the scanner was started.
	booted time.Time
}

// cpu is how long the scanner has been working.
func (s *fallScene) cpu() time.Duration {
	s.t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(s.scanner.pid) + "/stat")
	if err != nil {
		s.t.Fatal(err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	var ticks int
	for _, word := range f[11:13] { // utime and stime
		n, err := strconv.Atoi(word)
		if err != nil {
			s.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

const (
	fallExit  = "#!/bin/sh\ntrap 'exit 17' TERM\necho $$ >>starts\nwhile :; do sleep 0.05; done\n"
	fallSleep = "#!/bin/sh\necho $$ >>starts\nexec sleep 1000\n"
	fallEnd   = "#!/bin/sh\necho $* >>ends\n"
	// Shell scripts in place of scribe and keeper.
	fallScribe = "#!/bin/sh\nn=0\ntrap 'echo $$ $n >>ends; exit' TERM\necho $$ >>starts\n" +
		"while echo $$ $n; do n=$((n+1)); sleep 0.01; done\n"
	fallKeeper = "#!/bin/sh\necho $$ >>starts\nexec cat >>lines\n"
)

func newFallScene(t *testing.T, c fallback) *fallScene {
	t.Helper()
	f := prepareFault(t, tree{
		"service/web/run!":        "#!/bin/sh\nexec scribe 2ms\n",
		"service/web/log/run!":    "#!/bin/sh\nexec keeper\n",
		"service/reaped/run!":     fallExit,
		"service/reaped/finish!":  fallEnd,
		"service/zombie/run!":     fallExit,
		"service/zombie/finish!":  fallEnd,
		"service/victim/run!":     fallSleep,
		"service/victim/finish!":  fallEnd,
		"service/unwanted/run!":   fallSleep,
		"service/unwanted/down":   "",
		"service/unwanted/other/": "",
	})
	if c.static && raceEnabled {
		t.Skip("with the race detector, ours is such a program")
	}
	if raceEnabled && strings.Contains(strings.Join(c.launch, " "), fallNoProc) {
		t.Skip("the race detector complains of the missing /proc")
	}
	launch := slices.Clone(c.launch)
	if c.user {
		c.uid = faultUser
	}
	if c.static || c.uid != 0 { // who may not even see the program of the tests
		f.make(tree{"service/web/run!": fallScribe, "service/web/log/run!": fallKeeper})
	}
	if c.uid != 0 {
		needRoot(t)
		launch = append(launch, f.giveTo(c.uid)...)
	}
	c.says = slices.Clone(c.says)
	for i := range c.says {
		c.says[i] = strings.ReplaceAll(c.says[i], "DIR", f.path("service"))
	}
	if c.users != "" {
		holder := f.start("/usr/bin/unshare", "-U", "-r", "/bin/sh", "-c", c.users+" && echo ready && exec sleep 1000")
		waitFile(t, holder.stdout, something)
		launch = append(launch, "/usr/bin/nsenter", "-t", strconv.Itoa(holder.pid), "-U", "--preserve-credentials")
	}
	s := &fallScene{fallback: c, torture: &torture{
		faultScene: f, killed: map[string]bool{}, gaps: map[string]int{},
	}}
	s.words = append(launch, ours(t, "svscan"), f.path("service"))
	return s
}

// boot starts the scanner, or another after the one that was killed.
func (s *fallScene) boot() {
	s.t.Helper()
	s.booted = time.Now()
	s.scanner = s.start(s.words[0], s.words[1:]...)
	if s.scanner.expected = false; len(s.dead) == 0 {
		s.t.Cleanup(s.check)
	}
}

// crash kills the scanner. It has to have said by then what it should.
func (s *fallScene) crash() {
	s.t.Helper()
	s.heard()
	s.scanner.signal(unix.SIGKILL)
	s.scanner.wait()
	s.scanner.stopped, s.crashed = true, true
	s.dead = append(s.dead, s.scanner.said())
}

// heard waits until the scanner has said what it should.
func (s *fallScene) heard() {
	s.t.Helper()
	s.lines = nil
	for _, line := range s.expected() {
		s.faultScene.says(line)
	}
}

// expected is what the scanner has to say.
func (s *fallScene) expected() []string {
	if len(s.dead) == 0 {
		return s.fallback.says
	}
	return slices.Concat(s.fallback.says, s.later)
}

// starts waits until a service was started n times in all, and until its status
// has the last pid.
func (s *fallScene) starts(name string, n int) status.Record {
	s.t.Helper()
	lines := waitLines(s.t, s.dir(name, "starts"), n)
	if len(lines) != n {
		s.t.Fatalf("%s was started %d times, not %d", name, len(lines), n)
	}
	pid, err := strconv.ParseUint(lines[n-1], 10, 32)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.wait(name, func(r status.Record, alive bool) bool { return up(r, alive) && r.PID == uint32(pid) })
}

// reap has a process waited for as soon as it has ended, as an init does. It is
// one of ours since its scanner was killed.
func (s *fallScene) reap(pid uint32) (ended chan struct{}) {
	ended = make(chan struct{})
	go func() { // ends with the process
		defer close(ended)
		for {
			if _, err := unix.Wait4(int(pid), nil, 0, nil); err != unix.EINTR {
				return
			}
		}
	}()
	return ended
}

// client runs one of the real programs of daemontools.
func (s *fallScene) client(name string, args ...string) string {
	s.t.Helper()
	s.awaitScanner()
	for i := 1; i < len(args); i++ {
		args[i] = s.dir(args[i])
	}
	if name == "svstat" {
		args[0] = s.dir(args[0])
	}
	r := s.run(peer(s.t, name), args...)
	if r.code != 0 || r.stderr != "" {
		s.t.Fatal(name, args, r)
	}
	return r.stdout
}

func (s *fallScene) awaitScanner() { s.wait("bystander", supervised) }

// story is the life of a tree.
func (s *fallScene) story() {
	t := s.t
	t.Helper()
	s.boot()
	web, logger := s.starts("web", 1), s.starts("web/log", 1)
	zombie, victim := s.starts("zombie", 1), s.starts("victim", 1)
	s.starts("reaped", 1)
	s.wait("unwanted", down)
	for _, name := range []string{"bystander", "bystander/log"} {
		s.pids = append(s.pids, s.wait(name, up).PID)
	}

	// The real clients.
	if out := s.client("svstat", "web"); !strings.Contains(out, ": up (pid "+strconv.Itoa(int(web.PID))+") ") {
		t.Errorf("svstat prints %q", out)
	}
	if out := s.client("svstat", "unwanted"); !strings.Contains(out, ": down ") {
		t.Errorf("svstat prints %q", out)
	}
	s.client("svc", "-t", "reaped")
	reaped := s.starts("reaped", 2)
	s.ends("reaped", 0, "17 0")
	s.client("svc", "-u", "unwanted")
	s.starts("unwanted", 1)
	s.client("svc", "-d", "unwanted")
	s.wait("unwanted", down)
	waitLines(t, s.dir("web/log/lines"), 20)

	// The scanner is killed, and something dies meanwhile.
	s.crash()
	s.signal(victim.PID, unix.SIGKILL)
	<-s.reap(victim.PID)
	waitLines(t, s.dir("web/log/lines"), len(waitLines(t, s.dir("web/log/lines"), 1))+20)
	s.boot()
	s.starts("victim", 2)
	s.ends("victim", 0, "-1 0")
	for name, was := range map[string]status.Record{"web": web, "web/log": logger, "reaped": reaped, "zombie": zombie} {
		s.wait(name, unchanged(was))
	}
	s.wait("unwanted", down)

	// Something dies later, which is not the scanner's child.
	s.reap(reaped.PID)
	s.client("svc", "-t", "reaped")
	s.starts("reaped", 3)
	if s.unknown { // unless it was noticed before it was reaped
		s.ends("reaped", 1, "-1 0", "17 0")
	} else {
		s.ends("reaped", 1, "17 0")
	}
	s.client("svc", "-t", "zombie")
	zombie = s.starts("zombie", 2)
	if s.blind {
		s.ends("zombie", 0, "-1 0")
	} else {
		s.ends("zombie", 0, "17 0")
	}

	// The log pipe is found again: another log service reads on in it.
	loggers := 1
	if !s.lost {
		s.gaps["web"]++
		s.signal(logger.PID, unix.SIGKILL)
		logger = s.starts("web/log", 2)
		loggers = 2
	}
	waitLines(t, s.dir("web/log/lines"), len(waitLines(t, s.dir("web/log/lines"), 1))+20)
	s.wait("web", unchanged(web))

	// Once more, with processes that the second scanner has started.
	s.crash()
	s.boot()
	for name, was := range map[string]status.Record{"web": web, "web/log": logger, "zombie": zombie} {
		s.wait(name, unchanged(was))
	}
	s.client("svc", "-t", "web")
	s.starts("web", 2)
	if s.lost { // of the old one, the log service has seen the end
		loggers++
		s.starts("web/log", loggers)
	}
	waitLines(t, s.dir("web/log/lines"), len(waitLines(t, s.dir("web/log/lines"), 1))+20)

	// It works no more than it must.
	if cpu, wall := s.cpu(), time.Since(s.booted); cpu > wall/2 {
		t.Errorf("the scanner has used %v of processor time in %v", cpu, wall)
	}

	// In order.
	s.heard()
	s.scanner.stop()
	s.audit("web")
	for name, n := range map[string]int{"web": 2, "web/log": loggers, "reaped": 3, "zombie": 2, "victim": 2, "unwanted": 1} {
		if got := len(strings.Fields(s.book(name + "/starts"))); got != n {
			t.Errorf("%s was started %d times, not %d", name, got, n)
		}
	}
	for i, said := range s.dead {
		expected := s.fallback.says
		if i > 0 {
			expected = s.expected()
		}
		for line := range strings.Lines(said) {
			if line = strings.TrimSuffix(line, "\n"); !slices.Contains(expected, line) {
				t.Errorf("a scanner that was killed had said %q", line)
			}
		}
	}
}

// ends waits until finish was run for the i-th time, counted from 0, and holds that
// it was told one of those.
func (s *fallScene) ends(name string, i int, one ...string) {
	s.t.Helper()
	if got := waitLines(s.t, s.dir(name, "ends"), i+1)[i]; !slices.Contains(one, got) {
		s.t.Errorf("finish of %s was told %q, not %q", name, got, one)
	}
}

// refusing is a fallback for what a kernel, or a filter, refuses.
func refusing(what string) fallback {
	return fallback{name: what, launch: []string{workshop + "/refuse", what}}
}

// TestFallback: whatever the kernel or a filter refuses, of all that the scanner
// uses where it can be had, it does its job.
func TestFallback(t *testing.T) {
	t.Parallel()
	for _, c := range fallbacks() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			newFallScene(t, c).story()
		})
	}
}

func fallbacks() (list []fallback) {
	add := func(call string, errnos []string, change func(c *fallback, errno string)) {
		for _, errno := range errnos {
			c := refusing(errno + ":" + call)
			if change != nil {
				change(&c, errno)
			}
			list = append(list, c)
		}
	}
	old := []string{"ENOSYS", "EPERM"}
	unwatched := func(c *fallback, errno string) { c.says = fallUnwatched(fallWhy[errno]) }
	add("pidfd_open", old, func(c *fallback, _ string) { c.unknown = true })
	add("pidfd_send_signal", old, nil)
	add("pidfd_getfd", old, nil)
	add("close_range", old, nil)
	add("close_range=unshare", append(old, "EINVAL"), nil)
	add("clone3", append(old, "EINVAL"), func(c *fallback, errno string) { c.static = errno != "ENOSYS" })
	add("ioctl=PIDFD_GET_INFO", append(old, "ENOTTY"), func(c *fallback, _ string) { c.unknown = true })
	add("renameat2", old, nil)
	add("renameat2=exchange", append(old, "EINVAL"), nil)
	add("inotify_init1", append(old, "EMFILE"), unwatched)
	add("inotify_add_watch", append(old, "ENOSPC"), unwatched)
	add("fcntl=F_OFD_SETLK", append(old, "EINVAL"), nil)
	add("prctl", old, nil)
	add("madvise", old, nil)
	add("waitid", old, nil)
	return list
}

// fallWhy is what the scanner calls an error of inotify.
var fallWhy = map[string]string{
	"ENOSYS": "system call not available",
	"EPERM":  "permission denied",
	"EMFILE": "fs.inotify.max_user_instances is used up, or descriptors are",
	"ENOSPC": "fs.inotify.max_user_watches is used up",
}

// fallUnwatched is what a scanner says that can watch nothing. DIR is the scan
// directory.
func fallUnwatched(why string) []string {
	return []string{
		"svscan: warning: unable to watch service directories, changes are seen at the next scan: " + why,
		"svscan: warning: unable to watch DIR, scanning every 5 seconds: " + why,
	}
}

// TestFallbackPlaces: nor does it matter where the scanner is put: in a container
// with an older filter, where /proc shows little or nothing, where nothing can be
// watched, where nobody has heard of its user.
func TestFallbackPlaces(t *testing.T) {
	t.Parallel()
	needRoot(t)
	const (
		noBoot = "svscan: warning: unable to read /proc/sys/kernel/random/boot_id, after a crash the clock has to do: file does not exist"
		noDirs = "svscan: warning: unable to watch service directories, changes are seen at the next scan: file does not exist"
		frail  = "svscan: warning: unable to open log pipes both ways, services may get SIGPIPE while neither svscan nor their log service runs: file does not exist"
	)
	all := func(errno string) (list string) {
		for _, call := range []string{"pidfd_open", "pidfd_send_signal", "pidfd_getfd", "close_range", "ioctl=PIDFD_GET_INFO",
			"renameat2", "inotify_init1", "inotify_add_watch", "fcntl=F_OFD_SETLK", "prctl", "madvise", "statx", "openat2",
			"faccessat2", "epoll_pwait2", "waitid", "name_to_handle_at", "open_by_handle_at"} {
			list += errno + ":" + call + ","
		}
		return list + "ENOSYS:clone3" // or no program with threads would run
	}
	for _, c := range []fallback{
		{name: "all refused", launch: refusing(all("EPERM")).launch, unknown: true, says: fallUnwatched(fallWhy["EPERM"])},
		{name: "all missing", launch: refusing(all("ENOSYS")).launch, unknown: true, says: fallUnwatched(fallWhy["ENOSYS"])},
		{name: "all refused to a user", user: true, launch: refusing(strings.Replace(all("EPERM"), "EPERM:prctl,", "", 1)).launch, unknown: true, says: fallUnwatched(fallWhy["EPERM"])},
		{name: "docker 19.03", unknown: true, launch: refusing("EPERM:pidfd_open,EPERM:pidfd_send_signal,EPERM:pidfd_getfd," +
			"EPERM:close_range,EPERM:openat2,EPERM:faccessat2,EPERM:epoll_pwait2,ENOSYS:clone3," +
			"EPERM:name_to_handle_at,EPERM:open_by_handle_at").launch},
		{name: "docker", launch: append(refusing("ENOSYS:clone3,EPERM:pidfd_getfd,EPERM:open_by_handle_at").launch,
			"/usr/bin/setpriv", "--bounding-set=-sys_ptrace,-sys_admin,-sys_resource", "--inh-caps=-all")},
		{name: "podman 3", unknown: true, launch: refusing("ENOSYS:pidfd_open,ENOSYS:pidfd_send_signal,ENOSYS:pidfd_getfd," +
			"ENOSYS:close_range,ENOSYS:openat2,ENOSYS:faccessat2,ENOSYS:epoll_pwait2,ENOSYS:clone3").launch},
		{name: "hidepid", user: true, launch: fallMounts("mount -t proc -o hidepid=invisible proc /proc")},
		{name: "hidepid without pidfd", user: true, unknown: true,
			launch: append(fallMounts("mount -t proc -o hidepid=invisible proc /proc"), refusing("EPERM:pidfd_open").launch...)},
		{name: "subset=pid", launch: fallMounts("mount -t proc -o subset=pid proc /proc"), says: []string{noBoot}},
		{name: "subset=pid for a user", user: true, says: []string{noBoot},
			launch: fallMounts("mount -t proc -o subset=pid,hidepid=ptraceable proc /proc")},
		{name: "boot_id unreadable", launch: fallMounts("mount --bind / /proc/sys/kernel/random"), says: []string{noBoot}},
		{name: "no proc", launch: fallMounts(fallNoProc), blind: true, says: []string{noBoot, noDirs, frail}},
		{name: "no proc for a user", user: true, launch: fallMounts(fallNoProc), blind: true, says: []string{noBoot, noDirs, frail}},
		{name: "nobody's user", uid: 4242424},
		{name: "read-only root", uid: 4242424,
			launch: fallMounts(`for dir; do :; done; mount --bind "${dir%/*}" "${dir%/*}" && mount -o remount,bind,ro /`)},
		{name: "no inotify instances", says: fallUnwatched(fallWhy["EMFILE"]), users: "echo 0 >/proc/sys/user/max_inotify_instances"},
		{name: "no inotify watches", says: fallUnwatched(fallWhy["ENOSPC"]), users: "echo 0 >/proc/sys/user/max_inotify_watches"},
		{name: "a stranger each time", launch: []string{"/usr/bin/unshare", "-U", "-r"}, blind: true, lost: true,
			later: []string{
				"supervise: warning: log pipe of bystander is out of reach: restart bystander to have what it writes logged",
				"supervise: warning: log pipe of web is out of reach: restart web to have what it writes logged",
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			newFallScene(t, c).story()
		})
	}
}

// TestFallbackNobodyKnows: where nothing tells whether a process is the service that
// a former scanner has started, no second one is started beside it.
func TestFallbackNobodyKnows(t *testing.T) {
	t.Parallel()
	needRoot(t)
	c := refusing("EPERM:pidfd_open")
	c.launch = append(fallMounts(fallNoProc), c.launch...)
	c.says = []string{
		"svscan: warning: unable to read /proc/sys/kernel/random/boot_id, after a crash the clock has to do: file does not exist",
		"svscan: warning: unable to watch service directories, changes are seen at the next scan: file does not exist",
		"svscan: warning: unable to open log pipes both ways, services may get SIGPIPE while neither svscan nor their log service runs: file does not exist",
	}
	s := newFallScene(t, c)
	s.remove("service/web", "service/reaped", "service/zombie", "service/unwanted")
	s.boot()
	victim := s.starts("victim", 1)
	others := []uint32{s.wait("bystander", up).PID, s.wait("bystander/log", up).PID}
	s.crash()
	doubt := func(name string, pid uint32) string {
		return fmt.Sprintf("supervise: fatal: unable to supervise %s: process %d may be it, and the kernel does not tell: waiting for its end", name, pid)
	}
	s.fallback.later = []string{doubt("victim", victim.PID), doubt("bystander", others[0]), doubt("bystander/log", others[1])}
	s.boot()
	s.heard()
	s.pass(faultRetry) // it tries again, and again in vain
	if book := s.book("victim/starts"); strings.Count(book, "\n") != 1 {
		t.Errorf("started: %q", book)
	}
	for _, pid := range append(others, victim.PID) {
		s.signal(pid, unix.SIGKILL)
		<-s.reap(pid)
	}
	s.starts("victim", 2)
	s.ends("victim", 0, "-1 0")
	s.wait("bystander", up)
	s.wait("bystander/log", up)
	s.scanner.stop()
}

// TestFallbackHidden: root who may trace nobody finds services of other users again
// that /proc does not show.
func TestFallbackHidden(t *testing.T) {
	t.Parallel()
	needRoot(t)
	s := newFallScene(t, fallback{launch: append(fallMounts("mount -t proc -o hidepid=invisible,gid=4242 proc /proc"),
		"/usr/bin/setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-all")})
	s.remove("service/web", "service/reaped", "service/zombie", "service/unwanted")
	s.make(tree{"service/other/run!": "#!/bin/sh\necho $$ >>starts\n" +
		"exec setpriv --reuid=65534 --regid=65534 --clear-groups sleep 1000\n"})
	s.boot()
	other := s.starts("other", 1)
	s.until("it has become another user", func() bool {
		r, _ := lookAt(int(other.PID))
		return strings.HasPrefix(r.command, "sleep")
	})
	for range 2 {
		s.crash()
		s.boot()
		s.wait("other", unchanged(other))
	}
	s.tell("other", "t")
	s.starts("other", 2)
	s.scanner.stop()
}

// TestFallbackDuringStarts: whatever way processes are started and reaped, a scanner
// that is killed in the midst of that starts none twice.
func TestFallbackDuringStarts(t *testing.T) {
	t.Parallel()
	const n = 20
	for _, c := range []fallback{
		refusing("EPERM:close_range"),
		refusing("ENOSYS:close_range,ENOSYS:clone3,ENOSYS:pidfd_open"),
		refusing("EPERM:waitid,EPERM:renameat2"),
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newFallScene(t, c)
			s.remove("service/web", "service/reaped", "service/zombie", "service/unwanted", "service/victim")
			for i := range n {
				s.make(tree{fmt.Sprintf("service/s%d/run!", i): "#!/bin/sh\necho $$ >>../../starts\nexec sleep 1000\n"})
			}
			s.boot()
			for i := range 15 {
				// At any instant of the start, of refuse in the beginning.
				s.pass(time.Duration(i) * 4 * time.Millisecond)
				s.crash()
				s.boot()
			}
			for i := range n {
				s.wait(fmt.Sprintf("s%d", i), up)
			}
			if starts := waitLines(t, s.path("starts"), n); len(starts) != n {
				t.Errorf("%d services were started %d times", n, len(starts))
			}
			s.scanner.stop()
		})
	}
}

// fallNoProc leaves no /proc.
const fallNoProc = "mount -t tmpfs none /proc"

// fallMounts is a shell command that goes on with its arguments where other file
// systems are mounted.
func fallMounts(commands string) []string {
	return []string{"/usr/bin/unshare", "-m", "--propagation", "private", "/bin/sh", "-c", commands + ` && exec "$0" "$@"`}
}
