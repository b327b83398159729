package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/internal/transport"
	"github.com/ocifs/ocifs/registry/ref"
)

// Bounds of one request, besides what the caller's context has.
const (
	dialTimeout   = 10 * time.Second
	answerTimeout = 30 * time.Second // once it was sent; longer for what a registry has to hash
	idleTimeout   = 30 * time.Second // of silence within a body
	answerWhole   = 2 * time.Minute  // for all of an answer that isn't a blob
)

// Options says how a Client behaves. The zero value is useful.
type Options struct {
	UserAgent    string        // "ocifs/v1.2.3"
	Credentials  auth.Source   // nil: anonymous
	PlainHTTP    []string      // hosts that are asked by http
	RetryMaxWait time.Duration // the longest wait that a registry may ask for; 0: 30 s
	Downloads    int           // blob bodies open at once, per host; 0: 8
	Uploads      int           // blob bodies sent at once, per host; 0: 4
	Logger       *slog.Logger  // nil: silent
}

// Client reads from registries and writes to them. It is safe for concurrent use.
type Client struct {
	opts   Options
	bounds bounds
	base   *http.Transport
	auth   *auth.Authorizer

	mu       sync.Mutex
	slots    map[string]chan struct{}     // of blob bodies that are read, by host
	places   map[string]chan struct{}     // of those that are sent
	warned   map[string]bool              // what was logged of warnings, by host and text
	noAPI    map[ref.Repository]time.Time // those without the referrers API, and until when that is believed
	noTags   map[string]time.Time         // hosts that don't take several tags at once, likewise
	inChunks map[string]chunked           // hosts that don't take a blob in one piece, likewise
	turns    map[string]*turn             // fallback tags that are written
	leaving  int                          // sessions that are being cancelled
	left     sync.Cond                    // on mu: leaving fell
}

// bounds are the times and sizes of a client that tests change.
type bounds struct {
	idle, answer time.Duration
	pauses       []time.Duration // before another attempt
	chunk        int64           // bytes of one part of a blob, where it is sent in parts
}

// New makes a client.
func New(o Options) *Client {
	return newClient(o, bounds{idleTimeout, answerTimeout, transport.DefaultPauses, 16 << 20})
}

func newClient(o Options, b bounds) *Client {
	if o.RetryMaxWait == 0 {
		o.RetryMaxWait = 30 * time.Second
	}
	if o.Downloads == 0 {
		o.Downloads = 8
	}
	if o.Uploads == 0 {
		o.Uploads = 4
	}
	if o.UserAgent == "" {
		o.UserAgent = "ocifs"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	base := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   dialTimeout,
		ExpectContinueTimeout: time.Second,
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       90 * time.Second,
		DisableCompression:    true, // bodies are hashed as they are
	}
	named := func(host string) bool {
		return slices.ContainsFunc(o.PlainHTTP, func(p string) bool { return ref.APIHost(p) == host })
	}
	c := &Client{
		opts: o, bounds: b, base: base,
		slots: map[string]chan struct{}{}, places: map[string]chan struct{}{}, warned: map[string]bool{},
		noAPI: map[ref.Repository]time.Time{}, noTags: map[string]time.Time{}, inChunks: map[string]chunked{}, turns: map[string]*turn{},
	}
	c.left.L = &c.mu
	c.auth = &auth.Authorizer{
		Next: &agent{o.UserAgent, &transport.Follow{Next: &transport.Retry{MaxWait: o.RetryMaxWait, Pauses: b.pauses,
			Next: &transport.Plain{Named: named, Loopback: ref.IsLoopback,
				Next: &transport.Idle{Next: base, Limit: b.idle, Answer: b.answer}}}}},
		Source:  o.Credentials,
		Log:     o.Logger,
		PlainOK: func(host string) bool { return named(host) || ref.IsLoopback(host) },
	}
	return c
}

// Account names the account that r was last asked by; "" for nobody. It says
// nothing about who may do what, and holds no secret.
func (c *Client) Account(r ref.Repository) string { return c.auth.Account(r) }

// HasAccount says whether the credential that r would be asked by is of that
// account. Nobody is whoever asks.
func (c *Client) HasAccount(ctx context.Context, r ref.Repository, account string) bool {
	if account == "" {
		return true
	}
	if c.opts.Credentials == nil {
		return false
	}
	cred, err := c.opts.Credentials.Credential(ctx, r)
	return err == nil && cred.Account() == account
}

// agent names this program in every request, and asks for bytes as they are.
type agent struct {
	name string
	next http.RoundTripper
}

func (a *agent) RoundTrip(req *http.Request) (*http.Response, error) {
	req.Header.Set("User-Agent", a.name)
	req.Header.Set("Accept-Encoding", "identity")
	return a.next.RoundTrip(req)
}

// Close waits, some seconds at most, until sessions that were given up are
// cancelled, and closes the connections that aren't in use.
func (c *Client) Close() {
	c.mu.Lock()
	for c.leaving > 0 {
		c.left.Wait()
	}
	c.mu.Unlock()
	c.base.CloseIdleConnections()
}

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

	// foreign: the address is another server's. No credential goes there.
	foreign bool
}

// payload is the body of a request. It can be had again.
type payload interface {
	size() int64
	open() (io.ReadCloser, error)
}

// do sends a call. Any status that isn't in ok is an *Error; so is everything
// that kept the answer away, but the caller's own context.
func (c *Client) do(ctx context.Context, k call, ok ...int) (*http.Response, error) {
	req, err := k.request(ctx)
	if err != nil {
		return nil, k.failed(ctx, err, "")
	}
	var resp *http.Response
	credential := ""
	if k.foreign {
		resp, err = c.auth.Next.RoundTrip(req)
	} else {
		resp, credential, err = c.auth.Do(req, k.repo, k.access)
	}
	if err != nil {
		return nil, k.failed(ctx, err, credential)
	}
	c.heed(resp)
	c.opts.Logger.Debug("request", "method", k.method, "host", resp.Request.URL.Host, "path", resp.Request.URL.Path, "status", resp.StatusCode)
	if slices.Contains(ok, resp.StatusCode) {
		return resp, nil
	}
	return nil, k.refused(resp, req.URL.Host, credential)
}

// request makes the request of a call.
func (k call) request(ctx context.Context) (*http.Request, error) {
	u := k.url
	if u == nil {
		u = &url.URL{Scheme: "https", Host: ref.APIHost(k.repo.Host), Path: "/v2/" + k.path, RawQuery: k.query}
	}
	req, err := http.NewRequestWithContext(ctx, k.method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	for name, v := range k.header {
		req.Header[name] = v
	}
	if k.sends != nil && k.sends.size() > 0 {
		req.GetBody, req.ContentLength = k.sends.open, k.sends.size()
		if req.Body, err = k.sends.open(); err != nil {
			return nil, err
		}
	}
	return req, nil
}

// maxWarnings bounds the texts that are remembered as logged.
const maxWarnings = 100

// heed logs what a registry warns of (spec, "Warnings"), each text once.
func (c *Client) heed(resp *http.Response) {
	for _, w := range resp.Header.Values("Warning") {
		text, ok := strings.CutPrefix(w, "299 ")
		key := resp.Request.URL.Host + " " + text
		c.mu.Lock()
		known := c.warned[key] || len(c.warned) >= maxWarnings
		if ok && !known {
			c.warned[key] = true
		}
		c.mu.Unlock()
		if ok && !known {
			c.opts.Logger.Warn("the registry warns", "host", resp.Request.URL.Host, "warning", plain(text))
		}
	}
}

func (k call) op() string { return k.method + " " + k.what }

// refused makes an *Error of an answer with a status that isn't wanted. host is the
// one that was asked, and may have led elsewhere.
func (k call) refused(resp *http.Response, host, credential string) *Error {
	e := &Error{Op: k.op(), Name: k.name, Kind: kindOf(resp.StatusCode), Status: resp.StatusCode, Codes: parseCodes(transport.Aside(resp)), Credential: credential}
	if e.Kind == ErrServer && e.has("NAME_INVALID", "TAG_INVALID", "DIGEST_INVALID") {
		e.Kind = ErrNotFound // the registry's grammar is narrower than the specification's
	}
	k.writing(e)
	if e.elsewhere = e.Kind == ErrDenied && (k.foreign || resp.Request.URL.Host != host); e.elsewhere {
		e.Credential = "" // which didn't go there
		e.Err = fmt.Errorf("said by %s, where the registry led", resp.Request.URL.Host)
	}
	if resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "" {
		e.Kind = ErrTooManyRequests
	}
	if wait := resp.Header.Get("Retry-After"); wait != "" && e.Kind == ErrTooManyRequests {
		e.Err = fmt.Errorf("it asks to wait %s", plain(wait))
		e.wait, _ = transport.ParseRetryAfter(wait, time.Now())
	}
	return e
}

// nonsense makes an *Error of an answer that makes no sense.
func (k call) nonsense(format string, args ...any) error {
	return &Error{Op: k.op(), Name: k.name, Kind: ErrServer, Err: fmt.Errorf(format, args...)}
}

// failed makes an *Error of what kept an answer away.
func (k call) failed(ctx context.Context, err error, credential string) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s %s: %w", k.op(), k.name, ctx.Err())
	}
	e := &Error{Op: k.op(), Name: k.name, Kind: kindOfFailure(err), Err: err, Credential: credential}
	return e
}

// kindOfFailure gives the kind of an error that came in place of an answer.
func kindOfFailure(err error) error {
	if status := auth.TokenStatus(err); status != 0 {
		if status == http.StatusBadRequest || status == http.StatusNotFound {
			return ErrDenied
		}
		return kindOf(status)
	}
	var timeout interface{ Timeout() bool }
	var throttled *transport.Throttled
	var op *net.OpError
	var dns *net.DNSError
	switch {
	case errors.As(err, &throttled):
		return ErrTooManyRequests
	case errors.Is(err, auth.ErrChallenge):
		return ErrDenied
	case errors.Is(err, transport.ErrAddress), errors.Is(err, auth.ErrToken):
		return ErrServer
	case errors.As(err, &dns):
		return ErrUnreachable
	case errors.As(err, &timeout) && timeout.Timeout():
		return ErrTimeout
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ErrServer
	case errors.As(err, &op), isTLS(err):
		return ErrUnreachable
	}
	return ErrServer
}

// slot waits for one of the places for blob bodies at a host.
func (c *Client) slot(ctx context.Context, host string) (release func(), err error) {
	return c.take(ctx, c.slots, host, c.opts.Downloads)
}

func (c *Client) take(ctx context.Context, all map[string]chan struct{}, host string, n int) (release func(), err error) {
	c.mu.Lock()
	s := all[host]
	if s == nil {
		s = make(chan struct{}, n)
		all[host] = s
	}
	c.mu.Unlock()
	select {
	case s <- struct{}{}:
		return sync.OnceFunc(func() { <-s }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
