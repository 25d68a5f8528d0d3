// Package daemontools is the personality of daemontools 0.76. Arguments,
// messages, the order of checks and exit codes are those of daemontools.md; the
// work is done by the packages svc and svscan.
//
// Unlike the originals its clients svc, svok and svstat (section 7) do not
// change into the directories and back, so they do not fail in a working
// directory that cannot be read. What is exported of them beside the applets is
// what daemontools-encore's, in compat/encore, share with them.
package daemontools

import (
	"errors"

	"upkeep/svc"
)

// cause is what package svc says of an error of its own.
func cause(err error) *svc.Error {
	e, _ := errors.AsType[*svc.Error](err)
	return e
}
