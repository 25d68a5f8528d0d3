package loaders

import (
	"strings"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
)

const (
	chpstSyntax = " [-vVP012] [-u user[:group]] [-U user[:group]] [-b argv0] [-e dir] [-/ root] [-C pwd] [-n nice]" +
		" [-l|-L lock] [-m n] [-d n] [-o n] [-p n] [-f n] [-c n] [-t n] prog"
	chpstVersion = "$Id: upkeep $\n"

	// maxGroups is how many groups may be named for a user.
	maxGroups = 60
)

// chpst is one run of runit's chpst, under any of its names.
type chpst struct {
	env     *cli.Env
	name    string // as it was invoked, without a leading "d"
	environ []string
	limits  chpstLimits
}

// Chpst is runit's chpst. By the base name of args[0] it is one of its aliases,
// before which a "d" is passed over.
func Chpst(env *cli.Env, args []string) int {
	begin()
	c := &chpst{env: env, name: strings.TrimPrefix(args[0][strings.LastIndexByte(args[0], '/')+1:], "d")}
	c.limits.clear()
	switch c.name {
	case "setuidgid":
		return c.account(args, c.setCredentials)
	case "envuidgid":
		return c.account(args, c.setIDs)
	case "envdir":
		return c.envdir(args)
	case "pgrphack":
		return c.pgrphack(args)
	case "setlock":
		return c.setlock(args)
	case "softlimit":
		return c.softlimit(args)
	}
	return c.main(args)
}

// usage has an empty line at the end, as runit's.
func (c *chpst) usage(syntax string) int {
	_, _ = c.env.Stderr.WriteString("usage: " + c.name + syntax + "\n\n")
	return cli.ExitUsage
}

// fatal speaks as chpst under every name.
func (c *chpst) fatal(text string, err error) int { return c.env.Fatal("chpst", text, err) }

func (c *chpst) main(args []string) int {
	var o struct {
		user, ids, argv0, dir, root, pwd, lock string

		hasArgv0, hasLock, waits, session, verbose, hasDir, hasRoot, hasPwd, hasUser, hasIDs bool

		closed [3]bool
		nice   int32
	}
	usage := func() int { return c.usage(chpstSyntax) }
	options := cli.NewOptions(c.env, args, "u:U:b:e:m:d:o:p:f:c:r:t:/:C:n:l:L:vP012V")
	for letter := options.Next(); letter != cli.End; letter = options.Next() {
		arg := options.Arg
		switch letter {
		case 'u':
			o.user, o.hasUser = arg, true
		case 'U':
			o.ids, o.hasIDs = arg, true
		case 'b':
			o.argv0, o.hasArgv0 = arg, true
		case 'e':
			o.dir, o.hasDir = arg, true
		case '/':
			o.root, o.hasRoot = arg, true
		case 'C':
			o.pwd, o.hasPwd = arg, true
		case 'n':
			var ok bool
			if o.nice, ok = niceLevel(arg); !ok {
				return usage()
			}
		case 'l', 'L':
			if o.hasLock {
				return usage()
			}
			o.lock, o.hasLock, o.waits = arg, true, letter == 'l'
		case 'm', 'd', 'o', 'p', 'f', 'c', 'r', 't':
			n, rest := scan(arg)
			if rest != "" {
				return usage()
			}
			c.limits.add(letter, n)
		case 'v':
			o.verbose = true
		case 'P':
			o.session = true
		case '0', '1', '2':
			o.closed[letter-'0'] = true
		case 'V':
			_, _ = c.env.Stderr.WriteString(chpstVersion)
			return usage()
		default:
			return usage()
		}
	}
	argv := options.Args()
	if len(argv) == 0 {
		return usage()
	}
	c.environ = environment()

	if o.session {
		_, _ = unix.Setsid()
	}
	if o.hasDir {
		if code := c.readEnvdir(o.dir, func(path string) {
			if o.verbose {
				c.env.Warn("chpst", "unable to read "+path, unix.EISDIR)
			}
		}); code != 0 {
			return code
		}
	}
	if o.hasRoot {
		if err := unix.Chdir(o.root); err != nil {
			return c.fatal("unable to change directory: "+o.root, err)
		}
		if err := unix.Chroot("."); err != nil {
			return c.fatal("unable to change root directory", err)
		}
	}
	if o.hasPwd {
		if err := unix.Chdir(o.pwd); err != nil {
			return c.fatal("unable to change directory: "+o.pwd, err)
		}
	}
	if o.nice != 0 {
		if err := nice(o.nice); err != nil {
			return c.fatal("unable to set nice level", err)
		}
	}
	if o.hasIDs {
		if code := c.named(o.ids, c.setIDs); code != 0 {
			return code
		}
	}
	if o.hasUser {
		if code := c.named(o.user, c.setCredentials); code != 0 {
			return code
		}
	}
	if o.hasLock {
		if step, err := lock(o.lock, o.waits); err != nil {
			return c.fatal(lockStep(step)+": "+o.lock, err)
		}
	}
	for fd, closed := range o.closed {
		if !closed {
			continue
		}
		if err := unix.Close(fd); err != nil {
			return c.fatal("unable to close "+[...]string{"stdin", "stdout", "stderr"}[fd], err)
		}
	}
	file := argv[0]
	if o.hasArgv0 {
		argv = append([]string{o.argv0}, argv[1:]...)
	}
	return c.run(file, argv)
}

// run sets the limits and becomes the program.
func (c *chpst) run(file string, argv []string) int {
	limits := c.limits.list()
	if len(limits) == 0 {
		return c.fatal("unable to run: "+argv[0], becomeAs(c.env, file, argv, c.environ))
	}
	b, err := bind(c.env, "chpst: fatal: unable to run: "+argv[0]+": ", file, argv, c.environ)
	if err != nil {
		return c.fatal("unable to run: "+argv[0], err)
	}
	return b.run(limits, func(step string, err error) int { return c.fatal("unable to "+step+"()", err) })
}

func lockStep(step string) string {
	if step == "open" {
		return "unable to open lock"
	}
	return "unable to lock"
}

// account is setuidgid or envuidgid, which take the name of a user and nothing
// more.
func (c *chpst) account(args []string, do func(ids) int) int {
	operands := args[1:]
	if len(operands) < 2 {
		return c.usage(" account child")
	}
	c.environ = environment()
	a, err := system().user(operands[0])
	switch {
	case err == errUnknown:
		return c.fatal("unknown account: "+operands[0], nil)
	case err != nil:
		return c.fatal("unable to get password file entry", err)
	}
	if code := do(ids{a.uid, []uint32{a.gid}}); code != 0 {
		return code
	}
	return c.run(operands[1], operands[1:])
}

func (c *chpst) envdir(args []string) int {
	operands := args[1:]
	if len(operands) < 2 {
		return c.usage(" dir child")
	}
	c.environ = environment()
	if code := c.readEnvdir(operands[0], nil); code != 0 {
		return code
	}
	return c.run(operands[1], operands[1:])
}

func (c *chpst) readEnvdir(dir string, skip func(path string)) int {
	environ, step, path, err := readEnvdir(c.environ, dir, "", skip)
	switch {
	case err == nil:
		c.environ = environ
		return 0
	case step == stepRead:
		return c.fatal(step+" "+path, err)
	}
	return c.fatal(step+": "+path, err)
}

func (c *chpst) pgrphack(args []string) int {
	if len(args) < 2 {
		return c.usage(" child")
	}
	_, _ = unix.Setsid()
	c.environ = environment()
	return c.run(args[1], args[1:])
}

// setlock waits with -n, and without does not: the reverse of daemontools.
func (c *chpst) setlock(args []string) int {
	const syntax = " [ -nNxX ] file program [ arg ... ]"
	waits, silent := false, false
	options := cli.NewOptions(c.env, args, "nNxX")
	for letter := options.Next(); letter != cli.End; letter = options.Next() {
		switch letter {
		case 'n':
			waits = true
		case 'N':
			waits = false
		case 'x':
			silent = true
		case 'X':
			silent = false
		default:
			return c.usage(syntax)
		}
	}
	operands := options.Args()
	if len(operands) < 2 {
		return c.usage(syntax)
	}
	step, err := lock(operands[0], waits)
	if err == nil {
		step = ""
		c.environ = environment()
		err = become(c.env, operands[1:], c.environ)
	}
	switch {
	case silent:
		return 0
	case step != "":
		return c.fatal(lockStep(step)+": "+operands[0], err)
	}
	return c.fatal("unable to run: "+operands[1], err)
}

func (c *chpst) softlimit(args []string) int {
	options := cli.NewOptions(c.env, args, "a:c:d:f:l:m:o:p:r:s:t:")
	for letter := options.Next(); letter != cli.End; letter = options.Next() {
		if letter == cli.Bad {
			return c.usage(softlimitOptions)
		}
		n, rest := scan(options.Arg)
		if options.Arg == "=" {
			n, rest = hardLimit, ""
		}
		if rest != "" {
			return c.usage(chpstSyntax)
		}
		c.limits.add(letter, n)
	}
	argv := options.Args()
	if len(argv) == 0 {
		return c.usage(softlimitOptions)
	}
	c.environ = environment()
	return c.run(argv[0], argv)
}

// ids is a user and groups. The first group is the one of the process.
type ids struct {
	uid  uint32
	gids []uint32
}

// named does something with the user that an argument of -u or -U names: USER,
// USER:GROUP[:GROUP...] or :UID:GID[:GID...].
func (c *chpst) named(text string, do func(ids) int) int {
	if numbers, numeric := strings.CutPrefix(text, ":"); numeric {
		who, ok := parseIDs(numbers)
		if !ok {
			return c.fatal("invalid uid/gids: "+numbers, nil)
		}
		return do(who)
	}
	who, err := lookUpIDs(system(), text)
	switch {
	case err == errUnknown:
		return c.fatal("unknown user/group: "+text, nil)
	case err != nil:
		return c.fatal("unable to get password/group file entry", err)
	}
	return do(who)
}

// parseIDs reads UID:GID[:GID...], in which what is missing is 0.
func parseIDs(text string) (who ids, ok bool) {
	uid, rest := scan(text)
	if !strings.HasPrefix(rest, ":") {
		return who, false
	}
	who.uid = uint32(uid)
	for strings.HasPrefix(rest, ":") && len(who.gids) < maxGroups {
		var gid uint64
		gid, rest = scan(rest[1:])
		who.gids = append(who.gids, uint32(gid))
	}
	return who, rest == ""
}

func lookUpIDs(db database, text string) (who ids, err error) {
	name, groups, more := strings.Cut(text, ":")
	a, err := db.user(name)
	if err != nil {
		return who, err
	}
	who = ids{a.uid, []uint32{a.gid}}
	if !more {
		return who, nil
	}
	who.gids = nil
	for more && len(who.gids) < maxGroups {
		name, groups, more = strings.Cut(groups, ":")
		gid, err := db.groupID(name)
		if err != nil {
			return who, err
		}
		who.gids = append(who.gids, gid)
	}
	return who, nil
}

func (c *chpst) setIDs(who ids) int {
	c.environ = setIDs(c.environ, who.uid, who.gids[0])
	return 0
}

func (c *chpst) setCredentials(who ids) int {
	if err := setgroups(who.gids); err != nil {
		return c.fatal("unable to setgroups", err)
	}
	if err := setgid(who.gids[0]); err != nil {
		return c.fatal("unable to setgid", err)
	}
	if err := setuid(who.uid); err != nil {
		return c.fatal("unable to setuid", err)
	}
	return 0
}

// niceLevel reads N, +N or -N.
func niceLevel(text string) (level int32, ok bool) {
	digits, negative := strings.CutPrefix(text, "-")
	if !negative {
		digits = strings.TrimPrefix(text, "+")
	}
	n, rest := scan(digits)
	level = int32(n)
	if negative {
		level = -level
	}
	return level, rest == ""
}

// nice is nice(3), for this thread.
func nice(by int32) error {
	now, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		return err
	}
	// The kernel returns 20 less the level, lest it be taken for an error.
	level := min(max(int64(20-now)+int64(by), -20), 19)
	if err = unix.Setpriority(unix.PRIO_PROCESS, 0, int(level)); err == unix.EACCES {
		err = unix.EPERM
	}
	return err
}

// chpstLimits are the limits to be set, in the order in which that is done.
type chpstLimits [10]int64

const (
	hardLimit = 1<<64 - 1 // like all numbers above 2^63, as a limit it is negative
	notSet    = -2
)

var limitOrder = [len(chpstLimits{})]int{
	unix.RLIMIT_DATA, unix.RLIMIT_STACK, unix.RLIMIT_MEMLOCK, unix.RLIMIT_AS, unix.RLIMIT_NOFILE,
	unix.RLIMIT_NPROC, unix.RLIMIT_FSIZE, unix.RLIMIT_CORE, unix.RLIMIT_RSS, unix.RLIMIT_CPU,
}

func (l *chpstLimits) clear() {
	for i := range l {
		l[i] = notSet
	}
}

// add takes in an option of chpst or softlimit; their letters mean the same.
func (l *chpstLimits) add(option byte, n uint64) {
	for _, resource := range resources(option) {
		for i := range limitOrder {
			if limitOrder[i] == resource {
				l[i] = int64(n)
			}
		}
	}
}

// list is what there is to set.
func (l *chpstLimits) list() (all []limit) {
	for i, n := range l {
		if n > notSet {
			all = append(all, limit{resource: limitOrder[i], n: uint64(n), hard: n < 0})
		}
	}
	return all
}
