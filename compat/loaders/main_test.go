package loaders

import (
	"fmt"
	"os"
	"syscall"
	"testing"
)

// scratch is a directory for the whole run, which everyone may enter.
var scratch string

func TestMain(m *testing.M) { os.Exit(inScratch(m)) }

func inScratch(m *testing.M) int {
	dir, err := os.MkdirTemp("", "loaders")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	scratch = dir
	return m.Run()
}

// writeScript writes a file that can be executed at once: no process that is being
// made meanwhile may hold it open for writing.
func writeScript(t *testing.T, path, text string) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	err := os.WriteFile(path, []byte(text), 0o755)
	if err == nil {
		err = os.Chmod(path, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}
