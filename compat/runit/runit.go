// Package runit is the personality of runit 2.1.2: sv, runsv, runsvdir, utmpset,
// runsvchdir, runit, runit-init, and the retired runsvctrl, runsvstat, svwaitup and
// svwaitdown. Arguments, messages and exit codes are those of runit.md; the work is
// done by the packages svc and svscan. (chpst and svlogd are in compat/loaders and
// compat/logger.)
//
// Unlike the originals the clients do not change into the directories and back, so
// they do not fail in a working directory that cannot be read.
package runit

import (
	"errors"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/svc"
)

// version is what -V prints; the original has the expansion of a keyword.
const version = "$Id: upkeep $\n"

// usage prints runit's form of it, with an empty line after it.
func usage(env *cli.Env, prog, syntax string, code int) int {
	_, _ = env.Stderr.WriteString("usage: " + prog + syntax + "\n\n")
	return code
}

// serviceDirs are where runit keeps its services: on Debian, on Void, and where it
// was installed from its sources.
var serviceDirs = [...]string{"/etc/service", "/var/service", "/service"}

// serviceDir is SVDIR, or else the first of serviceDirs that exists.
func serviceDir(env *cli.Env) string {
	if dir, ok := env.Getenv("SVDIR"); ok {
		return dir
	}
	for _, dir := range serviceDirs {
		if unix.Access(dir, unix.F_OK) == nil {
			return dir
		}
	}
	return serviceDirs[0]
}

// number reads the digits at the beginning of s (runit.md, section 0.3).
func number(s string) (n uint64) {
	for i := 0; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		n = n*10 + uint64(s[i]-'0')
	}
	return n
}

// cause is what package svc says of an error of its own.
func cause(err error) *svc.Error {
	e, _ := errors.AsType[*svc.Error](err)
	return e
}
