package tree

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// manifestName is the file that marks a directory as made by Sync.
const manifestName = ".conf2dir"

// manifestMode keeps it to its owner: from the digest of a short secret in a job's
// environment that could be guessed.
const manifestMode = 0o600

// manifest says what Sync has put into a directory.
type manifest struct {
	source     string
	job        string
	definition string
	disabled   bool
	// pending: the running process, if any, is of an older definition.
	pending bool
	// process is that process, of one that runs once: by its end it cannot be told what it was.
	process uint32
	files   map[string]stamp
	// coming is what files become. Only while they are being written is there any: they
	// are one or the other then.
	coming map[string]stamp
	// stale files were the older definition's, and may still be in use.
	stale map[string]stamp
	dirs  []string // parents first
}

// stamp is what a file was when it was written.
type stamp struct {
	digest string
	mode   uint32
}

func (s stamp) String() string {
	return "sha256:" + s.digest + " " + "0" + strconv.FormatUint(uint64(s.mode), 8)
}

// text is the manifest as a file. Names in it have no blanks; the source and the job
// end their lines.
func (m *manifest) text() string {
	var b strings.Builder
	line := func(words ...string) { b.WriteString(strings.Join(words, " ") + "\n") }
	line("version 1")
	line("source", m.source)
	line("job", m.job)
	line("definition sha256:" + m.definition)
	if m.disabled {
		line("disabled")
	}
	if m.pending {
		if m.process != 0 {
			line("pending", strconv.FormatUint(uint64(m.process), 10))
		} else {
			line("pending")
		}
	}
	for _, d := range m.dirs {
		line("dir", d)
	}
	for _, name := range sorted(m.files) {
		line("file", name, m.files[name].String())
	}
	for _, name := range sorted(m.coming) {
		line("coming", name, m.coming[name].String())
	}
	for _, name := range sorted(m.stale) {
		line("stale", name, m.stale[name].String())
	}
	return b.String()
}

// ours tells whether a file is as it was written.
func (m *manifest) ours(name string, s stamp) bool {
	for _, files := range [...]map[string]stamp{m.files, m.coming, m.stale} {
		if was, ok := files[name]; ok && was == s {
			return true
		}
	}
	return false
}

// names are all files in a manifest.
func (m *manifest) names() []string {
	names := slices.Concat(sorted(m.files), sorted(m.coming), sorted(m.stale))
	slices.Sort(names)
	return slices.Compact(names)
}

func sorted(files map[string]stamp) []string {
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func newManifest() *manifest {
	return &manifest{files: map[string]stamp{}, coming: map[string]stamp{}, stale: map[string]stamp{}}
}

// readManifest reads the manifest of a directory; nil if there is none that makes
// sense, so that the directory is somebody else's.
func readManifest(dir string) *manifest {
	text, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		return nil
	}
	return parseManifest(string(text))
}

func parseManifest(text string) *manifest {
	m := newManifest()
	first := true
	for line := range strings.Lines(text) {
		line, whole := strings.CutSuffix(line, "\n")
		key, value, _ := strings.Cut(line, " ")
		if first != (line == "version 1") || !whole {
			return nil
		}
		first = false
		switch key {
		case "version":
		case "source":
			m.source = value
		case "job":
			m.job = value
		case "definition":
			m.definition = strings.TrimPrefix(value, "sha256:")
		case "disabled":
			m.disabled = true
		case "pending":
			n, _ := strconv.ParseUint(value, 10, 32)
			m.pending, m.process = true, uint32(n)
		case "dir":
			if !inside(value) {
				return nil
			}
			m.dirs = append(m.dirs, value)
		case "file", "coming", "stale":
			name, s, ok := parseFile(value)
			if !ok {
				return nil
			}
			map[string]map[string]stamp{"file": m.files, "coming": m.coming, "stale": m.stale}[key][name] = s
		}
	}
	if first || m.source == "" {
		return nil
	}
	return m
}

func parseFile(text string) (name string, s stamp, ok bool) {
	f := strings.Split(text, " ")
	if len(f) != 3 || !inside(f[0]) || !strings.HasPrefix(f[1], "sha256:") {
		return "", s, false
	}
	mode, err := strconv.ParseUint(f[2], 8, 12)
	return f[0], stamp{strings.TrimPrefix(f[1], "sha256:"), uint32(mode)}, err == nil
}

// inside tells whether a name is that of something in the directory.
func inside(name string) bool {
	return name != "." && filepath.IsLocal(name) && filepath.Clean(name) == name
}
