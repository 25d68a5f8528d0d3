package servicedir

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestNotifySocket(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		files map[string]string
		where string
		ok    bool
	}{
		{nil, "", false},
		{map[string]string{"notify-socket": ""}, "", true},
		{map[string]string{"notify-socket": " /run/x mode=600 \nmore"}, "/run/x mode=600", true},
	} {
		dir := defined(t, c.files)
		where, ok, err := NotifySocket(dir)
		if where != c.where || ok != c.ok || err != nil || HasNotifySocket(dir) != c.ok {
			t.Errorf("%q: %q, %v, %v", c.files, where, ok, err)
		}
	}
}

func TestSaid(t *testing.T) {
	t.Parallel()
	dir := defined(t, nil)
	if err := unix.Mkdirat(dir, StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteSaid(dir, ""); err != nil || ReadSaid(dir) != "" {
		t.Errorf("%v, %q", err, ReadSaid(dir))
	}
	for _, text := range []string{"one", "another text", ""} {
		if err := WriteSaid(dir, text); err != nil || ReadSaid(dir) != text {
			t.Errorf("%q: %v, %q", text, err, ReadSaid(dir))
		}
	}
}
