package cli

import "testing"

func TestNumber(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]uint64{"0": 0, "007": 7, "4294967295": 1<<32 - 1} {
		if n, ok := Number(text, 1<<32-1); !ok || n != want {
			t.Errorf("%q: %d, %v", text, n, ok)
		}
	}
	for _, text := range []string{"", "+1", "-1", " 1", "1 ", "1x", "0x1", "1_0", "4294967296", "99999999999999999999"} {
		if n, ok := Number(text, 1<<32-1); ok {
			t.Errorf("%q is taken for %d", text, n)
		}
	}
}
