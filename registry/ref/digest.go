package ref

import (
	_ "crypto/sha256" // the algorithms that a digest may name
	_ "crypto/sha512"
	"errors"
	"fmt"
	"strings"

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

// ErrAlgorithm is matched, beside ErrInvalid, by the error of a digest that keeps the
// specification's grammar and whose algorithm isn't one of Algorithms. Its content can't be
// verified here; a manifest that names it is valid.
var ErrAlgorithm = errors.New("unknown digest algorithm")

// ParseDigest reads ALGORITHM:HEX. The hexadecimal digits are lower case, as
// many as the algorithm has.
func ParseDigest(s string) (digest.Digest, error) {
	d := digest.Digest(s)
	algorithm, _, _ := strings.Cut(s, ":")
	switch {
	case ValidAlgorithm(algorithm) && d.Validate() == nil:
		return d, nil
	case !ValidAlgorithm(algorithm) && digest.DigestRegexpAnchored.MatchString(s):
		return "", fmt.Errorf("%w: %w of %q, which is no sha256 or sha512 digest", ErrInvalid, ErrAlgorithm, s)
	}
	return "", fmt.Errorf("%w: %q is no sha256 or sha512 digest", ErrInvalid, s)
}

// NewDigest is ParseDigest of an algorithm and its digits apart, as paths have
// them.
func NewDigest(algorithm, hex string) (digest.Digest, error) {
	return ParseDigest(algorithm + ":" + hex)
}

// DigestName spells a digest as one name, which can be a tag: sha256-<hex>.
func DigestName(d digest.Digest) string { return d.Algorithm().String() + "-" + d.Encoded() }

// ParseDigestName reads a digest that DigestName wrote. ok is false if it is none.
func ParseDigestName(name string) (d digest.Digest, ok bool) {
	algorithm, hex, ok := strings.Cut(name, "-")
	if !ok {
		return "", false
	}
	d, err := NewDigest(algorithm, hex)
	return d, err == nil
}
