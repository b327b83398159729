package registry

import (
	"fmt"
	"io"
)

// Bounds of a blob whose size nobody promised. What is beyond is ErrTooLarge.
const (
	// maxUnsized bounds its bytes. The largest blob that a registry is known to take is Azure's,
	// of 200 GiB.
	maxUnsized = 256 << 30
	// maxRatio bounds how many times larger the decoded bytes of a compressed answer are than what
	// was sent. Gzip reaches 1032. The bound counts for what is beyond minUnpacked bytes, as that of
	// unpacked layers does: a small blob of zeros is no attack.
	maxRatio    = 1000
	minUnpacked = 1 << 30
)

// unsizedReader reads a blob whose size nobody promised, within the bounds.
type unsizedReader struct {
	next io.Reader
	most int64    // bytes that are read at most
	sent *counter // the bytes that next decodes; nil: next decodes none
	free int64    // with sent: bytes from which on the ratio to what was sent is bounded
	n    int64    // bytes that were read
}

func (r *unsizedReader) Read(p []byte) (int, error) {
	n, err := r.next.Read(p)
	r.n += int64(n)
	switch {
	case r.n > r.most:
		return 0, tooLarge(r.most)
	case r.sent != nil && r.n > r.free && r.n/maxRatio > r.sent.n:
		return 0, fmt.Errorf("%w: the %d bytes that were sent unpack to more than %d times that", ErrTooLarge, r.sent.n, maxRatio)
	}
	return n, err
}

// tooLarge is the error of a blob of unknown size that has more than most bytes.
func tooLarge(most int64) error {
	return fmt.Errorf("%w: nobody told its size, and it has more than the %d bytes that are read then", ErrTooLarge, most)
}
