//go:build !(amd64 || arm64) || upkeep_portable

package spawn

func setNoClone3(bool) bool { return false }

const portable = true
