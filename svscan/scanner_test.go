package svscan

import (
	"testing"
	"time"
)

// TestScanNotLost: a scan that falls due right after another is put off, not forgotten.
func TestScanNotLost(t *testing.T) {
	t.Parallel()
	s := &Scanner{box: newMailbox[message]()}
	due := func() {
		t.Helper()
		select {
		case <-s.box.wake:
			s.box.take()
		case <-time.After(20 * time.Second):
			t.Fatal("no scan is due")
		}
	}
	s.scanAt(time.Now())
	due()
	s.scanned = time.Now()
	s.scanSoon()
	due()
	s.scanAt(time.Now().Add(time.Millisecond))
	due()
}
