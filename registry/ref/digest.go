package ref

import (
	_ "crypto/sha256" // the algorithms that a digest may name
	_ "crypto/sha512"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// Algorithms are the digest algorithms that registries use and this program
// verifies, the usual one first.
var Algorithms = []digest.Algorithm{digest.SHA256, digest.SHA512}

// ValidAlgorithm says whether name is one of Algorithms.
func ValidAlgorithm(name string) bool {
	for _, a := range Algorithms {
		if name == string(a) {
			return true
		}
	}
	return false
}

// ParseDigest reads ALGORITHM:HEX. The hexadecimal digits are lower case, as
// many as the algorithm has.
func ParseDigest(s string) (digest.Digest, error) {
	d := digest.Digest(s)
	if err := d.Validate(); err != nil || !ValidAlgorithm(string(d.Algorithm())) {
		return "", fmt.Errorf("%w: %q is no sha256 or sha512 digest", ErrInvalid, s)
	}
	return d, nil
}

// NewDigest is ParseDigest of an algorithm and its digits apart, as paths have
// them.
func NewDigest(algorithm, hex string) (digest.Digest, error) {
	return ParseDigest(algorithm + ":" + hex)
}
