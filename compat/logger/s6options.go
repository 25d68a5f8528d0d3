package logger

import (
	"strings"
	"time"

	"upkeep/compat/cli"
)

// s6Options are what comes before the script.
type s6Options struct {
	notify    int // descriptor, 0 for none
	verbosity int
	protect   bool // from TERM
	limit     int
	patience  time.Duration // with the rest of a line, after a signal
	script    []string
}

const s6Usage = "s6-log [ -d notif ] [ -q | -v ] [ -b ] [ -p ] [ -l linelimit ] [ -- ] logging_script"

// parseS6Options reads them. complaint is not empty if there is one beside the
// usage.
func parseS6Options(args []string) (o s6Options, complaint string, ok bool) {
	o = s6Options{verbosity: 1, limit: 8192, patience: 2 * time.Second}
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		word := args[0][1:]
		args = args[1:]
		if word == "-" {
			break
		}
		for word != "" {
			c := word[0]
			word = word[1:]
			var value uint64
			if strings.IndexByte("dlt", c) >= 0 {
				if word == "" {
					if len(args) == 0 {
						return o, "", false
					}
					word, args = args[0], args[1:]
				}
				if value, ok = cli.Number(word, 1<<31-1); !ok {
					return o, "", false
				}
				word = ""
			}
			switch c {
			case 'd':
				if value < 3 {
					return o, "notification fd must be 3 or more", false
				}
				o.notify = int(value)
			case 'l':
				o.limit = int(value)
				if o.limit > 0 {
					o.limit = max(o.limit, 48)
				}
			case 't':
				o.patience = time.Duration(value) * time.Millisecond
			case 'q':
				o.verbosity = max(o.verbosity-1, 0)
			case 'v':
				o.verbosity++
			case 'p':
				o.protect = true
			case 'b': // nothing is ever read ahead of writes
			default:
				return o, "", false
			}
		}
	}
	o.script = args
	return o, "", len(args) > 0
}
