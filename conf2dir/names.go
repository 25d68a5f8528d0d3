package conf2dir

import "strconv"

// longestName is more than this in bytes for no directory: svscan appends "/log" and
// takes 255.
const longestName = 200

// dirName is the name of the directory for a job (pmtr.md, section 8.3). It has no
// "~" but before a digest.
func dirName(job string) string {
	const hex = "0123456789ABCDEF"
	var b []byte
	for i := range len(job) {
		c := job[i]
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9',
			c == '_', c == '-', c == '+', c == '@', c == ':', c == ',', c == '.' && i > 0:
			b = append(b, c)
		default:
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	if len(b) > longestName {
		b = append(append(b[:180], '~'), Digest(job)[:16]...)
	}
	return string(b)
}

// names gives out names of directories, each once.
type names map[string]bool

// take is name, or name~2, name~3, ...
func (n names) take(name string) string {
	free := name
	for i := 2; n[free]; i++ {
		free = name + "~" + strconv.Itoa(i)
	}
	n[free] = true
	return free
}
