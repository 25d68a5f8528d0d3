// Package tree brings a directory in step with the service directories that a
// configuration is compiled to (pmtr.md, sections 8.4 to 8.6).
//
// It changes nothing that it did not make: each of its directories has a manifest with
// the digests of its files, and a file that is another by now belongs to who changed
// it. What is in use never shows a state between old and new: new directories appear
// under their name when they are complete, and a changed definition takes effect with
// the rename of its run file. What is interrupted is finished by the next run.
package tree
