package svscan

import (
	"testing"
	"unsafe"
)

// TestSizes holds what there is once for each service to the runtime's size classes
// that it was made for: a byte more costs 128 of a unit.
func TestSizes(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name       string
		size, most uintptr
	}{
		{"unit", unsafe.Sizeof(unit{}), 768},
		{"entry", unsafe.Sizeof(entry{}), 224},
		{"logger", unsafe.Sizeof(logger{}), 144},
	} {
		if x.size > x.most {
			t.Errorf("%s has %d bytes, more than %d", x.name, x.size, x.most)
		} else {
			t.Logf("%s: %d of %d bytes", x.name, x.size, x.most)
		}
	}
}
