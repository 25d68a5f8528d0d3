package runit

// command is what a word on sv's command line asks for (runit.md, section 3.1).
type command struct {
	letters string // to be sent; empty for status and check
	tests   string // what has to hold, one after the other, letters of sv.holds
	status  bool   // nothing but the status is asked for
	waits   bool   // also without -v
	force   bool   // KILL is sent when time is up
}

// commandOf is the command of a word. The first letter decides, but for some words.
func commandOf(word string) (c command, ok bool) {
	switch word {
	case "start":
		return wait("u"), true
	case "stop":
		return wait("d"), true
	case "shutdown":
		return wait("x"), true
	case "restart":
		return wait("tcu"), true
	case "reload":
		return wait("h"), true
	case "try-restart":
		return wait("tc"), true
	case "check":
		return command{tests: "C", waits: true}, true
	case "force-stop":
		return force("d"), true
	case "force-shutdown":
		return force("x"), true
	case "force-reload":
		return force("tc"), true
	case "force-restart":
		return force("tcu"), true
	case "":
		return c, false
	}
	switch word[0] {
	case 's':
		return command{status: true}, true
	case 'u', 'd', 'o', 'p', 'c', 'h', 'a', 'i', 'q', '1', '2', 't', 'k', 'x':
		return command{letters: word[:1], tests: word[:1]}, true
	case 'e':
		return command{letters: "x", tests: "x"}, true
	case 'D':
		return force("d"), true
	case 'X', 'E':
		return force("x"), true
	case 'T':
		return force("tc"), true
	}
	return c, false
}

func wait(letters string) command {
	return command{letters: letters, tests: letters, waits: true}
}

func force(letters string) command {
	c := wait(letters)
	c.force = true
	return c
}
