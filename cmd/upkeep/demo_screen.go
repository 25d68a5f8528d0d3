package main

import (
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/compat/daemontools"
	"upkeep/supervise"
	"upkeep/supervise/status"
	"upkeep/svc/table"
	"upkeep/svscan"
)

// screen shows the services of a scan directory on standard output: a table that
// is drawn over itself on a terminal, else a line for each change. Other lines go
// above the table.
//
// The cursor stays visible, on the line below the table, and the modes of the
// terminal as they are: however the demo ends, there is nothing to restore.
type screen struct {
	env      *cli.Env
	services string
	terminal bool
	wake     chan struct{} // of size 1: something changed

	startsMu sync.Mutex // never held while something is written
	starts   map[string]int

	mu    sync.Mutex
	drawn []string             // the table that is on the terminal
	told  map[string]table.Row // by service; nil until there is a heading
}

func newScreen(env *cli.Env, services string) *screen {
	term, _ := env.Getenv("TERM")
	_, err := unix.IoctlGetWinsize(int(env.Stdout), unix.TIOCGWINSZ)
	return &screen{
		env: env, services: services,
		terminal: err == nil && term != "dumb",
		wake:     make(chan struct{}, 1),
		starts:   make(map[string]int),
	}
}

// changed is svscan.Config.Changed.
func (s *screen) changed(service string, c supervise.Change) {
	if c == supervise.ChangeUp {
		s.startsMu.Lock()
		s.starts[service]++
		s.startsMu.Unlock()
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// report is svscan.Config.Report.
func (s *screen) report(r svscan.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drawn != nil {
		// An error here is one at the next show, too.
		width, _ := s.size()
		_, _ = s.env.Stdout.WriteString(s.home(width) + "\x1b[J")
		s.drawn = nil
	}
	daemontools.Say(s.env, r)
	_ = s.show()
}

// run shows the services until ended is closed, or standard output is gone. The
// age of a state changes every second, and so may what Changed does not tell: a
// wish, a pause.
func (s *screen) run(ended <-chan struct{}) error {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for over := false; !over; {
		select {
		case <-s.wake:
		case <-second.C:
		case <-ended:
			over = true
		}
		s.mu.Lock()
		err := s.show()
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// show brings what is shown up to date, in one write. s.mu is held.
func (s *screen) show() error {
	rows, err := table.Read(s.services)
	if err != nil {
		return nil // removed by the operator; there is nothing new to show
	}
	s.startsMu.Lock()
	for i := range rows {
		rows[i].Restarts = max(s.starts[rows[i].Service]-1, 0)
	}
	s.startsMu.Unlock()
	show := s.tell
	if s.terminal {
		show = s.redraw
	}
	_, err = s.env.Stdout.WriteString(show(rows))
	return err
}

// redraw is the table over the one before.
func (s *screen) redraw(rows []table.Row) string {
	width, height := s.size()
	lines := table.Lines(rows, status.Now(), width)
	lines = lines[:min(len(lines), height-1)] // the last line is the cursor's
	out := s.home(width)
	for _, line := range lines {
		out += "\x1b[K" + line + "\n"
	}
	s.drawn = lines
	return out + "\x1b[J"
}

// home moves the cursor to the beginning of the table. A terminal that has become
// narrower has broken the lines.
func (s *screen) home(width int) string {
	up := 0
	for _, line := range s.drawn {
		up += (max(utf8.RuneCountInString(line), 1)-1)/width + 1
	}
	if up == 0 {
		return "\r" // "up 0 lines" would be one
	}
	return "\r\x1b[" + strconv.Itoa(up) + "A"
}

// size is the size of the terminal. One that does not know has the usual one.
func (s *screen) size() (width, height int) {
	w, err := unix.IoctlGetWinsize(int(s.env.Stdout), unix.TIOCGWINSZ)
	if err != nil || w.Col == 0 || w.Row == 0 {
		return 80, 24
	}
	return int(w.Col), int(w.Row)
}

// tell is the lines of the services that changed.
func (s *screen) tell(rows []table.Row) string {
	lines := table.Lines(rows, status.Now(), 0)
	out := ""
	if s.told == nil {
		s.told = make(map[string]table.Row)
		out = lines[0] + "\n"
	}
	for i, row := range rows {
		if s.told[row.Service] != row {
			s.told[row.Service] = row
			out += lines[i+1] + "\n"
		}
	}
	return out
}
