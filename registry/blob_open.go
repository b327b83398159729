package registry

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/ocifs/ocifs/registry/internal/transport"
)

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
