package integration

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"upkeep/supervise/status"
	"upkeep/svc"
)

// s6Named finds the programs of s6 for the parts of a scene.
func s6Named(find func(testing.TB, string) string) func(testing.TB, string) string {
	return func(t testing.TB, name string) string {
		if !strings.HasPrefix(name, "s6-") {
			name = "s6-" + name
		}
		return find(t, name)
	}
}

// TestS6 has the clients of s6 steer s6-svscan and s6-supervise, and ours the same. The
// measure is s6 on both sides.
func TestS6(t *testing.T) {
	t.Parallel()
	playScenes(t, "s6", []cast{
		{name: "s6, real s6-svscan", client: peer, server: s6Named(peer), s6: true},
		{name: "our clients, real s6-svscan", client: ours, server: s6Named(peer), s6: true},
		{name: "s6, our s6-svscan", client: peer, server: s6Named(ours), s6: true},
		{name: "ours", client: ours, server: s6Named(ours), s6: true},
	}, func(string, cast) bool { return false })
}

var labels = regexp.MustCompile(`@[0-9a-f]{24}`)

// s6Scene is what a scene has in addition that is played with s6's layouts.
type s6Scene struct {
	listeners map[string]*listening
	clients   []*process
}

// listening is what was heard of a service.
type listening struct {
	svc.Listener
	heard string
}

func (v *scene) closeS6() {
	for _, l := range v.s6.listeners {
		l.Close()
	}
}

// s6Step is a step that only such scenes have.
func (v *scene) s6Step(verb string, args []string) bool {
	v.t.Helper()
	switch verb {
	case "listen": // DIR: hear what happens to it from now on
		d, err := svc.Open(v.site.path(args[0]), svc.StateDir)
		if err != nil {
			v.t.Fatal(err)
		}
		defer d.Close()
		l := &listening{}
		if err := l.Add(d); err != nil {
			v.t.Fatal(err)
		}
		if v.s6.listeners == nil {
			v.s6.listeners = map[string]*listening{}
		}
		v.s6.listeners[args[0]] = l
	case "heard": // DIR EVENTS: wait until as many have been heard
		l := v.s6.listeners[args[0]]
		for deadline := time.Now().Add(patience); len(l.heard) < len(args[1]); {
			if err := l.Next(deadline, func(_ int, event byte) { l.heard += string(rune(event)) }); err != nil {
				v.t.Fatalf("%s: heard only %q: %v", args[0], l.heard, err)
			}
		}
		v.say(l.heard)
		l.heard = ""
	case "begin": // CLIENT ARG...: run it beside the scene
		v.s6.clients = append(v.s6.clients, v.site.start(v.cast.client(v.t, args[0]), args[1:]...))
	case "listened": // DIR N: wait until as many listen, but for the scene itself
		n, _ := strconv.Atoi(args[1])
		if _, ok := v.s6.listeners[args[0]]; ok {
			n++
		}
		waitDir(v.t, v.site.path(args[0], "event"), func() bool {
			names, _ := os.ReadDir(v.site.path(args[0], "event"))
			found := 0
			for _, e := range names {
				if strings.HasPrefix(e.Name(), "ftrig1:@") {
					found++
				}
			}
			return found >= n
		})
	case "join": // wait for the oldest of those
		p := v.s6.clients[0]
		v.s6.clients = v.s6.clients[1:]
		code := p.wait()
		stdout, err := os.ReadFile(p.stdout)
		if err != nil {
			v.t.Fatal(err)
		}
		v.sayResult(result{string(stdout), p.said(), code})
	case "exists": // FILE: say whether it is there
		_, err := os.Stat(v.site.path(args[0]))
		v.say(strconv.FormatBool(err == nil))
	case "missing": // FILE: wait until it is not there
		for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
			if _, err := os.Stat(v.site.path(args[0])); err != nil {
				break
			}
			if time.Now().After(deadline) {
				v.t.Fatal(args[0], " stays")
			}
		}
	case "lives": // DIR: wait until it has a scanner
		for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
			if d, err := svc.Open(v.site.path(args[0]), ".s6-svscan"); err == nil {
				locked, _ := d.Locked()
				err := d.Control("")
				d.Close()
				if locked && err == nil {
					break
				}
			}
			if time.Now().After(deadline) {
				v.t.Fatal(args[0], " has no scanner")
			}
		}
	case "link": // TARGET NAME
		v.site.make(tree{args[1] + "@": v.site.path(args[0])})
	default:
		return false
	}
	return true
}

// awaitS6 waits until a condition holds of a service directory as s6 sees it. Nobody is
// told of the end of a supervisor that has been killed, so it looks every few milliseconds.
func awaitS6(t testing.TB, dir string, c condition) status.Record {
	t.Helper()
	var r status.Record
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		locked := false
		d, err := svc.Open(dir, svc.StateDir)
		if err == nil {
			r, err = d.Status(status.S6)
			if err == nil {
				locked, _ = d.Locked()
			}
			d.Close()
		}
		if c(r, err == nil && locked) {
			return r
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not what it should be: %+v, %v, %v", dir, r, locked, err)
		}
	}
}

// s6Conditions are what there is to wait for beyond the usual.
func s6Conditions(r status.Record, alive bool, name string) bool {
	is := map[string]bool{
		"up":        r.Process == status.ProcessRun,
		"ready":     r.Process == status.ProcessRun && r.Ready,
		"finishing": r.Process == status.ProcessFinish && r.PID != 0,
		"down":      r.Process == status.ProcessNone && r.Ready,
		"off":       r.Process == status.ProcessNone && r.Ready && r.Want == status.WantDown,
		"paused":    r.Process == status.ProcessRun && r.Paused,
		"running":   r.Process == status.ProcessRun && !r.Paused,
		"stopping":  r.Process == status.ProcessRun && r.Want == status.WantDown,
		"wanted":    r.Process == status.ProcessRun && r.Want == status.WantUp,
	}
	return alive && is[name]
}

// record waits for a condition in the layout of the scene.
func (v *scene) record(dir string, name string, c condition) status.Record {
	v.t.Helper()
	path := v.site.path(dir)
	if !v.cast.s6 {
		return waitStatus(v.t, path, c)
	}
	was := v.services[dir]
	return awaitS6(v.t, path, func(r status.Record, alive bool) bool {
		switch name {
		case "abandoned":
			return !alive
		case "again":
			return s6Conditions(r, alive, "up") && r.PID != was
		}
		return s6Conditions(r, alive, name)
	})
}
