#include "textflag.h"

#define V0 Y0
#define V1 Y1
#define V2 Y2
#define V3 Y3
#define V4 Y4
#define V5 Y5
#define V6 Y6
#define V7 Y7
#define V8 Y8
#define V9 Y9
#define V10 Y10
#define V11 Y11
#define V12 Y12
#define V13 Y13
#define V14 Y14
#define V15 Y15
#define V16 Y16
#define V17 Y17
#define V18 Y18
#define V19 Y19
#define V20 Y20
#define V21 Y21
#define V22 Y22
#define V23 Y23
#define V24 Y24
#define V25 Y25
#define V26 Y26
#define V27 Y27
#define V28 Y28
#define V29 Y29
#define V30 Y30
#define V31 Y31
#include "rounds_amd64.h"

// HALVES takes what FOUR gave for word i of a quarter: lanes 0 to 3 are in w0, and 4 to 7 in w4.
// Afterwards wj has word j+i of all lanes.
#define HALVES(w0, w4) \
	VSHUFI32X4 $0, w4, w0, V24 \
	VSHUFI32X4 $3, w4, w0, w4  \
	VMOVDQA32  V24, w0

// func eight(s *states, messages *[width]*byte, blocks int)
TEXT ·eight(SB), NOSPLIT, $0-24
	MOVQ s+0(FP), DI
	MOVQ messages+8(FP), SI
	MOVQ blocks+16(FP), R9
	XORQ R8, R8

block:
	TESTQ R9, R9
	JZ    done
	VBROADCASTI32X4 ·bigEndian(SB), V31

	LOAD(0, 0, V8)
	LOAD(1, 0, V9)
	LOAD(2, 0, V10)
	LOAD(3, 0, V11)
	FOUR(V8, V9, V10, V11)
	LOAD(4, 0, V12)
	LOAD(5, 0, V13)
	LOAD(6, 0, V14)
	LOAD(7, 0, V15)
	FOUR(V12, V13, V14, V15)
	HALVES(V8, V12)
	HALVES(V9, V13)
	HALVES(V10, V14)
	HALVES(V11, V15)
	LOAD(0, 32, V16)
	LOAD(1, 32, V17)
	LOAD(2, 32, V18)
	LOAD(3, 32, V19)
	FOUR(V16, V17, V18, V19)
	LOAD(4, 32, V20)
	LOAD(5, 32, V21)
	LOAD(6, 32, V22)
	LOAD(7, 32, V23)
	FOUR(V20, V21, V22, V23)
	HALVES(V16, V20)
	HALVES(V17, V21)
	HALVES(V18, V22)
	HALVES(V19, V23)

#include "block_amd64.h"

	ADDQ $64, R8
	DECQ R9
	JMP  block

done:
	VZEROUPPER
	RET
