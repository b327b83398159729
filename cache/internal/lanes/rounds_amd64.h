// What sixteen_amd64.s and eight_amd64.s share. V0 to V31 are the registers, as they define them.
//
// The registers while a block of each lane is hashed:
//
//	V0 to V7    the working variables a to h of FIPS 180-4, section 6.2.2, one word for each lane
//	V8 to V23   the 16 latest words of the message schedule
//	V24 to V31  what is needed for a moment
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
	VPRORD      $6, e, V24                     \
	VPRORD      $11, e, V25                    \
	VPRORD      $25, e, V26                    \
	VPTERNLOGD  $0x96, V24, V25, V26           \
	VMOVDQA32   e, V27                         \
	VPTERNLOGD  $0xca, g, f, V27               \
	VPADDD      V26, h, h                      \
	VPADDD      V27, h, h                      \
	VPADDD      h, d, d                        \
	VPRORD      $2, a, V28                     \
	VPRORD      $13, a, V29                    \
	VPRORD      $22, a, V30                    \
	VPTERNLOGD  $0x96, V28, V29, V30           \
	VMOVDQA32   a, V31                         \
	VPTERNLOGD  $0xe8, c, b, V31               \
	VPADDD      V30, h, h                      \
	VPADDD      V31, h, h

// NEXT is step 1: it puts word t+16 of each lane where word t was. The others are words t+1, t+9
// and t+14.
#define NEXT(w, w1, w9, w14)     \
	VPADDD     w9, w, w             \
	VPRORD     $7, w1, V24          \
	VPRORD     $18, w1, V25         \
	VPSRLD     $3, w1, V26          \
	VPTERNLOGD $0x96, V24, V25, V26 \
	VPRORD     $17, w14, V27        \
	VPRORD     $19, w14, V28        \
	VPSRLD     $10, w14, V29        \
	VPTERNLOGD $0x96, V27, V28, V29 \
	VPADDD     V26, w, w            \
	VPADDD     V29, w, w

// LOAD puts words of one lane into z, from the offset at in the block, in the order of the machine.
#define LOAD(lane, at, z)   \
	MOVQ      (lane*8)(SI), AX \
	VMOVDQU32 at(AX)(R8*1), z  \
	VPSHUFB   V31, z, z

// FOUR takes a block of each of four lanes. In each quarter of 16 bytes, word i of that quarter of all
// four lanes comes together in ri.
#define FOUR(r0, r1, r2, r3) \
	VPUNPCKLDQ  r1, r0, V24     \
	VPUNPCKHDQ  r1, r0, V25     \
	VPUNPCKLDQ  r3, r2, V26     \
	VPUNPCKHDQ  r3, r2, V27     \
	VPUNPCKLQDQ V26, V24, r0    \
	VPUNPCKHQDQ V26, V24, r1    \
	VPUNPCKLQDQ V27, V25, r2    \
	VPUNPCKHQDQ V27, V25, r3

// ADD is step 4 for one word of the states.
#define ADD(word, z)           \
	VPADDD    (word*64)(DI), z, z \
	VMOVDQU32 z, (word*64)(DI)
