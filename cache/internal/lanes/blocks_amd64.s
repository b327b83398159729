//go:build !boringcrypto

#include "textflag.h"

// The registers while a block of each lane is hashed:
//
//	Y0 to Y7    the working variables a to h of FIPS 180-4, section 6.2.2, one word for each lane
//	Y8 to Y23   the 16 latest words of the message schedule
//	Y24 to Y31  scratch
//	DI          the states, word by word of all lanes
//	SI          the addresses of the messages
//	R8          the offset of the block in its message
//	R9          the blocks that are left
//	BX          the constants of the next 16 rounds

// ROUND is step 3 for one t: w has word t of each lane, and k is the offset of its constant. What was
// in h is a afterwards, and what was in d is e: the next ROUND is called with the names moved by one.
#define ROUND(a, b, c, d, e, f, g, h, w, k) \
	VPADDD      w, h, h                        \
	VPADDD.BCST k(BX), h, h                    \
	VPRORD      $6, e, Y24                     \
	VPRORD      $11, e, Y25                    \
	VPRORD      $25, e, Y26                    \
	VPTERNLOGD  $0x96, Y24, Y25, Y26           \
	VMOVDQA32   e, Y27                         \
	VPTERNLOGD  $0xca, g, f, Y27               \
	VPADDD      Y26, h, h                      \
	VPADDD      Y27, h, h                      \
	VPADDD      h, d, d                        \
	VPRORD      $2, a, Y28                     \
	VPRORD      $13, a, Y29                    \
	VPRORD      $22, a, Y30                    \
	VPTERNLOGD  $0x96, Y28, Y29, Y30           \
	VMOVDQA32   a, Y31                         \
	VPTERNLOGD  $0xe8, c, b, Y31               \
	VPADDD      Y30, h, h                      \
	VPADDD      Y31, h, h

// NEXT is step 1: it puts word t+16 of each lane where word t was. The others are words t+1, t+9
// and t+14.
#define NEXT(w, w1, w9, w14)     \
	VPADDD     w9, w, w             \
	VPRORD     $7, w1, Y24          \
	VPRORD     $18, w1, Y25         \
	VPSRLD     $3, w1, Y26          \
	VPTERNLOGD $0x96, Y24, Y25, Y26 \
	VPRORD     $17, w14, Y27        \
	VPRORD     $19, w14, Y28        \
	VPSRLD     $10, w14, Y29        \
	VPTERNLOGD $0x96, Y27, Y28, Y29 \
	VPADDD     Y26, w, w            \
	VPADDD     Y29, w, w

// LOAD puts words of one lane into y, from the offset at in the block, in the order of the machine.
#define LOAD(lane, at, y)   \
	MOVQ      (lane*8)(SI), AX \
	VMOVDQU32 at(AX)(R8*1), y  \
	VPSHUFB   Y31, y, y

// FOUR takes a block of each of four lanes. In each quarter of 16 bytes, word i of that quarter of all
// four lanes comes together in ri.
#define FOUR(r0, r1, r2, r3) \
	VPUNPCKLDQ  r1, r0, Y24     \
	VPUNPCKHDQ  r1, r0, Y25     \
	VPUNPCKLDQ  r3, r2, Y26     \
	VPUNPCKHDQ  r3, r2, Y27     \
	VPUNPCKLQDQ Y26, Y24, r0    \
	VPUNPCKHQDQ Y26, Y24, r1    \
	VPUNPCKLQDQ Y27, Y25, r2    \
	VPUNPCKHQDQ Y27, Y25, r3

// ADD is step 4 for one word of the states.
#define ADD(word, y)           \
	VPADDD    (word*32)(DI), y, y \
	VMOVDQU32 y, (word*32)(DI)

// HALVES takes what FOUR gave for word i of a quarter: lanes 0 to 3 are in w0, and 4 to 7 in w4.
// Afterwards wj has word j+i of all lanes.
#define HALVES(w0, w4) \
	VSHUFI32X4 $0, w4, w0, Y24 \
	VSHUFI32X4 $3, w4, w0, w4  \
	VMOVDQA32  Y24, w0

// func blocks(s *states, messages *[width]*byte, n int)
TEXT ·blocks(SB), NOSPLIT, $0-24
	MOVQ s+0(FP), DI
	MOVQ messages+8(FP), SI
	MOVQ n+16(FP), R9
	XORQ R8, R8

block:
	TESTQ R9, R9
	JZ    done
	VBROADCASTI32X4 ·bigEndian(SB), Y31

	LOAD(0, 0, Y8)
	LOAD(1, 0, Y9)
	LOAD(2, 0, Y10)
	LOAD(3, 0, Y11)
	FOUR(Y8, Y9, Y10, Y11)
	LOAD(4, 0, Y12)
	LOAD(5, 0, Y13)
	LOAD(6, 0, Y14)
	LOAD(7, 0, Y15)
	FOUR(Y12, Y13, Y14, Y15)
	HALVES(Y8, Y12)
	HALVES(Y9, Y13)
	HALVES(Y10, Y14)
	HALVES(Y11, Y15)
	LOAD(0, 32, Y16)
	LOAD(1, 32, Y17)
	LOAD(2, 32, Y18)
	LOAD(3, 32, Y19)
	FOUR(Y16, Y17, Y18, Y19)
	LOAD(4, 32, Y20)
	LOAD(5, 32, Y21)
	LOAD(6, 32, Y22)
	LOAD(7, 32, Y23)
	FOUR(Y20, Y21, Y22, Y23)
	HALVES(Y16, Y20)
	HALVES(Y17, Y21)
	HALVES(Y18, Y22)
	HALVES(Y19, Y23)

	VMOVDQU32 (0*32)(DI), Y0
	VMOVDQU32 (1*32)(DI), Y1
	VMOVDQU32 (2*32)(DI), Y2
	VMOVDQU32 (3*32)(DI), Y3
	VMOVDQU32 (4*32)(DI), Y4
	VMOVDQU32 (5*32)(DI), Y5
	VMOVDQU32 (6*32)(DI), Y6
	VMOVDQU32 (7*32)(DI), Y7

	LEAQ ·constants(SB), BX
	MOVQ $3, CX

scheduled: // rounds 0 to 47, 16 in each of three passes
	ROUND(Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, 0)
	NEXT(Y8, Y9, Y17, Y22)
	ROUND(Y7, Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y9, 4)
	NEXT(Y9, Y10, Y18, Y23)
	ROUND(Y6, Y7, Y0, Y1, Y2, Y3, Y4, Y5, Y10, 8)
	NEXT(Y10, Y11, Y19, Y8)
	ROUND(Y5, Y6, Y7, Y0, Y1, Y2, Y3, Y4, Y11, 12)
	NEXT(Y11, Y12, Y20, Y9)
	ROUND(Y4, Y5, Y6, Y7, Y0, Y1, Y2, Y3, Y12, 16)
	NEXT(Y12, Y13, Y21, Y10)
	ROUND(Y3, Y4, Y5, Y6, Y7, Y0, Y1, Y2, Y13, 20)
	NEXT(Y13, Y14, Y22, Y11)
	ROUND(Y2, Y3, Y4, Y5, Y6, Y7, Y0, Y1, Y14, 24)
	NEXT(Y14, Y15, Y23, Y12)
	ROUND(Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y0, Y15, 28)
	NEXT(Y15, Y16, Y8, Y13)
	ROUND(Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y16, 32)
	NEXT(Y16, Y17, Y9, Y14)
	ROUND(Y7, Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y17, 36)
	NEXT(Y17, Y18, Y10, Y15)
	ROUND(Y6, Y7, Y0, Y1, Y2, Y3, Y4, Y5, Y18, 40)
	NEXT(Y18, Y19, Y11, Y16)
	ROUND(Y5, Y6, Y7, Y0, Y1, Y2, Y3, Y4, Y19, 44)
	NEXT(Y19, Y20, Y12, Y17)
	ROUND(Y4, Y5, Y6, Y7, Y0, Y1, Y2, Y3, Y20, 48)
	NEXT(Y20, Y21, Y13, Y18)
	ROUND(Y3, Y4, Y5, Y6, Y7, Y0, Y1, Y2, Y21, 52)
	NEXT(Y21, Y22, Y14, Y19)
	ROUND(Y2, Y3, Y4, Y5, Y6, Y7, Y0, Y1, Y22, 56)
	NEXT(Y22, Y23, Y15, Y20)
	ROUND(Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y0, Y23, 60)
	NEXT(Y23, Y8, Y16, Y21)
	ADDQ $64, BX
	DECQ CX
	JNZ  scheduled

	// Rounds 48 to 63, which need no further words.
	ROUND(Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, 0)
	ROUND(Y7, Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y9, 4)
	ROUND(Y6, Y7, Y0, Y1, Y2, Y3, Y4, Y5, Y10, 8)
	ROUND(Y5, Y6, Y7, Y0, Y1, Y2, Y3, Y4, Y11, 12)
	ROUND(Y4, Y5, Y6, Y7, Y0, Y1, Y2, Y3, Y12, 16)
	ROUND(Y3, Y4, Y5, Y6, Y7, Y0, Y1, Y2, Y13, 20)
	ROUND(Y2, Y3, Y4, Y5, Y6, Y7, Y0, Y1, Y14, 24)
	ROUND(Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y0, Y15, 28)
	ROUND(Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y16, 32)
	ROUND(Y7, Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y17, 36)
	ROUND(Y6, Y7, Y0, Y1, Y2, Y3, Y4, Y5, Y18, 40)
	ROUND(Y5, Y6, Y7, Y0, Y1, Y2, Y3, Y4, Y19, 44)
	ROUND(Y4, Y5, Y6, Y7, Y0, Y1, Y2, Y3, Y20, 48)
	ROUND(Y3, Y4, Y5, Y6, Y7, Y0, Y1, Y2, Y21, 52)
	ROUND(Y2, Y3, Y4, Y5, Y6, Y7, Y0, Y1, Y22, 56)
	ROUND(Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y0, Y23, 60)

	ADD(0, Y0)
	ADD(1, Y1)
	ADD(2, Y2)
	ADD(3, Y3)
	ADD(4, Y4)
	ADD(5, Y5)
	ADD(6, Y6)
	ADD(7, Y7)

	ADDQ $64, R8
	DECQ R9
	JMP  block

done:
	VZEROUPPER
	RET
