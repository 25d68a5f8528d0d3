#include "textflag.h"

// See start.go. There is no shorter way on arm64; the name is the same, so that
// the same flags link it.
TEXT _upkeep_start(SB),NOSPLIT|NOFRAME,$0
	B	_rt0_arm64_linux(SB)
