package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/internal/transport"
	"github.com/ocifs/ocifs/registry/ref"
)

// call is one request of the API.
type call struct {
	method string
	repo   ref.Repository // Path is empty for the host's own
	path   string         // below /v2/: "library/alpine/tags/list"
	url    *url.URL       // in place of path: an address that the registry gave
	query  string         // with path
	header http.Header
	access auth.Access
	sends  payload // nil: nothing
	what   string  // what is asked for, for errors: "tags"
	name   string  // of what, for errors

	plan    transport.Plan // how it is sent; its server, and whether that is tried once, are up to do
	at      *endpoint      // who is asked; nil: the registry itself, or where it is written
	insists bool           // the server is asked although it was out of reach a moment ago
	foreign bool           // the address is another server's: no credential goes there

	anonymous bool // no credential goes along
	mirrored  bool // a list that mirrors are asked for where the registry is out of reach
	referrers bool // with mirrored: the list that some mirrors are asked for before the registry is
}

// unknownSize is of a payload whose end isn't known yet.
const unknownSize = -1

// payload is the body of a request. It can be had again.
type payload interface {
	size() int64 // in bytes, or unknownSize
	open() (io.ReadCloser, error)
}

// do sends a call. Any status that isn't in ok is an *Error; so is everything
// that kept the answer away, but the caller's own context.
func (c *Client) do(ctx context.Context, k call, ok ...int) (*http.Response, error) {
	resp, err := c.ask(ctx, k, ok...)
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// ask is do, except that an answer of another status, whose body is read, comes with its *Error.
func (c *Client) ask(ctx context.Context, k call, ok ...int) (*http.Response, error) {
	if k.at == nil {
		var err error
		if k.at, err = c.of(k); err != nil {
			return nil, k.failed(ctx, err, "")
		}
	}
	reads := (k.method == http.MethodGet || k.method == http.MethodHead) && k.access.Do == auth.Pull
	if err := k.at.health.down(); err != nil && reads && !k.insists {
		return nil, k.down(err)
	}
	if reads && !k.insists && k.at.health.failing() {
		k.plan.Once = true
	}
	req, err := k.request(ctx)
	if err != nil {
		return nil, k.failed(ctx, err, "")
	}
	if !k.foreign && k.at.descriptorURL == "" {
		k.at.asked.Store(true)
		c.opts.Observer.Asks(strings.ToLower(k.at.name()))
	}
	var resp *http.Response
	var use auth.Use
	began := time.Now()
	if k.foreign || k.anonymous {
		resp, err = c.auth.Next.RoundTrip(req)
	} else {
		resp, use, err = c.auth.Do(req, k.at.account(k.repo), k.at.access(k.access))
	}
	if !k.foreign {
		k.note(ctx, err, time.Since(began))
	}
	if err != nil {
		return nil, c.explained(k, k.failed(ctx, err, use.Origin), use)
	}
	c.heed(resp, k.at)
	c.opts.Logger.Debug("request", "method", k.method, "host", resp.Request.URL.Host, "path", resp.Request.URL.Path, "status", resp.StatusCode)
	if slices.Contains(ok, resp.StatusCode) {
		return resp, nil
	}
	return resp, c.explained(k, k.refused(resp, req.URL.Host, use.Origin), use)
}

// explained adds to a refusal how the credential is replaced, or, if there was none,
// where one was looked for.
func (c *Client) explained(k call, err error, use auth.Use) error {
	var e *Error
	switch {
	case !errors.As(err, &e) || e.Kind != ErrDenied || e.elsewhere || k.foreign:
	case e.Credential != "":
		e.Hint = use.Hint
		if use.Rests != nil {
			e.Err = use.Rests
		}
	default:
		e.Searched = auth.Searched(c.opts.Credentials, k.at.account(k.repo))
	}
	return err
}

// request makes the request of a call, whose endpoint is known.
func (k call) request(ctx context.Context) (*http.Request, error) {
	u := k.url
	if u == nil {
		u = k.at.url(k.path, k.query)
	}
	plan := k.plan
	plan.Impatient = transport.PlanOf(ctx).Impatient
	if !k.foreign {
		plan.Server = k.at.sends
	}
	req, err := http.NewRequestWithContext(transport.WithPlan(ctx, plan), k.method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	for name, v := range k.header {
		req.Header[name] = v
	}
	if k.sends != nil && k.sends.size() != 0 {
		req.GetBody, req.ContentLength = k.sends.open, k.sends.size()
		if req.Body, err = k.sends.open(); err != nil {
			return nil, err
		}
	}
	return req, nil
}

// heed takes note of the limits that a registry tells, and logs what it warns of
// (spec, "Warnings"), each text once.
func (c *Client) heed(resp *http.Response, e *endpoint) {
	if !e.mirror {
		c.learnt.limited(e.registry, resp.Header)
	}
	for _, w := range resp.Header.Values("Warning") {
		text, ok := strings.CutPrefix(w, "299 ")
		if ok && c.learnt.isNews(resp.Request.URL.Host, text) {
			c.opts.Logger.Warn("the registry warns", "host", resp.Request.URL.Host, "warning", plain(text))
		}
	}
}

func (k call) op() string { return k.method + " " + k.what }

// server names the mirror that a call goes to; "" for the registry itself.
func (k call) server() string {
	if k.at == nil || !k.at.mirror {
		return ""
	}
	return k.at.name()
}

// down makes an *Error of a server that isn't asked, as it was out of reach a moment
// ago.
func (k call) down(err error) error {
	return &Error{Op: k.op(), Name: k.name, At: k.server(), Kind: kindOfFailure(err), Err: fmt.Errorf("not asked again so soon: %w", err)}
}

// refused makes an *Error of an answer with a status that isn't wanted. host is the
// one that was asked, and may have led elsewhere.
func (k call) refused(resp *http.Response, host, credential string) *Error {
	e := &Error{Op: k.op(), Name: k.name, At: k.server(), Kind: kindOf(resp.StatusCode), Status: resp.StatusCode, Codes: parseCodes(transport.Aside(resp)), Credential: credential}
	if e.Kind == ErrServer && e.has("NAME_INVALID", "TAG_INVALID", "DIGEST_INVALID") {
		e.Kind = ErrNotFound // the registry's grammar is narrower than the specification's
	}
	k.writing(e)
	led := resp.Request.URL.Host != host || k.foreign && k.at.descriptorURL == ""
	if e.elsewhere = e.Kind == ErrDenied && led; e.elsewhere {
		e.Credential = "" // which didn't go there
		e.Err = fmt.Errorf("said by %s, where the registry led", resp.Request.URL.Host)
	}
	if e.Kind == ErrDenied && k.at.descriptorURL != "" {
		e.Err = fmt.Errorf("said by %s, and no credential goes to a URL of a descriptor", resp.Request.URL.Host)
	}
	if resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "" {
		e.Kind = ErrTooManyRequests
	}
	if wait := resp.Header.Get("Retry-After"); wait != "" && e.Kind == ErrTooManyRequests {
		e.Err = fmt.Errorf("it asks to wait %s", plain(wait))
		e.wait, _ = transport.RetryAfter(resp.Header)
	}
	return e
}

// nonsense makes an *Error of an answer that makes no sense.
func (k call) nonsense(format string, args ...any) error {
	return &Error{Op: k.op(), Name: k.name, At: k.server(), Kind: ErrServer, Err: fmt.Errorf(format, args...)}
}

// tooLarge makes an *Error of content that is larger than what is read.
func (k call) tooLarge(err error) error {
	return &Error{Op: k.op(), Name: k.name, At: k.server(), Kind: ErrTooLarge, Err: err}
}

// failed makes an *Error of what kept an answer away.
func (k call) failed(ctx context.Context, err error, credential string) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s %s: %w", k.op(), k.name, ctx.Err())
	}
	return &Error{Op: k.op(), Name: k.name, At: k.server(), Kind: kindOfFailure(err), Err: err, Credential: credential}
}
