package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
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

// open asks for what is left, one endpoint after the other.
func (b *Body) open() error {
	for {
		err := b.from[0].health.spared()
		if err != nil && len(b.from) > 1 {
			b.call.at = b.from[0]
			b.pass(b.call.down(err))
			continue
		}
		if err = b.openAt(b.from[0]); err == nil {
			b.opened(b.from[0])
			return nil
		}
		if len(b.from) == 1 && errors.Is(err, ErrNotFound) {
			b.turnToURLs(err)
		}
		if len(b.from) == 1 || b.ctx.Err() != nil {
			return after(err, b.passed)
		}
		b.pass(err)
	}
}

// opened takes note of the endpoint that the next bytes come from.
func (b *Body) opened(at *endpoint) {
	b.begun = true
	if at.descriptorURL == "" {
		b.mirrors = b.mirrors || at.mirror
		return
	}
	b.fromURL = true
	b.c.learnt.hasURL(b.call.repo, b.digest, at.descriptorURL)
}

// turnToURLs has the URLs of the descriptor asked after the last server of the repository, which
// lacks the blob, as err says. The URLs that aren't asked are added to err.
func (b *Body) turnToURLs(err error) {
	if len(b.urls) == 0 {
		return
	}
	es, refused := b.c.urlEndpoints(b.c.wrongLast(b.call.repo, b.digest, b.urls))
	b.urls, b.from = nil, append(b.from[:1:1], es...)
	b.c.opts.Logger.Info("a repository lacks a blob: the URLs of its descriptor are asked", "blob", b.call.name, "urls", len(es), "not asked", refused)
	var e *Error
	if refused != nil && errors.As(err, &e) {
		e.Err = refused
	}
}

// pass passes over the endpoint that is asked now.
func (b *Body) pass(err error) {
	if url := b.from[0].descriptorURL; url != "" {
		b.c.learnt.lacksURL(b.call.repo, b.digest, url)
	}
	b.passed = append(b.passed, err)
	b.c.passed(b.call, err)
	b.from, b.whole, b.breaks, b.stalls = b.from[1:], false, 0, 0
}

// openAt asks one endpoint for what is left.
func (b *Body) openAt(at *endpoint) error {
	b.call.at, b.call.insists, b.call.plan.Hurried = at, b.begun, len(b.from) > 1
	b.call.url, b.call.foreign, b.call.plan.Bare = nil, false, false
	if at.descriptorURL != "" {
		b.call.url, b.call.foreign, b.call.plan.Bare = at.Base, true, true
	}
	k := b.call
	part := !b.whole && b.Size != 0 && (b.offset > 0 || b.end >= 0)
	if part {
		k.header = k.header.Clone()
		last := ""
		if b.end >= 0 {
			last = strconv.FormatInt(max(b.end-1, b.offset), 10)
		}
		k.header.Set("Range", fmt.Sprintf("bytes=%d-%s", b.offset, last))
	}
	resp, err := b.c.do(b.ctx, k, http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable)
	var e *Error
	if part && errors.As(err, &e) && (e.Kind == ErrUnsupported || e.Status == http.StatusBadRequest) {
		return b.openWhole(err)
	}
	if err != nil {
		return err
	}
	skip, size := int64(0), b.Size
	switch resp.StatusCode {
	case http.StatusRequestedRangeNotSatisfiable:
		resp.Body.Close()
		if part && b.offset < b.Size {
			return b.openWhole(k.nonsense("it has nothing from %d on, of %d bytes", b.offset, b.Size))
		}
		resp.Body = http.NoBody // nothing is left
	case http.StatusPartialContent:
		start, total, ok := parseContentRange(resp.Header.Get("Content-Range"))
		if !ok || start != b.offset {
			resp.Body.Close()
			err := k.nonsense("asked for the bytes from %d on, it sends %q", b.offset, plain(resp.Header.Get("Content-Range")))
			if part {
				return b.openWhole(err)
			}
			return err
		}
		if part && b.isCoded(resp, b.rest()) {
			resp.Body.Close()
			return b.openWhole(k.nonsense("it compresses what it sends"))
		}
		size = total
	default: // the whole, whatever was asked for
		if b.strict {
			resp.Body.Close()
			return b.openWhole(k.nonsense("it sends all of it"))
		}
		if b.Size < 0 && transport.Coding(resp.Header) != "" {
			b.Size, b.asSent, err = b.c.count(b.ctx, k, resp, b.digest)
			resp.Body.Close()
			if err != nil {
				b.breaks++
			}
			if err != nil && (!errors.Is(err, errBroken) || b.breaks > b.c.retries(maxBreaks)) {
				return err
			}
			if err != nil {
				b.c.retried(b.call, err)
			}
			return b.openAt(at)
		}
		if b.isCoded(resp, b.Size) {
			transport.Decode(resp)
			b.whole = true // nobody can ask for a part of the decoded bytes
		}
		skip, size = b.offset, resp.ContentLength
	}
	if b.Size >= 0 && size >= 0 && size != b.Size {
		resp.Body.Close()
		return &Error{Op: k.op(), Name: k.name, At: k.server(), Kind: ErrCorrupt, Err: fmt.Errorf("it has %d bytes, where %s", size, b.promised())}
	}
	if b.Size < 0 && size > b.c.bounds.unsized {
		resp.Body.Close()
		return k.tooLarge(tooLarge(b.c.bounds.unsized))
	}
	b.Size = max(b.Size, size)
	if b.Size >= 0 {
		skip = min(skip, b.Size)
	}
	b.cur = resp.Body
	if _, err := io.CopyN(io.Discard, b.cur, skip); err != nil {
		b.closeCurrent()
		return b.call.body(b.ctx, err)
	}
	return nil
}

// promised tells the size that the blob should have.
func (b *Body) promised() string {
	if b.Size == 0 {
		return "a Size of 0 was given (one that isn't known is -1)" // as of a Descriptor that nobody filled in
	}
	return fmt.Sprintf("%d were promised", b.Size)
}

// isCoded says whether an answer of which so many bytes are wanted (-1: unknown) was compressed
// on the way. One that says to be compressed, and is as long as it should be, is only labelled
// so: S3 does it with objects that were stored with such a header.
func (b *Body) isCoded(resp *http.Response, size int64) bool {
	return transport.Coding(resp.Header) != "" && !b.asSent && (size < 0 || resp.ContentLength != size)
}

// rest is how many bytes are left of what was asked for; -1: unknown.
func (b *Body) rest() int64 {
	switch {
	case b.Size < 0:
		return -1
	case b.end >= 0:
		return min(b.end, b.Size) - b.offset
	}
	return b.Size - b.offset
}

// openWhole asks for all of it, as asking for a part came to nothing.
func (b *Body) openWhole(why error) error {
	if b.strict {
		return &Error{Op: b.call.op(), Name: b.call.name, At: b.call.server(), Kind: ErrUnsupported, Err: fmt.Errorf("a part of it: %w", why)}
	}
	b.c.opts.Logger.Info("a part of a blob can't be had: all of it is asked for", "blob", b.call.name, "offset", b.offset, "cause", why)
	b.whole = true
	return b.openAt(b.from[0])
}

// parseContentRange reads "bytes FIRST-LAST/SIZE"; SIZE may be "*", which is -1.
func parseContentRange(v string) (start, size int64, ok bool) {
	v, ok = strings.CutPrefix(v, "bytes ")
	if !ok {
		return 0, 0, false
	}
	span, total, ok := strings.Cut(v, "/")
	first, last, ok2 := strings.Cut(span, "-")
	start, err := strconv.ParseInt(first, 10, 64)
	end, err2 := strconv.ParseInt(last, 10, 64)
	if !ok || !ok2 || err != nil || err2 != nil || start < 0 || end < start {
		return 0, 0, false
	}
	if total == "*" {
		return start, -1, true
	}
	size, err = strconv.ParseInt(total, 10, 64)
	return start, size, err == nil && size > end
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
