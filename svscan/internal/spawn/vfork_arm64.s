#include "textflag.h"

// func rawVfork(trap, a1, a2 uintptr) (r uintptr)
//
// The child runs first, on this very stack; the return address is in a register.
TEXT ·rawVfork(SB),NOSPLIT,$0-32
	MOVD	trap+0(FP), R8
	MOVD	a1+8(FP), R0
	MOVD	a2+16(FP), R1
	MOVD	ZR, R2
	MOVD	ZR, R3
	MOVD	ZR, R4
	MOVD	ZR, R5
	SVC
	MOVD	R0, r+24(FP)
	RET
