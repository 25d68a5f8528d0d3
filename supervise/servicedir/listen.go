package servicedir

// ListenName is the file of a service directory that names sockets.
const ListenName = "listen"

const listenSize = 64 << 10

// HasListen tells whether there may be one.
func HasListen(dir int) bool { return exists(dir, ListenName) }

// Listen reads it. ok is false where there is none.
func Listen(dir int) (text string, ok bool, err error) {
	b, ok, err := readFile(dir, ListenName, listenSize)
	return string(b), ok, err
}
