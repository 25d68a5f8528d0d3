package integration

import "testing"

// runitNamed finds the programs of runit for the parts of a scene.
func runitNamed(find func(testing.TB, string) string) func(testing.TB, string) string {
	return func(t testing.TB, name string) string {
		return find(t, map[string]string{"svscan": "runsvdir", "supervise": "runsv"}[name])
	}
}

// runitCasts are all there is between runit and ours.
func runitCasts() []cast {
	return []cast{
		{name: "real sv, real runsvdir", client: peer, server: runitNamed(peer)},
		{name: "our sv, real runsvdir", client: ours, server: runitNamed(peer)},
		{name: "real sv, our runsvdir", client: peer, server: runitNamed(ours)},
		{name: "our sv, our runsvdir", client: ours, server: runitNamed(ours)},
	}
}

// TestRunit has sv steer runsvdir, and our scanner by its other name. Its measure is
// the real runsvdir.
func TestRunit(t *testing.T) {
	t.Parallel()
	// What a status file can say in one way only, and daemontools says otherwise.
	conflicts := map[string]bool{"sv_once": true, "sv_exit": true}
	casts := append(runitCasts(),
		cast{name: "sv, our svscan", client: peer, server: ours},
		cast{name: "sv, our svscan as runit", client: peer, server: ours, dialect: "runit"},
	)
	playScenes(t, "runit", casts, func(scene string, c cast) bool { return conflicts[scene] && c.name == "sv, our svscan" })
}

// TestSv is what there is to see of sv, runsv and runsvdir beyond that, log services
// included.
func TestSv(t *testing.T) {
	t.Parallel()
	playScenes(t, "sv", runitCasts(), func(string, cast) bool { return false })
}
