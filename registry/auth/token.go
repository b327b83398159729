package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ocifs/ocifs/registry/internal/transport"
)

const (
	// defaultLife is how long a token lives that doesn't say (the token protocol's
	// own default), earlyBy how long before its end it is renewed.
	defaultLife  = 60 * time.Second
	earlyBy      = 10 * time.Second
	tokenTimeout = 30 * time.Second // for the answer, once it has begun
	maxToken     = 1 << 20
	clientID     = "ocifs"
)

// ErrToken is matched by the errors of a token endpoint whose answer makes no
// sense.
var ErrToken = errors.New("the token endpoint's answer is none")

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

// token gets a token for scopes.
func (a *Authorizer) token(ctx context.Context, c *Challenge, realm *url.URL, scopes []string, cred Credential) (string, time.Duration, error) {
	form := url.Values{}
	if s := c.Params["service"]; s != "" {
		form.Set("service", s)
	}
	if realm.Scheme == "http" && !cred.Empty() && (a.PlainOK == nil || !a.PlainOK(realm.Host)) {
		return "", 0, fmt.Errorf("%w: its token endpoint http://%s isn't encrypted, so no credential goes there", ErrChallenge, realm.Host)
	}
	if cred.IdentityToken != "" {
		form.Set("scope", strings.Join(scopes, " "))
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
	form["scope"] = scopes
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
		transport.Aside(resp)
		status := resp.StatusCode
		if status == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "" {
			status = http.StatusTooManyRequests // which is what it means
		}
		return "", 0, &tokenError{u.Scheme + "://" + u.Host + u.Path, status}
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
		return "", 0, fmt.Errorf("%w: no JSON object", ErrToken)
	}
	if t.Token == "" {
		t.Token = t.AccessToken
	}
	if t.Token == "" || strings.ContainsFunc(t.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", 0, fmt.Errorf("%w: it has no token", ErrToken)
	}
	life := defaultLife
	if n, err := strconv.ParseFloat(fmt.Sprint(t.ExpiresIn), 64); err == nil && n >= 1 && n < 1e9 {
		life = time.Duration(n * float64(time.Second))
	}
	return t.Token, life, nil
}
