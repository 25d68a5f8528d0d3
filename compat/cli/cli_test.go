package cli

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMessages: every message has its form and is written in one piece, which
// a datagram socket shows.
func TestMessages(t *testing.T) {
	t.Parallel()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	env := &Env{Stderr: FD(pair[0])}
	for _, c := range []struct {
		code, want int
		text       string
	}{
		{env.Usage("svok", "svok dir"), 100, "svok: usage: svok dir\n"},
		{env.Fatal("svc", "too many options", nil), 111, "svc: fatal: too many options\n"},
		{env.Fatal("svok", "unable to chdir to x\xff", unix.EPERM), 111,
			"svok: fatal: unable to chdir to x\xff: permission denied\n"},
		{func() int { env.Warn("svc", "a", nil); return 0 }(), 0, "svc: warning: a\n"},
		{func() int { env.Warn("svc", "unable to chdir to x", unix.ELOOP); return 0 }(), 0,
			"svc: warning: unable to chdir to x: symbolic link loop\n"},
	} {
		b := make([]byte, 200)
		n, err := FD(pair[1]).Read(b)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(b[:n]); got != c.text || c.code != c.want {
			t.Errorf("got %q, %d; want %q, %d", got, c.code, c.text, c.want)
		}
	}
}

func TestWriteAll(t *testing.T) {
	t.Parallel()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	r, w := FD(p[0]), FD(p[1])
	sent := bytes.Repeat([]byte("0123456789"), 100_000) // a pipe holds 64 KiB
	read := make(chan []byte)
	go func() {
		var all []byte
		b := make([]byte, 1000)
		for n, _ := r.Read(b); n > 0; n, _ = r.Read(b) {
			all = append(all, b[:n]...)
		}
		read <- all
	}()
	n, err := w.Write(sent)
	unix.Close(p[1])
	if all := <-read; n != len(sent) || err != nil || !bytes.Equal(all, sent) {
		t.Errorf("wrote %d of %d bytes, %v; read %d", n, len(sent), err, len(all))
	}
	unix.Close(p[0])
}

// TestBrokenPipe: the writer is told, and lives.
func TestBrokenPipe(t *testing.T) {
	t.Parallel()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	unix.Close(p[0])
	defer unix.Close(p[1])
	if n, err := FD(p[1]).WriteString("x"); n != 0 || !errors.Is(err, unix.EPIPE) {
		t.Error(n, err)
	}
	if n, err := FD(-1).WriteString(""); n != 0 || err != nil {
		t.Error(n, err)
	}
	if n, err := FD(-1).WriteString("x"); n != 0 || !errors.Is(err, unix.EBADF) {
		t.Error(n, err)
	}
	if n, err := FD(-1).Read(make([]byte, 1)); n != 0 || !errors.Is(err, unix.EBADF) {
		t.Error(n, err)
	}
}
