package servicedir

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
)

func openFD(t *testing.T, path string) int {
	t.Helper()
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func mustOpen(t *testing.T, path string) *Dir {
	t.Helper()
	d, _, err := Open(openFD(t, path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	st, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Mode()
}

func writes(t *testing.T, path string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func TestOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := mustOpen(t, dir)
	if err := writes(t, dir+"/supervise/ok"); err != unix.ENOENT {
		t.Errorf("ok before there is a status: %v", err)
	}
	if err := d.WriteStatus([]byte("first")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Show(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{
		"":         os.ModeDir | 0o700,
		"/lock":    0o600,
		"/control": os.ModeNamedPipe | 0o600,
		"/ok":      os.ModeNamedPipe | 0o600,
		"/status":  0o644,
	} {
		if got := mode(t, dir+"/supervise"+name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{"/ok", "/control"} {
		if err := writes(t, dir+"/supervise"+name); err != nil {
			t.Errorf("%s has no reader: %v", name, err)
		}
	}
}

// One supervisor excludes another, be it one that looks at flock or one that
// looks at record locks, and leaves everything of the first alone.
func TestLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mustOpen(t, dir)
	_, _, err := Open(openFD(t, dir))
	step, ok := errors.AsType[*StepError](err)
	if !ok || step.File != "supervise/lock" || step.Verb != "acquire" || step.Err != unix.EAGAIN {
		t.Errorf("second open: %v", err)
	}
	fd, err := unix.Open(dir+"/supervise/lock", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != unix.EAGAIN {
		t.Errorf("flock: %v", err)
	}
	l := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &l); err != unix.EAGAIN {
		t.Errorf("record lock: %v", err)
	}
}

func TestLockOfAnother(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	os.Mkdir(dir+"/supervise", 0o700)
	f, err := os.Create(dir + "/supervise/lock")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &l); err != nil {
		t.Fatal(err)
	}
	_, _, err = Open(openFD(t, dir))
	if !errors.Is(err, unix.EAGAIN) {
		t.Errorf("s6 holds the lock, and we opened: %v", err)
	}
	if _, err := os.Lstat(dir + "/supervise/control"); err == nil {
		t.Error("control was touched without the lock")
	}
}

func TestStateDirLinks(t *testing.T) {
	t.Parallel()
	for name, target := range map[string]string{
		"dangling, relative": "run/state",
		"dangling, absolute": "/run/state",
		"existing":           "run",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			os.Mkdir(dir+"/run", 0o755)
			if filepath.IsAbs(target) {
				target = dir + target
			}
			os.Symlink(target, dir+"/supervise")
			d := mustOpen(t, dir)
			if err := d.WriteStatus([]byte("x")); err != nil {
				t.Error(err)
			}
			if !filepath.IsAbs(target) {
				target = filepath.Join(dir, target)
			}
			if _, err := os.Stat(target + "/status"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestStateDirImpossible(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	os.WriteFile(dir+"/supervise", nil, 0o644)
	_, _, err := Open(openFD(t, dir))
	if !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a file named supervise: %v", err)
	}
}

func TestFIFOs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	state := dir + "/supervise"
	os.Mkdir(state, 0o700)
	os.WriteFile(state+"/control", []byte("x"), 0o644)
	unix.Mkfifo(state+"/ok", 0o622) // as an administrator made it
	d, remade, err := Open(openFD(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if !remade.Control {
		t.Error("the file in the place of control is not reported")
	}
	if remade, err := d.Show(); err != nil || remade.OK {
		t.Errorf("ok: %+v %v", remade, err)
	}
	unix.Chmod(state+"/ok", 0o622)
	if got := mode(t, state+"/ok"); got != os.ModeNamedPipe|0o622 {
		t.Errorf("ok was made anew: %v", got)
	}

	if remade, err := d.MendFIFOs(); err != nil || remade != (Remade{}) {
		t.Errorf("nothing to mend: %+v %v", remade, err)
	}
	os.Remove(state + "/control")
	os.WriteFile(state+"/control", nil, 0o644)
	os.Remove(state + "/ok")
	if remade, err := d.MendFIFOs(); err != nil || remade != (Remade{true, true}) {
		t.Errorf("mended %+v %v", remade, err)
	}
	fd, err := unix.Open(state+"/control", unix.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Write(fd, []byte("u"))
	unix.Close(fd)
	var b [2]byte
	if n, err := unix.Read(d.Control, b[:]); n != 1 || b[0] != 'u' {
		t.Errorf("read %q, %v from the new control", b[:max(n, 0)], err)
	}
}

func TestFIFOImpossible(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	os.MkdirAll(dir+"/supervise/control", 0o700)
	_, _, err := Open(openFD(t, dir))
	if !errors.Is(err, ErrNotFIFO) {
		t.Errorf("a directory named control: %v", err)
	}
}

// Files of any length replace each other, also those of a former life.
func TestPublishLengths(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 2 {
		d, _, err := Open(openFD(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{20, 3, 40, 1, 0, 18, 18, 5} {
			want := bytes.Repeat([]byte{'a' + byte(n)}, n)
			if err := d.WritePID(want); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(dir + "/supervise/pid"); !bytes.Equal(got, want) {
				t.Errorf("%q, want %q (%v)", got, want, err)
			}
		}
		d.Close()
	}
}

func TestPublishAfterRemoval(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := mustOpen(t, dir)
	for _, remove := range []string{"", "status", "", ".status", "", ""} {
		if remove != "" {
			os.Remove(dir + "/supervise/" + remove)
		}
		if err := d.WriteStatus([]byte("content")); err != nil {
			t.Fatalf("after removing %q: %v", remove, err)
		}
		if got, _ := os.ReadFile(dir + "/supervise/status"); string(got) != "content" {
			t.Errorf("after removing %q: %q", remove, got)
		}
	}
}

// Readers see one content or the other, at any instant.
func TestPublishIsAtomic(t *testing.T) {
	t.Parallel()
	for name, exchange := range map[string]bool{"exchange": true, "rename": false} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d := mustOpen(t, dir)
			a, b := bytes.Repeat([]byte("a"), 20), bytes.Repeat([]byte("b"), 20)
			d.WriteStatus(a)
			noExchange.Store(!exchange)
			defer noExchange.Store(false)
			stop := make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					got, err := os.ReadFile(dir + "/supervise/status")
					if err != nil || !bytes.Equal(got, a) && !bytes.Equal(got, b) {
						t.Errorf("read %q, %v", got, err)
						return
					}
				}
			})
			for range 2000 {
				if err := errors.Join(d.WriteStatus(b), d.WriteStatus(a)); err != nil {
					t.Fatal(err)
				}
			}
			close(stop)
			wg.Wait()
		})
	}
}

func TestFacts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fd := openFD(t, dir)
	defer unix.Close(fd)
	if got := Facts(fd); got != (supervise.Facts{NoRun: true}) {
		t.Errorf("empty: %+v", got)
	}
	os.Mkdir(dir+"/control", 0o755)
	os.WriteFile(dir+"/run", nil, 0o755)
	os.WriteFile(dir+"/finish", nil, 0o755)
	if err := SetDown(fd, true); err != nil {
		t.Error(err)
	}
	if got := Facts(fd); got != (supervise.Facts{Down: true, Finish: supervise.Present, Controls: supervise.Present}) {
		t.Errorf("full: %+v", got)
	}
	for range 2 {
		if err := SetDown(fd, false); err != nil {
			t.Error(err)
		}
	}
	if Facts(fd).Down {
		t.Error("still down")
	}
}

func TestControlScript(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fd := openFD(t, dir)
	defer unix.Close(fd)
	os.Mkdir(dir+"/control", 0o755)
	os.WriteFile(dir+"/control/t", nil, 0o755)
	os.WriteFile(dir+"/control/h", nil, 0o644)
	os.Symlink("k", dir+"/control/k")
	for letter, want := range map[byte]bool{'t': true, 'h': false, 'd': false} {
		if got, err := ControlScript(fd, letter); got != want || err != nil {
			t.Errorf("%c: %v, %v", letter, got, err)
		}
	}
	if got, err := ControlScript(fd, 'k'); got || err != unix.ELOOP {
		t.Errorf("a loop: %v, %v", got, err)
	}
}
