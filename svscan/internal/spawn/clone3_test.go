//go:build (amd64 || arm64) && !upkeep_portable

package spawn

func setNoClone3(on bool) bool { return noClone3.Swap(on) }

const portable = false
