package keeper

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"upkeep/supervise/servicedir"
)

// scene runs a keeper; ended is closed when it is over.
func scene(t *testing.T) (path string, ended chan struct{}) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "keeper")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 16); err != nil {
		t.Fatal(err)
	}
	ended = make(chan struct{})
	go func() {
		run(fd, socketsFor)
		unix.Close(fd)
		close(ended)
	}()
	return path, ended
}

func connect(t *testing.T, path string) (*Client, map[servicedir.Identity]Kept) {
	t.Helper()
	c, err := Connect(path)
	if err != nil {
		t.Fatal(err)
	}
	all, err := c.All()
	if err != nil {
		t.Fatal(err)
	}
	return c, all
}

func pipe(t *testing.T) (p [2]int) {
	t.Helper()
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	return p
}

func write(t *testing.T, fd int, text string) {
	t.Helper()
	if _, err := unix.Write(fd, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, fd int) string {
	t.Helper()
	b := make([]byte, 100)
	n, err := unix.Read(fd, b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestKeeper: what a client gives, the next one gets, although nobody else has it any
// more; and when that is at its end and empty, the keeper leaves.
func TestKeeper(t *testing.T) {
	t.Parallel()
	path, ended := scene(t)
	c, all := connect(t, path)
	if len(all) != 0 {
		t.Fatalf("%v", all)
	}
	a, b, gone := servicedir.Identity{Dev: 1, Ino: 2}, servicedir.Identity{Dev: 1, Ino: 3}, servicedir.Identity{Dev: 2, Ino: 2}
	one, rest, two, three := pipe(t), pipe(t), pipe(t), pipe(t)
	write(t, one[1], "of one")
	must(t, c.Pipe(a, one[0]))
	must(t, c.Rest(a, rest))
	write(t, rest[1], "begun")
	must(t, c.Pipe(b, two[0]))
	must(t, c.Pipe(gone, three[0]))
	must(t, c.Forget(gone))
	for _, p := range [][2]int{one, rest, three} {
		unix.Close(p[0])
		unix.Close(p[1])
	}
	unix.Close(two[0])
	c.Close()

	// Over and over; a client that is still there is dismissed.
	for range 3 {
		var old *Client
		old, all = connect(t, path)
		if len(all) != 2 {
			t.Fatalf("%v", all)
		}
		for _, p := range all {
			p.close()
		}
		defer old.Close()
	}
	c, all = connect(t, path)
	if got := read(t, all[a].Rest[0]) + " " + read(t, all[a].Read); got != "begun of one" {
		t.Errorf("%q", got)
	}
	write(t, two[1], "late")
	unix.Close(two[1])
	c.Close()
	c, again := connect(t, path)
	if got := read(t, again[b].Read); got != "late" {
		t.Errorf("%q", got)
	}
	c.Close()
	<-ended
	for _, m := range []map[servicedir.Identity]Kept{all, again} {
		for _, p := range m {
			p.close()
		}
	}
	if _, err := Connect(path); err != unix.ECONNREFUSED {
		t.Errorf("%v", err)
	}
}

// TestQueue: a client that is gone before the keeper has looked was one all the same,
// and one that comes meanwhile gets what it gave.
func TestQueue(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keeper")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	must(t, unix.Listen(fd, 16))
	id := servicedir.Identity{Dev: 1, Ino: 2}
	p := pipe(t)
	write(t, p[1], "text")
	for i := range 3 {
		c, err := Connect(path)
		must(t, err)
		if i == 1 {
			must(t, c.Pipe(id, p[0]))
		}
		c.Close()
	}
	unix.Close(p[0])
	unix.Close(p[1])
	last, err := Connect(path)
	must(t, err)
	defer last.Close()
	ended := make(chan struct{})
	go func() {
		run(fd, socketsFor)
		close(ended)
	}()
	all, err := last.All()
	must(t, err)
	if got := read(t, all[id].Read); got != "text" {
		t.Errorf("%q", got)
	}
	unix.Close(all[id].Read)
	must(t, last.Quit())
	<-ended
	unix.Close(fd)
}

// TestSockets: a socket that the last client had is held for the next one, with its
// text, but not for ever.
func TestSockets(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keeper")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	must(t, unix.Listen(fd, 16))
	first, err := Connect(path)
	must(t, err)
	ended := make(chan struct{})
	go func() {
		run(fd, 1) // from when there is nobody
		close(ended)
	}()
	_, err = first.All()
	must(t, err)
	id := servicedir.Identity{Dev: 1, Ino: 2}
	var fds [3]int
	for i := range fds {
		fds[i], err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		must(t, unix.Bind(fds[i], &unix.SockaddrUnix{Name: path + string(rune('0'+i))}))
	}
	must(t, first.Sockets(id, []Socket{{"old", fds[0]}}))
	must(t, first.Sockets(id, []Socket{{"unix:x", fds[1]}, {"", fds[2]}}))
	for _, fd := range fds {
		unix.Close(fd)
	}
	c, all := connect(t, path) // before that one leaves
	got := all[id].Sockets
	if len(got) != 2 || got[0].Text != "unix:x" || got[1].Text != "" {
		t.Fatalf("%v", all)
	}
	for i, s := range got {
		name, err := unix.Getsockname(s.FD)
		if err != nil || name.(*unix.SockaddrUnix).Name != path+string(rune('1'+i)) {
			t.Errorf("%q is %v, %v", s.Text, name, err)
		}
		unix.Close(s.FD)
	}
	first.Close()
	c.Close()
	<-ended
}

// TestQuit: it leaves when it is told to, and a client hears of that.
func TestQuit(t *testing.T) {
	t.Parallel()
	path, ended := scene(t)
	c, _ := connect(t, path)
	defer c.Close()
	p := pipe(t)
	must(t, c.Pipe(servicedir.Identity{}, p[0]))
	must(t, c.Quit())
	<-ended
	c.Wait()
	if err := c.Forget(servicedir.Identity{}); err == nil {
		t.Error("there is somebody")
	}
	unix.Close(p[0])
	unix.Close(p[1])
	var none *Client
	must(t, none.Quit())
	none.Close()
}

// FuzzMessage: whatever comes, descriptors have an owner.
func FuzzMessage(f *testing.F) {
	f.Add([]byte{})
	f.Add(format(kindPipe, servicedir.Identity{Dev: 1, Ino: 2}))
	f.Add(format(kindQuit, servicedir.Identity{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		k := &keeper{client: -1, pipes: make(map[servicedir.Identity]Kept)}
		end := k.take(b, nil)
		whole := len(b) >= messageSize && len(b) <= messageSize+mostText
		if end != (whole && b[0] == kindQuit) || len(k.pipes) != 0 {
			t.Errorf("%q: end %v, %v", b, end, k.pipes)
		}
	})
}
