package conf2dir

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The messages of pmtr.md, sections 2.3 to 2.7 and 7, by hand.
func TestComplaints(t *testing.T) {
	t.Parallel()
	const file = "pmtr.conf"
	job := func(options string) string { return "job {\nname a\ncmd /bin/x\n" + options + "\n}\n" }
	at := func(line int) string { return "error in pmtr.conf line " + strconv.Itoa(line) + " " }
	for _, c := range []struct{ text, want string }{
		// Tokens.
		{"foo", at(1)},
		{"\n\n# remark\n foo", at(4)},
		{"job{\nname a\n}\n", at(1)},
		{"jobs {\nname a\n}\n", at(1)},
		{"Job {\nname a\n}\n", at(1)},
		{"job {\nNAME a\n}\n", at(2)},
		{"job { name a\n}\n", at(1)},
		{"job { # }\nname a\n}", ""},
		{"job\n{\nname a\ncmd /bin/x\n}", ""},
		{"job {\nname a\ncmd /bin/x\n} job {\n", "error in pmtr.conf line 4 "},
		{"job {\nname a\ncmd /bin/x }\n}\n", ""}, // that brace is an argument
		{job("dir \"/a b\""), at(4)},
		{"job {\nname \"a b\"\n}", at(2)},
		{"job {\nname a\ncmd \"/bin/x\"\n}", at(3)},
		{job("env A=\"x\""), ""},
		{job("env A=\"x y\""), at(4)},
		{job("env \"A=x\""), at(4)},
		{"job {\nname a\ncmd /bin/echo from a to b\n}", at(3)},
		{"job {\nname a\ncmd /bin/echo on\n}", at(3)},
		{"job {\nname a\ncmd /bin/echo every\n}", at(3)},
		{"job {\nname a\ncmd /bin/echo {\n}", at(3)},
		{"job {\nname a\ncmd /bin/echo \"to\" \"on\" \"{\"\n}", ""},
		{"job {\nname on\n}", at(2)},
		{"job {\nname job\n}", ""},
		{"job {\nname a\nuser user\n}", ""},
		{"job {\nname a\ncmd /bin/echo \"open\n}", "syntax error in pmtr.conf line 3"},
		{"job {\nname a\ncmd /bin/echo \"open", "syntax error in pmtr.conf line 3"},
		{"\"a", "syntax error in pmtr.conf line 1"},
		{"job {\nname a\x00b\n}", "syntax error in pmtr.conf line 2"},
		{"job {\nname a\ncmd /bin/x \"a\x00b\"\n}", "syntax error in pmtr.conf line 3"},
		{"# \x00 in a remark\n", ""},
		{"job {\rname a\r}", at(1)}, // only LF ends a line
		{"job {\r\nname a\r\ncmd /bin/x\r\n}\r\n", ""},
		{"\uFEFFjob {\nname \u00e4\xff\n}", ""},
		{"job\v{\nname a\n}", at(1)},

		// Grammar.
		{"", ""},
		{"# nothing", ""},
		{"job", at(1)},
		{"job\n", at(2)},
		{"job {", at(1)},
		{"job {\n}\n", at(2)},
		{"job {\nname a\n", at(3)},
		{"job {\nname a\n\n# end\n", at(5)},
		{"job {\nname a\n}\n}\n", at(4)},
		{"job {\njob {\nname a\n}\n}", at(2)},
		{"job {\nname a\nlisten on udp://1.2.3.4:5\n}", at(3)},
		{"job {\nname\n}", at(3)},
		{"job {\ncmd\n}", at(3)},
		{"name a\n", at(1)},
		{job("wait 5"), at(4)},
		{job("disable yes"), at(4)},
		{job("wait once"), at(4)},
		{job("wait\nonce\ndisable"), ""},
		{job("wait\nwait"), ""},
		{job("dir /a b"), at(4)},
		{job("restart always"), ""}, // arguments of cmd
		{"job {\nname a\nrestart always\ncmd /bin/x\n}", at(3)},
		{job("bounce 5s"), at(4)},
		{job("bounce every"), at(5)},
		{job("depends /a"), at(4)},
		{job("depends {\n}"), at(5)},
		{job("depends {\n/a\n}"), ""},
		{job("depends { a }"), at(6)}, // the job's brace closes the block
		{job("depends {\nin\n}"), at(5)},
		{job("depends {\n./in b\nc }\n}"), ""},
		{job("ulimit {\n}"), ""},
		{job("ulimit { -n 10\n-c 5\n}"), ""},
		{job("ulimit { -n 10 }\n}"), at(5)},
		{job("ulimit -n"), at(5)},
		{"report udp://1.2.3.4:5", at(1)},
		{"listen to udp://1.2.3.4:5", at(1)},
		{"report on udp://1.2.3.4:5", at(1)},
		{"listen on", at(1)},
		{"listen on \"udp://1.2.3.4:5\"", at(1)},

		// Values.
		{"job {\ncmd /bin/x\n}\n", "job has no name"},
		{job("env A"), "environment string must be VAR=VALUE"},
		{job("env A="), ""},
		{job("env =x"), ""},
		{job("env A=b=c"), ""},
		{job("order abc"), "non-numeric order parameter"},
		{job("order -"), "non-numeric order parameter"},
		{job("order 7up"), ""},
		{job("order -100\norder 999999\norder +5"), ""},
		{job("nice high"), "non-numeric nice parameter"},
		{job("nice -21"), "nice out of range -20 to 19"},
		{job("nice 20"), "nice out of range -20 to 19"},
		{job("nice 100"), "nice out of range -20 to 19"},
		{job("nice 99999999999999999999"), "nice out of range -20 to 19"},
		{job("nice -20\nnice -10\nnice 0\nnice 10\nnice 19"), ""},
		{job("bounce every 5"), "invalid time interval in 'bounce every'"},
		{job("bounce every s"), "invalid time interval in 'bounce every'"},
		{job("bounce every abcs"), "invalid time interval in 'bounce every'"},
		{job("bounce every -5s"), "invalid time interval in 'bounce every'"},
		{job("bounce every 99999999999d"), "invalid time interval in 'bounce every'"},
		{job("bounce every 50000d"), "invalid time interval in 'bounce every'"},
		{job("bounce every 15"), "invalid time unit in 'bounce every'"},
		{job("bounce every 10x"), "invalid time unit in 'bounce every'"},
		{job("bounce every 0s"), ""},
		{job("user " + strings.Repeat("u", 99)), ""},
		{job("user " + strings.Repeat("u", 100)), "user name too long"},
		{job("user " + strings.Repeat("u", 199)), "user name too long"},
		{job("ulimit -n abc"), "non-numeric ulimit value"},
		{job("ulimit -n 30k"), "non-numeric ulimit value"},
		{job("ulimit -z abc"), "non-numeric ulimit value"}, // the value first
		{job("ulimit -n 99999999999999999999999"), "non-numeric ulimit value"},
		{job("ulimit -n -2"), "non-numeric ulimit value"},
		{job("ulimit -n infinity"), "ulimit -n must be finite"},
		{job("ulimit -n unlimited"), "ulimit -n must be finite"},
		{job("ulimit RLIMIT_NOFILE -1"), "ulimit -n must be finite"},
		{job("ulimit -z 5"), "unknown ulimit resource -z"},
		{job("ulimit rlimit_core 5"), "unknown ulimit resource rlimit_core"},
		{job("ulimit CORE 5"), "unknown ulimit resource CORE"},
		{job("ulimit {\n-n 10\n-z 5\n}"), "unknown ulimit resource -z"},
		{job("cpu 0x"), "parse error in cpuset"},
		{job("cpu 0xGH"), "invalid hex in cpuset"},
		{job("cpu 0X1"), "syntax error in cpuset"},

		// The line of the token after the option.
		{job("name b"), "name respecified near line 5 in pmtr.conf "},
		{job("name b\n\n# so\n"), "name respecified near line 8 in pmtr.conf "},
		{job("dir /a\ndir /b"), "dir respecified near line 6 in pmtr.conf "},
		{job("out /a\nout /a"), "out respecified near line 6 in pmtr.conf "},
		{job("err /a\nerr /b"), "err respecified near line 6 in pmtr.conf "},
		{job("in /a\nin /b"), "in respecified near line 6 in pmtr.conf "},
		{job("cmd /bin/y"), "cmd respecified near line 5 in pmtr.conf "},
		{"listen on tcp://1.2.3.4:5", "required format: udp://1.2.3.4:5678[@eth2] (at line 1)"},
		{"listen on x\n\n\n# end\n", "required format: udp://1.2.3.4:5678[@eth2] (at line 5)"},
		{"report to x\njob {\nname a\n}", "required format: udp://1.2.3.4:5678[@eth2] at line 2"},

		// Two in one.
		{job("name b c"), "name respecified near line 4 in pmtr.conf " + at(4)},
		{"job {\nname a\nname b c\n}", "name respecified near line 3 in pmtr.conf " + at(3)},
		{job("bounce every 1 d"), "invalid time interval in 'bounce every'" + at(4)},
		{job("nice high mountain"), "non-numeric nice parameter" + at(4)},
		{"job {\ncmd /bin/x\n}\nfoo", "job has no name" + at(4)},
		{"listen on x y", "required format: udp://1.2.3.4:5678[@eth2] (at line 1)" + at(1)},
		{job("nice high \"open"), "syntax error in pmtr.conf line 4"},
		{job("ulimit -n x y"), "non-numeric ulimit value" + at(4)},
		{job("ulimit {\n-n x \"y\"\n}"), "non-numeric ulimit value" + at(5)},
		{job("nice high") + "job {", "non-numeric nice parameter"}, // the first ends it
	} {
		_, complaint := Parse(file, c.text)
		got := ""
		if complaint != nil {
			got = complaint.Text
		}
		if got != c.want {
			t.Errorf("%q:\n got %q\nwant %q", c.text, got, c.want)
		}
	}
}

func TestCPU(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0": "0", "0-3": "0-3", "0,2,4": "0,2,4", "0,2-4,8": "0,2-4,8", "63": "63", "3,1,2": "1-3", "1023": "1023",
		"300": "300", "64-130": "64-130",
		"0x1": "0", "0xf": "0-3", "0xff": "0-7", "0xAB": "0-1,3,5,7", "0x0": "", "0x" + strings.Repeat("0", 300) + "5": "0,2",
		"0x1" + strings.Repeat("0", 256): "", // bit 1024
		"0x":                             "!", "0xGH": "!", "5-3": "!", "0--3": "!", "0,": "!", "5-5": "!", ",0": "!", "0,,2": "!", "abc": "!",
		"1024": "!", "0-1024": "!", "-1": "!", "1-": "!", "1 ": "!", "+1": "!", "": "!",
	} {
		var s CPUSet
		got := ""
		if complaint := s.parse(text); complaint != "" {
			got = "!"
		} else {
			got = s.String()
			var again CPUSet
			if again.parse(s.Mask()) != "" || !slices.Equal(again, s) {
				t.Errorf("%s: mask %s is %s", text, s.Mask(), again.String())
			}
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestInterval(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"30s": 30, "5m": 300, "1h": 3600, "2h": 7200, "1d": 86400, "30d": 2592000, "1s": 1, "0s": 0, "1x0s": 1, "1.5h": 3600,
	} {
		if got, complaint := interval(text); got != want || complaint != "" {
			t.Errorf("%s: %d, %s", text, got, complaint)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for entry := range strings.FieldsSeq(limitNames) {
		a, err1 := parseLimit("-"+entry[:1], "5000000000")
		b, err2 := parseLimit("RLIMIT_"+entry[1:], "+5000000000")
		if a != b || a.Value != 5000000000 || a.Flag != entry[0] || a.Resource() != entry[1:] || err1+err2 != "" {
			t.Errorf("%s: %v %v %s %s", entry, a, b, err1, err2)
		}
		if entry[0] == 'n' {
			continue
		}
		for _, word := range []string{"infinity", "unlimited", "-1"} {
			if l, err := parseLimit("-"+entry[:1], word); l.Value != Unlimited || l.ValueString() != "unlimited" || err != "" {
				t.Errorf("%s %s: %v, %s", entry, word, l, err)
			}
		}
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string]Address{
		"udp://127.0.0.1:9999":  {Host: "127.0.0.1", Port: 9999},
		"udp://0.0.0.0:0":       {Host: "0.0.0.0"},
		"udp://h:65535":         {Host: "h", Port: 65535},
		"udp://127.0.0.1":       {Host: "127.0.0.1"},
		"udp://239.0.0.1:5@eth": {Host: "239.0.0.1", Port: 5, Iface: "eth"},
		"udp://239.0.0.1@eth":   {Host: "239.0.0.1", Iface: "eth"},
	} {
		want.Spec = spec
		if a, ok := parseAddress(spec); !ok || a != want {
			t.Errorf("%s: %+v, %v", spec, a, ok)
		}
	}
	for _, spec := range []string{"127.0.0.1:5", "tcp://1.2.3.4:5", "udp:1.2.3.4:5", "udp://h:-1", "udp://h:99999", "udp://h:65536",
		"udp://h:5x", "udp://h:", "udp://h:x", "free", "", "udp://h:+5"} {
		if a, ok := parseAddress(spec); ok {
			t.Errorf("%s: %+v", spec, a)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	all := func(text string) (words []string) {
		s := newScanner(text)
		for {
			tok, ok := s.scan()
			switch {
			case !ok:
				return append(words, "!"+strconv.Itoa(tok.at.Line))
			case tok.kind == tokenEOF:
				return words
			case tok.kind == tokenWord:
				words = append(words, tok.text)
			case tok.kind == tokenQuoted:
				words = append(words, "\""+tok.text+"\"")
			default:
				words = append(words, "<"+tok.kind.spelling()+">")
			}
		}
	}
	for k := tokenJob; k <= tokenCPU; k++ {
		word := k.spelling()
		for text, want := range map[string][]string{
			word: {"<" + word + ">"}, " \t" + word + "\n": {"<" + word + ">"}, "x\n" + word: {"x", "<" + word + ">"},
			word + "#": {word + "#"}, word + "{": {word + "{"}, word + "\"": {word + "\""},
		} {
			if got := all(text); !slices.Equal(got, want) {
				t.Errorf("%q: %q", text, got)
			}
		}
		inside := word
		if k.anywhere() {
			inside = "<" + word + ">"
		}
		if got := all("x " + word + " y"); !slices.Equal(got, []string{"x", inside, "y"}) {
			t.Errorf("x %s y: %q", word, got)
		}
	}
	for text, want := range map[string][]string{
		"jobs jobname cmdline username": {"jobs", "jobname", "cmdline", "username"},
		"{name {{}}":                    {"{name", "{{}}"},
		"{\n}\n":                        {"<{>", "<}>"},
		`"a b=;#{}" ""`:                 {`"a b=;#{}"`, `""`},
		`"a""b"c`:                       {`"a"`, `"b"`, "c"},
		`p"q r"s`:                       {`p"q`, `r"s`},
		"one#two #three\nfour":          {"one#two", "four"},
		`"a"#b`:                         {`"a"`},
		"x \"a\nb\"":                    {"x", "!1"},
		"\n\n\"a":                       {"!3"},
		" \t\r\n\n# r\n  x":             {"x"},
		"/usr/bin/name":                 {"/usr/bin/name"},
		"a\vb\fc\u00a0d":                {"a\vb\fc\u00a0d"},
		"# end":                         nil,
		"a\\\"b":                        {"a\\\"b"},
		strings.Repeat("k", 1000):       {strings.Repeat("k", 1000)},
	} {
		if got := all(text); !slices.Equal(got, want) {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// The facts of pmtr.md, section 5.2, on files and jobs.
func TestJobs(t *testing.T) {
	t.Parallel()
	f, complaint := Parse("f", `# a full one
report to udp://127.0.0.1:1
job {
	name full	# remark
	cmd /bin/sh -c "echo a; b" "" "#"
	dir /tmp
	out /o
	err /e
	in syslog
	user nobody
	env A=1
	env B==
	order -5
	nice -20
	cpu 0-1
	ulimit -n 10
	ulimit {
		RLIMIT_CORE unlimited
		-c 5
	}
	bounce every 5m
	depends {
		/a b
	}
	depends {
		./c
	}
	disable
	wait
	once
}
listen on udp://0.0.0.0
job {
name x
cmd /bin/x
}
report to udp://h:2@eth0
job {
name 7.
cmd /bin/y
order 3
}
job {
name x
cmd /bin/z
order -100
}`)
	if complaint != nil {
		t.Fatal(complaint)
	}
	j := f.Job("full")
	if !slices.Equal(j.Cmd, []string{"/bin/sh", "-c", "echo a; b", "", "#"}) || j.Dir != "/tmp" || j.Out != "/o" || j.Err != "/e" ||
		j.In != Syslog || j.User != "nobody" || !slices.Equal(j.Env, []string{"A=1", "B=="}) || j.Order != -5 || j.Nice != -20 || !j.HasNice ||
		j.CPU.String() != "0-1" || len(j.Limits) != 3 || j.Limits[2] != (Limit{'c', 5}) || j.Bounce != 300 ||
		!slices.Equal(j.Depends, []string{"/a", "b", "./c"}) || !j.Disable || !j.Wait || !j.Once || j.At != (Pos{3, 1}) || len(j.Options) != 20 ||
		j.Options[1] != (Option{"cmd", Pos{5, 2}}) {
		t.Errorf("%+v", j)
	}
	var order []string
	for _, j := range f.StartOrder() {
		order = append(order, j.Name+strconv.Itoa(j.At.Line))
	}
	if got := strings.Join(order, " "); got != "x43 full3 x33 7.38" {
		t.Errorf("start order %s", got)
	}
	if f.Job("x").Cmd[0] != "/bin/x" || f.Job("X") != nil || len(f.Jobs) != 4 || len(f.Listen) != 1 || len(f.Report) != 2 || f.Report[1].At.Line != 37 {
		t.Errorf("%+v", f)
	}
	plain := f.Job("x")
	if plain.Disable || plain.Wait || plain.Once || plain.HasNice || plain.Order != 0 || plain.Bounce != 0 || !plain.CPU.Empty() {
		t.Errorf("%+v", plain)
	}
	// A copy has all fields; a change of any is seen.
	copied := j.Clone()
	if !copied.Same(j) || !j.Same(j) || copied.Same(plain) {
		t.Error("same?")
	}
	for name, change := range map[string]func(j *Job){
		"name": func(j *Job) { j.Name = "b" }, "program": func(j *Job) { j.Cmd[0] = "b" }, "argument": func(j *Job) { j.Cmd[3] = "b" },
		"arguments": func(j *Job) { j.Cmd = j.Cmd[:3] }, "dir": func(j *Job) { j.Dir = "b" }, "no dir": func(j *Job) { j.Dir = "" },
		"out": func(j *Job) { j.Out = "b" }, "err": func(j *Job) { j.Err = "b" }, "in": func(j *Job) { j.In = "b" },
		"user": func(j *Job) { j.User = "b" }, "env": func(j *Job) { j.Env[0] = "A=2" }, "envs": func(j *Job) { j.Env = j.Env[:1] },
		"order of env": func(j *Job) { slices.Reverse(j.Env) }, "order": func(j *Job) { j.Order++ }, "nice": func(j *Job) { j.Nice = 0 },
		"no nice": func(j *Job) { j.HasNice = false }, "cpu": func(j *Job) { j.CPU.add(7) }, "ulimit": func(j *Job) { j.Limits[0].Value++ },
		"ulimits": func(j *Job) { j.Limits = j.Limits[:1] }, "order of ulimit": func(j *Job) { slices.Reverse(j.Limits) },
		"bounce": func(j *Job) { j.Bounce++ }, "depends": func(j *Job) { j.Depends[0] = "/b" }, "disable": func(j *Job) { j.Disable = false },
		"wait": func(j *Job) { j.Wait = false }, "once": func(j *Job) { j.Once = false },
		"shifted": func(j *Job) { j.Dir, j.In = j.In, j.Dir },
	} {
		changed := j.Clone()
		change(changed)
		if changed.Same(j) || !copied.Same(j) {
			t.Errorf("%s: the change is not seen, or the copy shares it", name)
		}
	}
	moved, _ := Parse("f", "\n\njob {\n cmd /bin/x # remark\n\n name x\n}")
	if !moved.Job("x").Same(plain) {
		t.Error("places and the order of options must not count")
	}
}

func TestManyJobs(t *testing.T) {
	t.Parallel()
	text := ""
	for i := range 50 {
		text += "job {\nname j" + strconv.Itoa(i) + "\ncmd /bin/x\n}\n"
	}
	if f, complaint := Parse("f", text); complaint != nil || len(f.Jobs) != 50 {
		t.Error(complaint)
	}
}

func TestRemarks(t *testing.T) {
	t.Parallel()
	job := func(options string) string { return "job {\nname a\n" + options + "\n}\n" }
	for text, want := range map[string]string{
		job("cmd /bin/x"):                            "",
		job("disable"):                               "1 job a: has no cmd and is not started",
		job("cmd /bin/x") + job("cmd /bin/y"):        "5 job a: there is a job of that name above",
		job("cmd /bin/x\nonce\nbounce every 5s"):     "1 job a: once: is not started again after bounce has ended it",
		job("cmd /bin/x\nin syslog"):                 "1 job a: in: nothing can be read from syslog",
		job("cmd /bin/x\nuser 1000"):                 "1 job a: user: 1000 is taken for a name, not for a number",
		job("cmd /bin/x\nbuonce every_5s"):           "4 buonce is an argument of cmd here; is bounce meant?",
		job("cmd /bin/x\nDir /a"):                    "4 Dir is an argument of cmd here; is dir meant?",
		job("cmd /bin/x\ndisabled"):                  "4 disabled is an argument of cmd here; is disable meant?",
		job("cmd /bin/x\nweit"):                      "4 weit is an argument of cmd here; is wait meant?",
		job("cmd /bin/x weit\n-c\n/wait\n\"weit\""):  "",
		job("cmd /bin/x\nfile\nmore\nstill\nothers"): "",
	} {
		f, complaint := Parse("f", text)
		if complaint != nil {
			t.Error(complaint)
			continue
		}
		var got []string
		for _, r := range f.Remarks {
			got = append(got, strconv.Itoa(r.Line)+" "+r.Text)
		}
		if strings.Join(got, "\n") != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestReadFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if _, err := ReadFile(path); err == nil || err.Error() != "can't open "+path+": No such file or directory" {
		t.Error(err)
	}
	if _, err := ReadFile(dir); err == nil || err.Error() != "read "+dir+" failed: Is a directory" {
		t.Error(err)
	}
	for size, want := range map[int64]string{maxFile: "", maxFile + 1: path + ": file too large (10485761 bytes)"} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		text, err := ReadFile(path)
		if got := err != nil; got != (want != "") || got && err.Error() != want || !got && int64(len(text)) != size {
			t.Error(size, err, len(text))
		}
	}
	if text, err := ReadFile("/proc/version"); text != "" || err != nil { // no size
		t.Errorf("%q %v", text, err)
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	print := func(depends ...string) string {
		t.Helper()
		sum, err := (&Job{Name: "j", Dir: "sub", Depends: depends}).Fingerprint(dir)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("sub/a", "one")
	write("b", "two\x00bytes")
	write("empty", "")
	if print() != "" || print("../empty") != "" {
		t.Error("there is something in nothing")
	}
	first, both := print("a"), print("a", "../b")
	if first == "" || both == first || print("a") != first || print(filepath.Join(dir, "sub/a")) != first {
		t.Error(first, both)
	}
	write("sub/a", "oneX")
	if print("a") == first {
		t.Error("a change is not seen")
	}
	write("sub/a", "onetwo\x00bytes")
	write("b", "")
	if print("a", "../b") == both {
		t.Error("bytes that moved to another file are not seen")
	}
	for _, missing := range []string{"none", "../sub"} {
		_, err := (&Job{Name: "j", Dir: "sub", Depends: []string{"a", missing}}).Fingerprint(dir)
		d, ok := err.(*DependError)
		if !ok || d.Error() != "job j: can't open dependency "+missing || !strings.Contains(d.Err.Error(), dir+"/sub/"+missing) {
			t.Errorf("%s: %v", missing, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "job {\nname a\ncmd /bin/x \"a b\" c\n}\n", "listen on udp://1.2.3.4:5", "report to udp://h@e", "job {\nname a\nulimit {\n-n 5\n}\n}",
		"job {\nname a\ndepends { /a\n}\nbounce every 5m\ncpu 0x5\nuser u\nenv A=b\nnice 5\norder -3\nwait\nonce\ndisable\nin i\nout o\nerr e\ndir d\n}",
		"\uFEFF# \x00", "\"", "job {\nname a\nname b c\n}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		file, complaint := Parse("f", text)
		if (file == nil) == (complaint == nil) {
			t.Fatal("neither, or both")
		}
		if complaint != nil {
			if complaint.Text == "" || complaint.Line < 1 || complaint.Line > strings.Count(text, "\n")+1 {
				t.Errorf("%+v", complaint)
			}
			return
		}
		for _, j := range file.Jobs {
			if j.Name == "" || !j.Same(j.Clone()) || dirName(j.Name) == "" || len(dirName(j.Name)) > longestName {
				t.Errorf("%+v", j)
			}
		}
		// What was read, written again, is the same.
		again, complaint := Parse("f", file.text())
		if complaint != nil {
			t.Fatalf("%q: %v", file.text(), complaint)
		}
		for i, j := range file.Jobs {
			if !j.Same(again.Jobs[i]) {
				t.Errorf("%q becomes\n%q", j.Definition(), again.Jobs[i].Definition())
			}
		}
		for form := Native; form <= S6; form++ {
			services, _ := Compile(file, Options{Form: form, Log: Log(len(text) % 3)})
			dirs := map[string]bool{}
			for _, s := range services {
				if dirs[s.Dir] || s.Dir == "" || s.Dir[0] == '.' || strings.ContainsAny(s.Dir, "/\n ") {
					t.Errorf("directory %q", s.Dir)
				}
				dirs[s.Dir] = true
			}
		}
	})
}

// text writes a configuration.
func (f *File) text() string {
	var b strings.Builder
	for _, j := range f.Jobs {
		b.WriteString("job {\n")
		line := func(words ...string) { b.WriteString(strings.Join(words, " ") + "\n") }
		for _, o := range [][2]string{{"name", j.Name}, {"dir", j.Dir}, {"out", j.Out}, {"err", j.Err}, {"in", j.In}, {"user", j.User}, {"cpu", j.CPU.Mask()}} {
			if o[1] != "" {
				line(o[0], o[1])
			}
		}
		line("order", strconv.Itoa(j.Order))
		line("bounce every", strconv.Itoa(j.Bounce)+"s")
		if j.HasNice {
			line("nice", strconv.Itoa(j.Nice))
		}
		for _, e := range j.Env {
			line("env", e)
		}
		for _, l := range j.Limits {
			line("ulimit", "-"+string(l.Flag), l.ValueString())
		}
		if len(j.Depends) > 0 {
			line("depends {", strings.Join(j.Depends, " "), "\n}")
		}
		for word, set := range map[string]bool{"disable": j.Disable, "wait": j.Wait, "once": j.Once} {
			if set {
				line(word)
			}
		}
		if len(j.Cmd) > 0 {
			b.WriteString("cmd " + j.Cmd[0])
			for _, a := range j.Cmd[1:] {
				if strings.ContainsRune(a, '"') {
					b.WriteString(" " + a)
				} else {
					b.WriteString(" \"" + a + "\"")
				}
			}
			line()
		}
		b.WriteString("}\n")
	}
	return b.String()
}
