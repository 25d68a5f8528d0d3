package spawn

import "testing"

// TestVars: a process has its own variables in the place of others', beside those of its
// sockets, and its own pid in both.
func TestVars(t *testing.T) {
	both(t, func(t *testing.T, s *Spawner) {
		given, err := NewVars("", "WATCHDOG_PID=1", "NOTIFY_SOCKET=@other", "WATCHDOG=kept", "LISTEN_PID=2")
		if err != nil {
			t.Fatal(err)
		}
		s.env = given.over(s.env)
		vars, err := NewVars("WATCHDOG_PID", "WATCHDOG_USEC=5", "NOTIFY_SOCKET=@x")
		if err != nil {
			t.Fatal(err)
		}
		sockets, err := s.Sockets(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		const script = `echo "$NOTIFY_SOCKET $WATCHDOG_USEC $WATCHDOG"
			[ "$WATCHDOG_PID" = $$ ] || echo "WATCHDOG_PID is $WATCHDOG_PID, not $$"
			env | grep -c '^WATCHDOG\|^NOTIFY'
			[ "$LISTEN_PID" = $$ ] && echo both
			exit 0`
		for _, c := range []struct {
			sockets *Sockets
			want    string
		}{{nil, "@x 5 kept\n4\n"}, {sockets, "@x 5 kept\n4\nboth\n"}, {nil, "@x 5 kept\n4\n"}} {
			got := output(t, s, t.TempDir(), script, func(r *Request) { r.Vars, r.Sockets = vars, c.sockets })
			if got != c.want {
				t.Errorf("it found %q, want %q", got, c.want)
			}
		}
		if _, err := NewVars("", "A=\x00"); err == nil {
			t.Error("a zero in a variable")
		}
	})
}
