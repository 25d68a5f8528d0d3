package conf2dir

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestGolden holds the configurations in testdata/config to what is said of them
// there: the complaint, or the jobs, the remarks and the service directories. Remarks
// at the beginning of a configuration may have options: "# forms: native runit".
func TestGolden(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/config/*.conf")
	if err != nil || len(paths) < 80 {
		t.Fatalf("%d configurations, %v", len(paths), err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".conf")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got, golden := describe(name, text), strings.TrimSuffix(path, ".conf")+".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil || got != string(want) {
				t.Errorf("%v\ngot:\n%s\nwant:\n%s", err, got, want)
			}
		})
	}
}

func describe(name, text string) string {
	var b strings.Builder
	f, complaint := Parse(name, text)
	if complaint != nil {
		fmt.Fprintf(&b, "line %d: %q\n", complaint.Line, complaint.Text)
		return b.String()
	}
	for _, j := range f.Jobs {
		fmt.Fprintf(&b, "job at %d:%d\n", j.At.Line, j.At.Column)
		for _, o := range j.Options {
			fmt.Fprintf(&b, " %s@%d:%d", o.Word, o.At.Line, o.At.Column)
		}
		b.WriteString("\n" + j.Definition())
	}
	for _, a := range f.Listen {
		fmt.Fprintf(&b, "listen %+v\n", a)
	}
	for _, a := range f.Report {
		fmt.Fprintf(&b, "report %+v\n", a)
	}
	remarks := func(list []Complaint) {
		for _, r := range list {
			fmt.Fprintf(&b, "remark at line %d: %s\n", r.Line, r.Text)
		}
	}
	remarks(f.Remarks)
	o, forms := Options{}, []string{"native", "daemontools"}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok || line[0] != '#' {
			break
		}
		switch key {
		case "# forms":
			forms = strings.Fields(value)
		case "# log":
			o.Log, _ = ParseLog(value)
		case "# start":
			o.Start = value
		case "# launcher":
			o.Launcher = value
		}
	}
	for _, form := range forms {
		o.Form, _ = ParseForm(form)
		services, more := Compile(f, o)
		fmt.Fprintf(&b, "\n==== %s\n", form)
		remarks(more)
		for _, s := range services {
			for _, e := range s.Entries {
				path := s.Dir + "/" + e.Path
				switch {
				case e.Dir:
					fmt.Fprintf(&b, "-- %s/ %04o\n", path, e.Mode)
				case strings.Count(e.Data, "\n") > 1:
					fmt.Fprintf(&b, "-- %s %04o\n%s", path, e.Mode, e.Data)
				default:
					fmt.Fprintf(&b, "-- %s %04o %q\n", path, e.Mode, e.Data)
				}
			}
		}
	}
	return b.String()
}
