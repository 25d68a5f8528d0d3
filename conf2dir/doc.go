// Package conf2dir reads pmtr.conf and says what service directories its jobs are.
//
// Parse reads a configuration as pmtr does, to the word of its complaints, and
// returns a File of Jobs that know where they stand. Jobs can be compared, so that
// whoever reads a configuration again can tell what has changed:
//
//	text, err := conf2dir.ReadFile(path)
//	f, complaint := conf2dir.Parse(path, text)
//	if complaint != nil {
//		return complaint // "error in pmtr.conf line 3 "
//	}
//	for _, j := range f.StartOrder() {
//		if old := previous.Job(j.Name); old == nil || !old.Same(j) {
//			...
//		}
//	}
//
// Whether a file that a job depends on has changed is not in the configuration:
// see Job.Fingerprint.
//
// Compile turns a File into service directories, as data; package tree brings a
// directory in step with them. Nothing here starts a process or looks up a user.
package conf2dir
