package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/hosts"
	"github.com/ocifs/ocifs/registry/internal/transport"
	"github.com/ocifs/ocifs/registry/ref"
)

const (
	// maxBreaks is how often on end a body may break off before a byte comes,
	// maxStalls how often it may fall silent before much comes.
	maxBreaks = 4
	maxStalls = 2
	much      = 64 << 10
	// slowAfter is how long a body may take for much before it counts no more among
	// Options.Downloads:
	// slow ones aren't what the limit is for, and mustn't keep others out.
	slowAfter = 5 * time.Second
)

// Body is a blob, or its rest, on its way. It isn't safe for concurrent use.
type Body struct {
	Size int64 // of the whole blob; -1: unknown

	c       *Client
	ctx     context.Context // of the call that this body is the answer of
	call    call
	from    []*endpoint // that are asked, the first of them now
	passed  []error     // of those that were asked before
	begun   bool        // something came
	mirrors bool        // some of it from a mirror
	urls    []string    // of the descriptor; nil: it has none, or they are among from or passed
	fromURL bool        // some of it from one of the URLs
	digest  digest.Digest
	offset  int64 // of the next byte
	end     int64 // where to stop; -1: at the end
	cur     io.ReadCloser
	release func()
	strict  bool // a part that can't be had alone isn't had
	whole   bool // the registry can't be asked for a part
	asSent  bool // the bytes are those that are sent, whatever coding the answer says
	breaks  int
	stalls  int
	since   int64        // bytes since the last silence
	came    atomic.Int64 // bytes within slowAfter
	closed  atomic.Bool
}

// BlobRange gets the bytes of a blob from offset on, length of them, or all where
// length is negative (spec, "Pulling blobs"; RFC 9110, section 14). desc says its
// digest and its size, -1 where that isn't known: then it has 256 GiB at most. A size of 0 is that of
// an empty blob. The bytes aren't verified, as a
// part has no digest, but a blob of another size is refused: ErrCorrupt, and no byte
// beyond that size. A body that breaks off or falls silent is continued from where it
// stopped, a few times: by Range, or, where the registry doesn't do that right, from
// the start.
//
// Where the repository lacks the blob (404), the URLs of desc are asked, in order, without a
// credential; the package's documentation says which. A URL that had the blob is asked first for
// the next five minutes.
//
// ctx is over the body as well. Close must be called.
func (c *Client) BlobRange(ctx context.Context, r ref.Repository, desc v1.Descriptor, offset, length int64) (*Body, error) {
	b, err := c.newBody(ctx, r, desc, offset, length)
	if err != nil {
		return nil, err
	}
	if b.release, err = c.downloads.take(ctx, r.Host); err != nil {
		return nil, err
	}
	return b.begin()
}

// BlobPart is BlobRange for one who gets several parts of a blob at once. It never waits:
// where Options.Downloads bodies are open it is ErrNoPlace; and where the registry doesn't
// send that part alone it is ErrUnsupported, and nothing is read. Each part has a connection for
// itself while it comes.
func (c *Client) BlobPart(ctx context.Context, r ref.Repository, desc v1.Descriptor, offset, length int64) (*Body, error) {
	b, err := c.newBody(ctx, r, desc, offset, length)
	if err != nil {
		return nil, err
	}
	var spare bool
	if b.release, _, spare = c.downloads.spare(r.Host); !spare {
		return nil, fmt.Errorf("%s: %w", b.call.name, ErrNoPlace)
	}
	b.strict, b.call.plan.Part = true, true
	return b.begin()
}

// newBody is a body that isn't asked for yet.
func (c *Client) newBody(ctx context.Context, r ref.Repository, desc v1.Descriptor, offset, length int64) (*Body, error) {
	if err := checkDigest("GET blob", r, desc.Digest); err != nil {
		return nil, err
	}
	k := blobCall(http.MethodGet, r, desc.Digest)
	k.plan.Bulk = true
	from, err := c.able(r.Host, hosts.Pull)
	if err != nil {
		return nil, k.failed(ctx, err, "")
	}
	b := &Body{Size: desc.Size, c: c, ctx: ctx, call: k, from: c.withURL(c.trusted(from, r, desc.Digest), r, desc.Digest, desc.URLs), urls: desc.URLs, digest: desc.Digest, offset: offset, end: -1}
	if length >= 0 {
		b.end = offset + length
	}
	return b, nil
}

// begin opens the body for the first time.
func (b *Body) begin() (*Body, error) {
	if err := b.open(); err != nil {
		b.release()
		return nil, err
	}
	time.AfterFunc(slowAfter, b.watch)
	return b, nil
}

// watch counts a body that is slow no more among Options.Downloads.
func (b *Body) watch() {
	switch {
	case b.closed.Load():
	case b.came.Swap(0) < much:
		b.release()
	default:
		time.AfterFunc(slowAfter, b.watch)
	}
}

// Read reads what comes, and continues what breaks off.
func (b *Body) Read(p []byte) (int, error) {
	if b.end >= 0 {
		if b.offset >= b.end {
			return 0, io.EOF
		}
		p = p[:min(int64(len(p)), b.end-b.offset)]
	}
	for {
		n, err := b.cur.Read(p)
		if b.Size >= 0 && b.offset+int64(n) > b.Size {
			b.closeCurrent()
			return 0, &Error{Op: b.call.op(), Name: b.call.name, At: b.call.server(), Kind: ErrCorrupt, Err: fmt.Errorf("it is longer than was promised: %s", b.promised())}
		}
		if b.Size < 0 && b.offset+int64(n) > b.c.bounds.unsized {
			b.closeCurrent()
			return 0, b.call.tooLarge(tooLarge(b.c.bounds.unsized))
		}
		b.offset += int64(n)
		b.came.Add(int64(n))
		if n > 0 {
			b.breaks = 0
			if b.since += int64(n); b.since >= much {
				b.stalls = 0
			}
			return n, nil // an error comes again
		}
		if err == nil {
			continue
		}
		if err == io.EOF && b.Size < 0 || b.Size >= 0 && b.offset >= b.Size {
			return 0, io.EOF // however it ended
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		b.closeCurrent()
		if err := b.again(err); err != nil {
			return 0, err
		}
	}
}

// again opens the body anew after it broke off, unless that happened too often.
func (b *Body) again(cause error) error {
	for {
		b.breaks++
		if errors.Is(cause, transport.ErrStalled) {
			b.stalls++
			b.since = 0
		}
		if len(b.from) > 1 && (b.breaks > 1 || b.stalls > 0) {
			b.pass(b.call.body(b.ctx, cause))
			b.breaks++
		}
		if b.ctx.Err() != nil || b.breaks > b.c.retries(maxBreaks) || b.stalls >= maxStalls {
			var e *Error
			if b.ctx.Err() == nil && errors.As(cause, &e) {
				return e
			}
			return b.call.body(b.ctx, cause)
		}
		b.c.opts.Logger.Info("a blob broke off and is continued", "blob", b.call.name, "offset", b.offset, "cause", cause)
		b.call.at = b.from[0]
		b.c.retried(b.call, cause)
		if b.breaks > 1 {
			t := time.NewTimer(time.Duration(b.breaks) * 100 * time.Millisecond)
			select {
			case <-t.C:
			case <-b.ctx.Done():
				t.Stop()
			}
		}
		err := b.open()
		// No answer, or a presigned address that is over: the registry is asked again.
		var e *Error
		passing := errors.Is(err, errBroken) || errors.As(err, &e) && (e.elsewhere || errors.Is(err, ErrUnreachable))
		if !passing {
			return err
		}
		cause = err
	}
}

func (b *Body) closeCurrent() {
	if b.cur != nil {
		b.cur.Close()
	}
}

// Close ends the transfer.
func (b *Body) Close() error {
	b.closed.Store(true)
	b.closeCurrent()
	b.release()
	return nil
}

// Mirrored says whether bytes came from a mirror.
func (b *Body) Mirrored() bool { return b.mirrors }

// FromURL says whether bytes came from a URL of the descriptor, as the repository lacks the blob.
func (b *Body) FromURL() bool { return b.fromURL }
