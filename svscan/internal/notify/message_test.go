package notify

import (
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestParseMessage(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Message{
		"READY=1":                            {State: StateReady},
		"READY=1\n":                          {State: StateReady},
		"READY=1\x00":                        {State: StateReady},
		"READY=0":                            {},
		"READY":                              {},
		"STOPPING=1":                         {State: StateStopping},
		"RELOADING=1\nMONOTONIC_USEC=5":      {State: StateReloading},
		"RELOADING=1\nREADY=1":               {State: StateReady},
		"READY=1\nSTOPPING=1\nSTOPPING=2":    {State: StateStopping},
		"STATUS=a=b c\nREADY=1\nSTATUS=no":   {State: StateReady, Status: "a=b c", HasStatus: true},
		"STATUS=":                            {HasStatus: true},
		"STATUS=\x1b[2J\ta\u202eb\u00e9\xff": {Status: "?[2J?a?bé\ufffd", HasStatus: true},
		"WATCHDOG=1":                         {Beat: true},
		"WATCHDOG=trigger\nWATCHDOG=1":       {Trigger: true},
		"WATCHDOG=2":                         {},
		"WATCHDOG_USEC=20000000":             {HasPeriod: true, Period: 20 * time.Second},
		"WATCHDOG_USEC=0":                    {HasPeriod: true},
		"WATCHDOG_USEC=18446744073709551615": {HasPeriod: true},
		"WATCHDOG_USEC=18446744073709551614": {HasPeriod: true, Period: 9223372036854775 * time.Microsecond},
		"WATCHDOG_USEC=-1\nWATCHDOG_USEC=1s": {},
		"EXTEND_TIMEOUT_USEC=1500\nREADY=1":  {State: StateReady, Extend: 1500 * time.Microsecond},
		"MAINPID=77\nERRNO=2\nFDSTORE=1":     {MainPID: 77},
		"MAINPID=-1":                         {},
		"MAINPID=2147483648":                 {},
		"BARRIER=1":                          {},
		"\n\n=\n= \nready=1":                 {},
	} {
		got, ok := ParseMessage([]byte(text))
		if got != want || !ok {
			t.Errorf("%q: %+v, %v, want %+v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "\x00", "READY=1\x00STATUS=x", strings.Repeat("x", MessageSize+1)} {
		if got, ok := ParseMessage([]byte(text)); ok || got != (Message{}) {
			t.Errorf("%q: %+v", text, got)
		}
	}
	long, _ := ParseMessage([]byte("STATUS=" + strings.Repeat("é", 1000)))
	if long.Status != strings.Repeat("é", mostStatus/2) {
		t.Errorf("%q", long.Status)
	}
}

func FuzzMessage(f *testing.F) {
	for _, s := range []string{
		"READY=1\nSTATUS=ok\nMAINPID=4711", "WATCHDOG=1", "WATCHDOG=trigger", "WATCHDOG_USEC=1\nEXTEND_TIMEOUT_USEC=99999999999999999999",
		"RELOADING=1\nMONOTONIC_USEC=1", "STOPPING=1", "BARRIER=1", "STATUS=\xff\xfe\x1b\u2028", "\x00", "=\n==\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := ParseMessage(b)
		if !ok {
			if m != (Message{}) {
				t.Errorf("%q: %+v", b, m)
			}
			return
		}
		if len(m.Status) > mostStatus || !utf8.ValidString(m.Status) || m.Period < 0 || m.Extend < 0 || m.MainPID < 0 || m.Beat && m.Trigger {
			t.Errorf("%q: %+v", b, m)
		}
		for _, r := range m.Status {
			if !strconv.IsPrint(r) {
				t.Errorf("%q: %q", b, m.Status)
			}
		}
	})
}
