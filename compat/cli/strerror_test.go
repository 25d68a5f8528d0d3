package cli

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

func TestStrerror(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"No such file or directory": unix.ENOENT,
		"Address already in use":    fmt.Errorf("bind: %w", unix.EADDRINUSE),
		"Srmount error":             unix.ESRMNT,
		"something else":            errors.New("something else"),
		"Invalid or incomplete multibyte or wide character": unix.EILSEQ,
	} {
		if got := Strerror(err); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
