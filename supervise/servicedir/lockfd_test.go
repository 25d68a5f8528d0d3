package servicedir

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseNumber(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"3\n": 3, "0": 0, "0000000007\nrest": 7, "2147483647": 1<<31 - 1, "12": 12,
		"": -1, "\n": -1, "-1": -1, "+1": -1, " 1": -1, "1 \n": -1, "00000000007": -1, "2147483648": -1, "9999999999\n": -1, "x": -1, "1\x00": -1,
	} {
		got, ok := parseNumber([]byte(text))
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %d, %v", text, got, ok)
		}
	}
}

func FuzzParseNumber(f *testing.F) {
	for _, s := range []string{"3\n", "", "\n", "99999999999", "-1"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, ok := parseNumber(b)
		line, _, _ := strings.Cut(string(b), "\n")
		want, err := strconv.ParseUint(line, 10, 31)
		digits := strings.Trim(line, "0123456789") == ""
		if good := err == nil && digits && len(line) <= 10; ok != good || ok && uint64(n) != want {
			t.Errorf("%q: %d, %v", b, n, ok)
		}
	})
}

func TestServiceLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, _, err := OpenServiceLock(fd); err != unix.ENOENT {
		t.Error(err)
	}
	if err := os.Mkdir(dir+"/supervise", 0o755); err != nil {
		t.Fatal(err)
	}
	open := func(wantEmptied bool) int {
		t.Helper()
		lock, emptied, err := OpenServiceLock(fd)
		if err != nil || emptied != wantEmptied {
			t.Fatal(emptied, err)
		}
		return lock
	}
	first := open(false)
	if err := os.WriteFile(dir+"/supervise/service-lock", []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	second := open(true)
	if err := TryLock(first); err != nil {
		t.Error(err)
	}
	if err := TryLock(second); err != unix.EAGAIN {
		t.Error(err)
	}
	// Whoever inherits it has it.
	heir, err := unix.Dup(first)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(first)
	if err := TryLock(second); err != unix.EAGAIN {
		t.Error(err)
	}
	unix.Close(heir)
	if err := TryLock(second); err != nil {
		t.Error(err)
	}
	unix.Close(second)
	if _, ok, err := LockFD(fd); ok || err != nil {
		t.Error(ok, err)
	}
	if err := os.WriteFile(dir+"/lock-fd", []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := LockFD(fd); !ok || err != ErrNumber {
		t.Error(ok, err)
	}
	for _, file := range []string{"/lock-fd", "/notification-fd"} {
		if err := os.WriteFile(dir+file, []byte("5\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok, err := LockFD(fd); !ok || err != ErrSameFD {
		t.Error(ok, err)
	}
	for _, file := range []string{"/supervise/service-lock", "/lock-fd"} {
		if err := os.Remove(dir + file); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mkfifo(dir+file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := OpenServiceLock(fd); err != unix.EINVAL {
		t.Error(err)
	}
	if _, _, err := LockFD(fd); err != ErrNumber {
		t.Error(err)
	}
}
