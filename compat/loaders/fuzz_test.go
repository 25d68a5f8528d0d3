package loaders

import (
	"strconv"
	"strings"
	"testing"
)

func FuzzEnvdirValue(f *testing.F) {
	for _, s := range []string{"x", "a \t\n", "\n", "a\x00b\nc", " \x00 "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v := envdirValue(text)
		if strings.ContainsRune(v, 0) || len(v) > len(text) || strings.HasSuffix(v, " ") || strings.HasSuffix(v, "\t") {
			t.Errorf("%q: %q", text, v)
		}
	})
}

func FuzzINI(f *testing.F) {
	for _, s := range []string{"A=1", "[s]\nA = b = c\n;x\n", "[", "]", "[]", " = ", "\r\n=\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Count(text, "\n") + 1
		parseINI(text, func(name, value string) {
			lines--
			if strings.ContainsRune(value, '\n') || strings.Trim(value, " \t\r") != value {
				t.Errorf("%q: %q, %q", text, name, value)
			}
		})
		if lines < 0 {
			t.Errorf("%q: more variables than lines", text)
		}
	})
}

func FuzzApply(f *testing.F) {
	f.Add("A=1\nB=2", "A=3")
	f.Add("A=1\nB=2", "A")
	f.Add("=\n\nA", "")
	f.Fuzz(func(t *testing.T, environ, entry string) {
		list := strings.Split(environ, "\n")
		n := len(list)
		got := apply(list, entry)
		if len(got) < n-1 || len(got) > n+1 {
			t.Errorf("%d of %d", len(got), n)
		}
	})
}

func FuzzPasswd(f *testing.F) {
	f.Add(passwdText, "root")
	f.Add("a:::", "a")
	f.Add("\na:x:1:1", "a")
	f.Fuzz(func(t *testing.T, text, name string) {
		line, ok := lookup(text, name, func(line string) bool { _, ok := parseUser(line); return ok })
		if !ok {
			return
		}
		if a, ok := parseUser(line); !ok || a.name != name || !strings.Contains("\n"+text+"\n", "\n"+line+"\n") {
			t.Errorf("%q in %q: %q", name, text, line)
		}
	})
}

func FuzzGroup(f *testing.F) {
	f.Add("g:x:10:\na:x:11:u,v\n", "u")
	f.Add("::::\n:,:,", "")
	f.Fuzz(func(t *testing.T, text, name string) {
		if got := memberships(text, name, []uint32{7}); len(got) == 0 || got[0] != 7 {
			t.Errorf("%v", got)
		}
	})
}

func FuzzSources(f *testing.F) {
	f.Add("passwd: files [NOTFOUND=return] ldap # x\n")
	f.Add("passwd:[")
	f.Fuzz(func(t *testing.T, text string) { sources(text, "passwd") })
}

func FuzzIDs(f *testing.F) {
	for _, s := range []string{"1:2", "1", ":", "1:2:", "18446744073709551617:0", "1" + strings.Repeat(":5", 61)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		who, ok := parseIDs(text)
		if ok && (len(who.gids) == 0 || len(who.gids) > maxGroups) {
			t.Errorf("%q: %v", text, who)
		}
	})
}

func FuzzNumbers(f *testing.F) {
	for _, s := range []string{"", "0", "=", "-", "12x", "-5", "+5", "18446744073709551616"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, rest := scan(text)
		if want, err := strconv.ParseUint(text, 10, 64); err == nil && (n != want || rest != "") {
			t.Errorf("%q: %d, %q", text, n, rest)
		}
		if l, ok := parseLimit(0, text, false); ok && (l.none || l.hard != (text == "=")) {
			t.Errorf("%q: %v", text, l)
		}
		if level, ok := niceLevel(text); ok && strings.HasPrefix(text, "-") && level > 0 && len(text) < 10 {
			t.Errorf("%q: %d", text, level)
		}
	})
}
