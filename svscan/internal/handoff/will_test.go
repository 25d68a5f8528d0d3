package handoff

import (
	"bytes"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"upkeep/supervise"
	"upkeep/supervise/servicedir"
	"upkeep/supervise/status"
)

func someWill() *Will {
	down := supervise.Machine{Booted: true, Restored: true, Want: status.WantDown}
	alive := supervise.Machine{
		Booted: true, Restored: true, Want: status.WantUp,
		Phase: supervise.PhaseUp, Script: supervise.ScriptRun, PID: 77, Life: 3,
	}
	return &Will{
		Home: 10, Socket: 12, ScanLock: 15, ScanFIFO: 16, Clients: []int{13, 14},
		Opening: []string{"slow", "a \n\xff"},
		Entries: []Entry{
			{
				ID: servicedir.Identity{Dev: 1<<64 - 1, Ino: 2}, Name: "web \n\xff", Pipe: [2]int{20, 21}, Inode: 22,
				Main: &Unit{Dir: 23, Home: 27, Theirs: 28, Lock: 24, Control: 25, OK: 26, State: alive},
				Log:  &Unit{Dir: 33, Home: -1, Theirs: -1, Lock: 34, Control: 35, OK: -1, State: down},
			},
			{
				ID: servicedir.Identity{Dev: 1, Ino: 3}, Name: "x", Pipe: [2]int{-1, -1},
				Main: &Unit{
					Dir: 43, Home: -1, Theirs: -1, Lock: 44, Control: 45, OK: 46, State: alive,
					Stranger: &Process{PID: 77, FD: 47, start: 99},
					Ended:    true, End: 0x900,
					Notify: 48, Changes: []byte("dD"), Deaths: []byte{0, 1, 255},
				},
			},
		},
	}
}

func TestWillRoundTrip(t *testing.T) {
	t.Parallel()
	for _, w := range []*Will{someWill(), {Home: -1, Socket: -1}} {
		text := w.Append(nil)
		got, err := ParseWill(text)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if !reflect.DeepEqual(got, w) {
			t.Errorf("%+v\nwant\n%+v", got, w)
		}
		fd, err := w.Leave()
		if err != nil {
			t.Fatal(err)
		}
		if got, err = Read(fd); err != nil || !reflect.DeepEqual(got, w) {
			t.Errorf("%v, %+v", err, got)
		}
		// By now another test may have something of that number.
		if to, _ := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd)); strings.HasPrefix(to, "/memfd:upkeep") {
			t.Errorf("it is open still: %s", to)
		}
	}
}

// What a later program may add is passed over.
func TestWillOfLaterProgram(t *testing.T) {
	t.Parallel()
	text := string(someWill().Append(nil))
	more := strings.ReplaceAll(text, " dir=", " novel=1 dir=") + "novelty here=there\n"
	got, err := ParseWill([]byte(more))
	if err != nil || !reflect.DeepEqual(got, someWill()) {
		t.Errorf("%v, %+v", err, got)
	}
}

func TestWillFaults(t *testing.T) {
	t.Parallel()
	text := string(someWill().Append(nil))
	for name, bad := range map[string]string{
		"nothing":          "",
		"nonsense":         "nonsense\n",
		"a later version":  strings.Replace(text, "will 1", "will 2", 1),
		"no version":       strings.Replace(text, "will 1", "will x", 1),
		"no descriptor":    strings.Replace(text, " control=25", "", 1),
		"descriptor twice": strings.Replace(text, "control=25", "control=23", 1),
		"standard output":  strings.Replace(text, "control=25", "control=1", 1),
		"not a number":     strings.Replace(text, "ino=2", "ino=two", 1),
		"not a field":      strings.Replace(text, "ino=2", "two", 1),
		"bad name":         strings.Replace(text, "name=", "name=x", 1),
		"bad state":        strings.Replace(text, "state=", "state=ff", 1),
		"cut off":          text[:len(text)-30],
		"log twice":        text + "log dir=60 lock=61 control=62 state=\n",
		"no entry":         "upkeep will 1\nmain dir=60 lock=61 control=62\n",
		"large pid":        strings.Replace(text, "pid=77", "pid=99999999999", 1),
	} {
		if w, err := ParseWill([]byte(bad)); err == nil {
			t.Errorf("%s: %+v", name, w)
		}
	}
}

func FuzzParseWill(f *testing.F) {
	f.Add(someWill().Append(nil))
	f.Add([]byte("upkeep will 1\n"))
	f.Add([]byte("upkeep will 1\nentry dev=1 ino=2 read=-1 write=-1 pipe=0 name=\nlog dir=3 lock=4 control=5 ok=6 state=00\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := ParseWill(b)
		if err != nil {
			return
		}
		seen := map[int]bool{}
		for _, fd := range w.Descriptors() {
			if fd <= 2 || seen[fd] {
				t.Errorf("descriptor %d", fd)
			}
			seen[fd] = true
		}
		text := w.Append(nil)
		again, err := ParseWill(text)
		if err != nil || !bytes.Equal(again.Append(nil), text) {
			t.Errorf("%v: %q became %q", err, b, text)
		}
	})
}
