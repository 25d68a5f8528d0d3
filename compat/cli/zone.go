package cli

import (
	"strings"
	"time"
)

// Local is the zone that TZ names, as the C library understands it: also by a rule
// like CET-1CEST,M3.5.0,M10.5.0/3, which is looked for if there is no file of that
// name.
func Local(env *Env) *time.Location {
	rule, _ := env.Getenv("TZ")
	rule = strings.TrimPrefix(rule, ":")
	if rule == "" || rule[0] == '/' || strings.Contains(rule, "\n") {
		return time.Local
	}
	if _, err := time.LoadLocation(rule); err == nil {
		return time.Local
	}
	// The rule is what the end of a file of the zone database is: so it gets a file, of
	// RFC 9636, version 2, with one type and a change to it long ago.
	const counts = 24
	header := "TZif2" + strings.Repeat("\x00", 15)
	file := header + strings.Repeat("\x00", counts) + header +
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + // no indicators, no leap seconds
		"\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x04" + // one change, one type, "UTC"
		"\xf8\x00\x00\x00\x00\x00\x00\x00" + "\x00" +
		"\x00\x00\x00\x00\x00\x00UTC\x00" +
		"\n" + rule + "\n"
	zone, err := time.LoadLocationFromTZData(rule, []byte(file))
	if err != nil {
		return time.Local
	}
	return zone
}
