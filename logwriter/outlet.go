package logwriter

// Choice is one pattern line of a directory of svlogd. The last one that matches
// decides.
type Choice struct {
	Pattern Pattern
	Alert   bool // about standard error, not the log
	Take    bool
}

// Outlet is where svlogd has lines go: a directory, and with it standard error and
// a network address. Each outlet chooses on its own.
type Outlet struct {
	Dir     *Dir // nil if it cannot be used now
	Choices []Choice
	// Prefix comes after the stamp.
	Prefix string
	// Send sends a line that is chosen for the log elsewhere, if set. If that
	// fails, complaint and the line are logged.
	Send func(line []byte) (complaint string)
	// Only is for lines that do not go to the log.
	Only bool
}

// endless is a Rules.Read for which it does not matter how the original reads.
const endless = 1 << 40

// NewOutlets makes a writer with outlets instead of actions. Each line is given to
// its files on its own, which decides on where they end; Rules.Alert and Rules.Read
// are not used.
func NewOutlets(r Rules, outlets []Outlet, h *Host) *Writer {
	r.Read = endless
	w := &Writer{rules: r, host: h, heads: true}
	w.Replace(outlets)
	return w
}

// Replace puts other outlets in the places of the old ones, which are the
// caller's again. A line that has been begun goes on where it went before.
func (w *Writer) Replace(outlets []Outlet) {
	if outlets == nil {
		outlets = []Outlet{}
	}
	w.dirs = nil
	for i := range outlets {
		d := outlets[i].Dir
		if d == nil {
			continue
		}
		d.runit.before = w.cry
		d.on = w.inside && i < len(w.outlets) && w.outlets[i].Dir != nil && w.outlets[i].Dir.on
		w.dirs = append(w.dirs, d)
	}
	w.outlets = outlets
}

// distribute acts on a line, or on what there is of a long one.
func (w *Writer) distribute(text []byte, more bool) {
	long := len(text) == w.rules.Window
	text = w.shown(text)
	for i := range w.outlets {
		o := &w.outlets[i]
		d := o.Dir
		if d == nil {
			continue
		}
		log, alert := true, false
		for _, c := range o.Choices {
			switch {
			case !c.Pattern.Match(text):
			case c.Alert:
				alert = c.Take
			default:
				log = c.Take
			}
		}
		if alert {
			w.alerts = w.message(w.alerts, o, text, long)
			if len(w.alerts) > 4096 {
				w.cry()
			}
		}
		if log && o.Send != nil {
			m := w.message(nil, o, text, long)
			if complaint := o.Send(m); complaint != "" {
				d.put([]byte(complaint), m)
				d.flush()
			}
		}
		d.on = log && !o.Only
		if !d.on {
			continue
		}
		d.put(w.stamp, []byte(o.Prefix))
		if more {
			d.put(text, nil)
		} else {
			d.putLine(text, nil)
			d.flush()
		}
	}
}

// shown is the beginning of a line as it is written. It holds until the
// next call.
func (w *Writer) shown(text []byte) []byte {
	if w.rules.Replace == nil {
		return text
	}
	w.head = append(w.head[:0], text...)
	for i, c := range w.head {
		w.head[i] = w.rules.Replace[c]
	}
	return w.head
}

// message appends a line as standard error and the network get it.
func (w *Writer) message(b []byte, o *Outlet, text []byte, long bool) []byte {
	b = append(b, w.stamp...)
	b = append(b, o.Prefix...)
	b = append(b, text...)
	if long {
		b = append(b, "..."...)
	}
	return append(b, '\n')
}
