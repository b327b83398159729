package registry

import (
	"context"
	"fmt"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/ref"
)

// Blob gets a whole blob and verifies it (spec, "Pulling blobs"): its reader ends with io.EOF
// only when digest and size matched, else with ErrCorrupt, and it never gives more bytes than
// desc has. What it gave before its end isn't verified yet. desc needs a digest and a size; 0, as in
// a Descriptor with nothing but a digest, is the size of an empty blob. A size of -1 says that it
// isn't known: then the digest alone verifies, and the size that the registry tells is the bound,
// 256 GiB at most, beyond which it is ErrTooLarge.
//
// A body that breaks off or falls silent is continued, as of BlobRange. Each progress is told how
// many bytes of the blob were read so far, by the goroutine that reads, and must return at once.
//
// ctx is over the body as well. Close must be called. The reader isn't safe for concurrent use.
func (c *Client) Blob(ctx context.Context, r ref.Repository, desc v1.Descriptor, progress ...func(total int64)) (io.ReadCloser, error) {
	b, err := c.BlobRange(ctx, r, desc, 0, -1)
	if err != nil {
		return nil, err
	}
	return &verified{b, desc, desc.Digest.Algorithm().Hash(), 0, progress}, nil
}

type verified struct {
	*Body
	want     v1.Descriptor
	hash     hash.Hash
	n        int64 // bytes that were read
	progress []func(total int64)
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.Body.Read(p)
	v.hash.Write(p[:n])
	v.n += int64(n)
	if n > 0 {
		for _, p := range v.progress {
			p(v.n)
		}
	}
	switch {
	case err != io.EOF:
		return n, err
	case v.n < v.want.Size:
		return 0, v.mismatch("it ended after %d of %d bytes", v.n, v.want.Size)
	}
	if got := digest.NewDigest(v.want.Digest.Algorithm(), v.hash); got != v.want.Digest {
		return 0, v.mismatch("its digest is %s", got)
	}
	return n, io.EOF
}

func (v *verified) mismatch(format string, args ...any) error {
	return &Error{Op: v.call.op(), Name: v.call.name, Kind: ErrCorrupt, Err: fmt.Errorf(format, args...)}
}
