// Package svctest builds service directories for tests, with FIFOs that are
// held open as a supervisor holds them, and status files of any content. No
// supervisor runs.
package svctest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

// Tree maps slash-separated paths to what is to be there. Missing parents are
// made.
type Tree map[string]Node

// Node is one entry of a Tree.
type Node struct {
	kind kind
	text string
}

type kind uint8

const (
	kindDir kind = iota
	kindFile
	kindLink
	kindFIFO
	kindReader
	kindSocket
	kindClosed
)

// Dir is a directory.
func Dir() Node { return Node{kind: kindDir} }

// File is a regular file.
func File(content string) Node { return Node{kindFile, content} }

// Link is a symbolic link.
func Link(target string) Node { return Node{kindLink, target} }

// FIFO is a FIFO without a reader.
func FIFO() Node { return Node{kind: kindFIFO} }

// Reader is a FIFO with a reader, which is there until the test ends.
func Reader() Node { return Node{kind: kindReader} }

// Socket is a UNIX socket nobody listens on any more.
func Socket() Node { return Node{kind: kindSocket} }

// Closed is a directory nobody but root may enter.
func Closed() Node { return Node{kind: kindClosed} }

// last is 1 for what must be made after all else, in which there may be more.
func (n Node) last() int {
	if n.kind == kindClosed {
		return 1
	}
	return 0
}

// Supervised adds the service directory name as a supervisor keeps it, with
// the given status file, and returns the tree.
func (t Tree) Supervised(name string, statusFile []byte) Tree {
	t[name+"/supervise/control"] = Reader()
	t[name+"/supervise/ok"] = Reader()
	t[name+"/supervise/status"] = File(string(statusFile))
	return t
}

// And adds an entry and returns the tree.
func (t Tree) And(path string, n Node) Tree {
	t[path] = n
	return t
}

// Site is a Tree that has been built.
type Site struct {
	Root    string
	readers map[string]int
}

// Build makes the tree in a new directory, which everyone may enter.
func Build(t testing.TB, tree Tree) *Site {
	t.Helper()
	s := &Site{Root: t.TempDir(), readers: map[string]int{}}
	// Tests that give up root have to get here, too.
	check(t, os.Chmod(filepath.Dir(s.Root), 0o755))
	t.Cleanup(func() {
		for _, fd := range s.readers {
			_ = unix.Close(fd)
		}
	})
	paths := make([]string, 0, len(tree))
	for p := range tree {
		paths = append(paths, p)
	}
	slices.SortFunc(paths, func(a, b string) int {
		if d := tree[a].last() - tree[b].last(); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	for _, p := range paths {
		s.Make(t, p, tree[p])
	}
	return s
}

// Path is the absolute path of an entry.
func (s *Site) Path(path string) string { return filepath.Join(s.Root, path) }

// Make adds an entry to a site.
func (s *Site) Make(t testing.TB, path string, n Node) {
	t.Helper()
	abs := s.Path(path)
	check(t, os.MkdirAll(filepath.Dir(abs), 0o755))
	switch n.kind {
	case kindDir:
		check(t, os.MkdirAll(abs, 0o755))
	case kindClosed:
		check(t, os.MkdirAll(abs, 0o755))
		check(t, os.Chmod(abs, 0))
		t.Cleanup(func() { _ = os.Chmod(abs, 0o755) }) // for its removal
	case kindFile:
		check(t, os.WriteFile(abs, []byte(n.text), 0o644))
	case kindLink:
		check(t, os.Symlink(n.text, abs))
	case kindFIFO, kindReader:
		check(t, unix.Mkfifo(abs, 0o600))
		if n.kind == kindReader {
			s.Read(t, path)
		}
	case kindSocket:
		check(t, unix.Mknod(abs, unix.S_IFSOCK|0o600, 0))
	}
}

// Read opens the FIFO path for reading.
func (s *Site) Read(t testing.TB, path string) {
	t.Helper()
	fd, err := unix.Open(s.Path(path), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	check(t, err)
	s.readers[path] = fd
}

// Hang closes the reader of path.
func (s *Site) Hang(t testing.TB, path string) {
	t.Helper()
	check(t, unix.Close(s.readers[path]))
	delete(s.readers, path)
}

// Fill writes into the FIFO path until there is no room in it.
func (s *Site) Fill(t testing.TB, path string) {
	t.Helper()
	fd, err := unix.Open(s.Path(path), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	check(t, err)
	defer unix.Close(fd)
	b := make([]byte, unix.PathMax) // a page at once: less would fit no better
	for err != unix.EAGAIN {
		if _, err = unix.Write(fd, b); err != unix.EINTR && err != unix.EAGAIN {
			check(t, err)
		}
	}
}

// Drain returns what has been written into the FIFO path and not been read, or
// "" if it has no reader.
func (s *Site) Drain(t testing.TB, path string) string {
	t.Helper()
	fd, ok := s.readers[path]
	if !ok {
		return ""
	}
	var all strings.Builder
	b := make([]byte, 4096)
	for {
		n, err := unix.Read(fd, b)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 {
			return all.String()
		}
		all.Write(b[:n])
	}
}

// Status is a status file in one of the layouts, with the age of the record in
// seconds.
func Status(l status.Layout, r status.Record, age int64) []byte {
	r.Since = status.Now()
	r.Since.Sec -= age
	return r.Append(nil, l)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
