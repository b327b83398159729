package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ocifs/ocifs/registry/internal/transport"
	"github.com/ocifs/ocifs/registry/ref"
)

const (
	// defaultLife is how long a token lives that doesn't say (the token protocol's
	// own default), earlyBy how long before its end it is renewed.
	defaultLife = 60 * time.Second
	earlyBy     = 10 * time.Second
	maxToken    = 1 << 20
	clientID    = "ocifs"
)

// Authorizer answers challenges. It keeps one token for each repository, and one
// for each host's catalog: a scope that grows with every repository would grow
// the header beyond what servers take. It is safe for concurrent use.
type Authorizer struct {
	Next   http.RoundTripper // sends requests, those for tokens too
	Source Source            // nil: nobody
	Log    *slog.Logger
	// PlainOK says whether a host may be sent credentials by http.
	PlainOK func(host string) bool

	mu     sync.Mutex
	grants map[ref.Repository]*grant
}

// grant is what a registry gave for one repository.
type grant struct {
	// turn is held by the one who answers a challenge; the others wait, each as
	// long as it wants to, and then find the answer here.
	turn chan struct{}

	mu        sync.Mutex
	header    string // Authorization
	expires   time.Time
	challenge *Challenge
	realm     *url.URL
	origin    string    // of the credential
	back      time.Time // when the credential is tried again
	failed    error     // of the last answer that failed, and when
	failedAt  time.Time
	anonymous bool // the credential was refused where nobody would have been let in
}

func (a *Authorizer) grant(r ref.Repository) *grant {
	a.mu.Lock()
	defer a.mu.Unlock()
	g := a.grants[r]
	if g == nil {
		if a.grants == nil {
			a.grants = map[ref.Repository]*grant{}
		}
		g = &grant{turn: make(chan struct{}, 1)}
		a.grants[r] = g
	}
	return g
}

func (g *grant) now() (header, origin string, known bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.header != "" && !g.expires.IsZero() && time.Now().After(g.expires) {
		return "", g.origin, g.challenge != nil
	}
	return g.header, g.origin, g.challenge != nil
}

// Do sends a request for something of r, and answers the challenge that comes
// back, once. A refusal of what the credential asks for is tried once more
// without it: an expired credential mustn't hide what is public. It gives the
// origin of the credential that was used last.
func (a *Authorizer) Do(req *http.Request, r ref.Repository) (resp *http.Response, origin string, err error) {
	g := a.grant(r)
	ctx := req.Context()
	header, _, known := g.now()
	if header == "" && known { // the token is over: renew it without asking
		if err := a.answer(ctx, g, r, nil, nil, header); err != nil {
			_, origin, _ = g.now()
			return nil, origin, err
		}
		header, _, _ = g.now()
	}
	resp, used, err := a.send(req, header)
	if err != nil {
		return nil, "", err
	}
	if resp.StatusCode == http.StatusUnauthorized && transport.SameOrigin(resp.Request.URL, used.URL) {
		challenges := ParseChallenges(resp.Header.Values("WWW-Authenticate"))
		if len(challenges) > 0 {
			keepRefusal(resp)
			if err := a.answer(ctx, g, r, challenges, used.URL, header); err != nil {
				_, origin, _ = g.now()
				return nil, origin, err
			}
			before := header
			// Nothing to answer with: the refusal stands, and isn't asked for twice.
			if header, _, _ = g.now(); header != before {
				if resp, used, err = a.send(req, header); err != nil {
					return nil, "", err
				}
			}
		}
	}
	_, origin, _ = g.now()
	refused := resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusUnauthorized
	if refused && origin != "" && transport.SameOrigin(resp.Request.URL, used.URL) && g.goAnonymous() {
		again, err := a.anonymous(req, g, r)
		if err == nil && again.StatusCode < 400 {
			a.warn().Warn("a credential was refused, and nobody is let in: going on without it", "repository", r, "credential", origin)
			drain(resp)
			g.until(publicFor)
			return again, "", nil
		}
		if err == nil {
			drain(again)
		}
		g.goBack()
	}
	return resp, origin, nil
}

func (a *Authorizer) warn() *slog.Logger {
	if a.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return a.Log
}

// send sends a copy of req with a header. The copy's URL tells by which scheme
// it went.
func (a *Authorizer) send(req *http.Request, header string) (*http.Response, *http.Request, error) {
	c := req.Clone(req.Context())
	if header != "" {
		c.Header.Set("Authorization", header)
	}
	resp, err := a.Next.RoundTrip(c)
	return resp, c, err
}

// keepRefusal takes the body of a refusal into memory, so that its connection is
// free.
func keepRefusal(resp *http.Response) {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // for an error's text: what came is enough
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(b))
}

func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	resp.Body.Close()
}

// goAnonymous forgets the credential, unless that was done already.
func (g *grant) goAnonymous() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.anonymous {
		return false
	}
	g.anonymous, g.header = true, ""
	return true
}

// publicFor is how long a refused credential isn't tried again where anyone may
// read: it may have been renewed meanwhile.
const publicFor = 5 * time.Minute

// until ends the anonymous time after d at the latest.
func (g *grant) until(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.back = time.Now().Add(d)
}

// goBack takes the credential up again.
func (g *grant) goBack() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.anonymous, g.header, g.challenge = false, "", nil
}

func (a *Authorizer) anonymous(req *http.Request, g *grant, r ref.Repository) (*http.Response, error) {
	g.mu.Lock()
	bearer := g.challenge != nil && g.challenge.Scheme == "bearer"
	g.mu.Unlock()
	header := ""
	if bearer {
		if err := a.answer(req.Context(), g, r, nil, nil, ""); err != nil {
			return nil, err
		}
		header, _, _ = g.now()
	}
	resp, _, err := a.send(req, header)
	return resp, err
}

// answer brings the grant a header: by the challenges that came from an address,
// or, where there are none, by the last one. used is the header that was refused.
func (a *Authorizer) answer(ctx context.Context, g *grant, r ref.Repository, cs []Challenge, from *url.URL, used string) error {
	began := time.Now()
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	g.mu.Lock()
	if g.anonymous && !g.back.IsZero() && time.Now().After(g.back) {
		g.anonymous, g.back = false, time.Time{}
	}
	g.mu.Unlock()
	if header, _, _ := g.now(); header != "" && header != used {
		return nil // another has answered meanwhile
	}
	g.mu.Lock()
	c, realm, anonymous := g.challenge, g.realm, g.anonymous
	failed, failedAt := g.failed, g.failedAt
	g.mu.Unlock()
	if failedAt.After(began) {
		return failed // for all who waited, not one after the other
	}
	if cs != nil {
		var err error
		if c, realm, err = choose(cs, from); err != nil {
			return err
		}
	}
	var cred Credential
	if a.Source != nil && !anonymous {
		var err error
		if cred, err = a.Source.Credential(ctx, r); err != nil {
			return err
		}
	}
	header, life := "", time.Duration(0)
	switch {
	case c.Scheme == "basic":
		if cred.Username != "" || cred.Password != "" {
			header = basic(cred)
		}
	case cred.RegistryToken != "":
		header = "Bearer " + cred.RegistryToken
	default:
		var token string
		var err error
		token, life, err = a.token(ctx, c, realm, r, cred)
		var refused *tokenError
		if errors.As(err, &refused) && refused.denied() && !cred.Empty() {
			// What is public can be had without. What isn't says so by its own answer.
			a.warn().Warn("the token endpoint refused a credential: trying without it", "repository", r, "credential", cred.Origin, "cause", err)
			token, life, err = a.token(ctx, c, realm, r, Credential{})
		}
		if err != nil {
			g.mu.Lock()
			g.origin = cred.Origin
			if ctx.Err() == nil {
				g.failed, g.failedAt = err, time.Now()
			}
			g.mu.Unlock()
			return err
		}
		header = "Bearer " + token
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.challenge, g.realm, g.header, g.origin = c, realm, header, cred.Origin
	g.expires = time.Time{}
	if life > 0 {
		g.expires = time.Now().Add(life - min(earlyBy, life/4))
	}
	return nil
}

// ErrChallenge is matched where a registry asks for something that can't be
// given.
var ErrChallenge = errors.New("no way to answer the registry's challenge")

// choose picks the strongest challenge that can be answered.
func choose(cs []Challenge, from *url.URL) (*Challenge, *url.URL, error) {
	for _, scheme := range []string{"bearer", "basic"} {
		for _, c := range cs {
			if c.Scheme != scheme {
				continue
			}
			if scheme == "basic" {
				return &c, nil, nil
			}
			if c.Params["realm"] == "" {
				continue
			}
			realm, err := transport.Resolve(from, c.Params["realm"])
			return &c, realm, err
		}
	}
	var names []string
	for _, c := range cs {
		names = append(names, c.Scheme)
	}
	return nil, nil, fmt.Errorf("%w: it offers %s", ErrChallenge, strings.Join(slices.Compact(names), ", "))
}

func basic(c Credential) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Password))
}

// tokenError is a token endpoint's refusal.
type tokenError struct {
	endpoint string
	status   int
}

func (e *tokenError) Error() string {
	return fmt.Sprintf("token endpoint %s: %d %s", e.endpoint, e.status, http.StatusText(e.status))
}

func (e *tokenError) denied() bool {
	return e.status == http.StatusUnauthorized || e.status == http.StatusForbidden || e.status == http.StatusBadRequest
}

// TokenStatus gives the status with which a token endpoint refused, or 0.
func TokenStatus(err error) int {
	var e *tokenError
	if errors.As(err, &e) {
		return e.status
	}
	return 0
}

// token gets a token for what the challenge asks, or for pulling r where it
// doesn't say.
func (a *Authorizer) token(ctx context.Context, c *Challenge, realm *url.URL, r ref.Repository, cred Credential) (string, time.Duration, error) {
	scope := c.Params["scope"]
	if scope == "" {
		scope = "repository:" + r.Path + ":pull"
		if r.Path == "" {
			scope = "registry:catalog:*"
		}
	}
	form := url.Values{}
	if s := c.Params["service"]; s != "" {
		form.Set("service", s)
	}
	if realm.Scheme == "http" && !cred.Empty() && (a.PlainOK == nil || !a.PlainOK(realm.Host)) {
		return "", 0, fmt.Errorf("%w: its token endpoint http://%s isn't encrypted, so no credential goes there", ErrChallenge, realm.Host)
	}
	if cred.IdentityToken != "" {
		form.Set("scope", scope)
		form.Set("grant_type", "refresh_token")
		form.Set("refresh_token", cred.IdentityToken)
		form.Set("client_id", clientID)
		token, life, err := a.ask(ctx, http.MethodPost, realm, form, Credential{})
		if TokenStatus(err) != http.StatusNotFound && TokenStatus(err) != http.StatusMethodNotAllowed {
			return token, life, err
		}
		form = url.Values{"service": form["service"]}
		cred = Credential{Username: "<token>", Password: cred.IdentityToken}
	}
	form["scope"] = strings.Fields(scope)
	return a.ask(ctx, http.MethodGet, realm, form, cred)
}

func (a *Authorizer) ask(ctx context.Context, method string, realm *url.URL, form url.Values, cred Credential) (string, time.Duration, error) {
	u := *realm
	var body io.Reader
	if method == http.MethodGet {
		q := u.Query()
		for k, v := range form {
			if len(v) > 0 {
				q[k] = v
			}
		}
		u.RawQuery = q.Encode()
	} else {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return "", 0, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if cred.Username != "" || cred.Password != "" {
		req.Header.Set("Authorization", basic(cred))
	}
	resp, err := a.Next.RoundTrip(req)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", 0, &tokenError{u.Scheme + "://" + u.Host + u.Path, resp.StatusCode}
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxToken))
	if err != nil {
		return "", 0, err
	}
	return parseToken(b)
}

// parseToken reads a token endpoint's answer.
func parseToken(b []byte) (string, time.Duration, error) {
	var t struct {
		Token       string  `json:"token"`
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
	}
	if err := json.Unmarshal(b, &t); err != nil {
		return "", 0, fmt.Errorf("%w: the token endpoint's answer is no JSON", ErrChallenge)
	}
	if t.Token == "" {
		t.Token = t.AccessToken
	}
	if t.Token == "" || strings.ContainsFunc(t.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", 0, fmt.Errorf("%w: the token endpoint's answer has no token", ErrChallenge)
	}
	life := defaultLife
	if t.ExpiresIn >= 1 && t.ExpiresIn < 1e9 {
		life = time.Duration(t.ExpiresIn * float64(time.Second))
	}
	return t.Token, life, nil
}
