package main

import (
	"path/filepath"
	"strings"

	"upkeep/compat/cli"
	"upkeep/svscan"
)

const upgradeUsage = "upkeep upgrade [--program path] [dir]"

// upgradeScanner is upkeep upgrade [--program PATH] [DIR]: the svscan of DIR, or of
// the working directory, executes the program at PATH, or the one that stands now
// where it was started from, and goes on as that, with all processes, pipes and
// locks. Exit: 0 when the new program has taken over; 111 when the old one goes on;
// 100 for wrong usage.
func upgradeScanner(env *cli.Env, args []string) int {
	program, dir := "", "."
	operands := args[1:]
	for len(operands) > 0 && strings.HasPrefix(operands[0], "--") {
		word := operands[0]
		operands = operands[1:]
		switch path, attached := strings.CutPrefix(word, "--program="); {
		case word == "--":
		case word == "--check" && len(operands) == 0:
			return checkUpgrade(env)
		case attached:
			program = path
		case word == "--program" && len(operands) > 0:
			program, operands = operands[0], operands[1:]
		default:
			return env.Usage("upkeep", upgradeUsage)
		}
		if word == "--" {
			break
		}
	}
	switch {
	case len(operands) > 1:
		return env.Usage("upkeep", upgradeUsage)
	case len(operands) == 1:
		dir = operands[0]
	}
	if program != "" {
		var err error
		if program, err = filepath.Abs(program); err != nil {
			return env.Fatal("upkeep", "unable to find "+program, err)
		}
	}
	answer, err := svscan.Query(dir, "upgrade "+program)
	if err == svscan.ErrGone {
		// It was at another's upgrade, and is there again.
		answer, err = svscan.Query(dir, "upgrade "+program)
	}
	switch {
	case err != nil:
		return env.Fatal("upkeep", "unable to reach the svscan of "+dir, err)
	case answer != "ok":
		return env.Fatal("upkeep", "unable to upgrade the svscan of "+dir+", which goes on as before: "+answer, nil)
	}
	return 0
}

// checkUpgrade is what a running svscan asks of its successor.
func checkUpgrade(env *cli.Env) int {
	answer, err := svscan.CheckUpgrade(int(env.Stdin))
	if err != nil {
		answer = err.Error()
	}
	if _, err := env.Stdout.WriteString(answer + "\n"); err != nil {
		return cli.ExitFatal
	}
	return 0
}
