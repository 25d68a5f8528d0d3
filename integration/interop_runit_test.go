package integration

import "testing"

// TestRunit has runit's sv steer our scanner. Its measure is runsvdir.
func TestRunit(t *testing.T) {
	t.Parallel()
	runsvdir := func(t testing.TB, name string) string {
		return peer(t, map[string]string{"svscan": "runsvdir", "supervise": "runsv"}[name])
	}
	// What a status file can say in one way only, and daemontools says otherwise.
	conflicts := map[string]bool{"sv_once": true, "sv_exit": true}
	playScenes(t, "runit", []cast{
		{name: "sv, runsvdir", client: peer, server: runsvdir},
		{name: "sv, our svscan", client: peer, server: ours},
		{name: "sv, our svscan as runit", client: peer, server: ours, dialect: "runit"},
	}, func(scene string, c cast) bool { return conflicts[scene] && c.name == "sv, our svscan" })
}
