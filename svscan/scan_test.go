package svscan

import (
	"testing"
	"time"
)

// A scan that is put off since another has just been made takes place, also if it was
// a timer that asked for it.
func TestScanSoon(t *testing.T) {
	t.Parallel()
	s := &Scanner{box: newMailbox[message]()}
	asked := func() {
		t.Helper()
		select {
		case <-s.box.wake:
			s.box.take()
		case <-time.After(20 * time.Second):
			t.Fatal("no scan is asked for")
		}
	}
	s.scanned = time.Now()
	s.scanAt(s.scanned.Add(time.Millisecond)) // as for a retry that is due next
	asked()
	s.scanned = time.Now()
	s.scanSoon()
	asked()
	s.again.Stop()
}
