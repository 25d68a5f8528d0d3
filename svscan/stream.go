package svscan

import (
	"io"
	"sync"
	"time"

	"upkeep/internal/jsontext"
)

// EventsSocket is beside HomeSocket: who connects gets every change of state of every
// service, as one JSON object a line, after all states as they are.
const EventsSocket = ".svscan-events"

// stream is one reader of the changes. What it has not taken yet is kept up to
// streamSize bytes; then it is told that it has missed some, and all states again.
type stream struct {
	c *client
	s *Scanner

	mu     sync.Mutex
	buf    []byte
	missed uint64
	ended  bool
	wake   chan struct{} // of size 1
	done   chan struct{} // closed when it has left
}

const (
	streamSize = 256 << 10
	// streamFlush is how long a reader is waited for when the scanner ends.
	streamFlush = time.Second
)

// hear implements watcher.
func (t *stream) hear(n *note) {
	line := n.json()
	t.mu.Lock()
	if t.missed > 0 || len(t.buf)+len(line) > streamSize {
		t.missed++
	} else {
		t.buf = append(t.buf, line...)
	}
	t.mu.Unlock()
	t.rouse()
}

func (t *stream) rouse() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// attendReader serves a reader until it is gone. Two goroutines belong to it: this one,
// and one that waits for the reader to close.
func (s *Scanner) attendReader(fd int) {
	c := newClient(fd)
	if !c.may() {
		c.file.Close()
		return
	}
	t := &stream{c: c, s: s, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go func() {
		_, _ = io.Copy(io.Discard, c.file)
		t.end()
	}()
	s.k.hub.add(t)
	defer func() {
		s.k.hub.remove(t)
		c.file.Close()
		close(t.done)
	}()
	s.call(func() { t.begin(0) })
	for range t.wake {
		for {
			t.mu.Lock()
			b, missed, ended := t.buf, t.missed, t.ended
			t.buf = nil
			t.mu.Unlock()
			if len(b) == 0 {
				if ended {
					return
				}
				if missed > 0 {
					s.call(func() { t.begin(missed) })
				}
				break
			}
			if _, err := c.file.Write(b); err != nil {
				return
			}
		}
	}
}

func (t *stream) end() {
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	t.rouse()
}

// begin appends all states. Changes that come meanwhile come after the state that they
// lead to, or that they are part of already: none is lost.
func (t *stream) begin(missed uint64) {
	t.mu.Lock()
	t.missed = 0
	if missed > 0 {
		t.buf = t.s.k.hub.mark(t.buf, noteLost, missed)
	}
	t.mu.Unlock()
	for _, e := range t.s.entries {
		for _, x := range []*slot{&e.main, &e.log} {
			if x.up {
				line := t.s.k.hub.number(x.unit.is())
				t.mu.Lock()
				t.buf = append(t.buf, line...)
				t.mu.Unlock()
			}
		}
	}
	t.mu.Lock()
	t.buf = t.s.k.hub.mark(t.buf, noteLive, 0)
	t.mu.Unlock()
	t.rouse()
}

// number has a note carry the number of the last that was told to all.
func (h *hub) number(n *note) []byte {
	n.seq, n.at = h.last.Load(), time.Now()
	return n.json()
}

// mark is a line about the stream itself.
func (h *hub) mark(b []byte, what string, missed uint64) []byte {
	b = jsontext.Number(b, "seq", int64(h.last.Load()))
	b = jsontext.Time(b, "time", time.Now())
	b = jsontext.String(b, "event", what)
	if missed > 0 {
		b = jsontext.Number(b, "missed", int64(missed))
	}
	return jsontext.End(b)
}

// close ends all streams, each when its reader has what there is, or soon.
func (h *hub) close() {
	h.mu.Lock()
	var all []*stream
	for _, w := range h.all {
		if t, ok := w.(*stream); ok {
			all = append(all, t)
		}
	}
	h.mu.Unlock()
	for _, t := range all {
		_ = t.c.file.SetWriteDeadline(time.Now().Add(streamFlush))
		t.end()
	}
	late := time.After(streamFlush)
	for _, t := range all {
		select {
		case <-t.done:
		case <-late:
			return
		}
	}
}
