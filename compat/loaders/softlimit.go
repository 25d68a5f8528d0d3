package loaders

import (
	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
)

const softlimitOptions = " [-a allbytes] [-c corebytes] [-d databytes] [-f filebytes] [-l lockbytes]" +
	" [-m membytes] [-o openfiles] [-p processes] [-r residentbytes] [-s stackbytes] [-t cpusecs] child"

// limit is a limit to be set: the soft one to n, or to the hard one if that is
// less.
type limit struct {
	resource int
	n        uint64
	hard     bool // to the hard one, and n does not count
	none     bool // both to unlimited

	rlimit unix.Rlimit // here lest set allocates it
}

// Softlimit is softlimit OPTIONS CHILD: CHILD runs with lower limits. encore's
// takes them from variables, too, and "-" for no limit.
func Softlimit(env *cli.Env, args []string) int {
	const prog, syntax = "softlimit", "softlimit" + softlimitOptions
	var limits []limit
	isEncore := false
	switch dialect(env) {
	case runit:
		return Chpst(env, args)
	case encore:
		isEncore = true
		var ok bool
		if limits, ok = limitVariables(env); !ok {
			return env.Usage(prog, syntax)
		}
	}
	begin()
	options := cli.NewOptions(env, args, "a:c:d:f:l:m:o:p:r:s:t:")
	for c := options.Next(); c != cli.End; c = options.Next() {
		if c == cli.Bad {
			return env.Usage(prog, syntax)
		}
		for _, resource := range resources(c) {
			l, ok := parseLimit(resource, options.Arg, isEncore)
			if !ok {
				return env.Usage(prog, syntax)
			}
			limits = append(limits, l)
		}
	}
	argv := options.Args()
	if len(argv) == 0 {
		return env.Usage(prog, syntax)
	}
	b, err := bind(env, "softlimit: fatal: unable to run "+argv[0]+": ", argv[0], argv, environment())
	if err != nil {
		return unable(env, prog, argv, err)
	}
	return b.run(limits, func(step string, err error) int { return env.Fatal(prog, step+" failed", err) })
}

// resources are what an option of softlimit limits.
func resources(option byte) []int {
	switch option {
	case 'a':
		return []int{unix.RLIMIT_AS}
	case 'c':
		return []int{unix.RLIMIT_CORE}
	case 'd':
		return []int{unix.RLIMIT_DATA}
	case 'f':
		return []int{unix.RLIMIT_FSIZE}
	case 'l':
		return []int{unix.RLIMIT_MEMLOCK}
	case 'm':
		return []int{unix.RLIMIT_DATA, unix.RLIMIT_STACK, unix.RLIMIT_MEMLOCK, unix.RLIMIT_AS}
	case 'o':
		return []int{unix.RLIMIT_NOFILE}
	case 'p':
		return []int{unix.RLIMIT_NPROC}
	case 'r':
		return []int{unix.RLIMIT_RSS}
	case 's':
		return []int{unix.RLIMIT_STACK}
	case 't':
		return []int{unix.RLIMIT_CPU}
	}
	return nil
}

// limitVariables are encore's variables, in the order in which it applies them.
func limitVariables(env *cli.Env) (limits []limit, ok bool) {
	for _, v := range [...]struct {
		name     string
		resource int
	}{
		{"ALLBYTES", unix.RLIMIT_AS}, {"MEMBYTES", unix.RLIMIT_AS},
		{"COREBYTES", unix.RLIMIT_CORE},
		{"DATABYTES", unix.RLIMIT_DATA}, {"MEMBYTES", unix.RLIMIT_DATA},
		{"FILEBYTES", unix.RLIMIT_FSIZE},
		{"LOCKEDBYTES", unix.RLIMIT_MEMLOCK}, {"MEMBYTES", unix.RLIMIT_MEMLOCK},
		{"OPENFILES", unix.RLIMIT_NOFILE},
		{"PROCS", unix.RLIMIT_NPROC},
		{"RSSBYTES", unix.RLIMIT_RSS},
		{"STACKBYTES", unix.RLIMIT_STACK}, {"MEMBYTES", unix.RLIMIT_STACK},
		{"CPUSECS", unix.RLIMIT_CPU},
	} {
		text, found := env.Getenv("SOFTLIMIT_" + v.name)
		if !found {
			continue
		}
		l, ok := parseLimit(v.resource, text, true)
		if !ok {
			return nil, false
		}
		limits = append(limits, l)
	}
	return limits, true
}

// parseLimit reads a number, "=" for the hard limit or, if dash is set, "-" for
// none.
func parseLimit(resource int, text string, dash bool) (limit, bool) {
	switch {
	case text == "=":
		return limit{resource: resource, hard: true}, true
	case text == "-" && dash:
		return limit{resource: resource, none: true}, true
	}
	n, rest := scan(text)
	return limit{resource: resource, n: n}, rest == ""
}

// scan reads a number at the beginning of text, 0 if there is none, modulo 2^64.
func scan(text string) (n uint64, rest string) {
	i := 0
	for i < len(text) && text[i] >= '0' && text[i] <= '9' {
		n = n*10 + uint64(text[i]-'0')
		i++
	}
	return n, text[i:]
}

// set sets the limit. For an error, step is the call that failed.
func (l *limit) set() (step string, err error) {
	r := &l.rlimit
	r.Cur, r.Max = unix.RLIM_INFINITY, unix.RLIM_INFINITY
	if !l.none {
		if err := unix.Getrlimit(l.resource, r); err != nil {
			return "getrlimit", err
		}
		r.Cur = r.Max
		if !l.hard && l.n < r.Max {
			r.Cur = l.n
		}
	}
	return "setrlimit", unix.Setrlimit(l.resource, r)
}
