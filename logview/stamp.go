package logview

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"time"

	"upkeep/internal/clock"
	"upkeep/supervise/status"
)

// s6Lead is how much later than the others s6-log stamps, by its table of leap seconds
// (s6.md, section 4.1).
const s6Lead = 27 * time.Second

// cutStamp takes the time stamp off the beginning of a line: TAI64N, as of multilog t,
// svlogd -t and s6-log t; or a date and time, as of svlogd -tt and -ttt, in UTC, and of
// s6-log T, in local time. ok is false if there is none.
func cutStamp(line []byte, s6 bool) (at time.Time, rest []byte, ok bool) {
	if s, ok := status.ParseTAI64N(line); ok {
		at = time.Unix(s.Sec, int64(s.Nsec))
		if s6 {
			at = at.Add(-s6Lead)
		}
		return at, bytes.TrimPrefix(line[status.TAI64NLen:], []byte(" ")), true
	}
	const least = len("2006-01-02_15:04:05.00000")
	if len(line) < least || line[4] != '-' || line[7] != '-' || line[13] != ':' || line[19] != '.' {
		return at, line, false
	}
	zone, gap := time.UTC, " "
	switch line[10] {
	case '_', 'T':
	case ' ':
		zone, gap = time.Local, "  "
	default:
		return at, line, false
	}
	end := 20
	for end < len(line) && line[end] >= '0' && line[end] <= '9' {
		end++
	}
	at, ok = clock.Parse(string(line[:end]), "_T ", zone)
	if !ok {
		return time.Time{}, line, false
	}
	return at, bytes.TrimPrefix(line[end:], []byte(gap)), true
}

// nameTime is when a rotated file was finished, by its name: "@", 24 digits, and an
// ending.
func nameTime(name string, s6 bool) (time.Time, bool) {
	s, ok := status.ParseTAI64N([]byte(name))
	if !ok {
		return time.Time{}, false
	}
	at := time.Unix(s.Sec, int64(s.Nsec))
	if s6 {
		at = at.Add(-s6Lead)
	}
	return at, true
}

// ErrSince is the error for what ParseSince does not understand.
var ErrSince = errors.New("not a time")

// ParseSince reads an instant as people write it: how long ago ("10m", "1h30m", "3d"), a
// date with or without a time of day ("2026-11-21 10:00"), a time of today ("10:00"),
// "today", "yesterday", or a TAI64N label. Dates and times are local.
func ParseSince(text string, now time.Time) (time.Time, error) {
	midnight := func(days int) time.Time {
		y, m, d := now.Date()
		return time.Date(y, m, d+days, 0, 0, 0, 0, now.Location())
	}
	switch text {
	case "today":
		return midnight(0), nil
	case "yesterday":
		return midnight(-1), nil
	}
	if s, ok := status.ParseTAI64N([]byte(text)); ok && len(text) == status.TAI64NLen {
		return time.Unix(s.Sec, int64(s.Nsec)), nil
	}
	if days, rest, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		d := time.Duration(0)
		ok := true
		if rest != "" {
			d, ok = clock.Span(rest)
		}
		if err == nil && ok {
			return now.AddDate(0, 0, -int(n)).Add(-d), nil
		}
	}
	if d, ok := clock.Span(text); ok {
		return now.Add(-d), nil
	}
	local, zone := text, now.Location()
	if rest, ok := strings.CutSuffix(text, "Z"); ok {
		local, zone = rest, time.UTC
	}
	if at, ok := clock.Parse(local, " T", zone); ok {
		return at, nil
	}
	if d, ok := clock.TimeOfDay(text); ok {
		y, m, day := now.Date()
		return time.Date(y, m, day, int(d/time.Hour), int(d/time.Minute)%60, int(d/time.Second)%60, 0, now.Location()), nil
	}
	return time.Time{}, ErrSince
}
