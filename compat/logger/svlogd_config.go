package logger

import (
	"bytes"
	"strings"
	"time"

	"upkeep/logwriter"
)

// svlogdConfig is the file config of a log directory (runit.md, section 5.2).
type svlogdConfig struct {
	dir     logwriter.RunitConfig
	choices []logwriter.Choice
	prefix  string
	to      address
	only    bool // to and not into the log
	// warnings are what is wrong with the file.
	warnings []string
}

// address is where lines are sent; port 0 is nowhere.
type address struct {
	ip   [4]byte
	port uint16
}

// parseSvlogdConfig reads a config. Lines that make no sense are ignored.
func parseSvlogdConfig(text []byte) svlogdConfig {
	c := svlogdConfig{dir: logwriter.DefaultRunit()}
	if len(text) <= 1 {
		return c
	}
	for line := range bytes.SplitSeq(text, []byte{'\n'}) {
		if end := bytes.IndexByte(line, 0); end >= 0 {
			line = line[:end]
		}
		if len(line) > 0 {
			c.setting(line[0], string(line[1:]))
		}
	}
	return c
}

func (c *svlogdConfig) setting(what byte, value string) {
	switch what {
	case 's':
		n, rest := leadingNumber(value)
		c.dir.Size = size(n * unit(rest, 'k', 1<<10, 'm', 1<<20))
	case 'n':
		n, _ := leadingNumber(value)
		c.dir.Keep = size(n)
	case 'N':
		n, _ := leadingNumber(value)
		c.dir.KeepFull = size(n)
	case 't':
		n, rest := leadingNumber(value)
		n *= unit(rest, 'm', 60, 'h', 3600)
		c.dir.Age = time.Duration(min(n, 1<<32)) * time.Second
	case '!':
		if value != "" {
			c.dir.Processor = value
		}
	case 'U':
		c.only = true
		c.send(value)
	case 'u':
		c.send(value)
	case 'p':
		if value != "" {
			c.prefix = value
		}
	case '+', '-', 'e', 'E':
		c.choices = append(c.choices, logwriter.Choice{
			Pattern: logwriter.Plus(value),
			Alert:   what == 'e' || what == 'E',
			Take:    what == '+' || what == 'e',
		})
	}
}

// send is for A.B.C.D[:PORT].
func (c *svlogdConfig) send(value string) {
	const syslog = 514
	to := address{port: syslog}
	rest := value
	for i := range to.ip {
		n, after := leadingNumber(rest)
		if after == rest || i < 3 && !strings.HasPrefix(after, ".") {
			c.warnings = append(c.warnings, "unable to scan ip address: "+value)
			return
		}
		to.ip[i] = byte(n)
		if rest = after; i < 3 {
			rest = rest[1:]
		}
	}
	if port, ok := strings.CutPrefix(rest, ":"); ok {
		n, _ := leadingNumber(port)
		if n == 0 {
			c.warnings = append(c.warnings, "unable to scan port number: "+port)
			return
		}
		to.port = uint16(n)
	}
	c.to = to
}

// leadingNumber is the number that s begins with, 0 for none, and what follows.
// There is no limit: it wraps as in the original.
func leadingNumber(s string) (n uint64, rest string) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		n = n*10 + uint64(s[i]-'0')
		i++
	}
	return n, s[i:]
}

// unit is the factor for the letter that s begins with.
func unit(s string, a byte, forA uint64, b byte, forB uint64) uint64 {
	switch {
	case s != "" && s[0] == a:
		return forA
	case s != "" && s[0] == b:
		return forB
	}
	return 1
}

// size is n as far as it makes a difference.
func size(n uint64) int { return int(min(n, 1<<60)) }
