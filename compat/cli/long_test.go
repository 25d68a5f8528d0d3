package cli

import (
	"slices"
	"strings"
	"testing"
)

// long is what the table of these tests collects.
type long struct {
	name string
	loud bool
}

func (l *long) table() []LongOption {
	return []LongOption{
		{Name: "name", Value: func(v string) bool { l.name = v; return v != "bad" }},
		{Name: "loud", Flag: &l.loud},
	}
}

func TestLongOptions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args, operands string
		want           long
		bad            bool
	}{
		{args: "", operands: ""},
		{args: "a b", operands: "a b"},
		{args: "--name x a", operands: "a", want: long{name: "x"}},
		{args: "--name=x a", operands: "a", want: long{name: "x"}},
		{args: "--name=x=y", want: long{name: "x=y"}},
		{args: "--name= a", operands: "a"},
		{args: "--name --loud a", operands: "a", want: long{name: "--loud"}},
		{args: "--name x --name y", want: long{name: "y"}},
		{args: "--loud --loud a --loud", operands: "a --loud", want: long{loud: true}},
		{args: "--loud -- --name", operands: "--name", want: long{loud: true}},
		{args: "- --loud", operands: "- --loud"},
		{args: "-l", operands: "-l"},
		{args: "--loud=1", bad: true},
		{args: "--name", bad: true},
		{args: "--name bad", bad: true},
		{args: "--name=bad", bad: true},
		{args: "--nam x", bad: true},
		{args: "--=x", bad: true},
		{args: "--Name x", bad: true},
	} {
		var got long
		operands, ok := LongOptions(strings.Fields(c.args), got.table())
		if ok == c.bad {
			t.Errorf("%q: ok is %v", c.args, ok)
		}
		if !c.bad && (got != c.want || strings.Join(operands, " ") != c.operands) {
			t.Errorf("%q: %+v, operands %q", c.args, got, operands)
		}
	}
}

func TestDropFlag(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"":                         "",
		"--loud":                   "",
		"--loud --loud a --loud":   "a --loud",
		"--name --loud --loud a":   "--name --loud a",
		"--name=--loud --loud a":   "--name=--loud a",
		"--loud -- --loud":         "-- --loud",
		"--name x --loud --name y": "--name x --name y",
		"- --loud":                 "- --loud",
	} {
		if got := strings.Join(DropFlag(strings.Fields(args), new(long).table(), "loud"), " "); got != want {
			t.Errorf("%q: %q, not %q", args, got, want)
		}
	}
}

// FuzzLongOptions: operands are the end of the arguments, and reading them again
// behind a "--" changes nothing.
func FuzzLongOptions(f *testing.F) {
	f.Add("--name\nx\na")
	f.Add("--loud\n--\n--name")
	f.Add("--name=\n--=")
	f.Fuzz(func(t *testing.T, words string) {
		args := strings.Split(words, "\n")
		var got long
		operands, ok := LongOptions(args, got.table())
		if !ok {
			if operands != nil {
				t.Errorf("%q: operands %q of wrong options", args, operands)
			}
			return
		}
		calm := long{}
		dropped := DropFlag(args, got.table(), "loud")
		if after, ok := LongOptions(dropped, calm.table()); !ok || calm.loud || calm.name != got.name || !slices.Equal(after, operands) {
			t.Errorf("%q: %q without the flag", args, dropped)
		}
		if !slices.Equal(operands, args[len(args)-len(operands):]) {
			t.Errorf("%q: operands %q", args, operands)
		}
		again, ok := LongOptions(append([]string{"--"}, operands...), nil)
		if !ok || !slices.Equal(again, operands) {
			t.Errorf("%q: then %q", operands, again)
		}
	})
}
