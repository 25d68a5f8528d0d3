package main

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/supervise/servicedir"
	"upkeep/svscan"
)

// events shows the states of all services, as JSON objects, and with -f every change, also
// of a scanner that comes after this one. Exit: 0; 3 if there is no scanner.
func (m *manager) events() int {
	dir := m.anyDir()
	for again := false; ; again = true {
		fd, err := svscan.Dial(dir, svscan.EventsSocket)
		if err != nil && again && gone(err) {
			time.Sleep(againEvery)
			continue
		}
		if err != nil {
			m.env.Warn("upkeep", "unable to reach the svscan of "+dir, err)
			if gone(err) {
				return svscan.DoneUnknown
			}
			return svscan.DoneTemporary
		}
		live, err := m.copyEvents(cli.FD(fd))
		unix.Close(fd)
		switch {
		case err != nil:
			return cli.ExitFatal
		case live && !m.follow:
			return 0
		case !m.follow:
			m.env.Warn("upkeep", "the svscan of "+dir+" has ended", nil)
			return svscan.DoneTemporary
		}
	}
}

// copyEvents copies whole lines until there are no more, or up to the end of the states.
func (m *manager) copyEvents(from cli.FD) (live bool, err error) {
	var rest string
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if n <= 0 || err != nil {
			return live, nil
		}
		text := rest + string(b[:n])
		i := strings.LastIndexByte(text, '\n') + 1
		text, rest = text[:i], text[i:]
		for line := range strings.Lines(text) {
			if live = strings.Contains(line, `"event":"live"`) && !strings.Contains(line, `"service":`); live && !m.follow {
				return true, nil
			}
			if _, err := m.env.Stdout.WriteString(line); err != nil {
				return live, err
			}
		}
	}
}

// graph shows what needs what, in the language of Graphviz. Exit: 0; 111 if the directory
// cannot be read.
func (m *manager) graph() int {
	dir := m.anyDir()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return m.env.Fatal("upkeep", "unable to read "+dir, cause(err))
	}
	var lines []string
	for _, e := range entries {
		name := e.Name()
		if name[0] == '.' {
			continue
		}
		fd, err := unix.Open(dir+"/"+name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		needs, err := servicedir.Needs(fd)
		unix.Close(fd)
		if err != nil {
			m.env.Warn("upkeep", "unable to use "+name+"/"+servicedir.NeedsName, err)
		}
		lines = append(lines, "\t"+strconv.Quote(name)+";\n")
		for _, other := range needs {
			lines = append(lines, "\t"+strconv.Quote(name)+" -> "+strconv.Quote(other)+";\n")
		}
	}
	slices.Sort(lines)
	if _, err := m.env.Stdout.WriteString("digraph needs {\n" + strings.Join(lines, "") + "}\n"); err != nil {
		return cli.ExitFatal
	}
	return 0
}
