#include "textflag.h"

#define V0 Z0
#define V1 Z1
#define V2 Z2
#define V3 Z3
#define V4 Z4
#define V5 Z5
#define V6 Z6
#define V7 Z7
#define V8 Z8
#define V9 Z9
#define V10 Z10
#define V11 Z11
#define V12 Z12
#define V13 Z13
#define V14 Z14
#define V15 Z15
#define V16 Z16
#define V17 Z17
#define V18 Z18
#define V19 Z19
#define V20 Z20
#define V21 Z21
#define V22 Z22
#define V23 Z23
#define V24 Z24
#define V25 Z25
#define V26 Z26
#define V27 Z27
#define V28 Z28
#define V29 Z29
#define V30 Z30
#define V31 Z31
#include "rounds_amd64.h"

// QUARTERS takes what FOUR gave for word i of a quarter: lanes 0 to 3 are in w0, 4 to 7 in w4, and so
// on. Afterwards wj has word j+i of all lanes.
#define QUARTERS(w0, w4, w8, w12) \
	VSHUFI32X4 $0x44, w4, w0, V24   \
	VSHUFI32X4 $0x44, w12, w8, V25  \
	VSHUFI32X4 $0xee, w4, w0, V26   \
	VSHUFI32X4 $0xee, w12, w8, V27  \
	VSHUFI32X4 $0x88, V25, V24, w0  \
	VSHUFI32X4 $0xdd, V25, V24, w4  \
	VSHUFI32X4 $0x88, V27, V26, w8  \
	VSHUFI32X4 $0xdd, V27, V26, w12

// func sixteen(s *states, messages *[width]*byte, blocks int)
TEXT ·sixteen(SB), NOSPLIT, $0-24
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
	LOAD(8, 0, V16)
	LOAD(9, 0, V17)
	LOAD(10, 0, V18)
	LOAD(11, 0, V19)
	FOUR(V16, V17, V18, V19)
	LOAD(12, 0, V20)
	LOAD(13, 0, V21)
	LOAD(14, 0, V22)
	LOAD(15, 0, V23)
	FOUR(V20, V21, V22, V23)
	QUARTERS(V8, V12, V16, V20)
	QUARTERS(V9, V13, V17, V21)
	QUARTERS(V10, V14, V18, V22)
	QUARTERS(V11, V15, V19, V23)

#include "block_amd64.h"

	ADDQ $64, R8
	DECQ R9
	JMP  block

done:
	VZEROUPPER
	RET
