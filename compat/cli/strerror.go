package cli

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Strerror is the C library's text for an error, for programs that use it. Go's differs
// in the first letter. An error that is and wraps no errno speaks for itself.
func Strerror(err error) string {
	errno, ok := errors.AsType[unix.Errno](err)
	if !ok {
		return err.Error()
	}
	text := errno.Error()
	if text != "" && 'a' <= text[0] && text[0] <= 'z' {
		return string(text[0]-'a'+'A') + text[1:]
	}
	return text
}
