package pump

import (
	"testing"

	"golang.org/x/sys/unix"
)

// Not parallel: descriptors that it closes must not be used again meanwhile.
func TestTokens(t *testing.T) {
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	var pipes [2][2]int
	for i := range pipes {
		if err := unix.Pipe2(pipes[i][:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		if err := p.Add(pipes[i][0], 1<<40+uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	got, ended := make(chan uint64, 9), make(chan error)
	go func() { ended <- p.Run(func(token uint64) { got <- token }) }()
	// Again and again, although nobody empties the first pipe.
	for range 3 {
		for i := range pipes {
			unix.Write(pipes[i][1], []byte{'x'})
			if token := <-got; token != 1<<40+uint64(i) {
				t.Fatalf("pipe %d: token %x", i, token)
			}
		}
	}
	unix.Close(pipes[0][0]) // which ends the watch
	unix.Write(pipes[1][1], []byte{'x'})
	if token := <-got; token != 1<<40+1 {
		t.Errorf("token %x", token)
	}
	p.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := p.Add(pipes[1][1], 1); err == nil {
		t.Error("added to a closed pump")
	}
	unix.Close(pipes[0][1])
	unix.Close(pipes[1][0])
	unix.Close(pipes[1][1])
}

func TestAddRegularFile(t *testing.T) {
	t.Parallel()
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	fd, err := unix.Open(t.TempDir()+"/file", unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := p.Add(fd, 1); err == nil {
		t.Error("a regular file can be watched")
	}
}
