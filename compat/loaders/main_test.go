package loaders

import (
	"testing"

	"upkeep/compat/cli"
	"upkeep/compat/cli/clitest"
)

func TestMain(m *testing.M) {
	clitest.Main(m, map[string]cli.Applet{
		"chpst": Chpst, "envdir": Envdir, "envini": Envini, "envuidgid": Envuidgid, "fghack": Fghack,
		"pgrphack": Pgrphack, "setlock": Setlock, "setuidgid": Setuidgid, "setuser": Setuser, "softlimit": Softlimit,
	})
}
