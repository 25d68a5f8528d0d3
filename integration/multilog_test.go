package integration

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
)

// multilogInput is an input with a name.
type multilogInput struct {
	name string
	text []byte
}

var multilogLabel = regexp.MustCompile(`@[0-9a-f]{24}`)

// multilogTree is all there is to see of the log directories below dir: names,
// modes and contents, without labels. Old files are numbered by age.
func multilogTree(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	err := filepath.Walk(dir, func(path string, st os.FileInfo, err error) error {
		if err == nil && path != dir {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(names)
	var b strings.Builder
	for _, path := range names {
		st, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		name, _ := filepath.Rel(dir, path)
		fmt.Fprintf(&b, "%s %v", multilogLabel.ReplaceAllString(name, "@LABEL"), st.Mode())
		if st.Mode().IsRegular() {
			c, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, " %d %q", len(c), multilogLabel.ReplaceAll(c, []byte("@LABEL")))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// runLogger runs a logger in dir with a file as its input, which makes its reads, and so
// the ends of its files, certain.
func runLogger(t *testing.T, s *site, path, dir string, script []string, in []byte) (code int, stdout, stderr string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.CreateTemp(s.outputs, "in")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(in); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, 0); err != nil {
		t.Fatal(err)
	}
	var out, said bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, script...)
	s.furnish(cmd)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, f, &out, &said
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), said.String()
}

// multilogRun is runLogger for a multilog, which prints nothing.
func multilogRun(t *testing.T, s *site, path, dir string, script []string, in []byte) (code int, stderr string) {
	t.Helper()
	code, _, stderr = runLogger(t, s, path, dir, script, in)
	return code, multilogLabel.ReplaceAllString(stderr, "@LABEL")
}

// multilogLines makes lines of all lengths up to max, in which some words come up
// again and again.
func multilogLines(seed uint64, n, max int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	words := []string{"one ", "two ", "* ", "error: ", "warning: ", "x", " ", "\x00", "+", "@400000", "\xff\xfe"}
	var b []byte
	for range n {
		for want := r.IntN(max + 1); want > 0; {
			w := words[r.IntN(len(words))]
			w = w[:min(len(w), want)]
			b, want = append(b, w...), want-len(w)
		}
		b = append(b, '\n')
	}
	return b
}

func multilogInputs() []multilogInput {
	line := func(n int) string { return strings.Repeat("0123456789", n/10+1)[:n] + "\n" }
	var edge strings.Builder
	for n := 190; n <= 210; n++ {
		edge.WriteString(line(n))
	}
	for _, at := range []int{510, 973, 999, 1023, 2047, 3000, 4090} {
		for d := range 5 {
			edge.WriteString(line(at + d))
		}
	}
	return []multilogInput{
		{"nothing", nil},
		{"one newline", []byte("\n")},
		{"no newline", []byte("abc")},
		{"short", multilogLines(1, 300, 30)},
		{"usual", multilogLines(2, 2000, 200)},
		{"long", multilogLines(3, 60, 5000)},
		{"edges", []byte(edge.String())},
		{"edges and a rest", []byte(edge.String() + strings.Repeat("y", 1500))},
		{"one very long", []byte(strings.Repeat("z", 150000))},
		{"hundred", []byte(strings.Repeat(line(99), 3000))},
	}
}

// TestMultilogLikeReal: the same input leaves the same directories, byte for byte.
func TestMultilogLikeReal(t *testing.T) {
	t.Parallel()
	scripts := []string{
		"./d",
		"t ./d",
		"tx ./d",
		"./d t",
		"s4096 ./d",
		"t s4096 ./d",
		"t s4096 n3 ./d",
		"s4096 n2 ./d",
		"s4096 n0 ./d",
		"s1 n-1 ./d",
		"s4097 n100 ./d",
		"s5000 n100 ./d",
		"s6096 n100 ./d",
		"s10000x n20 ./d",
		"s99999 ./d",
		"s99999999999999 ./d",
		"nonsense s8000 n40 ./d",
		"t s20000 n100 ./d",
		"t s4096 n100 ./d s5000 n50 ./e s16000 ./f",
		"-* ./d",
		"-* +one* ./d",
		"-* +*one* ./d",
		"-*x ./d",
		"t -*x ./d",
		"t -*\\ one* ./d",
		"t -*:\\ * ./d +* ./e",
		"-one* ./d -two* ./e +*error:\\ * ./f",
		"s4096 n50 -x* ./d + ./e",
		"-** ./d",
		"-*** ./d",
		"- ./d",
		"+ ./d",
		"e",
		"t -* +*two* e ./d", // no letter that may be in a label
		"e e ./d e",
		"-*two* e",
		"=s",
		"t =s",
		"t =s -* =n +*x* =x ./d",
		"-* =s ./d",
		"!cat s4096 n100 ./d",
		"t !cat s4096 n100 ./d",
		"!tr\\ a-z\\ A-Z s4096 n5 ./d !wc\\ -l ./e",
		"!cat;echo\\ x>&5 s5000 n100 ./d",
		"!cat\\ <&4;cat;(cat\\ <&4;echo\\ y)>&5 s9000 n100 ./d",
		"!pwd\\ >&2;echo\\ $0\\ $#;cat\\ >/dev/null s40000 ./d",
		"! s90000 ./d",
		"./d ./d",
		"./none/d",
		"=none/s ./d",
		"=. ./d",
		"/dev/null",
	}
	inputs := multilogInputs()
	real, mine := peer(t, "multilog"), ours(t, "multilog")
	for _, line := range scripts {
		t.Run(strings.ReplaceAll(line, "/", ""), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil)
			script := multilogWords(line)
			for i, in := range inputs {
				a, b := s.path(fmt.Sprint("real", i), "x"), s.path(fmt.Sprint("ours", i), "x")
				codeA, saidA := multilogRun(t, s, real, a, script, in.text)
				codeB, saidB := multilogRun(t, s, mine, b, script, in.text)
				saidA, saidB = strings.ReplaceAll(saidA, "real", "ours"), strings.ReplaceAll(saidB, "real", "ours")
				if codeA != codeB || saidA != saidB {
					t.Errorf("%s: exit %d and %.2000q, want %d and %.2000q", in.name, codeB, saidB, codeA, saidA)
				}
				compareTrees(t, in.name, multilogTree(t, b), multilogTree(t, a))
			}
		})
	}
}

// TestMultilogPipeLikeReal: the same with a pipe, which is full when the program
// starts.
func TestMultilogPipeLikeReal(t *testing.T) {
	t.Parallel()
	real, mine := peer(t, "multilog"), ours(t, "multilog")
	for _, line := range []string{
		"s4096 n100 ./d",
		"t s4096 n100 ./d",
		"t s5001 n100 -*one* ./d +*two* ./e e =s",
		"s4096 n100 !cat ./d",
	} {
		t.Run(strings.ReplaceAll(line, "/", ""), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil)
			for i, in := range multilogInputs() {
				var trees, said [2]string
				for k, program := range []string{real, mine} {
					dir := s.path(fmt.Sprint(k), fmt.Sprint(i))
					if err := os.MkdirAll(dir, 0o755); err != nil {
						t.Fatal(err)
					}
					r, w, err := os.Pipe()
					if err != nil {
						t.Fatal(err)
					}
					_, err = w.Write(in.text[:min(len(in.text), 65536)])
					w.Close()
					if err != nil {
						t.Fatal(err)
					}
					cmd := exec.Command(program, multilogWords(line)...)
					s.furnish(cmd)
					var out bytes.Buffer
					cmd.Dir, cmd.Stdin, cmd.Stderr = dir, r, &out
					err = cmd.Run()
					r.Close()
					if err != nil {
						t.Fatal(err)
					}
					trees[k] = multilogTree(t, dir)
					said[k] = multilogLabel.ReplaceAllString(out.String(), "@LABEL")
				}
				if said[1] != said[0] {
					t.Errorf("%s: %.1000q, want %.1000q", in.name, said[1], said[0])
				}
				compareTrees(t, in.name, trees[1], trees[0])
			}
		})
	}
}

// multilogWords splits at blanks that have no backslash before them.
func multilogWords(line string) []string {
	words := strings.Split(strings.ReplaceAll(line, "\\ ", "\x01"), " ")
	for i := range words {
		words[i] = strings.ReplaceAll(words[i], "\x01", " ")
	}
	return words
}

func compareTrees(t *testing.T, what, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		var a, b string
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			t.Errorf("%s: entry %d of %d is\n%.300s\nof %d, want\n%.300s", what, i, len(g), a, len(w), b)
			return
		}
	}
}
