package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if pace, ok := os.LookupEnv(paceVariable); ok {
		serve(pace)
		return
	}
	os.Exit(m.Run())
}

// TestSideBySide: ours loses nothing. What the others lose is theirs; but it is
// counted.
func TestSideBySide(t *testing.T) {
	if _, err := exec.LookPath("multilog"); err != nil {
		if os.Getenv("UPKEEP_REQUIRE") == "1" {
			t.Fatal(err)
		}
		t.Skip("multilog is missing; install the package daemontools")
	}
	r, err := measure(t.Context(), options{n: 2, settle: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", r.print(false))
	if len(r.failed) > 0 {
		t.Errorf("failed: %v", r.failed)
	}
	if os.Getenv("UPKEEP_REQUIRE") == "1" && len(r.suites) < 4 {
		t.Errorf("not all suites were run: %q", r.notes)
	}
	ours := r.facts[own]
	if ours == nil {
		t.Fatal("ours was not run")
	}
	for _, row := range r.rows() {
		if got := row.of(ours); row.loss && got != "0" {
			t.Errorf("%s: %s", row.text, got)
		}
	}
	if ours.supervisors != 1 || ours.whole == 0 || !ours.noticed {
		t.Errorf("%+v", ours)
	}
	// Before Linux 6.15 nobody can say how it ended.
	if !slices.Contains([]string{"17 0", "-1 0"}, ours.status) {
		t.Errorf("finish was told %q", ours.status)
	}
	for _, s := range r.suites {
		f := r.facts[s.name]
		if f == nil {
			continue
		}
		if f.written < 100 || f.lost > f.written || f.again <= 0 {
			t.Errorf("%s: %+v", s.name, f)
		}
		// A scanner, and for each service and log service one; runsv does both.
		if s.name != own && (f.supervisors < 3 || f.supervisors > 5) {
			t.Errorf("%s: %d supervisors", s.name, f.supervisors)
		}
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	r := &report{n: 2, suites: suites("/x/upkeep")[:2], failed: []string{"daemontools"}, facts: map[string]*facts{
		own: {supervisors: 1, noticed: true, status: "17 0"},
	}}
	for _, markdown := range []bool{false, true} {
		text := r.print(markdown)
		for _, want := range []string{"2 services", own, "failed", "17 0", "never"} {
			if !strings.Contains(text, want) {
				t.Errorf("there is no %q in\n%s", want, text)
			}
		}
		if strings.HasPrefix(text, "| ") != markdown {
			t.Errorf("Markdown is %v:\n%s", markdown, text)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	o, err := parse(strings.Fields("-n 3 -suites upkeep,s6 -settle 2s -markdown"))
	if err != nil || o.n != 3 || !slices.Equal(o.suites, []string{own, "s6"}) || o.settle != 2*time.Second || !o.markdown {
		t.Errorf("%+v, %v", o, err)
	}
	for _, words := range []string{"-n 1", "-n x", "more", "-what"} {
		if _, err := parse(strings.Fields(words)); err == nil {
			t.Errorf("%q is taken", words)
		}
	}
}
