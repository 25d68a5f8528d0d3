package main

import (
	"slices"
	"time"

	"upkeep/compat/cli"
	"upkeep/internal/jsontext"
	"upkeep/supervise/status"
	"upkeep/svc/table"
)

// status shows services in a table, or as one JSON object a line. It looks at the status
// files, so there need be no scanner of ours. Exit: 0; 3 if a service that was named is not
// supervised; 111 if the directory cannot be read.
func (m *manager) status(names []string) int {
	dir := m.anyDir()
	rows, err := table.Read(dir)
	if err != nil {
		return m.env.Fatal("upkeep", "unable to read "+dir, cause(err))
	}
	code := 0
	for _, name := range names {
		i := slices.IndexFunc(rows, func(r table.Row) bool { return r.Service == name })
		if i < 0 || rows[i].State == table.Gone {
			code = 3
		}
		if i < 0 {
			m.env.Warn("upkeep", name+" is not supervised", nil)
		}
	}
	if len(names) > 0 {
		rows = slices.DeleteFunc(rows, func(r table.Row) bool { return !slices.Contains(names, r.Service) })
	}
	now := status.Now()
	text := ""
	if m.json {
		text = string(appendRows(nil, rows))
	} else if len(rows) > 0 {
		for _, line := range table.Lines(rows, now, 0) {
			text += line + "\n"
		}
	}
	if _, err := m.env.Stdout.WriteString(text); err != nil {
		return cli.ExitFatal
	}
	return code
}

func appendRows(b []byte, rows []table.Row) []byte {
	for i := range rows {
		r := &rows[i]
		b = jsontext.String(b, "service", r.Service)
		b = jsontext.String(b, "state", string(r.State))
		if r.PID != 0 {
			b = jsontext.Number(b, "pid", int64(r.PID))
		}
		if r.State != table.Gone {
			b = jsontext.Time(b, "since", time.Unix(r.Since.Sec, int64(r.Since.Nsec)))
			b = jsontext.String(b, "want", table.Wish(r.Want))
			if r.Said != "" {
				b = jsontext.String(b, "status", r.Said)
			}
		}
		b = jsontext.End(b)
	}
	return b
}
