package conf2dir

import (
	"math"
	"strconv"
	"strings"
)

// leadingInt reads what sscanf's %d does: a sign, digits, and whatever follows. What
// is too large for 32 bits is the largest.
func leadingInt(s string) (n int, ok bool) {
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 {
		return 0, false
	}
	for ok = false; digits != "" && '0' <= digits[0] && digits[0] <= '9'; digits = digits[1:] {
		n, ok = min(n*10+int(digits[0]-'0'), math.MaxInt32), true
	}
	if s != "" && s[0] == '-' {
		n = -n
	}
	return n, ok
}

// interval reads the value of bounce every.
func interval(s string) (seconds int, complaint string) {
	const bad = "invalid time interval in 'bounce every'"
	if s == "" {
		return 0, bad
	}
	number, unit := s[:len(s)-1], 0
	n, ok := leadingInt(number)
	if !ok || n < 0 || n == math.MaxInt32 || strings.HasPrefix(number, "-") {
		return 0, bad
	}
	switch s[len(s)-1] {
	case 's':
		unit = 1
	case 'm':
		unit = 60
	case 'h':
		unit = 60 * 60
	case 'd':
		unit = 24 * 60 * 60
	default:
		return 0, "invalid time unit in 'bounce every'"
	}
	if n > math.MaxInt32/unit {
		return 0, bad
	}
	return n * unit, ""
}

// Unlimited is the value of a limit that is none.
const Unlimited = math.MaxUint64

// Limit is a ulimit, for the soft and the hard limit.
type Limit struct {
	Flag  byte // as in -n
	Value uint64
}

// ValueString is a number, or "unlimited".
func (l Limit) ValueString() string {
	if l.Value == Unlimited {
		return "unlimited"
	}
	return strconv.FormatUint(l.Value, 10)
}

// limitNames are the names of the resources after RLIMIT_, by their flags.
const limitNames = "cCORE dDATA eNICE fFSIZE iSIGPENDING lMEMLOCK mRSS nNOFILE qMSGQUEUE rRTPRIO sSTACK tCPU uNPROC vAS"

// Resource is the name of what is limited, after RLIMIT_.
func (l Limit) Resource() string {
	for entry := range strings.FieldsSeq(limitNames) {
		if entry[0] == l.Flag {
			return entry[1:]
		}
	}
	return ""
}

func parseLimit(resource, value string) (l Limit, complaint string) {
	switch value {
	case "infinity", "unlimited", "-1":
		l.Value = Unlimited
	default:
		n, err := strconv.ParseUint(strings.TrimPrefix(value, "+"), 10, 64)
		if err != nil || strings.HasPrefix(value, "++") {
			return l, "non-numeric ulimit value"
		}
		l.Value = n
	}
	long, isLong := strings.CutPrefix(resource, "RLIMIT_")
	for entry := range strings.FieldsSeq(limitNames) {
		if isLong && entry[1:] == long || len(resource) == 2 && resource[0] == '-' && resource[1] == entry[0] {
			l.Flag = entry[0]
		}
	}
	switch {
	case l.Flag == 0:
		return l, "unknown ulimit resource " + resource
	case l.Flag == 'n' && l.Value == Unlimited:
		return l, "ulimit -n must be finite"
	}
	return l, ""
}

// maxCPU is the highest number of a CPU.
const maxCPU = 1023

// CPUSet is a set of CPUs, 64 an element. Most jobs have an empty one, of no elements.
type CPUSet []uint64

// Has tells whether a CPU is in the set.
func (s CPUSet) Has(cpu int) bool { return cpu/64 < len(s) && s[cpu/64]&(1<<(cpu%64)) != 0 }

func (s *CPUSet) add(cpu int) {
	if *s == nil {
		*s = make(CPUSet, (maxCPU+1)/64)
	}
	(*s)[cpu/64] |= 1 << (cpu % 64)
}

// Empty tells whether no CPU is in the set, which leaves the affinity alone.
func (s CPUSet) Empty() bool { return s == nil }

// String is the set as ranges, "0-2,5", and "" if it is empty.
func (s CPUSet) String() string {
	var b []byte
	for cpu := 0; cpu <= maxCPU; cpu++ {
		if !s.Has(cpu) {
			continue
		}
		last := cpu
		for last < maxCPU && s.Has(last+1) {
			last++
		}
		if len(b) > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(cpu), 10)
		if last > cpu {
			b = strconv.AppendInt(append(b, '-'), int64(last), 10)
		}
		cpu = last
	}
	return string(b)
}

// Mask is the set as 0x and hexadecimal digits.
func (s CPUSet) Mask() string {
	const digits = "0123456789abcdef"
	b := []byte("0x")
	for nibble := maxCPU / 4; nibble >= 0; nibble-- {
		d := uint64(0)
		if !s.Empty() {
			d = s[nibble/16] >> (nibble % 16 * 4) & 15
		}
		if d != 0 || len(b) > 2 || nibble == 0 {
			b = append(b, digits[d])
		}
	}
	return string(b)
}

// parse adds the CPUs of the value of cpu.
func (s *CPUSet) parse(text string) (complaint string) {
	if hex, ok := strings.CutPrefix(text, "0x"); ok {
		return s.parseHex(hex)
	}
	const bad = "syntax error in cpuset"
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(part, "-")
		a, ok := cpuNumber(from)
		b := a
		if ok && isRange {
			b, ok = cpuNumber(to)
			ok = ok && a < b
		}
		if !ok {
			return bad
		}
		for ; a <= b; a++ {
			s.add(a)
		}
	}
	return ""
}

func (s *CPUSet) parseHex(hex string) (complaint string) {
	if hex == "" {
		return "parse error in cpuset"
	}
	for i := range len(hex) {
		d, err := strconv.ParseUint(hex[i:i+1], 16, 8)
		if err != nil {
			return "invalid hex in cpuset"
		}
		for bit := range 4 {
			if cpu := (len(hex)-1-i)*4 + bit; d&(1<<bit) != 0 && cpu <= maxCPU {
				s.add(cpu)
			}
		}
	}
	return ""
}

func cpuNumber(s string) (n int, ok bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		if n = n*10 + int(s[i]-'0'); n > maxCPU {
			return 0, false
		}
	}
	return n, s != ""
}

// parseAddress reads udp://HOST[:PORT][@IFACE].
func parseAddress(spec string) (a Address, ok bool) {
	rest, ok := strings.CutPrefix(spec, "udp://")
	if !ok {
		return a, false
	}
	a.Spec = spec
	rest, a.Iface, _ = strings.Cut(rest, "@")
	host, port, has := strings.Cut(rest, ":")
	a.Host = host
	if !has {
		return a, true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	a.Port = uint16(n)
	return a, err == nil && port[0] != '+'
}
