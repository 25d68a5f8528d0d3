// Package svscan supervises a tree of service directories from one process: the
// scanner keeps the set of services, the log pipes and the order of a shutdown;
// each directory has a supervise.Service with a goroutine of its own; and the
// kernel side is in internal packages, one idea each.
//
// It knows no program's messages: what there is to say goes to Config.Report,
// which the personalities in compat put into their words.
package svscan
