package filters

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"upkeep/compat/cli"
	"upkeep/compat/cli/clitest"
)

func TestMain(m *testing.M) {
	clitest.Main(m, map[string]cli.Applet{"tai64n": Tai64n, "tai64nlocal": Tai64nlocal})
}

const sample = "@4000000037c219bf2ef02e94"

// TestLocalPeer has ours and the real tai64nlocal read the same.
func TestLocalPeer(t *testing.T) {
	t.Parallel()
	for _, zone := range []string{"", "UTC", "Europe/Vienna", "America/New_York", "Asia/Kolkata", ":Europe/Vienna",
		"CET-1CEST,M3.5.0,M10.5.0/3", "<+0330>-3:30", "AAA3BBB,M10.1.0/1:30,J60/5", "XYZ-14", "nonsense", "12"} {
		for _, text := range []string{
			"", "\n", "plain\n", "no newline", sample + " x\n", sample + "\n" + sample + " y\nz\n", " " + sample + "\n",
			sample, sample + "X", "@400000000000000affffffff x\n", "@4000000065920080000001f4 x\n",
			"@3fffffff00000000000001f4 x\n", "@4000000165920080000001f4 x\n", sample + strings.Repeat("x", 70000) + "\n", "a\x00b\n" + sample + "\x00\n",
		} {
			want := pass(t, clitest.Find(t, "daemontools", "tai64nlocal"), "tai64nlocal", zone, text)
			if got := pass(t, "/proc/self/exe", "tai64nlocal", zone, text); got != want {
				t.Errorf("TZ=%s %.60q\n ours %.90q\ntheir %.90q", zone, text, got, want)
			}
		}
	}
}

// TestLocalOdd is what the original crashes at.
func TestLocalOdd(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"@\n", "@ x\n", "@4000\n", sample + "0 x\n", sample + strings.Repeat("a", 90000) + "\n", "@@\n", "@", "@12", "@A\n"} {
		if got := localized(text); got != text {
			t.Errorf("%.60q: %.60q", text, got)
		}
	}
}

func TestTai64n(t *testing.T) {
	t.Parallel()
	label := regexp.MustCompile(`(?m)^@([0-9a-f]{24}) `)
	for _, text := range []string{"", "\n", "a\n\nb\x00", "a", strings.Repeat("x", 50000) + "\ny\n"} {
		for name, exe := range map[string]string{"ours": "/proc/self/exe", "theirs": clitest.Find(t, "daemontools", "tai64n")} {
			got := pass(t, exe, "tai64n", "UTC", text)
			for _, m := range label.FindAllStringSubmatch(got, -1) {
				b := appendFraction(appendSecond(nil, []byte(m[1][:seconds]), time.UTC), []byte(m[1][seconds:]))
				at, err := time.Parse("2006-01-02 15:04:05.999999999", string(b))
				if age := time.Since(at); err != nil || age < -time.Minute || age > time.Hour || !strings.HasSuffix(string(b), "500") {
					t.Errorf("%s: %s is %s, %v", name, m[1], b, err)
				}
			}
			if plain := label.ReplaceAllString(got, ""); plain != "exit 0\n"+text || strings.Count(got, "@") != strings.Count(text, "\n")+tail(text) {
				t.Errorf("%s: %.60q: %.90q", name, text, got)
			}
		}
	}
}

// tail is 1 for a last line without newline.
func tail(text string) int {
	if text == "" || strings.HasSuffix(text, "\n") {
		return 0
	}
	return 1
}

func FuzzLocal(f *testing.F) {
	f.Add(sample + " x\n")
	f.Add("@\n@@" + sample)
	f.Fuzz(func(t *testing.T, text string) {
		got := localized(text)
		if strings.Count(got, "\n") != strings.Count(text, "\n") {
			t.Errorf("%q: %q", text, got)
		}
	})
}

// localized is what becomes of a text, however it comes.
func localized(text string) string {
	whole := localizer{zone: time.UTC}
	l, out := whole, []byte(nil)
	for i := range len(text) {
		out = l.step(out, []byte(text[i:i+1]))
	}
	out = l.end(out)
	if atOnce := string(whole.end(whole.step(nil, []byte(text)))); atOnce != string(out) {
		return "at once " + atOnce + " but byte by byte " + string(out)
	}
	return string(out)
}

// pass is what a filter makes of a text, after how it ended.
func pass(t *testing.T, exe, name, zone, text string) string {
	t.Helper()
	cmd := exec.Command(exe)
	cmd.Args[0] = name
	cmd.Env = []string{"UPKEEP_TEST_APPLET=" + name, "TZ=" + zone}
	cmd.Stdin = strings.NewReader(text)
	out, _ := cmd.Output()
	return strings.Replace(cmd.ProcessState.String(), "exit status", "exit", 1) + "\n" + string(out)
}
