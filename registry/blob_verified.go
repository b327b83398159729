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

// Blob gets a whole blob and verifies it: its reader ends with io.EOF only when
// digest and size matched, else with ErrCorrupt, and it never gives more bytes
// than desc has. Close must be called.
func (c *Client) Blob(ctx context.Context, r ref.Repository, desc v1.Descriptor) (io.ReadCloser, error) {
	b, err := c.BlobRange(ctx, r, desc, 0, -1)
	if err != nil {
		return nil, err
	}
	return &verified{b, desc, desc.Digest.Algorithm().Hash(), 0}, nil
}

type verified struct {
	*Body
	want v1.Descriptor
	hash hash.Hash
	n    int64
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.Body.Read(p)
	v.hash.Write(p[:n])
	v.n += int64(n)
	switch {
	case v.n > v.want.Size:
		return 0, v.mismatch("it is longer than its %d bytes", v.want.Size)
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
