package supervise

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the state table in the docs")

const (
	tableFile  = "../docs/architecture.md"
	tableBegin = "<!-- state table: go generate ./supervise -->\n"
	tableEnd   = "<!-- end of state table -->\n"
)

// TestStateTable holds the table in the docs to what the machine does, as the
// walk over its reachable states sees it.
func TestStateTable(t *testing.T) {
	text, err := os.ReadFile(tableFile)
	if err != nil {
		t.Fatal(err)
	}
	begin := bytes.Index(text, []byte(tableBegin))
	end := bytes.Index(text, []byte(tableEnd))
	if begin < 0 || end < begin {
		t.Fatalf("%s has no place for the state table", tableFile)
	}
	begin += len(tableBegin)
	want := stateTable(t)
	if string(text[begin:end]) == want {
		return
	}
	if !*update {
		t.Fatalf("the state table in %s is out of date: go generate ./supervise", tableFile)
	}
	text = slices.Concat(text[:begin], []byte(want), text[end:])
	if err := os.WriteFile(tableFile, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// stateTable is the default dialect: for each phase and event, the phases that
// may follow and the actions that may be taken on the way.
func stateTable(t *testing.T) string {
	p := PolicyFor(Common)
	type cell struct {
		phases [Phases]bool
		acts   map[string]bool
	}
	cells := map[string]*[Phases]cell{}
	var order []string
	for _, ev := range walkEvents(&p) {
		if name := eventName(&ev); !slices.Contains(order, name) && name != "" {
			order = append(order, name)
		}
	}
	visit(t, &p, func(from node, ev Event, to node, a *Actions) {
		name := eventName(&ev)
		if name == "" || from.m.Hurried || !from.m.Booted && ev.Kind != EvBoot || from.m.Booted && ev.Kind == EvBoot {
			return
		}
		row := cells[name]
		if row == nil {
			row = new([Phases]cell)
			cells[name] = row
		}
		c := &row[from.m.Phase]
		if c.acts == nil {
			c.acts = map[string]bool{}
		}
		c.phases[to.m.Phase] = true
		for _, x := range a.All() {
			one := Actions{n: 1}
			one.list[0] = x
			if text := tableAction(&one, x); text != "" {
				c.acts[text] = true
			}
		}
	})
	var b strings.Builder
	b.WriteString("| event \\ phase |")
	for ph := PhaseDown; ph < PhaseGone; ph++ {
		fmt.Fprintf(&b, " %v |", ph)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", int(PhaseGone)) + "\n")
	for _, name := range order {
		fmt.Fprintf(&b, "| %s |", name)
		for ph := PhaseDown; ph < PhaseGone; ph++ {
			b.WriteString(" ")
			if row := cells[name]; row != nil {
				c := &row[ph]
				var next []string
				for to, on := range c.phases {
					if on && Phase(to) != ph {
						next = append(next, "**"+Phase(to).String()+"**")
					}
				}
				var acts []string
				for text := range c.acts {
					acts = append(acts, text)
				}
				slices.Sort(acts)
				b.WriteString(strings.Join(append(next, acts...), ", "))
			}
			b.WriteString(" |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// eventName groups the events of the walk into the rows of the table.
func eventName(ev *Event) string {
	switch ev.Kind {
	case EvBoot:
		if ev.Facts.Down {
			return "boot, with down"
		}
		return "boot"
	case EvControl:
		switch ev.Byte {
		case 'u', 'd', 'o', 'x', 'p', 'c', 't', 'k':
			return "control " + string(rune(ev.Byte))
		case 'h':
			return "control h a i q 1 2 w"
		}
		return ""
	case EvStarted:
		return "started"
	case EvStartFailed:
		if ev.Final {
			return ""
		}
		if ev.Exec {
			return "cannot be executed"
		}
		return "fork refused"
	case EvDied:
		if ev.PID != 7 || ev.Final {
			return ""
		}
		return "died"
	case EvConsulted:
		if ev.Veto {
			return "control script: veto"
		}
		return "control script: no veto"
	case EvTimer:
		if ev.Timer == TimerControl || ev.Timer == TimerReady || ev.Timer == TimerFinish || ev.Timer >= TimerBounce {
			return ""
		}
		return "timer " + timerNames[ev.Timer]
	case EvReady:
		return "ready"
	case EvNeeds:
		if ev.Flag {
			return "needs met"
		}
		return "needs unmet"
	case EvLoad:
		if ev.Flag {
			return "load high"
		}
		return "load low"
	case EvFacts:
		if ev.Flag {
			return "run changed"
		}
		return ""
	case EvShutdown:
		return "shutdown"
	case EvDrain:
		return "drain"
	case EvSlow:
		return "start overdue"
	}
	return ""
}

// tableAction leaves out what follows from the phase.
func tableAction(one *Actions, x Action) string {
	switch x.Kind {
	case Announce, Emit, Disarm, Close:
		return ""
	case Arm:
		return "arm " + timerNames[x.Timer]
	case Consult:
		return "control/" + string(rune(x.Byte))
	case Spawn:
		return x.Script.Name()
	case Signal:
		if name := signalNames[x.Signal]; name != "" {
			return name
		}
		return "signal"
	}
	return actionText(one)
}
