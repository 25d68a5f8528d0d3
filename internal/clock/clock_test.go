package clock

import (
	"testing"
	"time"
)

func TestWrite(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 4, 5, 6, 7, 89_012_345, time.FixedZone("", 3600))
	for got, want := range map[string]string{
		string(Append(nil, at, '_')):                      at.Format("2006-01-02_15:04:05"),
		string(Fraction(nil, at, 5)):                      ".08901",
		string(Fraction(nil, at, 9)):                      ".089012345",
		string(RFC3339([]byte{}, at)):                     "2026-03-04T04:06:07.089012Z",
		string(number(nil, 12345, 4)):                     "12345",
		string(number(nil, 0, 2)):                         "00",
		string(Append(nil, at.AddDate(-2000, 0, 0), ' ')): at.AddDate(-2000, 0, 0).Format("2006-01-02 15:04:05"),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"0s": 0, "10m": 10 * time.Minute, "1h30m": 90 * time.Minute, "2d": 48 * time.Hour, "1.5s": 1500 * time.Millisecond,
		"250ms": 250 * time.Millisecond, ".5h": 30 * time.Minute, "1d2h3m4s5ms": 26*time.Hour + 3*time.Minute + 4*time.Second + 5*time.Millisecond,
	} {
		if got, ok := Span(text); got != want || !ok {
			t.Errorf("%q is %v, %v, want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "5", "s", "-1s", "1x", ".s", "1.2.3s", "1s ", "99999999999d", "2147483647d2147483647d2147483647d"} {
		if got, ok := Span(text); ok {
			t.Errorf("%q is %v", text, got)
		}
	}
}

// FuzzParse compares our reading with that of package time.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"2026-11-21", "2026-11-21 10:00", "2026-02-30 10:00", "2024-02-29 23:59:59.5", "2026-11-21 24:00", "2026-1-2", "2026-11-21 10:00:00.", "0000-01-01",
		"2026-11-21 10", "2026-11-21 10:0", "2026-13-01", "2026-11-21x", "2026-11-21 10:00:00.1234567891",
	} {
		f.Add(s)
	}
	zone := time.FixedZone("", -5400)
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := Parse(s, " ", zone)
		var want time.Time
		err := error(nil)
		for _, layout := range []string{"2006-01-02", "2006-01-02 15:04", "2006-01-02 15:04:05"} {
			if want, err = time.ParseInLocation(layout, s, zone); err == nil {
				break
			}
		}
		if len(s) > 19 && s[19] == ',' || len(s) > 12 && s[12] == ':' {
			return // a comma before the fraction, and hours of one digit, are theirs alone
		}
		if ok != (err == nil) || ok && !got.Equal(want) {
			t.Fatalf("%q: %v, %v, want %v, %v", s, got, ok, want, err)
		}
	})
}
