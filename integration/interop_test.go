package integration

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"upkeep/supervise/status"
)

// TestInterop is all there is between the clients and the supervisors of
// daemontools 0.76 and ours.
func TestInterop(t *testing.T) {
	t.Parallel()
	playScenes(t, "daemontools", []cast{
		{name: "real client, real supervisor", client: peer, server: peer},
		{name: "our client, real supervisor", client: ours, server: peer},
		{name: "real client, our supervisor", client: peer, server: ours},
		{name: "our client, our supervisor", client: ours, server: ours},
		{name: "real client, our supervisor as daemontools", client: peer, server: ours, dialect: "daemontools", look: checkStateDir},
		{name: "our client, our supervisor as daemontools", client: ours, server: ours, dialect: "daemontools", look: checkStateDir},
	}, func(string, cast) bool { return false })
}

// checkStateDir holds a state directory to section 2.1 of daemontools.md: these
// files and no others. What begins with a dot is not seen by ls.
func checkStateDir(t testing.TB, dir string) {
	t.Helper()
	want := map[string]fs.FileMode{
		"control": fs.ModeNamedPipe | 0o600, "lock": 0o600, "ok": fs.ModeNamedPipe | 0o600, "status": 0o644,
	}
	entries, err := os.ReadDir(filepath.Join(dir, "supervise"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name()[0] == '.' {
			continue
		}
		st, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if mode, ok := want[e.Name()]; !ok || mode != st.Mode() {
			t.Errorf("%s has %s with mode %v", dir, e.Name(), st.Mode())
		}
		delete(want, e.Name())
		if e.Name() == "status" && st.Size() != status.DaemontoolsSize {
			t.Errorf("%s has a status of %d bytes", dir, st.Size())
		}
	}
	if len(want) > 0 {
		t.Errorf("%s lacks %v", dir, want)
	}
}
