package loaders

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

const passwdText = "# comment\nroot:x:0:0:root:/root:/bin/sh\nrootx:x:9:9::/:\nbad:x:a:1::/:\nbad:x:5:6:gecos:/home/b:/bin/b\n" +
	"short:x:7:8\n#hash:x:1:1::/:\n+nis:x:1:1::/:\nlast:x:4294967295:3::/last:/bin/l:ast"

func TestUserFile(t *testing.T) {
	t.Parallel()
	d := files(t, passwdText, "", "")
	for name, want := range map[string]account{
		"root":  {"root", "/root", "/bin/sh", 0, 0},
		"rootx": {"rootx", "/", "", 9, 9},
		"bad":   {"bad", "/home/b", "/bin/b", 5, 6},
		"short": {"short", "", "", 7, 8},
		"last":  {"last", "/last", "/bin/l:ast", 4294967295, 3},
	} {
		if got, err := d.user(name); got != want || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "roo", "oot", "x", "0", "#hash", "+nis", "root:x", "root\n", "# comment", "Root"} {
		if got, err := d.user(name); err != errUnknown {
			t.Errorf("%q: %v, %v", name, got, err)
		}
	}
}

func TestGroups(t *testing.T) {
	t.Parallel()
	d := files(t, "u:x:1:10::/:", "g:x:10:\na:x:11:u,v\nb:x:12:v\nc:x:13:v,u\nu:x:14\nd:x:x:u\nagain:x:11:u\n", "")
	if got, err := d.groups(account{name: "u", gid: 10}); !slices.Equal(got, []uint32{10, 11, 13}) || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := d.groupID("c"); got != 13 || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := d.groupID("d"); err != errUnknown {
		t.Error(err)
	}
}

func TestSources(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]bool{
		"":                                 {true, false},
		"passwd: files":                    {true, false},
		"passwd:files":                     {true, false},
		"passwd: compat\n":                 {true, false},
		"# passwd: ldap\n":                 {true, false},
		"passwd:\n":                        {true, false},
		"group: ldap\n":                    {true, false},
		"group: x\n passwd :\tfiles ldap":  {true, true},
		"passwd: ldap files":               {false, true},
		"passwd: ldap [NOTFOUND=return]":   {false, true},
		"passwd: files [!UNAVAIL=return a": {true, false},
		"passwd: files[X=y]sss # ldap":     {true, true},
	} {
		if first, others := sources(text, "passwd"); first != want[0] || others != want[1] {
			t.Errorf("%q: %v, %v, want %v", text, first, others, want)
		}
	}
}

// TestGetent has a getent of its own, which knows one user and one number.
func TestGetent(t *testing.T) {
	t.Parallel()
	d := files(t, passwdText, "own:x:10:", "passwd: files ldap\ngroup: files ldap\n")
	script := filepath.Join(t.TempDir(), "getent")
	text := `#!/bin/sh
case "$*" in
"passwd -- far") echo far:x:70:71::/far:/bin/far;;
"passwd -- 70") echo far:x:70:71::/far:/bin/far;;
"passwd -- root") echo root:x:1:1::/:/wrong;;
"passwd -- odd") echo odd;;
"group -- team") echo team:x:80:far;;
"initgroups -- far") echo "far                   71 80 81";;
*) exit 2;;
esac
`
	writeScript(t, script, text)
	d.getent = []string{"/no/such/getent", script}
	if got, err := d.user("far"); got != (account{"far", "/far", "/bin/far", 70, 71}) || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := d.user("root"); got.shell != "/bin/sh" || err != nil {
		t.Errorf("the files come first: %v, %v", got, err)
	}
	for _, name := range []string{"70", "none", "odd", ""} {
		if got, err := d.user(name); err != errUnknown {
			t.Errorf("%q: %v, %v", name, got, err)
		}
	}
	if got, err := d.groupID("team"); got != 80 || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := d.groups(account{name: "far", gid: 71}); !slices.Equal(got, []uint32{71, 80, 81}) || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if err := os.WriteFile(d.nsswitch, []byte("passwd: ldap files\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := d.user("root"); got.shell != "/wrong" || err != nil {
		t.Errorf("the files come last: %v, %v", got, err)
	}
	d.getent = d.getent[:1]
	if got, err := d.user("root"); got.shell != "/bin/sh" || err != nil {
		t.Errorf("without getent: %v, %v", got, err)
	}
}

func files(t *testing.T, passwd, group, nsswitch string) database {
	t.Helper()
	dir := t.TempDir()
	d := database{passwd: dir + "/passwd", group: dir + "/group", nsswitch: dir + "/nsswitch.conf"}
	for path, text := range map[string]string{d.passwd: passwd, d.group: group, d.nsswitch: nsswitch} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return d
}
