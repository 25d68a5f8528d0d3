// Package supervise is one supervised service: Machine, a pure state machine
// that knows no clock, no file and no process; Policy, in which the dialects of
// daemontools, daemontools-encore, runit and s6 differ; and Service, the
// goroutine that owns a Machine, feeds it events and carries its actions out
// through a Port.
//
// All that touches the kernel is behind Port. svscan implements it for a tree of
// services.
package supervise

//go:generate go test -run TestStateTable -count=1 . -args -update
