package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// table is a head and rows of as many cells. The first column is text, the
// others are numbers.
type table struct {
	head []string
	rows [][]string
}

// text has the columns aligned.
func (t table) text() string {
	widths := t.widths()
	var b strings.Builder
	for _, row := range append([][]string{t.head}, t.rows...) {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(pad(cell, widths[i], i > 0))
			line.WriteString("  ")
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// markdown has them aligned too, for those who read the source.
func (t table) markdown() string {
	widths := t.widths()
	var b strings.Builder
	line := func(cells []string) {
		for i, cell := range cells {
			b.WriteString("| " + pad(cell, widths[i], i > 0) + " ")
		}
		b.WriteString("|\n")
	}
	line(t.head)
	for i, w := range widths {
		rule := strings.Repeat("-", w)
		if i > 0 {
			rule = rule[1:] + ":"
		}
		b.WriteString("| " + rule + " ")
	}
	b.WriteString("|\n")
	for _, row := range t.rows {
		line(row)
	}
	return b.String()
}

func (t table) widths() []int {
	widths := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

func pad(s string, width int, right bool) string {
	space := strings.Repeat(" ", width-utf8.RuneCountInString(s))
	if right {
		return space + s
	}
	return s + space
}

// number is a figure with its unit.
func number(v float64, digits int, unit string) string {
	s := strconv.FormatFloat(v, 'f', digits, 64)
	if unit != "" {
		s += " " + unit
	}
	return s
}

// figures is what was measured, a column for each suite. brief leaves out the
// minima, and the smaller trees where they say nothing that the largest does not.
func figures(r *results, suites []string, brief bool) table {
	t := table{head: append([]string{"median, ratio to " + reference, "services", "on"}, suites...)}
	if !brief {
		t.head[0] = "median (minimum) ratio to " + reference
	}
	rows := r.rows()
	for i, k := range rows {
		telling := k.metric == metricSpawn || k.metric == metricPSS || k.metric == metricAllUp
		if brief && !telling && i+1 < len(rows) && rows[i+1].metric == k.metric && rows[i+1].place == k.place {
			continue
		}
		what := k.metric.name
		if k.metric.unit != "" {
			what += ", " + k.metric.unit
		}
		row := []string{what, strconv.Itoa(k.n), k.place}
		for _, s := range suites {
			k.suite = s
			row = append(row, cell(r, k, brief))
		}
		t.rows = append(t.rows, row)
	}
	return t
}

func cell(r *results, k key, brief bool) string {
	m, ok := r.median(k)
	if !ok {
		return "-"
	}
	s := number(m, k.metric.digits, "")
	if !brief {
		s += " (" + number(slices.Min(r.values[k]), k.metric.digits, "") + ")"
	}
	to := k
	to.suite = reference
	if ratio, ok := r.ratio(k, to); ok && k.suite != reference {
		s += " " + number(ratio, 2, "") + "x"
	}
	return s
}

// verdicts are the claims with their bounds.
func verdicts(list []claim) table {
	t := table{head: []string{"claim", "measured", "bound", "verdict"}}
	for _, c := range list {
		measured := "-"
		if c.ok {
			measured = number(c.value, c.digits, c.unit)
		}
		sign := "<= "
		if c.strict {
			sign = "< "
		}
		bound := sign + number(c.bound, -1, c.unit)
		if c.bound == 0 {
			bound = "0"
		}
		t.rows = append(t.rows, []string{c.text, measured, bound, c.verdict()})
	}
	return t
}

// report is the whole of it.
type report struct {
	notes    []string
	figures  table
	claims   table
	failures []string
}

func (r report) print(w io.Writer, markdown bool) error {
	render, item := table.text, "  "
	if markdown {
		render, item = table.markdown, "- "
	}
	var b strings.Builder
	for _, note := range r.notes {
		b.WriteString(item + note + "\n")
	}
	b.WriteString("\n" + render(r.figures) + "\n" + render(r.claims))
	if len(r.failures) > 0 {
		b.WriteString("\nNot measured:\n\n")
		for _, f := range r.failures {
			b.WriteString(item + f + "\n")
		}
	}
	_, err := fmt.Fprint(w, b.String())
	return err
}
