package registry

import (
	"context"
	"io"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/ref"
)

// Source is the bytes of a blob that is pushed. They are read from any offset, as
// often as needed, by one goroutine at a time.
type Source interface {
	io.ReaderAt
	io.Closer
}

// Push says what is known of a blob that is pushed, and who wants to be told.
type Push struct {
	// From are repositories that have the blob. It is mounted from the first that is
	// let; those of other hosts are passed over.
	From []ref.Repository
	// Absent: the repository is known not to have it, and isn't asked.
	Absent bool
	// Sent is told how many bytes of the blob have been sent, by one goroutine at a
	// time. It may go back, when a part is sent again. nil: nobody is told.
	Sent func(total int64)
}

// Pushed says what came of a push.
type Pushed struct {
	Existed bool  // the repository had it
	Mounted bool  // it came from another repository of the host
	Sent    int64 // bytes that left, those that were sent again included
}

// PushBlob brings a blob into a repository (spec, "Pushing blobs").
func (c *Client) PushBlob(ctx context.Context, r ref.Repository, desc v1.Descriptor, open func(context.Context) (Source, error), p Push) (Pushed, error) {
	return Pushed{}, ErrUnsupported
}
