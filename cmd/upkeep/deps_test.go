package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"upkeep/integration/shipped"
)

const (
	module  = "upkeep/"
	maxSize = 4_000_000 // bytes of the program as it is shipped
)

// foreign is what the program must not import, with the reason.
var foreign = map[string]string{
	"os/exec":  "Wait has its children taken away by our reaper, which waits for all",
	"net":      "the program serves no network; with it come a resolver and half a megabyte",
	"net/http": "likewise, and TLS: what serves HTTP is a binary of its own",
	"testing":  "helpers for tests have got into the program",
}

// heavy is what no package of ours in the program may import, with the reason. The
// standard library may: what it does not use of them the linker leaves out.
var heavy = map[string]string{
	"fmt":           "it brings reflection with it, 230 KB in all",
	"encoding/hex":  "it brings fmt with it",
	"encoding/json": "likewise",
	"reflect":       "the linker has to keep what might be found by it",
	"regexp":        "it is 250 KB, and tables made at start",
}

// calls is what no package of the program may use, with the reason.
var calls = map[string]string{
	"os.StartProcess": "only the spawner makes processes; its children go to the reaper",
	"os.Setenv":       "services inherit the environment",
	"signal.Ignore":   "services inherit what is ignored",
}

// room says what some packages may import of ours. "x/..." is x and all below it.
type room struct {
	packages string
	may      []string
}

// rooms are those of the architecture. The first that matches counts. Tests may
// import what they like, and everybody what is below internal.
var rooms = []room{
	{"internal/...", nil},
	{"logwriter", nil},
	{"supervise/status", nil},
	{"supervise/...", []string{"supervise/..."}},
	{"svscan/internal/...", []string{"svscan/internal/...", "supervise/..."}},
	{"svscan", []string{"svscan/internal/...", "supervise/...", "logwriter"}},
	{"svc/...", []string{"svc/...", "supervise/status", "supervise/servicedir"}},
	{"logview", []string{"svc/...", "supervise/status"}},
	{"compat/cli", nil},
	{"compat/loaders/...", []string{"compat/loaders/...", "compat/cli"}},
	{"compat/...", []string{"compat/...", "svscan", "svc/...", "supervise/...", "logwriter", "conf2dir/..."}},
	{"conf2dir", []string{"compat/cli"}},
	{"conf2dir/...", []string{"conf2dir/...", "supervise/servicedir", "supervise/status", "svc"}},
	{"cmd/...", []string{"logview", "conf2dir/...", "compat/...", "svscan", "svc/...", "supervise/..."}},
	{"integration/...", []string{"..."}},
}

func TestRooms(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t, "./...") {
		path := strings.TrimPrefix(p.ImportPath, module)
		i := slices.IndexFunc(rooms, func(r room) bool { return matches(r.packages, path) })
		if i < 0 {
			t.Errorf("there is no room for %s", path)
			continue
		}
		for _, other := range p.Imports {
			other, ours := strings.CutPrefix(other, module)
			if ours && !strings.HasPrefix(other, "internal/") && !slices.ContainsFunc(rooms[i].may, func(may string) bool { return matches(may, other) }) {
				t.Errorf("%s must not import %s", path, other)
			}
		}
	}
}

func matches(pattern, path string) bool {
	prefix, below := strings.CutSuffix(pattern, "...")
	return pattern == path || below && strings.HasPrefix(path+"/", prefix)
}

func TestProgramIsLean(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t, "-deps", "./cmd/upkeep") {
		if why, ok := foreign[p.ImportPath]; ok {
			t.Errorf("the program imports %s: %s", p.ImportPath, why)
		}
		if !strings.HasPrefix(p.ImportPath, module) {
			continue
		}
		for _, other := range p.Imports {
			if why, ok := heavy[other]; ok {
				t.Errorf("%s imports %s: %s", p.ImportPath, other, why)
			}
		}
		for _, file := range p.GoFiles {
			checkCalls(t, filepath.Join(p.Dir, file))
		}
	}
}

func checkCalls(t *testing.T, path string) {
	t.Helper()
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if pkg, ok := s.X.(*ast.Ident); ok {
				if why, ok := calls[pkg.Name+"."+s.Sel.Name]; ok {
					t.Errorf("%s: %s.%s: %s", files.Position(s.Pos()), pkg.Name, s.Sel.Name, why)
				}
			}
		}
		return true
	})
}

func TestProgramIsSmall(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "upkeep")
	if err := shipped.Build(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", st.Size())
	if st.Size() > maxSize {
		t.Errorf("the program has %d bytes, more than %d", st.Size(), maxSize)
	}
}

// listed is what is used of the output of go list.
type listed struct {
	ImportPath, Dir  string
	Imports, GoFiles []string
}

func packages(t *testing.T, args ...string) []listed {
	t.Helper()
	out := gotool(t, append([]string{"list", "-json=ImportPath,Dir,Imports,GoFiles"}, args...)...)
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// gotool runs the go command in the root of the module, as for a release.
func gotool(t *testing.T, args ...string) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Stderr = filepath.Join("..", ".."), &stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, &stderr)
	}
	return out
}
