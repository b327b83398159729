//go:build !boringcrypto

package lanes

import "golang.org/x/sys/cpu"

// capable says whether the processor has what blocks needs.
func capable() bool {
	return cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL
}

// hasSHA says whether the processor has instructions for SHA-256: bit 29 of EBX of CPUID's leaf 7. They
// are as fast for one blob as lanes are for all.
func hasSHA() bool { return cpuid(7, 0)&(1<<29) != 0 }

// cpuid gives EBX of a leaf of CPUID.
func cpuid(leaf, sub uint32) (ebx uint32)

// blocks adds n blocks of 64 bytes to the states of all lanes, each from its message.
//
//go:noescape
func blocks(s *states, messages *[width]*byte, n int)
