// Package logview reads the log directories of multilog, svlogd and s6-log: the
// current file and the rotated ones, of one service or of several, merged by their time
// stamps, and what is appended as it comes. It writes nothing.
package logview
