package registry

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/hosts"
	"github.com/ocifs/ocifs/registry/internal/transport"
	"github.com/ocifs/ocifs/registry/ref"
)

// Bounds of one request, besides what the caller's context has.
const (
	dialTimeout   = 10 * time.Second
	answerTimeout = 30 * time.Second // once it was sent; longer for what a registry has to hash
	idleTimeout   = 30 * time.Second // of silence within a body
	pingAfter     = 15 * time.Second // of silence on a connection of HTTP/2: it may be dead
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
	Hosts        *hosts.Finder // mirrors and certificates that people configured; nil: none
	Logger       *slog.Logger  // nil: silent
}

// Client reads from registries and writes to them. It is safe for concurrent use.
type Client struct {
	opts   Options
	bounds bounds
	wires  *wires
	auth   *auth.Authorizer

	mu       sync.Mutex
	slots    map[string]*line             // of blob bodies that are read, by host
	places   map[string]*line             // of those that are sent
	warned   map[string]bool              // what was logged of warnings, by host and text
	noAPI    map[ref.Repository]time.Time // those without the referrers API, and until when that is believed
	noTags   map[string]time.Time         // hosts that don't take several tags at once, likewise
	inChunks map[string]chunked           // hosts that don't take a blob in one piece, likewise
	notAhead map[string]time.Time         // hosts that don't take a blob while it is written, likewise
	turns    map[string]*turn             // fallback tags that are written
	leaving  int                          // sessions that are being cancelled
	left     sync.Cond                    // on mu: leaving fell
	hosts    map[string]*host             // by the registry's host
	healths  map[string]*health           // by the server's host:port
	plain    map[string]bool              // servers that were configured to speak http, by host:port
	limits   map[string]RateLimit         // by the registry's host
	doubted  map[doubt]time.Time          // what mirrors sent that wasn't right, and until when they aren't asked for it
}

// bounds are the times and sizes of a client that tests change.
type bounds struct {
	idle, answer time.Duration
	pauses       []time.Duration // before another attempt
	chunk        int64           // bytes of one part of a blob, where it is sent in parts
	quiet        time.Duration   // that a body may wait for its writer
	piece        int64           // bytes that make another part worth its request, while a blob is written
}

// New makes a client.
func New(o Options) *Client {
	return newClient(o, bounds{idleTimeout, answerTimeout, transport.DefaultPauses, 16 << 20, quietTimeout, aheadPiece})
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
	named := func(host string) bool {
		return slices.ContainsFunc(o.PlainHTTP, func(p string) bool { return ref.APIHost(p) == host })
	}
	c := &Client{
		opts: o, bounds: b,
		slots: map[string]*line{}, places: map[string]*line{}, warned: map[string]bool{},
		noAPI: map[ref.Repository]time.Time{}, noTags: map[string]time.Time{}, inChunks: map[string]chunked{}, notAhead: map[string]time.Time{}, turns: map[string]*turn{},
		hosts: map[string]*host{}, healths: map[string]*health{}, plain: map[string]bool{}, limits: map[string]RateLimit{}, doubted: map[doubt]time.Time{},
	}
	c.left.L = &c.mu
	c.wires = &wires{endpoint: c.ofServer, usual: newWire(hosts.Endpoint{}), all: map[*wire]bool{}}
	c.auth = &auth.Authorizer{
		Next: &agent{o.UserAgent, &transport.Follow{Next: &transport.Retry{MaxWait: o.RetryMaxWait, Pauses: b.pauses,
			Next: &transport.Plain{Named: named, Loopback: ref.IsLoopback,
				Next: &transport.Idle{Next: c.wires, Limit: b.idle, Answer: b.answer}}}}},
		Source: o.Credentials,
		Log:    o.Logger,
		PlainOK: func(host string) bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.plain[host] || named(host) || ref.IsLoopback(host)
		},
	}
	return c
}

// Account names the account that r was last asked by; "" for nobody. It says
// nothing about who may do what, and holds no secret.
func (c *Client) Account(r ref.Repository) string {
	for _, at := range c.accounts(r) {
		if account := c.auth.Account(at); account != "" {
			return account
		}
	}
	return ""
}

// accounts are what credentials for r are looked for by, at all servers of its host.
func (c *Client) accounts(r ref.Repository) []ref.Repository {
	h, err := c.host(r.Host)
	if err != nil {
		return []ref.Repository{r}
	}
	all := []ref.Repository{h.server.account(r)}
	for _, e := range h.mirrors {
		all = append(all, e.account(r))
	}
	return all
}

// HasAccount says whether a credential that r would be asked by is of that
// account. Nobody is whoever asks.
func (c *Client) HasAccount(ctx context.Context, r ref.Repository, account string) bool {
	if account == "" {
		return true
	}
	if c.opts.Credentials == nil {
		return false
	}
	return slices.ContainsFunc(c.accounts(r), func(at ref.Repository) bool {
		cred, err := c.opts.Credentials.Credential(ctx, at)
		return err == nil && cred.Account() == account
	})
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
	c.wires.closeIdle()
	// A connection of HTTP/2 whose last exchange is just ending isn't idle yet.
	time.AfterFunc(time.Second, c.wires.closeIdle)
}
