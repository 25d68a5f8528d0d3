package conf2dir

import "strings"

// remark adds what is worth a warning in a configuration that has been read.
func (p *parser) remark() {
	f := p.file
	say := func(j *Job, text string) {
		f.Remarks = append(f.Remarks, *p.complain(j.At.Line, "job "+j.Name+": "+text))
	}
	for i, j := range f.Jobs {
		for _, other := range f.Jobs[:i] {
			if other.Name == j.Name {
				say(j, "there is a job of that name above")
				break
			}
		}
		if len(j.Cmd) == 0 {
			say(j, "has no cmd and is not started")
		}
		if j.Once && j.Bounce > 0 {
			say(j, "once: is not started again after bounce has ended it")
		}
		if j.In == Syslog {
			say(j, "in: nothing can be read from syslog")
		}
		if j.User != "" && strings.Trim(j.User, "0123456789") == "" {
			say(j, "user: "+j.User+" is taken for a name, not for a number")
		}
	}
}

// misspelt is the option that a word probably is meant for, which begins a line and
// is an argument of the cmd above it, unless it looks like one.
func misspelt(t token) string {
	if !t.first || t.kind != tokenWord || len(t.text) < 3 || strings.ContainsAny(t.text, "-/.=") {
		return ""
	}
	for k := tokenJob; k <= tokenCPU; k++ {
		word := k.spelling()
		if len(word) > 2 && !k.anywhere() && (strings.EqualFold(t.text, word) || near(t.text, word)) {
			return word
		}
	}
	return ""
}

// near tells whether one character was added, left out or changed, or two neighbours
// exchanged, in a word of more than three.
func near(a, b string) bool {
	if len(a) < 4 || len(b) < 4 {
		return false
	}
	if len(a) < len(b) {
		a, b = b, a
	}
	i := 0
	for i < len(b) && a[i] == b[i] {
		i++
	}
	switch len(a) - len(b) {
	case 0:
		return a != b && (a[i+1:] == b[i+1:] ||
			i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:])
	case 1:
		return a[i+1:] == b[i:]
	}
	return false
}
