package tree

import (
	"strconv"
	"strings"
)

// context is how many unchanged lines are shown around changed ones.
const context = 3

// Diff is a unified diff of two files, "" if they are the same. A name is that of a
// file that is not there if it is empty.
func Diff(oldName, newName, before, after string) string {
	if before == after {
		return ""
	}
	var out strings.Builder
	for _, side := range [...]struct{ mark, name string }{{"--- ", oldName}, {"+++ ", newName}} {
		if side.name == "" {
			side.name = "/dev/null"
		}
		out.WriteString(side.mark + side.name + "\n")
	}
	edits := edits(lines(before), lines(after))
	for i := 0; i < len(edits); {
		if edits[i].mark == ' ' {
			i++
			continue
		}
		// A hunk: to the last change that has no more than twice the context before
		// the next.
		end := i
		for j := i; j < len(edits) && j-end <= 2*context; j++ {
			if edits[j].mark != ' ' {
				end = j
			}
		}
		hunk(&out, edits, max(i-context, 0), min(end+1+context, len(edits)))
		i = end + 1
	}
	return out.String()
}

type edit struct {
	mark byte // ' ', '-' or '+'
	line string
}

func hunk(out *strings.Builder, edits []edit, from, to int) {
	count := func(edits []edit, not byte) (n int) {
		for _, e := range edits {
			if e.mark != not {
				n++
			}
		}
		return n
	}
	side := func(not byte) string {
		start, n := count(edits[:from], not)+1, count(edits[from:to], not)
		if n == 0 {
			start--
		}
		return strconv.Itoa(start) + "," + strconv.Itoa(n)
	}
	out.WriteString("@@ -" + side('+') + " +" + side('-') + " @@\n")
	for _, e := range edits[from:to] {
		out.WriteString(string(e.mark) + e.line)
		if !strings.HasSuffix(e.line, "\n") {
			out.WriteString("\n\\ No newline at end of file\n")
		}
	}
}

func lines(text string) (list []string) {
	for line := range strings.Lines(text) {
		list = append(list, line)
	}
	return list
}

// edits turn a into b, with as many lines kept as possible. Scripts are short, so all
// pairs of lines are compared, but for those at both ends that are the same.
func edits(a, b []string) (list []edit) {
	add := func(mark byte, lines ...string) {
		for _, l := range lines {
			list = append(list, edit{mark, l})
		}
	}
	head := 0
	for head < min(len(a), len(b)) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < min(len(a), len(b))-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	add(' ', a[:head]...)
	rest := a[len(a)-tail:]
	a, b = a[head:len(a)-tail], b[head:len(b)-tail]
	const most = 1 << 22
	if len(a)*len(b) > most {
		add('-', a...)
		add('+', b...)
		add(' ', rest...)
		return list
	}
	common := make([][]int32, len(a)+1)
	for i := range common {
		common[i] = make([]int32, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		switch {
		case a[i] == b[j]:
			add(' ', a[i])
			i, j = i+1, j+1
		case common[i+1][j] >= common[i][j+1]:
			add('-', a[i])
			i++
		default:
			add('+', b[j])
			j++
		}
	}
	add('-', a[i:]...)
	add('+', b[j:]...)
	add(' ', rest...)
	return list
}
