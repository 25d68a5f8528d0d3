package main

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSchedule(t *testing.T) {
	t.Parallel()
	term, kill := step{signal: int(unix.SIGTERM)}, step{signal: int(unix.SIGKILL)}
	for text, want := range map[string][]step{
		"30":                 {term, {wait: 30 * time.Second}},
		"TERM/30/KILL/5":     {term, {wait: 30 * time.Second}, kill, {wait: 5 * time.Second}},
		"SIGTERM/1/-9/2":     {term, {wait: time.Second}, kill, {wait: 2 * time.Second}},
		"-TERM/forever":      {term, {wait: forever}},
		"15/0":               {term, {}},
		"TERM/5/forever/5/9": {term, {wait: 5 * time.Second}, {wait: forever}, {wait: 5 * time.Second}, {wait: 9 * time.Second}},
	} {
		if got, ok := parseSchedule(text); !ok || !slices.Equal(got, want) {
			t.Errorf("%q is %v, %v, want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "/", "NONE/5", "TERM//5", "-", "99/1", "TERM/-1s"} {
		if got, ok := parseSchedule(text); ok {
			t.Errorf("%q is %v", text, got)
		}
	}
}

// FuzzSchedule: there is always something to do, and no negative time.
func FuzzSchedule(f *testing.F) {
	f.Add("TERM/30/KILL/5")
	f.Add("forever")
	f.Add("-9/-")
	f.Fuzz(func(t *testing.T, text string) {
		list, ok := parseSchedule(text)
		if ok == (len(list) == 0) {
			t.Errorf("%q: %v, %v", text, list, ok)
		}
		for _, s := range list {
			if s.wait < 0 || s.signal < 0 || s.signal > 64 {
				t.Errorf("%q: %v", text, list)
			}
		}
	})
}
