package svscan

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"upkeep/supervise"
)

// FuzzOrder: whatever a client asks for, it is an order that makes sense, or none.
func FuzzOrder(f *testing.F) {
	f.Add("start\x00wait=ready\x00timeout=30000\x00\x00web\x00")
	f.Add("add\x00down\x00undo\x00settle=500\x00\x00web\x00/etc/sv/web\x00")
	f.Add("stop\x00signal=15\x00kill-after=1\x00\x00web/log\x00")
	f.Add("")
	f.Add("state\x00\x00\x00\x00\x00")
	f.Fuzz(func(t *testing.T, text string) {
		o, ok := parseOrder(text)
		if !ok {
			return
		}
		if o.timeout < 0 || o.settle < 0 || o.kill < 0 || o.signal < 0 || o.signal > 64 {
			t.Errorf("%q: %+v", text, o)
		}
	})
}

// FuzzStream has a reader that never reads be told of changes of services with any name:
// what is kept is bounded, and every line is an object with the numbers in order.
func FuzzStream(f *testing.F) {
	f.Add("web", []byte{1, 2, 3, 250, 250, 250})
	f.Add("a\"b\n\xff\x00", []byte(strings.Repeat("\x80\x01\x41", 900)))
	f.Fuzz(func(t *testing.T, name string, steps []byte) {
		h := &hub{}
		reader := &stream{wake: make(chan struct{}, 1)}
		h.add(reader)
		p := supervise.PolicyFor(supervise.Daemontools)
		u := &unit{k: &kernel{}}
		u.setName(name)
		m, _ := supervise.Machine{}.Step(&p, supervise.Event{Kind: supervise.EvBoot})
		for _, b := range steps {
			was := m
			ev := supervise.Event{Kind: supervise.EventKind(b % 16), Byte: b, PID: int32(b>>4) + 1, Flag: b&1 != 0, Exec: b&2 != 0, Status: supervise.WaitStatus(b)}
			if ev.Kind == supervise.EvDied {
				ev.PID = m.PID
			}
			m, _ = m.Step(&p, ev)
			changes(&was, &m, func(what string, pid int32) {
				h.publish(&note{unit: u, name: name, what: what, pid: pid, state: m})
			})
		}
		if len(reader.buf) > streamSize {
			t.Errorf("%d bytes are kept", len(reader.buf))
		}
		last := uint64(0)
		for line := range strings.Lines(string(reader.buf)) {
			var got struct {
				Seq         uint64
				Time        time.Time
				Event, Want string
			}
			if err := json.Unmarshal([]byte(line), &got); err != nil || got.Seq <= last || got.Event == "" || got.Time.IsZero() {
				t.Fatalf("%q after %d: %+v, %v", line, last, got, err)
			}
			last = got.Seq
		}
		if last+reader.missed != h.last.Load() {
			t.Errorf("%d are there, %d missed, of %d", last, reader.missed, h.last.Load())
		}
	})
}
