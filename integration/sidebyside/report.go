package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// report is the table to be.
type report struct {
	n      int
	suites []*suite
	facts  map[string]*facts
	failed []string
	notes  []string
}

// row is a fact as a cell of the table.
type row struct {
	text string
	of   func(f *facts) string
	loss bool // unless it is 0
}

func count(text string, of func(f *facts) int) row {
	return row{text, func(f *facts) string { return strconv.Itoa(of(f)) }, true}
}

func (r *report) rows() []row {
	return []row{
		{text: "supervisors killed", of: func(f *facts) string { return strconv.Itoa(f.supervisors) }},
		count("services that run twice", func(f *facts) int { return f.twice }),
		count("services of which a process is unsupervised", func(f *facts) int { return f.orphans }),
		count("services started again that had not ended", func(f *facts) int { return f.started }),
		count("log services that run twice", func(f *facts) int { return f.twiceLogs }),
		count("log services that are unsupervised", func(f *facts) int { return f.orphanLogs }),
		count("starts of log services beside a running one", func(f *facts) int { return f.startedLogs }),
		count("processes whose output nobody reads", func(f *facts) int { return f.unread }),
		count("bytes of it that wait in the pipes", func(f *facts) int { return f.waiting }),
		count("services killed by it", func(f *facts) int { return f.killed }),
		count("lines lost", func(f *facts) int { return f.lost }),
		count("lines logged twice", func(f *facts) int { return f.doubled }),
		{text: "lines written", of: func(f *facts) string { return strconv.Itoa(f.written) }},
		{text: "ended meanwhile: runs again after, ms", of: func(f *facts) string { return strconv.FormatInt(f.again.Milliseconds(), 10) }},
		{text: "all are supervised again after, ms", of: func(f *facts) string {
			if f.whole == 0 {
				return "never"
			}
			return strconv.FormatInt(f.whole.Milliseconds(), 10)
		}},
		{text: "one from before ends: it is restarted", of: func(f *facts) string { return map[bool]string{true: "yes", false: "no"}[f.noticed] }},
		{text: "and finish is told (it ended with 17)", of: func(f *facts) string {
			if f.status == "" {
				return "-"
			}
			return f.status
		}},
	}
}

func (r *report) print(markdown bool) string {
	table := [][]string{{fmt.Sprintf("%d services with log services", r.n)}}
	for _, s := range r.suites {
		table[0] = append(table[0], s.name)
	}
	for _, row := range r.rows() {
		line := []string{row.text}
		for _, s := range r.suites {
			if f := r.facts[s.name]; f != nil {
				line = append(line, row.of(f))
			} else {
				line = append(line, "failed")
			}
		}
		table = append(table, line)
	}
	var b strings.Builder
	writeTable(&b, table, markdown)
	b.WriteString("\n")
	quote, item := "", ""
	if markdown {
		quote, item = "`", "- "
	}
	for _, s := range r.suites {
		fmt.Fprintf(&b, "%s%s %s: %s%s DIR%s, log services %s%s%s\n", item, s.name, s.version(),
			quote, filepath.Base(s.scanner[0]), quote, quote, strings.Join(s.logger, " "), quote)
	}
	for _, note := range r.notes {
		b.WriteString(item + note + "\n")
	}
	return b.String()
}

// writeTable has the columns aligned, for those who read the source as well.
func writeTable(b *strings.Builder, table [][]string, markdown bool) {
	widths := make([]int, len(table[0]))
	for _, line := range table {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	if markdown {
		rule := []string{strings.Repeat("-", widths[0])}
		for _, w := range widths[1:] {
			rule = append(rule, strings.Repeat("-", w-1)+":")
		}
		table = slices.Insert(table, 1, rule)
	}
	for _, line := range table {
		for i, cell := range line {
			fill := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				cell += fill
			} else {
				cell = fill + cell
			}
			switch {
			case markdown:
				b.WriteString("| " + cell + " ")
			case i > 0:
				b.WriteString("  " + cell)
			default:
				b.WriteString(cell)
			}
		}
		if markdown {
			b.WriteString("|")
		}
		b.WriteString("\n")
	}
}
