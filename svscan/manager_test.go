package svscan

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"upkeep/svscan/internal/pump"
)

// TestWatchdogProvesLife: a sign of life is sent only after the scanner and the pump have
// answered.
func TestWatchdogProvesLife(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "socket")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	hears := func(within time.Duration) bool {
		t.Helper()
		if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		n, err := c.Read(b)
		if err == nil && string(b[:n]) != "WATCHDOG=1" {
			t.Errorf("%q", b[:n])
		}
		return err == nil
	}
	p, err := pump.New()
	if err != nil {
		t.Fatal(err)
	}
	k := &kernel{pump: p}
	m := newManager(k, []string{"NOTIFY_SOCKET=" + name, "WATCHDOG_USEC=20000", "WATCHDOG_PID=" + strconv.Itoa(os.Getpid())})
	if m == nil || m.every != 10*time.Millisecond {
		t.Fatalf("%+v", m)
	}
	k.manager.Store(m)
	s := &Scanner{k: k, box: newMailbox[message](), manager: m}
	end := m.begin(s)

	const silence = 100 * time.Millisecond
	<-s.box.wake
	if hears(silence) {
		t.Error("it lives without an answer")
	}
	for _, msg := range s.box.take() {
		s.handle(msg)
	}
	if hears(silence) {
		t.Error("it lives without an answer of the pump")
	}
	ran := make(chan error, 1)
	go func() { ran <- p.Run(k.deliver) }()
	if !hears(20 * time.Second) {
		t.Error("it does not live with both answers")
	}
	end()
	p.Close()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}
