package listen

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParse(t *testing.T) {
	t.Parallel()
	usual := Socket{Type: unix.SOCK_STREAM, Backlog: mostBacklog, Mode: usualMode, UID: -1, GID: -1}
	with := func(text string, change func(*Socket)) Socket {
		s := usual
		s.Text = text
		change(&s)
		return s
	}
	v6 := "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01"
	for line, want := range map[string]Socket{
		"80":                      with("80", func(s *Socket) { s.At.Port = 80 }),
		"*:80":                    with("*:80", func(s *Socket) { s.At.Port = 80 }),
		" tcp:127.0.0.1:80\t":     with("tcp:127.0.0.1:80", func(s *Socket) { s.At = Address{"\x7f\x00\x00\x01", "", 80} }),
		"udp:[2001:db8::1]:53":    with("udp:[2001:db8::1]:53", func(s *Socket) { s.At, s.Type = Address{v6, "", 53}, unix.SOCK_DGRAM }),
		"[2001:db8::1%eth0]:53":   with("[2001:db8::1%eth0]:53", func(s *Socket) { s.At = Address{v6, "eth0", 53} }),
		"web=8080 backlog=5":      with("web=8080 backlog=5", func(s *Socket) { s.Name, s.At.Port, s.Backlog = "web", 8080, 5 }),
		"/run/x":                  with("/run/x", func(s *Socket) { s.Path = "/run/x" }),
		"/run/x=y":                with("/run/x=y", func(s *Socket) { s.Path = "/run/x=y" }),
		"@hidden":                 with("@hidden", func(s *Socket) { s.Path = "@hidden" }),
		"unix-dgram:/dev/log":     with("unix-dgram:/dev/log", func(s *Socket) { s.Path, s.Type = "/dev/log", unix.SOCK_DGRAM }),
		"unix-seqpacket:@a":       with("unix-seqpacket:@a", func(s *Socket) { s.Path, s.Type = "@a", unix.SOCK_SEQPACKET }),
		"unix:/x mode=660":        with("unix:/x mode=660", func(s *Socket) { s.Path, s.Mode = "/x", 0o660 }),
		"/x  owner=7:8 mode=0600": with("/x owner=7:8 mode=0600", func(s *Socket) { s.Path, s.Mode, s.UID, s.GID = "/x", 0o600, 7, 8 }),
		"/x owner=7":              with("/x owner=7", func(s *Socket) { s.Path, s.UID = "/x", 7 }),
	} {
		list, err := Parse("# a remark\n\n" + line + "\n")
		if err != nil || len(list) != 1 || list[0] != want {
			t.Errorf("%q: %+v, %v", line, list, err)
		}
	}
	for text, want := range map[string]string{
		"80\n\n80":                          "line 3: twice the same",
		"x":                                 `line 1: not a port: "x"`,
		"tcp:1.2.3.4:0":                     `line 1: not a port: "0"`,
		"tcp:1.2.3.4:65536":                 `line 1: not a port: "65536"`,
		"tcp:host:80":                       `line 1: not a numeric address: "host"`,
		"tcp:1.2.3.04:80":                   `line 1: not a numeric address: "1.2.3.04"`,
		"[1.2.3.4]:80":                      `line 1: not a numeric address: "[1.2.3.4]"`,
		"::1:80":                            `line 1: not a numeric address: "::1"`,
		"unix:x":                            "line 1: not an absolute path",
		"unix:/":                            "line 1: not an absolute path",
		"@":                                 "line 1: not an absolute path",
		"/" + strings.Repeat("x", 107):      "line 1: the path is too long for a socket",
		"80 mode=600":                       `line 1: not an option of this socket: "mode=600"`,
		"@x owner=1":                        `line 1: not an option of this socket: "owner=1"`,
		"/x owner=me":                       `line 1: not an option of this socket: "owner=me"`,
		"/x owner=1:-2":                     `line 1: not an option of this socket: "owner=1:-2"`,
		"/x mode=9":                         `line 1: not an option of this socket: "mode=9"`,
		"80 backlog=0":                      `line 1: not an option of this socket: "backlog=0"`,
		"80 81":                             `line 1: not an option of this socket: "81"`,
		"80 " + strings.Repeat("x", 300):    "line 1: too long",
		numbers(1000, 65):                   "line 65: more than 64 sockets",
		numbers(1000, 3) + "# a\n" + "oops": `line 5: not a port: "oops"`,
	} {
		if list, err := Parse(text); err == nil || err.Error() != want {
			t.Errorf("%q: %+v, %v, want %q", text, list, err, want)
		}
	}
	if list, err := Parse("#\n \n"); list != nil || err != nil {
		t.Errorf("nothing is %v, %v", list, err)
	}
}

func numbers(from, n int) string {
	text := ""
	for i := range n {
		text += string(rune('0'+from/1000)) + string(rune('0'+i/100%10)) + string(rune('0'+i/10%10)) + string(rune('0'+i%10)) + "\n"
	}
	return text
}

// FuzzAddress compares our reading of addresses with the standard library's.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{
		"1.2.3.4", "01.2.3.4", "1.2.3", "::", "::1", "1::", "2001:db8::1%eth0", "::ffff:1.2.3.4", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::",
		"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7:8:9", ":::", "1::2::3", "fe80::1%", "12345::", "::1.2.3.4:5", "1.2.3.4::", ":1", "1:", "+1::", "::%x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := netip.ParseAddr(s)
		v4, ok4 := parseV4(s)
		v6, zone, ok6 := parseV6(s)
		if ok4 != (err == nil && want.Is4()) || ok6 != (err == nil && want.Is6()) {
			t.Fatalf("%q: %v %v, want %v, %v", s, ok4, ok6, want, err)
		}
		if b := want.AsSlice(); ok4 && v4 != string(b) || ok6 && (v6 != string(b) || zone != want.Zone()) {
			t.Fatalf("%q: %x %x %q, want %v", s, v4, v6, zone, want)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("web=tcp:127.0.0.1:80 backlog=7\n# x\nunix:/x mode=600 owner=1:2\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := Parse(text)
		if err != nil {
			return
		}
		for _, s := range list {
			again, err := Parse(s.Text)
			if err != nil || len(again) != 1 || again[0] != s {
				t.Fatalf("%q is %+v, and then %+v, %v", s.Text, s, again, err)
			}
		}
	})
}

func one(t *testing.T, line string) Socket {
	t.Helper()
	list, err := Parse(line)
	if err != nil {
		t.Fatal(err)
	}
	return list[0]
}

func open(t *testing.T, line string) int {
	t.Helper()
	s := one(t, line)
	fd, err := s.Open()
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if fd < First+Most {
		t.Errorf("%s is descriptor %d", line, fd)
	}
	return fd
}

func TestOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	open(t, "unix:"+path+" mode=640")
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	taken := one(t, path)
	if _, err := taken.Open(); err != unix.EADDRINUSE {
		t.Errorf("a path in use gives %v", err)
	}
	// A socket that nobody has is in nobody's way, a file is.
	old := filepath.Join(dir, "old")
	fd := open(t, "unix:"+old)
	unix.Close(fd)
	open(t, "unix:"+old)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	inTheWay := one(t, file)
	if _, err := inTheWay.Open(); err != unix.EADDRINUSE {
		t.Errorf("a file in the way gives %v", err)
	}
	used, other, node := one(t, path), one(t, old), taken.Node()
	used.Remove(Node{})
	if used.Remove(other.Node()); used.Node() != node {
		t.Error("the path of another one was removed")
	}
	if used.Remove(node); used.Node() != (Node{}) {
		t.Error("the path is there")
	}

	for _, kind := range []struct {
		prefix string
		want   int
	}{{"unix-dgram:", unix.SOCK_DGRAM}, {"unix-seqpacket:", unix.SOCK_SEQPACKET}} {
		fd := open(t, kind.prefix+filepath.Join(dir, kind.prefix[:len(kind.prefix)-1]))
		if got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); got != kind.want || err != nil {
			t.Errorf("%s is of type %d, %v", kind.prefix, got, err)
		}
	}
}

func TestOpenIP(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.3.2.1:0") // where nobody else takes ports
	if err != nil {
		t.Skip("no loopback interface:", err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s := one(t, "127.3.2.1:"+port)
	if _, err := s.Open(); err != unix.EADDRINUSE {
		t.Errorf("a port in use gives %v", err)
	}
	l.Close()
	open(t, "127.3.2.1:"+port)
	c, err := net.Dial("tcp", "127.3.2.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
