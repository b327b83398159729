//go:build !boringcrypto

#include "textflag.h"

// func cpuid(leaf, sub uint32) (ebx uint32)
TEXT ·cpuid(SB), NOSPLIT, $0-12
	MOVL leaf+0(FP), AX
	MOVL sub+4(FP), CX
	CPUID
	MOVL BX, ebx+8(FP)
	RET

// The order of the bytes in four words that are big-endian, for VPSHUFB.
DATA ·bigEndian+0(SB)/8, $0x0405060700010203
DATA ·bigEndian+8(SB)/8, $0x0c0d0e0f08090a0b
GLOBL ·bigEndian(SB), RODATA|NOPTR, $16

// The constants of FIPS 180-4, section 4.2.2.
DATA ·constants+0(SB)/4, $0x428a2f98
DATA ·constants+4(SB)/4, $0x71374491
DATA ·constants+8(SB)/4, $0xb5c0fbcf
DATA ·constants+12(SB)/4, $0xe9b5dba5
DATA ·constants+16(SB)/4, $0x3956c25b
DATA ·constants+20(SB)/4, $0x59f111f1
DATA ·constants+24(SB)/4, $0x923f82a4
DATA ·constants+28(SB)/4, $0xab1c5ed5
DATA ·constants+32(SB)/4, $0xd807aa98
DATA ·constants+36(SB)/4, $0x12835b01
DATA ·constants+40(SB)/4, $0x243185be
DATA ·constants+44(SB)/4, $0x550c7dc3
DATA ·constants+48(SB)/4, $0x72be5d74
DATA ·constants+52(SB)/4, $0x80deb1fe
DATA ·constants+56(SB)/4, $0x9bdc06a7
DATA ·constants+60(SB)/4, $0xc19bf174
DATA ·constants+64(SB)/4, $0xe49b69c1
DATA ·constants+68(SB)/4, $0xefbe4786
DATA ·constants+72(SB)/4, $0x0fc19dc6
DATA ·constants+76(SB)/4, $0x240ca1cc
DATA ·constants+80(SB)/4, $0x2de92c6f
DATA ·constants+84(SB)/4, $0x4a7484aa
DATA ·constants+88(SB)/4, $0x5cb0a9dc
DATA ·constants+92(SB)/4, $0x76f988da
DATA ·constants+96(SB)/4, $0x983e5152
DATA ·constants+100(SB)/4, $0xa831c66d
DATA ·constants+104(SB)/4, $0xb00327c8
DATA ·constants+108(SB)/4, $0xbf597fc7
DATA ·constants+112(SB)/4, $0xc6e00bf3
DATA ·constants+116(SB)/4, $0xd5a79147
DATA ·constants+120(SB)/4, $0x06ca6351
DATA ·constants+124(SB)/4, $0x14292967
DATA ·constants+128(SB)/4, $0x27b70a85
DATA ·constants+132(SB)/4, $0x2e1b2138
DATA ·constants+136(SB)/4, $0x4d2c6dfc
DATA ·constants+140(SB)/4, $0x53380d13
DATA ·constants+144(SB)/4, $0x650a7354
DATA ·constants+148(SB)/4, $0x766a0abb
DATA ·constants+152(SB)/4, $0x81c2c92e
DATA ·constants+156(SB)/4, $0x92722c85
DATA ·constants+160(SB)/4, $0xa2bfe8a1
DATA ·constants+164(SB)/4, $0xa81a664b
DATA ·constants+168(SB)/4, $0xc24b8b70
DATA ·constants+172(SB)/4, $0xc76c51a3
DATA ·constants+176(SB)/4, $0xd192e819
DATA ·constants+180(SB)/4, $0xd6990624
DATA ·constants+184(SB)/4, $0xf40e3585
DATA ·constants+188(SB)/4, $0x106aa070
DATA ·constants+192(SB)/4, $0x19a4c116
DATA ·constants+196(SB)/4, $0x1e376c08
DATA ·constants+200(SB)/4, $0x2748774c
DATA ·constants+204(SB)/4, $0x34b0bcb5
DATA ·constants+208(SB)/4, $0x391c0cb3
DATA ·constants+212(SB)/4, $0x4ed8aa4a
DATA ·constants+216(SB)/4, $0x5b9cca4f
DATA ·constants+220(SB)/4, $0x682e6ff3
DATA ·constants+224(SB)/4, $0x748f82ee
DATA ·constants+228(SB)/4, $0x78a5636f
DATA ·constants+232(SB)/4, $0x84c87814
DATA ·constants+236(SB)/4, $0x8cc70208
DATA ·constants+240(SB)/4, $0x90befffa
DATA ·constants+244(SB)/4, $0xa4506ceb
DATA ·constants+248(SB)/4, $0xbef9a3f7
DATA ·constants+252(SB)/4, $0xc67178f2
GLOBL ·constants(SB), RODATA|NOPTR, $256
