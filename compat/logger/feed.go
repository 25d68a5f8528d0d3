package logger

import "upkeep/logwriter"

// sink is a writer of any dialect.
type sink interface {
	Write(b []byte, seen int) (done int)
	Finish(rest []byte)
	Inside() bool
}

// feed passes the input on to w until it ends, cannot be read or consumed, or is to
// stop, for which the line that was begun is waited. turn is called before each wait: it
// does what there is to do besides, and tells whether to stop after the line, or at
// once. late, if set, tells that the line is not waited for any longer. It returns why
// the input could not be read.
func feed(in *logwriter.Input, w sink, turn func() (stop, over bool), late func() bool) error {
	for seen := 0; ; {
		stop, over := turn()
		if over || stop && seen == 0 && !w.Inside() {
			return nil
		}
		b, eof, err := in.Peek(seen, stop)
		if late != nil && late() && len(b) == seen && err == nil && !eof {
			if in.Keeps() {
				b = nil // for the next process
			}
			eof = true
		}
		if eof || err != nil {
			w.Finish(b)
			_ = in.Consume(len(b))
			return err
		}
		if len(b) == seen {
			continue // interrupted
		}
		done := w.Write(b, seen)
		seen = len(b) - done
		if in.Consume(done) != nil {
			return nil
		}
	}
}
