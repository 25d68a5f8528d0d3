package conf2dir

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
)

func TestDigest(t *testing.T) {
	t.Parallel()
	for n := range 300 {
		text := strings.Repeat("a\x00b\xff", n)[:n]
		want := sha256.Sum256([]byte(text))
		if got := Digest(text); got != hex.EncodeToString(want[:]) {
			t.Errorf("%d bytes: %s", n, got)
		}
	}
}
