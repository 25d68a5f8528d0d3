package loaders

import (
	"os"
	"strings"
	"testing"

	"upkeep/compat/cli/clitest"
	"upkeep/svc/svctest"
)

// encoreCases are what the specification says of the programs that only encore
// has, and of what it added to others. There is none installed to compare with.
var encoreCases = []struct {
	args   string
	code   int
	stdout string // a whole line of it
	stderr string
	tree   svctest.Tree
	env    []string
	root   bool
}{
	{args: "setuser", code: 100, stderr: "setuser: usage: setuser account child\n"},
	{args: "setuser root", code: 100, stderr: "setuser: usage: setuser account child\n"},
	{args: "setuser no-such-user true", code: 111, stderr: "setuser: fatal: unknown account no-such-user\n"},
	{args: "setuser nobody true", root: true, code: 111, stderr: "setuser: fatal: unable to chdir to /nonexistent: file does not exist\n"},
	{args: "setuser bin env", root: true, stdout: "HOME=/bin"},
	{args: "setuser bin env", root: true, stdout: "USER=bin"},
	{args: "setuser bin env", root: true, stdout: "UID=2"},
	{args: "setuser bin env", root: true, stdout: "GID=2"},
	{args: "setuser bin env", root: true, stdout: "SHELL=/usr/sbin/nologin"},
	{args: "setuser bin IDS", root: true, stdout: "Uid:\t2\t2\t2\t2"},
	{args: "setuser root no-such-program", root: true, code: 111, stderr: "setuser: fatal: unable to run no-such-program: file does not exist\n"},

	{args: "setuidgid", code: 100, stderr: "setuidgid: usage: setuidgid [-s] account child\n"},
	{args: "setuidgid -z", code: 100, stderr: "setuidgid: illegal option -- z\nsetuidgid: usage: setuidgid [-s] account child\n"},
	{args: "setuidgid -s bin IDS", root: true, stdout: "Groups:\t2 "},
	{args: "setuidgid bin IDS", root: true, stdout: "Groups:\t2 "},
	{args: "setuidgid -s no-such-user x", code: 111, stderr: "setuidgid: fatal: unknown account no-such-user\n"},

	{args: "envdir", code: 111, stderr: "envdir: usage: envdir [ -p prefix ] dir child\n"},
	{args: "envdir -z d env", code: 111, stderr: "envdir: illegal option -- z\nenvdir: usage: envdir [ -p prefix ] dir child\n"},
	{args: "envdir -p X_ d env", tree: tree("d/A", "1"), stdout: "X_A=1"},
	{args: "envdir -pX_ d env", tree: tree("d/A", ""), env: env(path, "X_A=1", "A=2"), stdout: "A=2"},

	{args: "envini", code: 111, stderr: "envini: usage: envini [ -p prefix ] inifile child\n"},
	{args: "envini f", code: 111, stderr: "envini: usage: envini [ -p prefix ] inifile child\n"},
	{args: "envini -z f env", code: 111, stderr: "envini: illegal option -- z\nenvini: usage: envini [ -p prefix ] inifile child\n"},
	{args: "envini no env", stdout: path},
	{args: "envini f env", tree: tree("f", "A=1\n"), stdout: "A=1"},
	{args: "envini -p P f env", tree: tree("f", "[s]\nA=1\n"), stdout: "Ps_A=1"},
	{args: "envini f env", tree: tree("f", svctest.Link("f")), code: 111, stderr: "envini: fatal: unable to read f: symbolic link loop\n"},
	{args: "envini d env", tree: tree("d", svctest.Dir()), code: 111, stderr: "envini: fatal: unable to read d: is a directory\n"},
	{args: "envini f ./no", tree: tree("f", ""), code: 111, stderr: "envini: fatal: unable to run ./no: file does not exist\n"},

	{args: "softlimit LIMITS", env: env(path, "SOFTLIMIT_OPENFILES=33"), stdout: "Max open files            33 "},
	{args: "softlimit -o 44 LIMITS", env: env(path, "SOFTLIMIT_OPENFILES=33"), stdout: "Max open files            44 "},
	{args: "softlimit LIMITS", env: env(path, "SOFTLIMIT_DATABYTES=5", "SOFTLIMIT_MEMBYTES=300000000"), stdout: "Max data size             300000000 "},
	{args: "softlimit -c - LIMITS", root: true, stdout: "Max core file size        unlimited            unlimited "},
	{args: "softlimit true", env: env(path, "SOFTLIMIT_CPUSECS=x"), code: 100, stderr: "softlimit: usage: softlimit" + softlimitOptions + "\n"},
}

func TestEncore(t *testing.T) {
	t.Parallel()
	upkeep := program(t)
	for _, c := range encoreCases {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			if c.root && os.Geteuid() != 0 {
				t.Skip("only root can do it")
			}
			p := peerCase{args: c.args, tree: c.tree, env: c.env}
			got := p.observe(t, func(cmd clitest.Cmd) clitest.Result {
				cmd.Env = append(cmd.Env, "UPKEEP_DIALECT=encore")
				return clitest.At(t, upkeep, cmd)
			})
			if got.Code != c.code || got.Stderr != c.stderr || !strings.Contains("\n"+got.Stdout, "\n"+c.stdout) {
				t.Errorf("%s\n got %v\nwant exit %d, stdout with %q, stderr %q", c.args, got, c.code, c.stdout, c.stderr)
			}
		})
	}
}

func TestINI(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                          "",
		"A=1":                       "A=1;",
		"A=1\nB=2\n":                "A=1;B=2;",
		"  A \t=\t 1 2 \r\n":        "A=1 2;",
		"A":                         "",
		"A B=1":                     "",
		"A=":                        "A=;",
		"=x":                        "=x;",
		"A=b=c":                     "A=b=c;",
		`A="b"`:                     `A="b";`,
		"; A=1\n#B=2":               "#B=2;",
		"[s]\nA=1\n[]\nB=2":         "s_A=1;_B=2;",
		"[ s ]\nA=1":                " s _A=1;",
		"[s\nA=1":                   "A=1;",
		"[s]x=1\nA=1":               "[s]x=1;A=1;",
		"[\nA=1":                    "A=1;",
		"\n\n \t\n[a]\n\n;\n x = y": "a_x=y;",
	} {
		got := ""
		parseINI(text, func(name, value string) { got += name + "=" + value + ";" })
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
