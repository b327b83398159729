package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/internal/transport"
)

const (
	octets        = "application/octet-stream"
	cancelTimeout = 5 * time.Second
	closeTimeout  = cancelTimeout + time.Second // of Client.Close: a Transport that heeds its context has returned by then
	// maxLeast bounds the least part that a registry may want, in bytes: those that
	// are met want 5 MiB.
	maxLeast = 1 << 30
	// maxShort is how many parts a registry may take next to nothing of.
	maxShort = 16
)

// phase is what an upload does.
type phase int

const (
	starting  phase = iota // a session
	whole                  // sending all of it, at once
	parting                // sending a part
	finishing              // closing the session
)

// startCall is the POST that begins a session (spec, "Pushing a blob monolithically").
func (u *upload) startCall(query string) call {
	if u.desc.Digest != "" && u.desc.Digest.Algorithm() != digest.Canonical {
		query = strings.TrimPrefix(query+"&digest-algorithm="+u.desc.Digest.Algorithm().String(), "&")
	}
	return call{
		method: http.MethodPost, repo: u.r, path: u.r.Path + "/blobs/uploads/", query: query,
		access: u.access, what: "blob upload", name: u.name(),
	}
}

// start begins a session. To begin one too many does no harm, so the request may be
// repeated.
func (u *upload) start(ctx context.Context) error {
	u.phase = starting
	k := u.startCall("")
	k.plan.Repeats = new(int)
	resp, err := u.c.do(ctx, k, http.StatusAccepted)
	if err != nil {
		return err
	}
	return u.begun(resp, k)
}

// begun takes up the session that an answer names.
func (u *upload) begun(resp *http.Response, k call) error {
	first := resp.Request
	for first.Response != nil {
		first = first.Response.Request
	}
	u.origin, u.acked, u.high, u.resumed = first.URL, 0, 0, false
	if resp.Header.Get("Location") == "" {
		transport.Aside(resp)
		return k.nonsense("it begins an upload and doesn't say where")
	}
	return u.heed(resp, k)
}

// heed takes up what an answer says of the session, and closes it.
func (u *upload) heed(resp *http.Response, k call) error {
	transport.Aside(resp)
	if n, err := strconv.ParseInt(resp.Header.Get("OCI-Chunk-Min-Length"), 10, 64); err == nil && n > 0 {
		u.least = min(n, maxLeast)
	}
	location := resp.Header.Get("Location")
	if location == "" {
		return nil
	}
	at, err := transport.Resolve(resp.Request.URL, location)
	if err != nil {
		return k.nonsense("its upload goes on at a bad address: %w", err)
	}
	u.at, u.foreign = at, !transport.SameOrigin(u.origin, at)
	return nil
}

func (u *upload) sessionCall(method string, at *url.URL) call {
	return call{
		method: method, repo: u.r, url: at, foreign: u.foreign, header: http.Header{},
		access: u.access, what: "blob upload", name: u.name(),
	}
}

// send sends a call with a part.
func (u *upload) send(ctx context.Context, k call, p *part, ok ...int) (*http.Response, error) {
	k.sends, k.plan.Bulk, k.plan.Work = p, true, p.work()
	k.header.Set("Content-Type", octets)
	resp, err := u.c.do(ctx, k, ok...)
	if broken := p.end(); broken != nil && err != nil && ctx.Err() == nil {
		return nil, lasting{fmt.Errorf("%s: reading the blob: %w", u.name(), broken)}
	}
	return resp, err
}

// all sends the blob as a whole and closes the session.
func (u *upload) all(ctx context.Context) error {
	u.phase = whole
	k := u.sessionCall(http.MethodPut, withDigest(u.at, u.desc.Digest))
	resp, err := u.send(ctx, k, &part{u: u, n: u.desc.Size}, http.StatusCreated, http.StatusOK, http.StatusNoContent)
	if err != nil {
		return err
	}
	return u.finished(resp, k)
}

// size gives the bytes of the next part.
func (u *upload) size() int64 {
	n := u.desc.Size - u.acked
	if u.chunk > 0 {
		n = min(n, max(u.chunk, u.least))
	}
	return n
}

// part sends the next part (spec, "Pushing a blob in chunks").
func (u *upload) part(ctx context.Context) error {
	u.phase = parting
	from, n := u.acked, u.size()
	k := u.sessionCall(http.MethodPatch, u.at)
	k.header.Set("Content-Range", fmt.Sprintf("%d-%d", from, from+n-1))
	return u.patch(ctx, k, &part{u: u, from: from, n: n})
}

// patch sends a part, and takes note of how much of it the session has.
func (u *upload) patch(ctx context.Context, k call, p *part) error {
	resp, err := u.send(ctx, k, p, http.StatusAccepted, http.StatusCreated, http.StatusOK, http.StatusNoContent)
	if err != nil {
		return err
	}
	progress := resp.Header.Get("Range")
	if err := u.heed(resp, k); err != nil {
		return err
	}
	from, n := p.from, p.length()
	if n < 0 {
		return k.nonsense("it answers before it was sent the end")
	}
	end := from + n
	if has, ok := parseSessionRange(progress); ok && has != end && !u.frozen {
		// Some never move it (ECR). Others did take less.
		at := u.at
		has, ok, err := u.ask(ctx)
		if u.at == nil {
			u.at = at // it just took something: it can't be asked, which doesn't end it
		}
		switch {
		case err != nil:
			return err
		case ok && from < has && has <= end:
			if has-from < min(n, much) {
				u.short++
			}
			if u.short > maxShort {
				return lasting{k.nonsense("it takes next to nothing of what it is sent")}
			}
			u.resumed, end = has < end, has
		default:
			u.frozen = true
		}
	}
	u.has(end)
	return nil
}

// has takes note of how much the session has. Progress makes good for what went
// wrong before.
func (u *upload) has(n int64) {
	u.acked = n
	if n >= u.best+much || n == u.desc.Size && n > u.best {
		u.best, u.tries, u.stalls, u.waited = n, 0, 0, 0
	}
}

// finish closes the session.
func (u *upload) finish(ctx context.Context) error {
	u.phase = finishing
	k := u.sessionCall(http.MethodPut, withDigest(u.at, u.desc.Digest))
	k.header.Set("Content-Type", octets)
	k.plan.Work = u.desc.Size
	resp, err := u.c.do(ctx, k, http.StatusCreated, http.StatusOK, http.StatusNoContent)
	if err != nil {
		return err
	}
	return u.finished(resp, k)
}

// finished checks that the registry took what it was sent for what it is.
func (u *upload) finished(resp *http.Response, k call) error {
	transport.Aside(resp)
	u.at = nil
	return k.checkDigest(resp, u.desc.Digest)
}

// checkDigest compares the digest that an answer to a write names, if it does.
func (k call) checkDigest(resp *http.Response, want digest.Digest) error {
	named := digest.Digest(resp.Header.Get("Docker-Content-Digest"))
	algo, _, _ := strings.Cut(string(named), ":")
	if named == want || algo != want.Algorithm().String() {
		return nil
	}
	return &Error{Op: k.op(), Name: k.name, Kind: ErrCorrupt, Err: fmt.Errorf("the registry has it as %s", plain(string(named)))}
}

// ask asks the session how much of the blob it has (spec, "Getting the status of an
// upload"). A session that is gone is forgotten. An error says that the registry
// couldn't be asked.
func (u *upload) ask(ctx context.Context) (has int64, ok bool, err error) {
	k := u.sessionCall(http.MethodGet, u.at)
	resp, err := u.c.do(ctx, k, http.StatusNoContent, http.StatusOK, http.StatusAccepted)
	var e *Error
	switch {
	case err == nil:
	case !errors.As(err, &e), e.Status == 0, e.Kind == ErrTooManyRequests, e.Kind == ErrServer && e.Status >= http.StatusInternalServerError:
		return 0, false, err
	default:
		if e.Kind == ErrNotFound {
			u.at = nil
		}
		return 0, false, nil
	}
	has, ok = parseSessionRange(resp.Header.Get("Range"))
	return has, ok, u.heed(resp, k)
}

// parseSessionRange reads "0-LAST", or "bytes=0-LAST", and gives how many bytes that
// is. "0-0" is said of one byte, and by some of none: it says nothing.
func parseSessionRange(v string) (int64, bool) {
	v = strings.TrimPrefix(strings.TrimSpace(v), "bytes=")
	last, ok := strings.CutPrefix(v, "0-")
	if !ok || last == "" || last[0] < '0' || last[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseInt(last, 10, 63)
	if err != nil || n == 0 {
		return 0, false
	}
	return n + 1, true
}

// abandon cancels the session, if there is one (spec, "Canceling a blob upload"),
// beside what follows: nothing hangs on it, and whoever was interrupted doesn't wait.
// Close of the client does.
func (u *upload) abandon() {
	if u.at == nil {
		return
	}
	k := u.sessionCall(http.MethodDelete, u.at)
	u.at = nil
	c := u.c
	c.mu.Lock()
	c.cancelling++
	c.mu.Unlock()
	go func() {
		defer func() {
			if p := recover(); p != nil { // nobody waits for this, and nothing hangs on it
				c.opts.Logger.Error("panic", "cause", p, "stack", string(debug.Stack()))
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.cancelling--
			c.cancelled.Broadcast()
		}()
		ctx, cancel := context.WithTimeout(context.Background(), cancelTimeout)
		defer cancel()
		if resp, err := c.do(ctx, k, http.StatusNoContent, http.StatusAccepted, http.StatusOK, http.StatusNotFound); err == nil {
			transport.Aside(resp)
		}
	}()
}
