// Package fault has errors say what was being done. Package fmt would bring
// reflection into every small program of the suite.
package fault

// At is err with what failed before it: "WHAT: ERR". It is nil if err is.
func At(what string, err error) error {
	if err == nil {
		return nil
	}
	return &fault{what, err}
}

type fault struct {
	what string
	err  error
}

func (f *fault) Error() string { return f.what + ": " + f.err.Error() }
func (f *fault) Unwrap() error { return f.err }
