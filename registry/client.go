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
	answerTimeout = 30 * time.Second
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

// Client reads from registries. It is safe for concurrent use.
type Client struct {
	opts   Options
	base   *http.Transport
	auth   *auth.Authorizer
	mu     sync.Mutex
	slots  map[string]chan struct{}     // of blob bodies, by host
	warned map[string]bool              // what was logged of warnings, by host and text
	noAPI  map[ref.Repository]time.Time // those without the referrers API, and until when that is believed
}

// New makes a client.
func New(o Options) *Client {
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
		ResponseHeaderTimeout: answerTimeout,
		ExpectContinueTimeout: time.Second,
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       90 * time.Second,
		DisableCompression:    true, // bodies are hashed as they are
	}
	named := func(host string) bool {
		return slices.ContainsFunc(o.PlainHTTP, func(p string) bool { return ref.APIHost(p) == host })
	}
	c := &Client{opts: o, base: base, slots: map[string]chan struct{}{}, warned: map[string]bool{}, noAPI: map[ref.Repository]time.Time{}}
	c.auth = &auth.Authorizer{
		Next: &agent{o.UserAgent, &transport.Follow{Next: &transport.Retry{MaxWait: o.RetryMaxWait,
			Next: &transport.Plain{Named: named, Loopback: ref.IsLoopback,
				Next: &transport.Idle{Next: base, Limit: idleTimeout}}}}},
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

// Close closes the connections that aren't in use.
func (c *Client) Close() { c.base.CloseIdleConnections() }

// call is one request of the API.
type call struct {
	method string
	repo   ref.Repository // Path is empty for the host's own
	path   string         // below /v2/: "library/alpine/tags/list"
	url    *url.URL       // in place of path: an address that the registry gave
	header http.Header
	what   string // what is asked for, for errors: "tags"
	name   string // of what, for errors
}

// do sends a call. Any status that isn't in ok is an *Error; so is everything
// that kept the answer away, but the caller's own context.
func (c *Client) do(ctx context.Context, k call, ok ...int) (*http.Response, error) {
	u := k.url
	if u == nil {
		u = &url.URL{Scheme: "https", Host: ref.APIHost(k.repo.Host), Path: "/v2/" + k.path}
	}
	req, err := http.NewRequestWithContext(ctx, k.method, u.String(), nil)
	if err != nil {
		return nil, k.failed(ctx, err, "")
	}
	for name, v := range k.header {
		req.Header[name] = v
	}
	resp, credential, err := c.auth.Do(req, k.repo)
	if err != nil {
		return nil, k.failed(ctx, err, credential)
	}
	c.heed(resp)
	c.opts.Logger.Debug("request", "method", k.method, "host", resp.Request.URL.Host, "path", resp.Request.URL.Path, "status", resp.StatusCode)
	if slices.Contains(ok, resp.StatusCode) {
		return resp, nil
	}
	e := &Error{Op: k.op(), Name: k.name, Kind: kindOf(resp.StatusCode), Status: resp.StatusCode, Codes: parseCodes(transport.Aside(resp)), Credential: credential}
	if e.Kind == ErrServer && e.has("NAME_INVALID", "TAG_INVALID", "DIGEST_INVALID") {
		e.Kind = ErrNotFound // the registry's grammar is narrower than the specification's
	}
	if e.elsewhere = e.Kind == ErrDenied && resp.Request.URL.Host != u.Host; e.elsewhere {
		e.Credential = "" // which didn't go there
		e.Err = fmt.Errorf("said by %s, where the registry led", resp.Request.URL.Host)
	}
	if resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "" {
		e.Kind = ErrTooManyRequests
	}
	if wait := resp.Header.Get("Retry-After"); wait != "" && e.Kind == ErrTooManyRequests {
		e.Err = fmt.Errorf("it asks to wait %s", plain(wait))
	}
	return nil, e
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
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ErrServer
	case errors.As(err, &op), isTLS(err):
		return ErrUnreachable
	}
	return ErrServer
}

// slot waits for one of the places for blob bodies at a host.
func (c *Client) slot(ctx context.Context, host string) (release func(), err error) {
	c.mu.Lock()
	s := c.slots[host]
	if s == nil {
		s = make(chan struct{}, c.opts.Downloads)
		c.slots[host] = s
	}
	c.mu.Unlock()
	select {
	case s <- struct{}{}:
		return sync.OnceFunc(func() { <-s }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
