package logwriter

// Allow makes room for lines of which up to window bytes are left to be shown
// again. It has to be called before the first Peek.
func (in *Input) Allow(window int) {
	if window >= spare {
		in.buf = make([]byte, block+window+spare)
	}
}
