package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ocifs/ocifs/registry/internal/transport"
	"github.com/ocifs/ocifs/registry/ref"
)

const (
	// defaultLife is how long a token lives that doesn't say (the token protocol's
	// own default), earlyBy how long before its end it is renewed.
	defaultLife  = 60 * time.Second
	earlyBy      = 10 * time.Second
	tokenTimeout = 30 * time.Second // for the body of an answer
	maxToken     = 1 << 20          // bytes of an answer
	clientID     = "ocifs"
)

// ErrToken is matched by the errors of a token endpoint whose answer makes no
// sense.
var ErrToken = errors.New("its answer has no token")

// TokenError is what went wrong at a token endpoint. It says nothing about the registry
// that wants the token.
type TokenError struct {
	Endpoint *url.URL // without its query
	Status   int      // of a refusal; 0: there was no answer, or none that makes sense
	Err      error    // the cause; nil with a refusal

	invalidGrant bool // the refusal is of the credential (RFC 6749, section 5.2)
}

func (e *TokenError) Error() string {
	at := "token endpoint " + e.Endpoint.String()
	if e.Status == 0 {
		return fmt.Sprintf("%s: %v", at, e.Err)
	}
	return fmt.Sprintf("%s: %d %s", at, e.Status, http.StatusText(e.Status))
}

func (e *TokenError) Unwrap() error { return e.Err }

// statusOf gives the status that a token endpoint refused with; 0: err is none of its
// refusals.
func statusOf(err error) int {
	var e *TokenError
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

// refusesCredential says whether err is of a token endpoint that may let another
// credential.
func refusesCredential(err error) bool {
	status := statusOf(err)
	return status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusBadRequest
}

// refusesScope says whether err is of a token endpoint that may let another scope.
func refusesScope(err error) bool {
	var e *TokenError
	return errors.As(err, &e) && e.Status == http.StatusBadRequest && !e.invalidGrant
}

// token gets a token for an access, by the form of its scope that the endpoint takes.
func (a *Authorizer) token(ctx context.Context, c *Challenge, realm *url.URL, access Access, r ref.Repository, cred Credential) (token string, life time.Duration, err error) {
	if realm.Scheme == "http" && !cred.Empty() && (a.PlainOK == nil || !a.PlainOK(realm.Host)) {
		return "", 0, fmt.Errorf("%w: its token endpoint http://%s isn't encrypted, so no credential goes there", ErrChallenge, realm.Host)
	}
	if access.Do == Pull {
		if err := a.outages.of(realm.Host); err != nil {
			return "", 0, err
		}
	}
	var tried [][]string
	for _, f := range a.scopes.order(realm, access.Do) {
		scopes, ok := access.scope(f, r, c.Params["scope"])
		if !ok || slices.ContainsFunc(tried, func(t []string) bool { return slices.Equal(t, scopes) }) {
			continue
		}
		tried = append(tried, scopes)
		var failed error
		if token, life, failed = a.tokenFor(ctx, c.Params["service"], realm, scopes, cred); failed == nil {
			a.scopes.takes(realm, access.Do, f)
			return token, life, nil
		}
		if err == nil {
			err = failed
		}
		if !refusesScope(failed) {
			return "", 0, failed
		}
	}
	return "", 0, err
}

// tokenFor gets a token for scopes: by GET, or by POST for an identity token, unless the
// endpoint has no POST.
func (a *Authorizer) tokenFor(ctx context.Context, service string, realm *url.URL, scopes []string, cred Credential) (string, time.Duration, error) {
	form := url.Values{}
	if service != "" {
		form.Set("service", service)
	}
	if cred.IdentityToken != "" {
		if len(scopes) > 0 {
			form.Set("scope", strings.Join(scopes, " "))
		}
		form.Set("grant_type", "refresh_token")
		form.Set("refresh_token", cred.IdentityToken)
		form.Set("client_id", clientID)
		token, life, err := a.ask(ctx, http.MethodPost, realm, form, Credential{})
		if status := statusOf(err); status != http.StatusNotFound && status != http.StatusMethodNotAllowed {
			return token, life, err
		}
		form = url.Values{"service": form["service"]}
		cred = Credential{Username: tokenUser, Password: cred.IdentityToken}
	}
	form["scope"] = scopes
	return a.ask(ctx, http.MethodGet, realm, form, cred)
}

// ask sends a token request. Its errors are of the endpoint.
func (a *Authorizer) ask(ctx context.Context, method string, realm *url.URL, form url.Values, cred Credential) (token string, life time.Duration, err error) {
	began := time.Now()
	token, life, err = a.request(ctx, method, realm, form, cred)
	var refused *TokenError
	switch {
	case err == nil, errors.As(err, &refused):
		a.outages.answered(realm.Host)
	case ctx.Err() == nil:
		err = &TokenError{Endpoint: bare(realm), Err: err}
		a.outages.failed(realm.Host, err, time.Since(began))
	}
	return token, life, err
}

// bare is an address without its query, which may hold a secret.
func bare(u *url.URL) *url.URL { return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path} }

// request sends a token request. A refusal is a *TokenError.
func (a *Authorizer) request(ctx context.Context, method string, realm *url.URL, form url.Values, cred Credential) (string, time.Duration, error) {
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
	ctx = transport.WithPlan(ctx, transport.PlanOf(ctx).ForToken())
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
	if resp.StatusCode != http.StatusOK {
		var refusal struct{ Error string } // of OAuth2; the specification's is errors
		_ = json.Unmarshal(transport.Aside(resp), &refusal)
		status := resp.StatusCode
		if status == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "" {
			status = http.StatusTooManyRequests // which is what it means
		}
		return "", 0, &TokenError{Endpoint: bare(realm), Status: status, invalidGrant: refusal.Error == "invalid_grant"}
	}
	b, err := transport.Read(resp, maxToken, tokenTimeout)
	if err != nil {
		return "", 0, err
	}
	return parseToken(b)
}

// parseToken reads a token endpoint's answer.
func parseToken(b []byte) (string, time.Duration, error) {
	var t struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		ExpiresIn   any    `json:"expires_in"` // a number; some write it as a string
	}
	if err := json.Unmarshal(b, &t); err != nil {
		return "", 0, fmt.Errorf("%w: it is no JSON object", ErrToken)
	}
	if t.Token == "" {
		t.Token = t.AccessToken
	}
	if t.Token == "" || strings.ContainsFunc(t.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", 0, fmt.Errorf("%w: no token in it", ErrToken)
	}
	life := defaultLife
	if n, err := strconv.ParseFloat(fmt.Sprint(t.ExpiresIn), 64); err == nil && n >= 1 && n < 1e9 {
		life = time.Duration(n * float64(time.Second))
	}
	return t.Token, life, nil
}
