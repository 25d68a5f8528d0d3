package loaders

import (
	"errors"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
)

// account is an entry of the password file.
type account struct {
	name, home, shell string
	uid, gid          uint32
}

// database is where users and groups are looked up. The files are read as the C
// library reads them. Where nsswitch.conf names other sources, getent is asked,
// which knows them all; without it only the files count.
type database struct {
	passwd, group, nsswitch string
	getent                  []string // paths to try
}

func system() database {
	return database{
		passwd: "/etc/passwd", group: "/etc/group", nsswitch: "/etc/nsswitch.conf",
		getent: []string{"/usr/bin/getent", "/bin/getent", "/usr/local/bin/getent"},
	}
}

// errUnknown: there is no such user or group.
var errUnknown error = unknown{}

type unknown struct{}

func (unknown) Error() string { return "unknown" }

// user looks up a user by name.
func (d database) user(name string) (account, error) {
	line, err := d.find("passwd", d.passwd, name, func(line string) bool { _, ok := parseUser(line); return ok })
	if err != nil {
		return account{}, err
	}
	a, ok := parseUser(line)
	if !ok {
		return a, errUnknown
	}
	return a, nil
}

// groupID looks up a group by name.
func (d database) groupID(name string) (uint32, error) {
	line, err := d.find("group", d.group, name, func(line string) bool { _, ok := parseGroup(line); return ok })
	if err != nil {
		return 0, err
	}
	g, ok := parseGroup(line)
	if !ok {
		return 0, errUnknown
	}
	return g, nil
}

// groups is the list that initgroups(3) makes for a user: his own group and all
// that have him as a member.
func (d database) groups(a account) ([]uint32, error) {
	list := []uint32{a.gid}
	_, others := sources(slurpOrNothing(d.nsswitch), "group")
	if others {
		text, err := d.ask("initgroups", a.name)
		switch {
		case err == nil:
			words := strings.Fields(text)
			for i := 1; i < len(words); i++ {
				if gid, ok := number32(words[i]); ok {
					list = addGroup(list, gid)
				}
			}
			return list, nil
		case err != unix.ENOENT && err != errUnknown:
			return nil, err
		}
	}
	text, err := slurp(d.group)
	if err != nil && err != unix.ENOENT {
		return nil, err
	}
	return memberships(text, a.name, list), nil
}

func addGroup(list []uint32, gid uint32) []uint32 {
	for _, have := range list {
		if have == gid {
			return list
		}
	}
	return append(list, gid)
}

// memberships adds the groups in the text of a group file that name is in.
func memberships(text, name string, list []uint32) []uint32 {
	for len(text) > 0 {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		gid, ok := parseGroup(line)
		if !ok {
			continue
		}
		members := line[strings.LastIndexByte(line, ':')+1:]
		if strings.Count(line, ":") < 3 {
			continue
		}
		for len(members) > 0 {
			var member string
			member, members, _ = strings.Cut(members, ",")
			if strings.Trim(member, " \t") == name {
				list = addGroup(list, gid)
			}
		}
	}
	return list
}

// find is the line of name in one of the data bases. valid tells lines that make
// sense from those that are passed over.
func (d database) find(base, file, name string, valid func(line string) bool) (string, error) {
	first, others := sources(slurpOrNothing(d.nsswitch), base)
	if !first {
		line, err := d.ask(base, name)
		if err != unix.ENOENT {
			return line, err
		}
	}
	text, err := slurp(file)
	if line, ok := lookup(text, name, valid); ok {
		return line, nil
	}
	if first && others {
		line, err := d.ask(base, name)
		if err != unix.ENOENT {
			return line, err
		}
	}
	if err != nil {
		return "", err
	}
	return "", errUnknown
}

// lookup is the first valid line of a name in the text of a file.
func lookup(text, name string, valid func(line string) bool) (line string, ok bool) {
	if name == "" || strings.IndexByte("#+- \t", name[0]) >= 0 || strings.ContainsAny(name, ":\n") {
		return "", false
	}
	for len(text) > 0 {
		i := strings.Index(text, name)
		if i < 0 {
			return "", false
		}
		end := i + len(name)
		if (i == 0 || text[i-1] == '\n') && end < len(text) && text[end] == ':' {
			line, _, _ = strings.Cut(text[i:], "\n")
			if valid(line) {
				return line, true
			}
		}
		// On from the next line.
		n := strings.IndexByte(text[i:], '\n')
		if n < 0 {
			return "", false
		}
		text = text[i+n+1:]
	}
	return "", false
}

// parseUser reads NAME:PASSWORD:UID:GID:GECOS:HOME:SHELL. What comes after GID
// may be missing.
func parseUser(line string) (account, bool) {
	var f [7]string
	n := 0
	for n < len(f)-1 {
		field, rest, more := strings.Cut(line, ":")
		f[n] = field
		n++
		line = rest
		if !more {
			break
		}
	}
	if n == len(f)-1 {
		f[n] = line
	}
	uid, okUID := number32(f[2])
	gid, okGID := number32(f[3])
	return account{name: f[0], home: f[5], shell: f[6], uid: uid, gid: gid}, f[0] != "" && okUID && okGID
}

// parseGroup reads NAME:PASSWORD:GID:MEMBERS.
func parseGroup(line string) (gid uint32, ok bool) {
	name, rest, _ := strings.Cut(line, ":")
	if name == "" || strings.IndexByte("#+- \t", name[0]) >= 0 {
		return 0, false
	}
	_, rest, _ = strings.Cut(rest, ":")
	id, _, _ := strings.Cut(rest, ":")
	return number32(id)
}

func number32(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil
}

// sources reads nsswitch.conf: do the files come first for a data base, and are
// there others?
func sources(text, base string) (filesFirst, others bool) {
	for len(text) > 0 {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		line, _, _ = strings.Cut(line, "#")
		name, list, ok := strings.Cut(line, ":")
		if !ok || strings.Trim(name, " \t") != base {
			continue
		}
		n := 0
		for list != "" {
			list = strings.TrimLeft(list, " \t\r")
			if strings.HasPrefix(list, "[") { // what to do after the source before
				_, list, _ = strings.Cut(list, "]")
				continue
			}
			end := strings.IndexAny(list, " \t\r[")
			if end < 0 {
				end = len(list)
			}
			source := list[:end]
			list = list[end:]
			if source == "" {
				continue
			}
			files := source == "files" || source == "compat"
			if n == 0 {
				filesFirst = files
			}
			others = others || !files
			n++
		}
		if n > 0 {
			return filesFirst, others
		}
	}
	return true, false
}

// ask has getent look name up. The error is ENOENT if there is no getent, and
// errUnknown if it knows no such name.
func (d database) ask(base, name string) (string, error) {
	if name == "" || strings.ContainsAny(name, ":\n") {
		return "", errUnknown
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return "", err
	}
	defer unix.Close(pipe[0])
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Close(pipe[1])
		return "", err
	}
	argv := []string{"getent", base, "--", name}
	attr := &syscall.ProcAttr{
		Env:   environment(),
		Files: []uintptr{uintptr(null), uintptr(pipe[1]), uintptr(null)},
	}
	pid := 0
	err = unix.ENOENT
	for _, path := range d.getent {
		if pid, err = syscall.ForkExec(path, argv, attr); err != unix.ENOENT {
			break
		}
	}
	unix.Close(pipe[1])
	unix.Close(null)
	if err != nil {
		if errno, ok := errors.AsType[syscall.Errno](err); ok {
			return "", errno
		}
		return "", err
	}
	text, err := drain(pipe[0], false)
	status, waitErr := wait(pid)
	if err != nil {
		return "", err
	}
	if waitErr != nil {
		return "", waitErr
	}
	line, _, _ := strings.Cut(text, "\n")
	if status.ExitStatus() != 0 || line == "" {
		return "", errUnknown
	}
	// getent takes a number for an ID.
	if base != "initgroups" && !strings.HasPrefix(line, name+":") && strings.Trim(name, "+- \t0123456789") == "" {
		return "", errUnknown
	}
	return line, nil
}

// wait waits for a child.
func wait(pid int) (status unix.WaitStatus, err error) {
	for {
		if _, err = unix.Wait4(pid, &status, 0, nil); err != unix.EINTR {
			return status, err
		}
	}
}

func slurpOrNothing(path string) string {
	text, _ := slurp(path)
	return text
}

// slurp reads a whole file.
func slurp(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return drain(fd, false)
}

// drain reads to the end of a file or, if line is set, until a newline has come
// or maxLine bytes.
func drain(fd int, line bool) (string, error) {
	b, n := make([]byte, 4096), 0
	for {
		if n == len(b) {
			b = append(b, make([]byte, len(b))...)
		}
		m, err := cli.FD(fd).Read(b[n:])
		if err != nil {
			return "", err
		}
		n += m
		if m == 0 || line && (n > maxLine || newline(b[n-m:n])) {
			return string(b[:n]), nil
		}
	}
}

func newline(b []byte) bool {
	for _, c := range b {
		if c == '\n' {
			return true
		}
	}
	return false
}
