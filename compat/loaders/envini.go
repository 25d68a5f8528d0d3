package loaders

import (
	"strings"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
)

// Envini is encore's envini [-p PREFIX] FILE CHILD: CHILD gets a variable for each
// assignment in FILE. A missing FILE is an empty one. Wrong usage is 111.
func Envini(env *cli.Env, args []string) int {
	const prog = "envini"
	operands, prefix, ok := prefixOption(env, args)
	if !ok || len(operands) < 2 {
		env.Usage(prog, "envini [ -p prefix ] inifile child")
		return cli.ExitFatal
	}
	begin()
	text, err := slurp(operands[0])
	if err != nil && err != unix.ENOENT {
		return env.Fatal(prog, "unable to read "+operands[0], err)
	}
	environ := environment()
	parseINI(text, func(name, value string) { environ = setenv(environ, prefix+name, value) })
	return unable(env, prog, operands[1:], become(env, operands[1:], environ))
}

// parseINI passes on the assignments in the text of a file, with the section, if
// there is one, and "_" before the name (daemontools.md, section 8.5).
func parseINI(text string, set func(name, value string)) {
	const blanks = " \t\r\n"
	section := ""
	for len(text) > 0 {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		line = strings.Trim(line, blanks)
		switch {
		case line == "" || line[0] == ';':
			continue
		case line[0] == '[' && line[len(line)-1] == ']':
			section = line[1:len(line)-1] + "_"
			continue
		}
		end := strings.IndexAny(line, "="+blanks)
		if end < 0 {
			continue
		}
		rest := strings.TrimLeft(line[end:], blanks)
		if value, ok := strings.CutPrefix(rest, "="); ok {
			set(section+line[:end], strings.TrimLeft(value, blanks))
		}
	}
}
