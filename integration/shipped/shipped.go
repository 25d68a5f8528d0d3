// Package shipped builds the program as it is shipped, for tests and benchmarks.
package shipped

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build has .ci/build of the module around the working directory make the program.
func Build(ctx context.Context, to string) error {
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	if to, err = filepath.Abs(to); err != nil {
		return err
	}
	script := filepath.Join(filepath.Dir(strings.TrimSpace(string(mod))), ".ci", "build")
	if out, err := exec.CommandContext(ctx, script, to).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", script, err, strings.TrimSpace(string(out)))
	}
	return nil
}
