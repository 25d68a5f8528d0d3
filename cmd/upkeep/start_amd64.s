#include "textflag.h"

// See start.go for what this is and why.

DATA control<>+0(SB)/8, $"supervis"
DATA control<>+8(SB)/8, $"e/contro"
DATA control<>+16(SB)/8, $"l\x00\x00\x00\x00\x00\x00\x00"
GLOBL control<>(SB), RODATA, $24

// struct sigaction with SIG_IGN
DATA ignore<>+0(SB)/8, $1
GLOBL ignore<>(SB), RODATA, $32

// The stack holds argc, the argv pointers, 0, and the environment. It has to be
// left as it is, so only registers are used.
TEXT _upkeep_start(SB),NOSPLIT|NOFRAME,$0
	MOVQ	0(SP), AX
	CMPQ	AX, $3
	JNE	runtime

	// The base name of argv[0] has to be "svc".
	MOVQ	8(SP), SI
	MOVQ	SI, DI
name:
	MOVBLZX	(SI), CX
	INCQ	SI
	CMPL	CX, $'/'
	CMOVQEQ	SI, DI
	TESTL	CX, CX
	JNZ	name
	CMPL	(DI), $0x00637673
	JNE	runtime

	// UPKEEP_D... in the environment may ask for another svc.
	LEAQ	40(SP), R8
	MOVQ	$0x445f5045454b5055, DX
environment:
	MOVQ	(R8), SI
	ADDQ	$8, R8
	TESTQ	SI, SI
	JZ	letters
	CMPQ	(SI), DX
	JNE	environment
	JMP	runtime

	// argv[1] is "-" and letters out of acdhikoptux, each once: R9, R13 of them.
letters:
	MOVQ	16(SP), SI
	CMPB	(SI), $'-'
	JNE	runtime
	INCQ	SI
	MOVQ	SI, R9
	XORL	R10, R10
letter:
	MOVBLZX	(SI), CX
	TESTL	CX, CX
	JZ	directory
	SUBL	$'a', CX
	CMPL	CX, $('x'-'a')
	JHI	runtime
	MOVL	$1, DX
	SHLL	CX, DX
	TESTL	$0x98c58d, DX
	JZ	runtime
	TESTL	R10, DX
	JNZ	runtime
	ORL	DX, R10
	INCQ	SI
	JMP	letter

	// argv[2] is a directory: openat(AT_FDCWD, it, O_PATH|O_DIRECTORY|O_CLOEXEC)
directory:
	MOVQ	SI, R13
	SUBQ	R9, R13
	JZ	runtime
	MOVQ	24(SP), SI
	CMPB	(SI), $'-'
	JE	runtime
	MOVQ	$-100, DI
	MOVL	$0x290000, DX
	MOVL	$257, AX
	SYSCALL
	TESTQ	AX, AX
	JS	runtime

	// openat(that, "supervise/control", O_WRONLY|O_NONBLOCK|O_CLOEXEC)
	MOVQ	AX, DI
	LEAQ	control<>(SB), SI
	MOVL	$0x80801, DX
	MOVL	$257, AX
	SYSCALL
	TESTQ	AX, AX
	JS	runtime
	MOVQ	AX, R12

	// fcntl(control, F_SETFL, 0): the write may block
	MOVQ	R12, DI
	MOVL	$4, SI
	XORL	DX, DX
	MOVL	$72, AX
	SYSCALL

	// rt_sigaction(SIGPIPE, SIG_IGN)
	MOVL	$13, DI
	LEAQ	ignore<>(SB), SI
	XORL	DX, DX
	MOVL	$8, R10
	MOVL	$13, AX
	SYSCALL

	// write(control, letters)
	MOVQ	R12, DI
	MOVQ	R9, SI
	MOVQ	R13, DX
	MOVL	$1, AX
	SYSCALL
	CMPQ	AX, R13
	JNE	runtime

	// exit_group(0)
	XORL	DI, DI
	MOVL	$231, AX
	SYSCALL

runtime:
	JMP	_rt0_amd64_linux(SB)
