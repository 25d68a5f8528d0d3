package pmtr

import (
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/compat/cli"
	"upkeep/conf2dir"
)

const (
	reportEvery = 10 * time.Second
	maxDatagram = 2000
)

// socket is one of listen or report.
type socket struct {
	conf2dir.Address
	file *os.File
	from string // of a report by an interface: its address
}

func (s *socket) close() { s.file.Close() }

// sockets are all of a configuration.
type sockets struct{ listen, report []*socket }

// openSockets makes the sockets of a configuration; those of old that it has as well are taken over.
// What cannot be opened is complained of, and nothing is changed then.
func openSockets(file *conf2dir.File, old *sockets, r *resolver) (s *sockets, complaint string) {
	s = new(sockets)
	fresh := func(list []*socket, a conf2dir.Address) *socket {
		for _, o := range list {
			if o.Spec == a.Spec {
				return o
			}
		}
		return nil
	}
	for _, kind := range [...]struct {
		addresses []conf2dir.Address
		old, now  *[]*socket
		open      func(*socket, *unix.SockaddrInet4) string
		place     string
	}{
		{file.Listen, &old.listen, &s.listen, listen, " (at line "},
		{file.Report, &old.report, &s.report, report, " at line "},
	} {
		for _, a := range kind.addresses {
			one := fresh(*kind.old, a)
			if one == nil {
				one, complaint = r.open(a, kind.open)
			}
			if one == nil {
				s.closeBut(old)
				switch {
				case kind.now == &s.report:
					complaint += kind.place + strconv.Itoa(a.At.Line)
				case strings.HasPrefix(complaint, "lookup "):
					complaint += kind.place + strconv.Itoa(a.At.Line) + ")"
				}
				return nil, complaint
			}
			*kind.now = append(*kind.now, one)
		}
	}
	return s, ""
}

// closeBut closes those that other does not have.
func (s *sockets) closeBut(other *sockets) {
	for _, list := range [...][2][]*socket{{s.listen, other.listen}, {s.report, other.report}} {
		for _, o := range list[0] {
			if !slices.Contains(list[1], o) {
				o.close()
			}
		}
	}
}

// open makes a socket and has it set up.
func (r *resolver) open(a conf2dir.Address, open func(*socket, *unix.SockaddrInet4) string) (*socket, string) {
	host, err := r.resolve(a.Host)
	if err != nil {
		return nil, "lookup [" + a.Host + "]: Unknown host"
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, "socket: " + cli.Strerror(err)
	}
	s := &socket{Address: a, file: os.NewFile(uintptr(fd), a.Spec)}
	if complaint := open(s, &unix.SockaddrInet4{Addr: host, Port: int(a.Port)}); complaint != "" {
		s.close()
		return nil, complaint
	}
	return s, ""
}

// listen and report set a socket up.
func listen(s *socket, to *unix.SockaddrInet4) (complaint string) {
	return s.control(func(fd int) string {
		if err := unix.Bind(fd, to); err != nil {
			return "can't bind to " + s.Spec + ": " + cli.Strerror(err)
		}
		return ""
	})
}

func report(s *socket, to *unix.SockaddrInet4) (complaint string) {
	return s.control(func(fd int) string {
		if s.Iface != "" {
			if complaint := s.leaveBy(fd); complaint != "" {
				return complaint + "\n"
			}
		}
		if err := unix.Connect(fd, to); err != nil {
			return "can't connect to " + s.Spec + ": " + cli.Strerror(err)
		}
		return ""
	})
}

// control lets f have the descriptor, which stays with the runtime's poller.
func (s *socket) control(f func(fd int) string) (complaint string) {
	conn, err := s.file.SyscallConn()
	if err == nil {
		err = conn.Control(func(fd uintptr) { complaint = f(int(fd)) })
	}
	if err != nil {
		return err.Error()
	}
	return complaint
}

// leaveBy has multicasts go out by the interface.
func (s *socket) leaveBy(fd int) (complaint string) {
	request, err := unix.NewIfreq(s.Iface)
	if err != nil {
		return "interface too long"
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, request); err != nil {
		return "ioctl: " + cli.Strerror(err)
	}
	if request.Uint16()&unix.IFF_MULTICAST == 0 {
		return s.Iface + " does not multicast"
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFADDR, request); err != nil {
		return "ioctl: " + cli.Strerror(err)
	}
	b, err := request.Inet4Addr()
	if err != nil {
		return "ioctl: " + cli.Strerror(err)
	}
	address := [4]byte(b)
	if err := unix.SetsockoptInet4Addr(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, address); err != nil {
		return "setsockopt: " + cli.Strerror(err)
	}
	s.from = dotted(address)
	return ""
}

// receive passes on datagrams until the socket is closed.
func (s *socket) receive(got func(text string)) {
	for {
		b := make([]byte, maxDatagram)
		n, err := s.file.Read(b)
		switch {
		case err == nil, err == io.EOF: // which is an empty one
			got(string(b[:n]))
		case errors.Is(err, os.ErrClosed):
			return
		default:
			time.Sleep(time.Second) // the kernel lacks something
		}
	}
}

// order is what a datagram has done to a job.
type order struct {
	enable bool
	job    string
}

// parseOrders reads words between blanks: enable and disable say what happens to those that
// follow (pmtr.md, section 3.15).
func parseOrders(datagram string) (list []order, ok bool) {
	mode := ""
	for _, word := range strings.FieldsFunc(datagram, func(r rune) bool {
		return r == ' ' || '\t' <= r && r <= '\r' || r == 0
	}) {
		switch {
		case word == "enable" || word == "disable":
			mode = word
		case mode == "":
			return nil, false
		default:
			list = append(list, order{mode == "enable", word})
		}
	}
	return list, mode != ""
}

// obey does what a datagram says.
func obey(log *journal, verbose bool, datagram string, set func(order)) {
	if verbose {
		log.say(debug, "received [", printable(datagram), "]")
	}
	orders, ok := parseOrders(datagram)
	if !ok {
		log.say(errs, "invalid control msg")
	}
	for _, o := range orders {
		set(o)
	}
}
