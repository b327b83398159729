package registry

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

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
	// UserAgent names the program in each request: "copier/v1.2.3"; "": ocifs.
	UserAgent string
	// Credentials finds the credential for each repository; nil: requests are anonymous.
	// auth.Default finds those of docker and podman, auth.Static is one.
	Credentials auth.Source
	// PlainHTTP are the hosts that are asked by http, HOST[:PORT]. Hosts on loopback needn't
	// be named.
	PlainHTTP []string
	// Config finds the mirrors, certificates and headers that people configured for a host:
	// hosts.New(hosts.Usual()) reads the files of containerd, docker and podman; nil: there
	// are none.
	Config *hosts.Finder
	// Transport sends every request, those for tokens too, be it by http or https; nil: the
	// client's own transports, one for each TLS setting. With a Transport, the TLS settings
	// and dial time-outs of Config don't count, nor does the proxy of the environment:
	// they are the Transport's to know. Retries, time-outs, redirects and credentials stay the
	// client's: a Transport sends one request, ends with its context, follows no redirect, and
	// leaves bodies compressed as they are. Close doesn't close its connections.
	Transport http.RoundTripper
	// Retries is how often a request that failed in a way that may pass is sent again, and how
	// often on end a transfer that breaks off is continued; 0: some times, as each needs it;
	// negative: never.
	Retries int
	// RetryMaxWait is the longest wait that a registry may ask for, all of one request's
	// taken together; 0: 30 s.
	RetryMaxWait time.Duration
	// Downloads bounds the blob bodies that are read at once from one host; 0 or less: 8.
	Downloads int
	// Uploads bounds the blob bodies that are sent at once to one host; 0 or less: 4.
	Uploads int
	// Observer is told what goes over the wire; nil: nobody is.
	Observer Observer
	// Logger is told of requests (debug), of what is tried again or passed over (info), and
	// of what registries warn of (warn). No secret is logged; nil: silent.
	Logger *slog.Logger
}

// Client reads from registries and writes to them. It is safe for concurrent use.
type Client struct {
	opts       Options
	bounds     bounds
	transports *serverTransports
	plain      *transport.Plain // knows who is asked by http
	auth       *auth.Authorizer
	learnt     *learnt
	downloads  *limiters // of blob bodies that are read
	uploads    *limiters // of blob bodies that are sent

	// mu guards the fields below it. learnt.mu and serverTransports.mu come after it.
	mu         sync.Mutex
	hosts      *simplelru.LRU[string, *host] // the records of registries, by host
	turns      map[string]*turn              // the fallback tags that are written now, by name
	cancelling int                           // sessions that are being cancelled
	cancelled  sync.Cond                     // on mu: cancelling fell, or Close waits no longer
}

// bounds are the times and sizes of a client that tests change.
type bounds struct {
	idle, answer time.Duration
	pauses       []time.Duration // before another attempt
	chunk        int64           // bytes of one part of a blob, where it is sent in parts
	least        int64           // bytes of the smallest part that is tried, where larger ones are refused
	quiet        time.Duration   // that a body may wait for its writer
	piece        int64           // bytes that make another part worth its request, while a blob is written
	list         int             // bytes of all pages of a list; 0: maxListTotal
	closing      time.Duration   // that Close waits for cancellations; 0: closeTimeout
	unsized      int64           // bytes of a blob whose size nobody promised; 0: maxUnsized
	unpacked     int64           // bytes from which on maxRatio counts; 0: minUnpacked
}

// New makes a client.
func New(o Options) *Client {
	return newClient(o, bounds{
		idle: idleTimeout, answer: answerTimeout, pauses: pausesFor(o.Retries), chunk: 16 << 20, least: leastChunk, quiet: quietTimeout, piece: aheadPiece,
	})
}

// pausesFor gives the pauses before each of so many retries. The last of the usual ones comes
// again where they are more.
func pausesFor(retries int) []time.Duration {
	usual := transport.DefaultPauses
	switch {
	case retries == 0:
		return usual
	case retries < 0:
		return []time.Duration{}
	}
	pauses := slices.Clone(usual[:min(retries, len(usual))])
	for len(pauses) < retries {
		pauses = append(pauses, usual[len(usual)-1])
	}
	return pauses
}

// retries is how often something is tried again that usually is so often.
func (c *Client) retries(usual int) int {
	if c.opts.Retries == 0 {
		return usual
	}
	return max(c.opts.Retries, 0)
}

func newClient(o Options, b bounds) *Client {
	if o.RetryMaxWait == 0 {
		o.RetryMaxWait = 30 * time.Second
	}
	if o.Downloads <= 0 {
		o.Downloads = 8
	}
	if o.Uploads <= 0 {
		o.Uploads = 4
	}
	if o.UserAgent == "" {
		o.UserAgent = "ocifs"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Observer == nil {
		o.Observer = noObserver{}
	}
	b.list = cmp.Or(b.list, maxListTotal)
	b.closing = cmp.Or(b.closing, closeTimeout)
	b.unsized = cmp.Or(b.unsized, maxUnsized)
	b.unpacked = cmp.Or(b.unpacked, minUnpacked)
	named := func(host string) bool {
		return slices.ContainsFunc(o.PlainHTTP, func(p string) bool { return ref.APIHost(p) == host })
	}
	c := &Client{
		opts: o, bounds: b, learnt: newLearnt(), downloads: newLimiters(o.Downloads), uploads: newLimiters(o.Uploads),
		turns: map[string]*turn{},
	}
	var err error
	c.hosts, err = simplelru.NewLRU(maxLearnt, func(_ string, h *host) { c.gone(h) })
	if err != nil {
		panic(err) // the size is positive
	}
	c.cancelled.L = &c.mu
	c.transports = &serverTransports{endpoint: c.ofServer, own: o.Transport, usual: newTransports(hosts.Endpoint{}), all: map[*transports]bool{}}
	c.plain = &transport.Plain{Named: named, Loopback: ref.IsLoopback, Fallback: c.fallsBack,
		Next: &transport.Observe{Exchanged: o.Observer.Exchanged, Downloaded: o.Observer.Downloaded, Uploaded: o.Observer.Uploaded,
			Next: &transport.Idle{Next: c.transports, Limit: b.idle, Answer: b.answer, FromStart: o.Transport != nil}}}
	c.auth = &auth.Authorizer{
		Next: &agent{o.UserAgent, &transport.Identity{Next: &transport.Follow{Next: &transport.Retry{MaxWait: o.RetryMaxWait, Pauses: b.pauses, Retried: o.Observer.Retried,
			Next: c.plain}}}},
		Source: o.Credentials,
		Log:    o.Logger,
		PlainOK: func(host string) bool {
			return named(host) || ref.IsLoopback(host) || c.isPlain(host)
		},
	}
	c.transports.plainOK = c.auth.PlainOK
	return c
}

// Account names the account of the credential that r was last asked with; "": it was asked
// without one, or not at all. The name says nothing about what the account may do, and holds no
// secret.
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

// HasAccount says whether there is a credential for r of that account, be it for the registry
// or for one of its mirrors. "" stands for no account in particular, which everybody has.
func (c *Client) HasAccount(ctx context.Context, r ref.Repository, account string) bool {
	if account == "" {
		return true
	}
	return slices.ContainsFunc(c.accounts(r), func(at ref.Repository) bool {
		_, ok := auth.OfAccount(ctx, c.opts.Credentials, at, account)
		return ok
	})
}

// agent names this program in every request.
type agent struct {
	name string
	next http.RoundTripper
}

func (a *agent) RoundTrip(req *http.Request) (*http.Response, error) {
	req.Header.Set("User-Agent", a.name)
	return a.next.RoundTrip(req)
}

// Close waits until sessions that were given up are cancelled, 6 s at most, and closes the
// connections that aren't in use. An Options.Transport that ignores the context of its requests may
// hold a cancellation for longer: then its goroutine is left until the Transport returns, and the
// session stays at the registry until that forgets it. This is logged.
func (c *Client) Close() {
	c.mu.Lock()
	late := false
	timer := time.AfterFunc(c.bounds.closing, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		late = true
		c.cancelled.Broadcast()
	})
	for c.cancelling > 0 && !late {
		c.cancelled.Wait()
	}
	left := c.cancelling
	c.mu.Unlock()
	timer.Stop()
	if left > 0 {
		c.opts.Logger.Warn("the transport doesn't end the cancellation of upload sessions: they are left to the registry", "sessions", left)
	}
	c.transports.closeIdle()
	// A connection of HTTP/2 whose last exchange is just ending isn't idle yet.
	time.AfterFunc(time.Second, c.transports.closeIdle)
}
