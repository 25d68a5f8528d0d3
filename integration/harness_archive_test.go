package integration

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// archive is a text with files in it, in the form of txtar: a comment, and for
// each file a line "-- name --" and its content.
type archive struct {
	comment string
	files   []archived
}

type archived struct{ name, content string }

func readArchive(t testing.TB, path string) *archive {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a := new(archive)
	into := &a.comment
	for line := range strings.Lines(string(b)) {
		name, ok := strings.CutPrefix(line, "-- ")
		name, ok2 := strings.CutSuffix(name, " --\n")
		if ok && ok2 {
			a.files = append(a.files, archived{name: name})
			into = &a.files[len(a.files)-1].content
			continue
		}
		*into += line
	}
	return a
}

// file is the content of a file of the archive.
func (a *archive) file(name string) (content *string, ok bool) {
	for i := range a.files {
		if a.files[i].name == name {
			return &a.files[i].content, true
		}
	}
	return nil, false
}

func (a *archive) write(t testing.TB, path string) {
	t.Helper()
	var b strings.Builder
	b.WriteString(a.comment)
	for _, f := range a.files {
		fmt.Fprintf(&b, "-- %s --\n%s", f.name, f.content)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
