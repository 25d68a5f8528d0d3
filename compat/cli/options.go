package cli

import "strings"

// What Options.Next returns besides option letters.
const (
	End byte = 0   // no more options
	Bad byte = '?' // a complaint was printed; the usage line is the caller's
)

// Options is the option parser of daemontools and runit (daemontools.md,
// section 1.3; runit.md, section 0.2): letters may be clustered, nothing is
// permuted, there are no long options.
type Options struct {
	// Arg is the argument of the letter that Next returned last.
	Arg string
	// Exact has only "--" itself be the end of options, as in s6.
	Exact bool

	letters string
	name    string
	stderr  FD
	cluster string // rest of the word that is being read
	rest    []string
	ended   bool
}

// NewOptions parses args[1:]. letters are the valid ones, each followed by a
// colon if it takes an argument. Complaints go to env's standard error under
// the base name of args[0].
func NewOptions(env *Env, args []string, letters string) Options {
	return Options{
		letters: letters,
		name:    args[0][strings.LastIndexByte(args[0], '/')+1:],
		stderr:  env.Stderr,
		rest:    args[1:],
	}
}

// Next returns the next letter, or End, or Bad.
func (o *Options) Next() byte {
	o.Arg = ""
	if o.cluster == "" && !o.word() {
		return End
	}
	c := o.cluster[0]
	o.cluster = o.cluster[1:]
	i := strings.IndexByte(o.letters, c)
	if i < 0 || c == ':' {
		return o.complain("illegal option", c)
	}
	if !strings.HasPrefix(o.letters[i+1:], ":") {
		return c
	}
	switch {
	case o.cluster != "":
		o.Arg, o.cluster = o.cluster, ""
	case len(o.rest) > 0:
		o.Arg, o.rest = o.rest[0], o.rest[1:]
	default:
		return o.complain("option requires an argument", c)
	}
	return c
}

// Args is what follows the options, once Next has returned End.
func (o *Options) Args() []string { return o.rest }

// word begins the next word and reports whether it has options. Like the
// originals it takes any word that starts with "--" for the end of options;
// svc --u sends no u.
func (o *Options) word() bool {
	if o.ended || len(o.rest) == 0 || len(o.rest[0]) < 2 || o.rest[0][0] != '-' {
		o.ended = true
		return false
	}
	o.cluster, o.rest = o.rest[0][1:], o.rest[1:]
	if o.cluster[0] == '-' && (!o.Exact || o.cluster == "-") {
		o.cluster, o.ended = "", true
	}
	return !o.ended
}

func (o *Options) complain(problem string, c byte) byte {
	b := make([]byte, 0, 80)
	b = append(b, o.name...)
	b = append(b, ": "...)
	b = append(b, problem...)
	b = append(b, " -- "...)
	_, _ = o.stderr.Write(append(b, c, '\n')) // the byte itself, not its UTF-8
	return Bad
}
