package logger

import (
	"testing"

	"upkeep/compat/cli"
	"upkeep/compat/cli/clitest"
)

func TestMain(m *testing.M) {
	clitest.Main(m, map[string]cli.Applet{"multilog": Multilog, "s6-log": S6Log, "svlogd": Svlogd})
}
