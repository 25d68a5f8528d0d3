package svscan

import (
	"slices"
	"testing"
)

func TestUntouched(t *testing.T) {
	t.Parallel()
	const smaps = `00400000-00500000 r-xp 00000000 fe:00 99 /usr/bin/upkeep
Rss:                 900 kB
Anonymous:             0 kB
Swap:                  0 kB
VmFlags: rd ex mr mw me
00500000-00580000 r--p 00100000 fe:00 99 /lib/relocated.so
Anonymous:             4 kB
Swap:                  0 kB
00580000-00600000 r--p 00100000 fe:00 99 /lib/swapped.so
Anonymous:             0 kB
Swap:                  4 kB
00600000-00700000 rw-p 00200000 fe:00 99 /usr/bin/upkeep
Anonymous:             0 kB
Swap:                  0 kB
00700000-00800000 r--p 00000000 00:00 0
Anonymous:             0 kB
Swap:                  0 kB
00800000-00900000 r--p 00000000 00:00 0 [vvar]
Anonymous:             0 kB
Swap:                  0 kB
00a00000-00b00000 r--p 00000000 fe:00 99 /usr/bin/up keep
Anonymous:             0 kB
Swap:                  0 kB
`
	want := []mapping{{0x400000, 0x100000}, {0xa00000, 0x100000}}
	if got := untouched([]byte(smaps)); !slices.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}
