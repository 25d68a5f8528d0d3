package fault

import (
	"errors"
	"io/fs"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAt(t *testing.T) {
	t.Parallel()
	err := At("unable to open x", unix.ENOENT)
	if got := err.Error(); got != "unable to open x: no such file or directory" {
		t.Errorf("it says %q", got)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v does not wrap its cause", err)
	}
	if err := At("nothing", nil); err != nil {
		t.Errorf("no error becomes %v", err)
	}
}
