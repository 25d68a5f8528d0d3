package conf2dir

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// shells are the shells that a generated script has to mean the same to.
func shells(t testing.TB) (found [][]string) {
	t.Helper()
	for _, words := range [][]string{{"dash"}, {"busybox", "sh"}} {
		path, err := exec.LookPath(words[0])
		switch {
		case err == nil:
			found = append(found, append([]string{path}, words[1:]...))
		case os.Getenv("UPKEEP_REQUIRE") == "1":
			t.Fatalf("%v; install the package %s", err, words[0])
		default:
			t.Logf("%v; install the package %s to have it run scripts", err, words[0])
		}
	}
	if len(found) == 0 {
		t.Skip("no shell to run scripts with")
	}
	return found
}

// FuzzQuote has shells run what is generated for a job of any bytes: exactly these
// bytes arrive, and nothing else is executed.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{
		"plain", "", "a b", "'", "''", "'\\''", "\\", "\\'", "\"", "$(touch x)", "`touch x`", "$HOME", "${x:-y}", "a\nb", "\n", "#", "# x", "a#b",
		"!", "!!", "~", "*", "?", "[a-z]", "{a,b}", ";touch x", "&", "|", "<x", ">x", "a=b", "-n", "--", "-", "=", "\xff\xfe", "\x81\x82\x88", "\x01\x7f", "\u00e4\u2028",
		"\r", "\t", "\v\f", "$'a'", "$\"a\"", "%s%n\\c\\0", "\\\n", "'\"'\"'", "$((1+1))", ": ) (", "EOF", "if", "\x80'\x81",
	} {
		f.Add(s, "x"+s)
	}
	found := shells(f)
	recorder := filepath.Join(f.TempDir(), "recorder")
	if err := os.WriteFile(recorder, []byte("#!/bin/sh\nexec printf '%s\\0' \"$@\"\n"), 0o755); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		const longest = 1000
		if strings.ContainsRune(a+b, 0) || len(a)+len(b) > longest {
			return
		}
		root := t.TempDir()
		file := strings.ReplaceAll("f"+a, "/", "_")
		if len(file) > longestName {
			file = file[:longestName]
		}
		j := &Job{Name: a, Cmd: []string{recorder, a, b, b + a}, Dir: filepath.Join(root, file), Out: file, Env: []string{"a/b=" + b, "/=" + a}}
		if err := os.Mkdir(j.Dir, 0o755); err != nil {
			t.Fatal(err)
		}
		services := map[Form]Service{}
		for _, form := range []Form{Native, Daemontools} {
			list, _ := Compile(&File{Name: b, Jobs: []*Job{j}}, Options{Form: form, Launcher: recorder})
			services[form] = list[0]
		}
		launch := "-E\x00a/b=" + b + "\x00-E\x00/=" + a + "\x00-d\x00" + j.Dir + "\x00-o\x00" + file + "\x00--\x00"
		command := a + "\x00" + b + "\x00" + b + a + "\x00"
		for _, shell := range found {
			if got := runScript(t, shell, services[Native]); got != launch+recorder+"\x00"+command {
				t.Errorf("%s, native:\n got %q\nwant %q\n%s", shell, got, launch+recorder+"\x00"+command, script(services[Native]))
			}
			if got := runScript(t, shell, services[Daemontools]); got != "" {
				t.Errorf("%s, portable: %q\n%s", shell, got, script(services[Daemontools]))
			}
			got, err := os.ReadFile(filepath.Join(j.Dir, file))
			if err != nil || string(got) != command {
				t.Errorf("%s, portable:\n got %q, %v\nwant %q\n%s", shell, got, err, command, script(services[Daemontools]))
			}
			os.Remove(filepath.Join(j.Dir, file))
		}
		if names, err := os.ReadDir(j.Dir); err != nil || len(names) > 0 {
			t.Errorf("left in the directory: %v, %v", names, err)
		}
	})
}

func script(s Service) string {
	for _, e := range s.Entries {
		if e.Path == "run" {
			return e.Data
		}
	}
	return ""
}

// runScript runs the run script of a service in a directory of its own, and returns
// all that it prints.
func runScript(t *testing.T, shell []string, s Service) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "run")
	if err := os.WriteFile(path, []byte(script(s)), 0o755); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command(shell[0], append(shell[1:], "./run")...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nowhere"}
	if err := cmd.Run(); err != nil {
		exit, _ := errors.AsType[*exec.ExitError](err)
		t.Errorf("%s: %v, %v", cmd, err, exit)
	}
	names, err := os.ReadDir(dir)
	for _, n := range names {
		if n.Name() != "run" && n.Name() != ".started" {
			t.Errorf("%s made %s", cmd, n.Name())
		}
	}
	if err != nil {
		t.Error(err)
	}
	return out.String()
}

// Quote's words are single-quoted unless they are plain.
func TestQuote(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{
		"": "''", "a": "a", "/usr/bin/x-1_2.3:4@5+6,7=8": "/usr/bin/x-1_2.3:4@5+6,7=8", "a b": "'a b'", "'": `''\'''`, "it's": `'it'\''s'`,
		"~": "'~'", "#": "'#'", "\xff": "'\xff'",
	} {
		if got := Quote(word); got != want {
			t.Errorf("%q: %s", word, got)
		}
	}
}

// What is generated is free of errors to all shells.
func TestScriptsParse(t *testing.T) {
	t.Parallel()
	found := shells(t)
	paths, err := filepath.Glob("testdata/config/*.conf")
	if err != nil {
		t.Fatal(err)
	}
	scripts := map[string]bool{}
	for _, path := range paths {
		text, err := ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, complaint := Parse("pmtr.conf", text)
		if complaint != nil {
			continue
		}
		for form := Native; form <= S6; form++ {
			services, _ := Compile(f, Options{Form: form, Log: LogFiles})
			for _, s := range services {
				for _, e := range s.Entries {
					if e.Mode == 0o755 && !e.Dir {
						scripts[e.Data] = true
					}
				}
			}
		}
	}
	// In one file, each in a function that nobody calls.
	var all strings.Builder
	for s := range scripts {
		all.WriteString("f() {\n" + s + "}\n")
	}
	path := filepath.Join(t.TempDir(), "all")
	if err := os.WriteFile(path, []byte(all.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, shell := range found {
		if out, err := exec.Command(shell[0], append(shell[1:], path)...).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v, %s", shell, err, out)
		}
	}
	t.Logf("%d scripts", len(scripts))
}
