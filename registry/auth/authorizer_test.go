package auth

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ocifs/ocifs/registry/ref"
)

type always Credential

func (a always) Credential(context.Context, ref.Repository) (Credential, error) {
	return Credential(a), nil
}

func TestATokenIsFetchedOncePerRepository(t *testing.T) {
	for name, c := range map[string]struct {
		cred             Credential
		answer           string
		noPost           bool
		tokens, requests int32
	}{
		"anonymous":              {Credential{}, `{"token":"T"}`, false, 1, 4},
		"access_token":           {Credential{}, `{"access_token":"T","expires_in":300}`, false, 1, 4},
		"expires_in as a string": {Credential{}, `{"token":"T","expires_in":"300"}`, false, 1, 4},
		"password":               {Credential{Username: "u", Password: "p"}, `{"token":"T"}`, false, 1, 4},
		"identity token":         {Credential{IdentityToken: "i"}, `{"access_token":"T"}`, false, 1, 4},
		"identity token by GET":  {Credential{IdentityToken: "i"}, `{"token":"T"}`, true, 2, 4},
	} {
		t.Run(name, func(t *testing.T) {
			var tokens, requests atomic.Int32
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if req.URL.Path == "/token" {
					tokens.Add(1)
					if c.noPost && req.Method == http.MethodPost {
						w.WriteHeader(http.StatusNotFound)
						return
					}
					if (c.cred.IdentityToken != "" && !c.noPost) != (req.Method == http.MethodPost) {
						t.Errorf("asked by %s", req.Method)
					}
					_, _ = io.WriteString(w, c.answer)
					return
				}
				requests.Add(1)
				if req.Header.Get("Authorization") != "Bearer T" {
					w.Header().Set("WWW-Authenticate", `Bearer realm="ftp://x/y", Bearer realm="/token",service="s"`)
					w.WriteHeader(http.StatusUnauthorized)
				}
			}))
			defer s.Close()
			a := &Authorizer{Next: http.DefaultTransport, Source: always(c.cred), PlainOK: func(string) bool { return true }}
			for range 3 {
				req, err := http.NewRequest(http.MethodGet, s.URL, nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, _, err := a.Do(req, ref.Repository{Host: strings.TrimPrefix(s.URL, "http://"), Path: "a/b"}, Access{})
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Errorf("status %d", resp.StatusCode)
				}
			}
			if tokens.Load() != c.tokens || requests.Load() != c.requests {
				t.Errorf("%d token requests and %d others, want %d and %d", tokens.Load(), requests.Load(), c.tokens, c.requests)
			}
		})
	}
}
