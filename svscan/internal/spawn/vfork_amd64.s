#include "textflag.h"

// func rawVfork(trap, a1, a2 uintptr) (r uintptr)
//
// The child runs first, on this very stack, and may overwrite the return
// address: it waits in R12, which the kernel keeps.
TEXT ·rawVfork(SB),NOSPLIT|NOFRAME,$0-32
	MOVQ	trap+0(FP), AX
	MOVQ	a1+8(FP), DI
	MOVQ	a2+16(FP), SI
	XORL	DX, DX
	XORL	R10, R10
	XORL	R8, R8
	XORL	R9, R9
	POPQ	R12
	SYSCALL
	PUSHQ	R12
	MOVQ	AX, r+24(FP)
	RET
