package servicedir

import (
	"errors"
	"strings"
)

// NeedsName is the file of a service directory that names the services it needs.
const NeedsName = "needs"

const needsSize = 64 << 10

// ErrService is for a name that no service of a scan directory can have.
var ErrService = errors.New("not the name of a service")

// Needs reads the names, separated by blanks and newlines; # begins a remark. There are none
// where there is no file.
func Needs(dir int) (names []string, err error) {
	b, ok, err := readFile(dir, NeedsName, needsSize)
	if !ok {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseNeeds(string(b))
}

func parseNeeds(text string) (names []string, err error) {
	seen := make(map[string]bool)
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		for _, name := range strings.Fields(line) {
			if name[0] == '.' || strings.IndexByte(name, '/') >= 0 {
				return nil, ErrService
			}
			if !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	return names, nil
}
