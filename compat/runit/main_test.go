package runit

import (
	"testing"

	"upkeep/compat/cli"
	"upkeep/compat/cli/clitest"
)

func TestMain(m *testing.M) {
	clitest.Main(m, map[string]cli.Applet{
		"sv": Sv, "runsvctrl": Runsvctrl, "runsvstat": Runsvstat, "svwaitup": Svwaitup, "svwaitdown": Svwaitdown,
		"utmpset": Utmpset, "runsvchdir": Runsvchdir, "runit-init": RunitInit,
	})
}
