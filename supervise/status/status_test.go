package status

import (
	"bytes"
	"encoding/hex"
	"testing"
	"time"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The files are from real programs (daemontools.md, section 3.1; runit.md,
// section 1.3); encore's is spelled out there but for its date.
func TestGoldenFiles(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		layout Layout
		file   string
		want   Record
	}{
		{
			"daemontools: paused, want up", Daemontools, "400000006b00c11215949ebca9050000" + "0175",
			Record{Since: Stamp{0x6b00c112 - 10, 0x15949ebc}, PID: 1449, Paused: true, Want: WantUp, Process: ProcessRun},
		},
		{
			"runit: running", Runit, "400000006b00c14c1a6846dc8817000000750001",
			Record{Since: Stamp{0x6b00c14c - 10, 0x1a6846dc}, PID: 6024, Want: WantUp, Process: ProcessRun},
		},
		{
			"encore: once, running", EncoreLayout, "400000006b00c14c1a6846dca206000000000300",
			Record{Since: Stamp{0x6b00c14c - 10, 0x1a6846dc}, PID: 1698, Process: ProcessRun, Encore: EncoreRunning},
		},
		{
			"s6: up and ready", S6,
			"400000006b00c16700000001" + "400000006b00c16800000002" + "0000000000001788" + "0009" + "0c",
			Record{
				Since: Stamp{0x6b00c167 - 37, 1}, ReadySince: Stamp{0x6b00c168 - 37, 2}, PID: 6024,
				Ready: true, Want: WantUp, Process: ProcessRun, WaitStatus: 9,
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := unhex(t, c.file)
			got, err := Decode(file, c.layout)
			if err != nil || got != c.want {
				t.Errorf("decoded %+v, %v\nwant %+v", got, err, c.want)
			}
			if b := c.want.Append(nil, c.layout); !bytes.Equal(b, file) {
				t.Errorf("encoded %x\nwant %x", b, file)
			}
			if _, err := Decode(file[:len(file)-1], c.layout); err != ErrFormat {
				t.Errorf("a byte less: %v", err)
			}
		})
	}
}

// The file of s6 2.13 has the process group between the pid and the wait status
// (s6.md, section 4.1).
func TestS6Group(t *testing.T) {
	t.Parallel()
	want := Record{
		Since: Stamp{1, 2}, ReadySince: Stamp{3, 4}, PID: 5, Ready: true, Want: WantUp, Process: ProcessRun, WaitStatus: 6,
	}
	b := want.Append(nil, S6)
	long := append(append(append([]byte{}, b[:32]...), 0, 0, 0, 0, 0, 0, 0, 5), b[32:]...)
	if got, err := Decode(long, S6); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRunitFileServesDaemontools(t *testing.T) {
	t.Parallel()
	r := Record{Since: StampOf(1_700_000_000_123_456_789), PID: 77, Want: WantDown, Process: ProcessFinish, GotTerm: true}
	long, short := r.Append(nil, Runit), r.Append(nil, Daemontools)
	if !bytes.Equal(long[:DaemontoolsSize], short) {
		t.Errorf("the first 18 bytes differ: %x, %x", long, short)
	}
}

func TestPauseWithoutProcess(t *testing.T) {
	t.Parallel()
	r := Record{Paused: true}
	for l, want := range map[Layout]byte{Daemontools: 0, EncoreLayout: 0, Runit: 1} {
		if got := r.Append(nil, l)[16]; got != want {
			t.Errorf("layout %d: byte 16 is %d, want %d", l, got, want)
		}
	}
}

func TestStampOf(t *testing.T) {
	t.Parallel()
	for ns, want := range map[int64]Stamp{
		0:             {},
		1_500_000_000: {1, 500_000_000},
		-1:            {-1, 999_999_999},
	} {
		if got := StampOf(ns); got != want {
			t.Errorf("%d: %+v, want %+v", ns, got, want)
		}
	}
	if d := time.Now().Unix() - Now().Sec; d < 0 || d > 1 {
		t.Errorf("now is %d seconds off", d)
	}
}

func TestTAI64N(t *testing.T) {
	t.Parallel()
	const text = "@400000006b00c11215949ebc"
	s, ok := ParseTAI64N([]byte(text + " line"))
	if !ok || s != (Stamp{0x6b00c112 - 10, 0x15949ebc}) {
		t.Errorf("parsed %+v, %v", s, ok)
	}
	if got := s.AppendTAI64N(nil); string(got) != text {
		t.Errorf("appended %s", got)
	}
	for _, bad := range []string{"", "@", text[:24], "x" + text[1:], "@400000006B00c11215949ebc"} {
		if _, ok := ParseTAI64N([]byte(bad)); ok {
			t.Errorf("%q is taken for a label", bad)
		}
	}
}

// Every line of stat that runit.md, section 1.3, lists.
func TestStat(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		r       Record
		exiting bool
		want    string
	}{
		{Record{Process: ProcessRun, Want: WantUp}, false, "run"},
		{Record{Process: ProcessRun, Want: WantDown}, false, "run, want down"},
		{Record{Process: ProcessRun, Want: WantUp, GotTerm: true}, false, "run, got TERM"},
		{Record{Process: ProcessRun, Want: WantDown, GotTerm: true}, false, "run, got TERM, want down"},
		{Record{Process: ProcessRun, Want: WantDown, GotTerm: true}, true, "run, got TERM, want exit"},
		{Record{Process: ProcessRun, Want: WantUp, Paused: true, GotTerm: true}, false, "run, paused, got TERM"},
		{Record{Process: ProcessFinish, Want: WantDown}, false, "finish, want down"},
		{Record{Process: ProcessFinish, Want: WantUp, Paused: true}, false, "finish, paused"},
		{Record{Want: WantUp}, false, "down"},
		{Record{Want: WantDown, Paused: true}, true, "down, paused"},
	} {
		if got := string(c.r.AppendStat(nil, c.exiting)); got != c.want+"\n" {
			t.Errorf("%+v: %q, want %q", c.r, got, c.want)
		}
	}
	if got := string((&Record{PID: 4294967295}).AppendPID(nil)); got != "4294967295\n" {
		t.Errorf("pid %q", got)
	}
	if got := (&Record{}).AppendPID(nil); len(got) != 0 {
		t.Errorf("no pid: %q", got)
	}
}

// FuzzDecode: no file makes a reader panic, and what is decoded encodes to the
// bytes that mean something.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{}, byte(0))
	f.Add(bytes.Repeat([]byte{0xff}, 40), byte(1))
	f.Add(bytes.Repeat([]byte{0x40}, 35), byte(3))
	f.Fuzz(func(t *testing.T, b []byte, layout byte) {
		l := Layout(layout) % (S6 + 1)
		r, err := Decode(b, l)
		if err != nil {
			if len(b) >= l.Size() {
				t.Fatalf("%d bytes: %v", len(b), err)
			}
			return
		}
		again, err := Decode(r.Append(nil, l), l)
		if l == Daemontools || l == EncoreLayout {
			r.Paused = r.Paused && r.PID != 0 // not said of what is down
		}
		if err != nil || again != r {
			t.Fatalf("%+v became %+v, %v", r, again, err)
		}
	})
}

func FuzzTAI64N(f *testing.F) {
	f.Add([]byte("@400000006b00c11215949ebc"))
	f.Add([]byte("@ffffffffffffffffffffffff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := ParseTAI64N(b); ok {
			if got := s.AppendTAI64N(nil); !bytes.Equal(got, b[:TAI64NLen]) {
				t.Fatalf("%q became %q", b[:TAI64NLen], got)
			}
		}
	})
}
