package filters

import (
	"unsafe"

	"upkeep/compat/cli"
)

// Readproctitle is readproctitle ... DISPLAY: it shows the end of its input in its
// last argument, for ps to see. Its first three bytes stay dots; what comes moves
// the rest to the left, NULs left out (daemontools.md, section 9.1).
//
// Exit: 0 at the end of input; 100 if the last argument has less than five bytes;
// 111 if reading fails.
func Readproctitle(env *cli.Env, args []string) int {
	if len(args) < 2 || len(args[len(args)-1]) < 5 {
		return cli.ExitUsage
	}
	last := args[len(args)-1]
	// The runtime's strings of the arguments are where the kernel has put them,
	// and where it looks when /proc/PID/cmdline is read.
	display := unsafe.Slice(unsafe.StringData(last), len(last))
	for i := range display {
		display[i] = '.'
	}
	moving := display[3:]
	in := make([]byte, 4096)
	for {
		n, err := env.Stdin.Read(in)
		if err != nil {
			return cli.ExitFatal
		}
		if n == 0 {
			return 0
		}
		Scroll(moving, in[:n])
	}
}

// Scroll moves b into display from the right, without its NULs. The display is a
// C string: no byte of it is ever NUL.
func Scroll(display, b []byte) {
	kept := b[:0]
	for _, c := range b {
		if c != 0 {
			kept = append(kept, c)
		}
	}
	if len(kept) >= len(display) {
		copy(display, kept[len(kept)-len(display):])
		return
	}
	copy(display, display[len(kept):])
	copy(display[len(display)-len(kept):], kept)
}
