package logwriter

// Event is what a Note is about.
type Event byte

// The events.
const (
	Opened     Event = iota // File was opened; Size is what it had, -1 if it is new
	Renamed                 // current was renamed to File with Size bytes
	Deleted                 // the old File was deleted
	Sacrificed              // the old File is about to be deleted since the disk is full
	Processing              // a processor begins to work on File
	Processed               // File is what a processor has made
	Failed                  // a processor failed; it is started again
	Unremoved               // File could not be deleted: Err
)

// Note tells what happens in a log directory.
type Note struct {
	Event Event
	Dir   string // as it was named
	File  string
	Size  int
	Err   error
}
