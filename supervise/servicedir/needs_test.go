package servicedir

import (
	"strings"
	"testing"
)

// FuzzNeeds: what is read are names that a service can have, each once.
func FuzzNeeds(f *testing.F) {
	for _, s := range []string{"db cache # both\n\nweb", "a a", "../x", ".hidden", "#", "a\x00b \tc\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		names, err := parseNeeds(text)
		seen := map[string]bool{}
		for _, name := range names {
			if err != nil || name == "" || name[0] == '.' || strings.ContainsAny(name, "/ \n#") || seen[name] {
				t.Errorf("%q: %q, %v", text, names, err)
			}
			seen[name] = true
		}
	})
}
