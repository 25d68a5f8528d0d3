// Package listen reads what a file listen asks for, and opens the sockets. The service
// finds them as sd_listen_fds(3) describes it.
package listen

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"upkeep/internal/fault"
)

// First is the descriptor that the first socket becomes in the service, and Most is how
// many there may be.
const (
	First = 3
	Most  = 64
)

// Socket is one line of the file.
type Socket struct {
	Text    string // the line, by which it is known again
	Name    string // for LISTEN_FDNAMES
	Type    int    // SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET
	Backlog int
	Mode    uint32 // of a path
	UID     int    // likewise; -1 leaves it, as with GID
	GID     int
	Path    string // of a Unix socket; with @ it is abstract. Else:
	At      Address
}

// families are how an address may begin, with blanks between it and its options.
var families = [...]struct {
	prefix string
	kind   int
	unix   bool
}{
	{"tcp:", unix.SOCK_STREAM, false}, {"udp:", unix.SOCK_DGRAM, false},
	{"unix:", unix.SOCK_STREAM, true}, {"unix-dgram:", unix.SOCK_DGRAM, true}, {"unix-seqpacket:", unix.SOCK_SEQPACKET, true},
}

const (
	usualMode = 0o666
	// mostBacklog is what the kernel takes as more than it allows.
	mostBacklog = 1<<31 - 1
)

// Parse reads the text of a file: a socket for each line, but for empty ones and those
// that begin with #.
//
//	[NAME=]ADDRESS [mode=OCTAL] [owner=UID[:GID]] [backlog=NUMBER]
//
// ADDRESS is HOST:PORT, [HOST6]:PORT, *:PORT or PORT after tcp:, udp: or nothing; or a
// path, or @ABSTRACT, after unix:, unix-dgram:, unix-seqpacket: or nothing. Hosts are
// numeric.
func Parse(text string) (list []Socket, err error) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		words := strings.Fields(line)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		s, err := parseLine(words)
		if err == nil && len(list) == Most {
			err = errors.New("more than " + strconv.Itoa(Most) + " sockets")
		}
		for i := range list {
			if err == nil && list[i].Text == s.Text {
				err = errors.New("twice the same")
			}
		}
		if err != nil {
			return nil, fault.At("line "+strconv.Itoa(n), err)
		}
		list = append(list, s)
	}
	return list, nil
}

func parseLine(words []string) (Socket, error) {
	s := Socket{Text: strings.Join(words, " "), Type: unix.SOCK_STREAM, Backlog: mostBacklog, Mode: usualMode, UID: -1, GID: -1}
	if len(s.Text) > MostText {
		return s, errors.New("too long")
	}
	address := words[0]
	if name, rest, ok := strings.Cut(address, "="); ok && isName(name) {
		s.Name, address = name, rest
	}
	local, known := false, false
	for i := range families {
		f := &families[i]
		if rest, ok := strings.CutPrefix(address, f.prefix); ok {
			address, s.Type, local, known = rest, f.kind, f.unix, true
			break
		}
	}
	if !known {
		local = strings.HasPrefix(address, "/") || strings.HasPrefix(address, "@")
	}
	switch {
	case !local:
		at, err := parseAddress(address)
		if err != nil {
			return s, err
		}
		s.At = at
	case len(address) < 2 || address[0] != '/' && address[0] != '@':
		return s, errors.New("not an absolute path")
	case len(address) > maxPath:
		return s, errors.New("the path is too long for a socket")
	default:
		s.Path = address
	}
	for _, word := range words[1:] {
		if err := s.option(word); err != nil {
			return s, err
		}
	}
	return s, nil
}

const (
	// maxPath is what fits into a struct sockaddr_un with a zero at its end.
	maxPath = 107
	// MostText is how long a line may be.
	MostText = 256
)

// isName tells what LISTEN_FDNAMES may hold.
func isName(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == ':' || c == '/' || c == '@' {
			return false
		}
	}
	return s != ""
}

func parseAddress(s string) (a Address, err error) {
	host, port := "*", s
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		host, port = s[:i], s[i+1:]
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return a, errors.New("not a port: " + strconv.Quote(port))
	}
	a.Port = int(n)
	if host == "*" || host == "" {
		return a, nil
	}
	ok := false
	if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' {
		a.Host, a.Zone, ok = parseV6(host[1 : len(host)-1])
	} else {
		a.Host, ok = parseV4(host)
	}
	if !ok {
		return a, errors.New("not a numeric address: " + strconv.Quote(host))
	}
	return a, nil
}

func (s *Socket) option(word string) error {
	name, value, _ := strings.Cut(word, "=")
	path := s.Path != "" && s.Path[0] == '/'
	switch name {
	case "backlog":
		n, err := strconv.ParseUint(value, 10, 31)
		if err == nil && n > 0 {
			s.Backlog = int(n)
			return nil
		}
	case "mode":
		n, err := strconv.ParseUint(value, 8, 12)
		if err == nil && path {
			s.Mode = uint32(n)
			return nil
		}
	case "owner":
		user, group, ok := strings.Cut(value, ":")
		uid, err := strconv.ParseUint(user, 10, 31)
		gid := uint64(0)
		if ok && err == nil {
			gid, err = strconv.ParseUint(group, 10, 31)
		}
		if err == nil && path {
			if s.UID = int(uid); ok {
				s.GID = int(gid)
			}
			return nil
		}
	}
	return errors.New("not an option of this socket: " + strconv.Quote(word))
}

// Open makes the socket. The error says what could not be done, without the address.
func (s *Socket) Open() (fd int, err error) {
	if s.Path != "" {
		return s.openUnix()
	}
	if s.At.Host != "" {
		return s.openIP(s.At.Host, false)
	}
	fd, err = s.openIP(string(make([]byte, 16)), true)
	if err == unix.EAFNOSUPPORT || err == unix.EADDRNOTAVAIL { // no IPv6 here
		fd, err = s.openIP(string(make([]byte, 4)), false)
	}
	return fd, err
}

func (s *Socket) openIP(host string, both bool) (fd int, err error) {
	family := unix.AF_INET
	var to unix.Sockaddr
	if len(host) == 4 {
		to = &unix.SockaddrInet4{Port: s.At.Port, Addr: [4]byte([]byte(host))}
	} else {
		family = unix.AF_INET6
		to = &unix.SockaddrInet6{Port: s.At.Port, Addr: [16]byte([]byte(host)), ZoneId: zone(s.At.Zone)}
	}
	if fd, err = s.make(family); err != nil {
		return -1, err
	}
	if s.Type == unix.SOCK_STREAM {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if family == unix.AF_INET6 && err == nil {
		only := 1
		if both {
			only = 0
		}
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
	}
	return s.bind(fd, to, err)
}

// zone is the number of an interface, or 0.
func zone(name string) uint32 {
	n, err := strconv.ParseUint(name, 10, 32)
	if err == nil {
		return uint32(n)
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(name)
	if err != nil || unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, r) != nil {
		return 0
	}
	return r.Uint32()
}

func (s *Socket) openUnix() (fd int, err error) {
	if fd, err = s.make(unix.AF_UNIX); err != nil {
		return -1, err
	}
	to := &unix.SockaddrUnix{Name: s.Path}
	if s.Path[0] == '/' {
		s.removeStale()
	}
	if fd, err = s.bind(fd, to, nil); err != nil || s.Path[0] != '/' {
		return fd, err
	}
	err = unix.Chmod(s.Path, s.Mode)
	if err == nil && (s.UID >= 0 || s.GID >= 0) {
		err = unix.Lchown(s.Path, s.UID, s.GID)
	}
	if err != nil {
		unix.Close(fd)
		_ = unix.Unlink(s.Path)
		return -1, err
	}
	return fd, nil
}

// removeStale removes the path of a socket that nobody has any more.
func (s *Socket) removeStale() {
	var st unix.Stat_t
	if unix.Lstat(s.Path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return
	}
	fd, err := unix.Socket(unix.AF_UNIX, s.Type|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if unix.Connect(fd, &unix.SockaddrUnix{Name: s.Path}) == unix.ECONNREFUSED {
		_ = unix.Unlink(s.Path)
	}
}

// make makes the socket at a number that no service's descriptor becomes.
func (s *Socket) make(family int) (int, error) {
	low, err := unix.Socket(family, s.Type|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(low)
	return High(low)
}

// High duplicates a descriptor to a number above those that sockets become.
func High(fd int) (int, error) {
	return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, First+Most)
}

// bind ends the making of a socket, which it closes if that fails.
func (s *Socket) bind(fd int, to unix.Sockaddr, err error) (int, error) {
	if err == nil {
		err = unix.Bind(fd, to)
	}
	if err == nil && s.Type != unix.SOCK_DGRAM {
		err = unix.Listen(fd, s.Backlog)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Node is the file that a Unix socket's path names.
type Node struct{ dev, ino uint64 }

// Node is that of the socket, or zero. It is to be asked for when it has just been opened.
func (s *Socket) Node() (n Node) {
	var st unix.Stat_t
	if s.Path != "" && s.Path[0] == '/' && unix.Lstat(s.Path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK {
		n = Node{uint64(st.Dev), st.Ino}
	}
	return n
}

// Remove removes the path of a socket that is not to be there any more, unless it names
// something else by now.
func (s *Socket) Remove(n Node) {
	if n != (Node{}) && s.Node() == n {
		_ = unix.Unlink(s.Path)
	}
}
