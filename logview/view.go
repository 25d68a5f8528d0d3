package logview

import (
	"slices"
	"time"
)

// View is some logs, read together.
type View struct {
	readers []*reader
	heads   []*Line // the next line of each
	since   time.Time
	last    int
}

// Open opens logs for reading: the last lines of all of them together, unless last is
// negative, and only those from since on. Lines come in the order of their time stamps,
// and those of one log in that in which they are there.
func Open(logs []*Log, last int, since time.Time) (*View, error) {
	v := &View{since: since, last: last}
	for _, l := range logs {
		label := l.label()
		list, err := l.files()
		if err == nil && last >= 0 {
			list, err = tail(list, last)
		}
		if err != nil {
			closeFiles(list)
			v.Close()
			return nil, err
		}
		for len(list) > 1 && list[0].ends.Before(since) {
			list[0].f.Close()
			list = list[1:]
		}
		v.readers = append(v.readers, &reader{log: l, files: list, newest: label})
	}
	v.heads = make([]*Line, len(v.readers))
	return v, nil
}

// Close closes the files.
func (v *View) Close() {
	for _, r := range v.readers {
		r.close()
	}
}

// All gives each line that there is by now to f, until that returns false. An unfinished
// line at the end of a log counts if all is final; else it is left for Follow.
func (v *View) All(final bool, f func(Line) bool) error {
	for _, r := range v.readers {
		r.final = final
	}
	if v.last < 0 {
		return v.merge(f)
	}
	// Of each log there are the last lines; of all together only the last of those.
	var kept []Line
	if err := v.merge(func(l Line) bool {
		if kept = append(kept, l); len(kept) > 2*v.last+64 {
			kept = slices.Clone(kept[len(kept)-v.last:])
		}
		return true
	}); err != nil {
		return err
	}
	for _, l := range kept[max(len(kept)-v.last, 0):] {
		if !f(l) {
			break
		}
	}
	return nil
}

func (v *View) merge(f func(Line) bool) error {
	for {
		first := -1
		for i, r := range v.readers {
			if v.heads[i] == nil {
				l, ok, err := r.next()
				if err != nil {
					return err
				}
				if !ok {
					continue
				}
				v.heads[i] = &l
			}
			if first < 0 || v.heads[i].At.Before(v.heads[first].At) {
				first = i
			}
		}
		if first < 0 {
			return nil
		}
		l := *v.heads[first]
		v.heads[first] = nil
		if !l.At.Before(v.since) && !f(l) {
			return nil
		}
	}
}
