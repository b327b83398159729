package registries

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/auth/token"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	tokenIssuer = "ocifs integration tests"
	tokenKeyID  = "the only key"

	tokenLifetime = 5 * time.Minute
)

// TokenRequest is one request for a token.
type TokenRequest struct {
	Method string
	User   string // empty: anonymous
	Scopes []string
	Status int
}

// TokenServer signs tokens for the registry that asks for them, as
// https://distribution.github.io/distribution/spec/auth/token/ has it: by GET,
// with Basic credentials, one or more scopes, and the service. Users who know
// their password may do everything to every repository but those below
// "locked/", which nobody may enter; the user "reader" may only pull, and
// anonymous ones may pull below "public/".
type TokenServer struct {
	service string
	users   map[string]string
	signer  jose.Signer
	jwks    string // file with the public key
	url     string
	http    *http.Server

	mu   sync.Mutex
	seen []TokenRequest
}

func newTokenServer(service string, users map[string]string) (*TokenServer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key for tokens: %w", err)
	}
	private := jose.JSONWebKey{Key: key, KeyID: tokenKeyID, Algorithm: string(jose.ES256), Use: "sig"}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: private}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, fmt.Errorf("making a signer of tokens: %w", err)
	}
	jwks, err := writeJWKS(private.Public())
	if err != nil {
		return nil, err
	}
	l, err := loopback()
	if err != nil {
		os.Remove(jwks)
		return nil, err
	}
	t := &TokenServer{service: service, users: users, signer: signer, jwks: jwks, url: "http://" + l.Addr().String() + "/token"}
	t.http = &http.Server{
		Handler:           http.HandlerFunc(t.answer),
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	go t.http.Serve(l) // ends with Close
	return t, nil
}

func writeJWKS(public jose.JSONWebKey) (string, error) {
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}})
	if err != nil {
		return "", fmt.Errorf("encoding the key for tokens: %w", err)
	}
	f, err := os.CreateTemp("", "ocifs-jwks-*.json")
	if err != nil {
		return "", fmt.Errorf("writing the key for tokens: %w", err)
	}
	defer f.Close()
	_, err = f.Write(b)
	return f.Name(), err
}

// distributionAuth is the registry's side of the agreement.
func (t *TokenServer) distributionAuth() configuration.Auth {
	return configuration.Auth{"token": configuration.Parameters{
		"realm": t.url, "service": t.service, "issuer": tokenIssuer, "jwks": t.jwks,
		"signingalgorithms": []any{string(jose.ES256)},
	}}
}

// Requests are the requests for tokens since the last Forget.
func (t *TokenServer) Requests() []TokenRequest {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]TokenRequest(nil), t.seen...)
}

// Forget drops what was recorded so far.
func (t *TokenServer) Forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = nil
}

// Expired is the answer's header where a token for a repository has expired.
func (t *TokenServer) Expired(repository string) http.Header {
	return http.Header{"Www-Authenticate": {fmt.Sprintf(
		`Bearer realm=%q,service=%q,scope="repository:%s:pull,push",error="invalid_token"`, t.url, t.service, repository)}}
}

// Close ends the token server.
func (t *TokenServer) Close() error {
	os.Remove(t.jwks)
	return t.http.Close()
}

func (t *TokenServer) answer(w http.ResponseWriter, r *http.Request) {
	seen := TokenRequest{Method: r.Method, Scopes: r.URL.Query()["scope"], Status: http.StatusOK}
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.seen = append(t.seen, seen)
	}()
	refuse := func(status int) {
		seen.Status = status
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
	}
	if r.Method != http.MethodGet {
		refuse(http.StatusNotFound) // no OAuth2 here, as with many registries
		return
	}
	user, password, given := r.BasicAuth()
	if given && (t.users[user] == "" || t.users[user] != password) {
		seen.User = user
		refuse(http.StatusUnauthorized)
		return
	}
	seen.User = user
	if r.URL.Query().Get("service") != t.service {
		refuse(http.StatusBadRequest)
		return
	}
	access := []*token.ResourceActions{}
	for _, scopes := range seen.Scopes {
		for scope := range strings.FieldsSeq(scopes) {
			if a := grant(user, scope); a != nil {
				access = append(access, a)
			}
		}
	}
	now := time.Now()
	claims := token.ClaimSet{
		Issuer: tokenIssuer, Subject: user, Audience: token.AudienceList{t.service},
		IssuedAt: now.Unix(), NotBefore: now.Add(-time.Second).Unix(), Expiration: now.Add(tokenLifetime).Unix(),
		JWTID: rand.Text(), Access: access,
	}
	signed, err := jwt.Signed(t.signer).Claims(claims).Serialize()
	if err != nil {
		refuse(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{
		"token": signed, "expires_in": int(tokenLifetime.Seconds()), "issued_at": now.UTC().Format(time.RFC3339),
	})
}

// grant says what of a scope TYPE:NAME:ACTION,… user is given; nil: nothing.
func grant(user, scope string) *token.ResourceActions {
	kind, rest, ok1 := strings.Cut(scope, ":")
	last := strings.LastIndexByte(rest, ':')
	if !ok1 || last < 0 {
		return nil
	}
	name, actions := rest[:last], strings.Split(rest[last+1:], ",")
	switch {
	case strings.HasPrefix(name, "locked/"):
		return nil
	case user == "reader":
		return &token.ResourceActions{Type: kind, Name: name, Actions: []string{"pull"}}
	case user != "":
		return &token.ResourceActions{Type: kind, Name: name, Actions: actions}
	case kind == "repository" && strings.HasPrefix(name, "public/"):
		return &token.ResourceActions{Type: kind, Name: name, Actions: []string{"pull"}}
	default:
		return nil
	}
}
