package main

import (
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"
)

// metric is something that is measured.
type metric struct {
	name   string
	unit   string
	digits int // after the point, in reports
}

// The metrics, in the order of the report.
var (
	metricPSS       = metric{"PSS of all supervisors", "KiB", 0}
	metricDirty     = metric{"private dirty memory of all supervisors", "KiB", 0}
	metricProcesses = metric{"supervisor processes", "", 0}
	metricThreads   = metric{"threads of all supervisors", "", 0}
	metricSwitches  = metric{"context switches while idle", "", 0}
	metricAllUp     = metric{"all up, fresh tree", "ms", 1}
	metricRestart   = metric{"restart after SIGKILL", "ms", 3}
	metricSpawn     = metric{"restart after SIGKILL, by size of tree", "ms", 3}
	metricDetect    = metric{"new directory to running service", "ms", 1}
	metricStorm     = metric{"supervisors' CPU per restart in a storm", "us", 0}
	metricSvstat    = metric{"svstat of all services", "ms", 2}
	metricSvc       = metric{"svc -h of one service", "ms", 3}

	metrics = []metric{
		metricPSS, metricDirty, metricProcesses, metricThreads, metricSwitches, metricAllUp,
		metricRestart, metricSpawn, metricDetect, metricStorm, metricSvstat, metricSvc,
	}
)

// key is what one figure of the report is about.
type key struct {
	metric metric
	place  string
	n      int // services
	suite  string
}

// results are all samples of a run.
type results struct {
	values map[key][]float64
	lines  *json.Encoder // nil if nobody wants them
}

func newResults(lines io.Writer) *results {
	r := &results{values: make(map[key][]float64)}
	if lines != nil {
		r.lines = json.NewEncoder(lines)
	}
	return r
}

// add takes the samples of one repetition.
func (r *results) add(k key, rep int, values ...float64) error {
	r.values[k] = append(r.values[k], values...)
	return r.line(struct {
		Metric   string    `json:"metric"`
		Unit     string    `json:"unit,omitempty"`
		Place    string    `json:"place"`
		Services int       `json:"services"`
		Suite    string    `json:"suite"`
		Rep      int       `json:"rep"`
		Load     string    `json:"load"`
		Values   []float64 `json:"values"`
	}{k.metric.name, k.metric.unit, k.place, k.n, k.suite, rep, load(), values})
}

// line writes one JSON line.
func (r *results) line(v any) error {
	if r.lines == nil {
		return nil
	}
	return r.lines.Encode(v)
}

// median is the middle of all samples. ok is false when there are none.
func (r *results) median(k key) (v float64, ok bool) { return median(r.values[k]) }

// ratio is the quotient of two medians.
func (r *results) ratio(k, to key) (v float64, ok bool) {
	a, ok := r.median(k)
	b, found := r.median(to)
	if !ok || !found || b == 0 {
		return 0, false
	}
	return a / b, true
}

// rows are the subjects of the report, in its order: keys without a suite.
func (r *results) rows() []key {
	seen := make(map[key]bool)
	var rows []key
	for k := range r.values {
		k.suite = ""
		if !seen[k] {
			seen[k] = true
			rows = append(rows, k)
		}
	}
	slices.SortFunc(rows, func(a, b key) int {
		if c := slices.Index(metrics, a.metric) - slices.Index(metrics, b.metric); c != 0 {
			return c
		}
		if c := strings.Compare(a.place, b.place); c != 0 {
			return c
		}
		return a.n - b.n
	})
	return rows
}

// median of an even number of values is the mean of the middle two.
func median(values []float64) (m float64, ok bool) {
	n := len(values)
	if n == 0 {
		return 0, false
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(n-1)/2] + sorted[n/2]) / 2, true
}

// load is the load average of the last minute, as the kernel writes it.
func load() string {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
