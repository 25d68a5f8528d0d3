package cli

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// parse runs the parser to its end. read has a letter for each option, with its
// argument in brackets if the letters say that it has one.
func parse(t testing.TB, letters string, args []string) (read string, rest []string, complaint string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	o := NewOptions(&Env{Stderr: FD(w.Fd())}, args, letters)
	c := o.Next()
	for ; c != End && c != Bad; c = o.Next() {
		read += string([]byte{c})
		if strings.Contains(letters, string([]byte{c, ':'})) {
			read += "[" + o.Arg + "]"
		} else if o.Arg != "" {
			t.Errorf("%q has the argument %q", c, o.Arg)
		}
	}
	w.Close()
	b := make([]byte, 1024)
	n, _ := r.Read(b)
	if c == End && o.Next() != End {
		t.Error("there are options after the end")
	}
	return read, o.Args(), string(b[:n])
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args      string // "" is written ''
		read      string
		rest      string
		complaint string
	}{
		{args: "p"},
		{args: "p x -a", rest: "x -a"},
		{args: "p -a -b x", read: "ab", rest: "x"},
		{args: "p -ab -a x", read: "aba", rest: "x"},
		{args: "p -a -- -b", read: "a", rest: "-b"},
		{args: "p -a - -b", read: "a", rest: "- -b"},
		{args: "p -a '' -b", read: "a", rest: "'' -b"},
		{args: "p --", rest: ""},
		{args: "p --b x", rest: "x"},
		{args: "p -+=", read: "+="},
		{args: "p -m1 x", read: "m[1]", rest: "x"},
		{args: "p -m 1 x", read: "m[1]", rest: "x"},
		{args: "p -m '' x", read: "m[]", rest: "x"},
		{args: "p -am1a -b x", read: "am[1a]b", rest: "x"},
		{args: "p -m -- -- x", read: "m[--]", rest: "x"},
		{args: "p -m-", read: "m[-]"},
		{args: "p -m: x", read: "m[:]", rest: "x"},
		{args: "p -m", complaint: "p: option requires an argument -- m\n"},
		{args: "p -bam", read: "ba", complaint: "p: option requires an argument -- m\n"},
		{args: "p -z x", complaint: "p: illegal option -- z\n"},
		{args: "p -az x", read: "a", complaint: "p: illegal option -- z\n"},
		{args: "p -a- x", read: "a", complaint: "p: illegal option -- -\n"},
		{args: "p -: x", complaint: "p: illegal option -- :\n"},
		{args: "p -? x", complaint: "p: illegal option -- ?\n"},
		{args: "p -\xff x", complaint: "p: illegal option -- \xff\n"},
		{args: "/usr/bin/p -z", complaint: "p: illegal option -- z\n"},
		{args: "./p -z", complaint: "p: illegal option -- z\n"},
		{args: "p/ -z", complaint: ": illegal option -- z\n"},
		{args: "'' -z", complaint: ": illegal option -- z\n"},
	} {
		read, rest, complaint := parse(t, "abm:+=", split(c.args))
		if read != c.read || complaint != c.complaint || complaint == "" && !slices.Equal(rest, split(c.rest)) {
			t.Errorf("%s: read %q, rest %q, complaint %q", c.args, read, rest, complaint)
		}
	}
}

func split(line string) []string {
	words := strings.Fields(line)
	for i, w := range words {
		words[i] = strings.Trim(w, "'")
	}
	return words
}

// FuzzOptions: whatever the words are, the parser ends, reads no option that
// is not there, and leaves the last words as they were.
func FuzzOptions(f *testing.F) {
	f.Add("ab:", "-ab\x00c\x00--\x00d")
	f.Add("a:", "-a")
	f.Add(":", "-:-\x00-")
	f.Add("udopchaitkx", "--u\x00-\xe4")
	f.Fuzz(func(t *testing.T, letters, words string) {
		args := append([]string{"p"}, strings.Split(words, "\x00")...)
		if strings.ContainsAny(letters, "\x00?") {
			return // no letters of any program
		}
		o := NewOptions(&Env{Stderr: -1}, args, letters)
		n := 0
		for c := o.Next(); c != End && c != Bad; c = o.Next() {
			if strings.IndexByte(letters, c) < 0 || c == ':' {
				t.Fatalf("read %q, which is none of %q", c, letters)
			}
			if n++; n > len(words) {
				t.Fatal("more options than bytes")
			}
		}
		rest := o.Args()
		if !slices.Equal(rest, args[len(args)-len(rest):]) {
			t.Fatalf("%q became %q", args, rest)
		}
	})
}
