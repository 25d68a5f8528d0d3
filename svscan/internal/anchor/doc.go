// Package anchor is a parent for the scanner that does next to nothing, and so has
// nothing to crash of: it starts the scanner, starts it again if it crashes, and
// reaps. All orphans below it come to it, among them the services of a scanner that
// is no more. Of each it tells the next scanner who it was and how it ended, which on
// most kernels nobody but a parent can find out.
//
// Run is the anchor, Client the scanner's side. Between them is a socket pair of which
// the anchor keeps both ends, so that what was said to one scanner, and not heard, is
// heard by the next.
package anchor
