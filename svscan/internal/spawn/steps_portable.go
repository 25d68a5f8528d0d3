//go:build !((amd64 || arm64) && !upkeep_portable)

package spawn

// Prepares tells that Steps can be taken.
const Prepares = false
