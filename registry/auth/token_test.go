package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ocifs/ocifs/registry/internal/transport"
)

// A password goes by GET, an identity token by POST, and by GET where POST isn't
// offered.
//
// Behaviour: auth.token
func TestATokenComesByItsWay(t *testing.T) {
	for name, c := range map[string]struct {
		cred Credential
		post int // how POST is answered
		want []string
	}{
		"nobody":                        {Credential{}, 404, []string{"GET  "}},
		"a password":                    {Credential{Username: "jane", Password: "secret"}, 404, []string{"GET jane:secret "}},
		"an identity token":             {Credential{IdentityToken: "i"}, 200, []string{"POST  refresh_token i ocifs"}},
		"an identity token of a user":   {Credential{Username: "00000000-0000-0000-0000-000000000000", IdentityToken: "i"}, 200, []string{"POST  refresh_token i ocifs"}},
		"POST isn't there":              {Credential{IdentityToken: "i"}, 404, []string{"POST  refresh_token i ocifs", "GET <token>:i "}},
		"POST isn't allowed":            {Credential{IdentityToken: "i"}, 405, []string{"POST  refresh_token i ocifs", "GET <token>:i "}},
		"a token that is sent as it is": {Credential{RegistryToken: "T"}, 404, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var asked []string
			f := serve(t, false, func(w http.ResponseWriter, req *http.Request) {
				if req.URL.Path != "/token" {
					if who(req) != "T" {
						challenge(w, `Bearer realm="/token?account=x",service="s",scope="repository:a/b:pull"`)
					}
					return
				}
				b, _ := io.ReadAll(req.Body)
				req.Body = io.NopCloser(strings.NewReader(string(b)))
				_ = req.ParseForm()
				form := req.Form
				asked = append(asked, req.Method+" "+who(req)+" "+strings.TrimSpace(form.Get("grant_type")+" "+form.Get("refresh_token")+" "+form.Get("client_id")))
				if form.Get("service") != "s" || form.Get("scope") != "repository:a/b:pull" || form.Get("account") != "x" {
					t.Errorf("asked by %s for %q, by %v", req.Method, string(b), req.URL)
				}
				if req.Method == http.MethodPost && c.post != http.StatusOK {
					w.WriteHeader(c.post)
					return
				}
				_, _ = io.WriteString(w, `{"access_token":"T"}`)
			})
			f.get(t, f.by(always(c.cred)), "a/b", http.StatusOK)
			if !slices.Equal(asked, c.want) {
				t.Errorf("asked %q, want %q", asked, c.want)
			}
		})
	}
}

// Behaviour: auth.reply
func TestATokenEndpointsAnswerIsUnderstood(t *testing.T) {
	const minute = time.Minute
	for in, want := range map[string]struct {
		token string // "": none
		life  time.Duration
	}{
		`{"token":"t","expires_in":300}`:                                           {"t", 5 * minute},
		`{"access_token":"t","expires_in":300}`:                                    {"t", 5 * minute},
		`{"token":"t","access_token":"other"}`:                                     {"t", minute},
		`{"token":"","access_token":"t"}`:                                          {"t", minute},
		`{"token":"t"}`:                                                            {"t", minute},
		`{"token":"t","expires_in":"300"}`:                                         {"t", 5 * minute},
		`{"token":"t","expires_in":300.5}`:                                         {"t", 5*minute + time.Second/2},
		`{"token":"t","expires_in":0}`:                                             {"t", minute},
		`{"token":"t","expires_in":-1}`:                                            {"t", minute},
		`{"token":"t","expires_in":null}`:                                          {"t", minute},
		`{"token":"t","expires_in":"soon"}`:                                        {"t", minute},
		`{"token":"t","expires_in":1e300}`:                                         {"t", minute},
		`{"token":"t","expires_in":99999999999999999999}`:                          {"t", minute},
		`{"token":"t","expires_in":{}}`:                                            {"t", minute},
		`{"token":"t","expires_in":300,"issued_at":"2001-01-01T00:00:00Z"}`:        {"t", 5 * minute},
		`{"token":"t","expires_in":300,"issued_at":"yesterday","unknown":[1,2,3]}`: {"t", 5 * minute},
		`{}`:               {},
		``:                 {},
		`null`:             {},
		`[]`:               {},
		`<html>`:           {},
		`{"token":1}`:      {},
		`{"token":"a b"}`:  {},
		`{"token":"a\nb"}`: {},
	} {
		token, life, err := parseToken([]byte(in))
		if token != want.token || want.token != "" && life != want.life || (want.token == "") != errors.Is(err, ErrToken) {
			t.Errorf("%s: %q for %s, %v; want %q for %s", in, token, life, err, want.token, want.life)
		}
	}
}

// Before its end a token is renewed without a refusal, and its life counts from when
// it was asked for, whatever the clock of the server says.
//
// Behaviour: auth.reply
func TestATokenIsRenewedBeforeItsEnd(t *testing.T) {
	var n atomic.Int32
	f := serve(t, false, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Date", "Mon, 01 Jan 2001 00:00:00 GMT")
		if req.URL.Path == "/token" {
			_, _ = fmt.Fprintf(w, `{"token":"T%d","expires_in":100,"issued_at":"2001-01-01T00:00:00Z"}`, n.Add(1))
		} else if who(req) == "" {
			challenge(w, `Bearer realm="/token"`)
		}
	})
	a := f.by(nil)
	began := time.Now()
	f.get(t, a, "a/b", http.StatusOK)
	g := a.grant(f.repo("a/b"), Access{})
	if early := began.Add(100 * time.Second).Sub(g.expires); early > earlyBy || g.expires.After(time.Now().Add(100*time.Second-earlyBy)) {
		t.Errorf("renewed %s before its end", early)
	}
	g.mu.Lock()
	g.expires = time.Now().Add(-time.Nanosecond)
	g.mu.Unlock()
	f.get(t, a, "a/b", http.StatusOK)
	f.want(t, "GET /v2/a/b", "GET /token", "GET /v2/a/b T1", "GET /token", "GET /v2/a/b T2")
}

// Tokens here are as long as their scopes, as those of real registries are.
//
// Behaviour: auth.scope
func TestNoHeaderGrowsWithTheNumberOfRepositories(t *testing.T) {
	longest := 0
	f := serve(t, false, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/token" {
			scopes := req.URL.Query()["scope"]
			if len(scopes) != 1 {
				t.Errorf("a token for %q", scopes)
			}
			_, _ = io.WriteString(w, `{"token":"`+strings.Join(scopes, "+")+`","expires_in":300}`)
			return
		}
		path := strings.TrimPrefix(req.URL.Path, "/v2/")
		need := map[string]string{http.MethodGet: "pull", http.MethodPut: "pull,push", http.MethodDelete: "pull,delete"}[req.Method]
		scope := "repository:" + path + ":" + need
		longest = max(longest, len(req.Header.Get("Authorization")))
		if who(req) != scope {
			challenge(w, `Bearer realm="/token",scope="`+scope+`"`)
		}
	})
	a := f.by(nil)
	const repositories = 40
	for range 2 {
		for i := range repositories {
			for method, access := range map[string]Access{http.MethodGet: {}, http.MethodPut: {Do: Push}, http.MethodDelete: {Do: Delete}} {
				status, _, err := f.send(t.Context(), a, method, fmt.Sprintf("team/app%02d", i), "", access)
				if err != nil || status != http.StatusOK {
					t.Errorf("%s: %d, %v", method, status, err)
				}
			}
		}
	}
	tokens := 0
	for _, q := range f.took() {
		if strings.HasPrefix(q, "GET /token") {
			tokens++
		}
	}
	if tokens != 3*repositories || longest != len("Bearer repository:team/app00:pull,delete") {
		t.Errorf("%d tokens, and a header of %d bytes", tokens, longest)
	}
}

// Whoever began to get a token may leave before it is there, and that harms nobody.
//
// Behaviour: auth.once
func TestATokenIsGotOnceForAllWhoWait(t *testing.T) {
	came, give := make(chan bool, 1), make(chan bool)
	f := serve(t, false, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/token" {
			came <- true
			<-give
			_, _ = io.WriteString(w, `{"token":"T"}`)
		} else if who(req) != "T" {
			challenge(w, `Bearer realm="/token"`)
		}
	})
	a := f.by(nil)
	const waiters = 50
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, _, err := f.send(ctx, a, http.MethodGet, "a/b", "", Access{})
		left <- err
	}()
	<-came
	results := make(chan error, waiters)
	for range waiters - 1 {
		go func() {
			status, _, err := f.send(t.Context(), a, http.MethodGet, "a/b", "", Access{})
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("%d", status)
			}
			results <- err
		}()
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := f.send(short, a, http.MethodGet, "a/b", "", Access{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("who had no time: %v", err)
	}
	eventually(t, "all wait", func() bool {
		a.authorizing.mu.Lock()
		defer a.authorizing.mu.Unlock()
		w := a.authorizing.under[authorizationKey{a.grant(f.repo("a/b"), Access{}), false, true}]
		return w != nil && w.waiters == waiters
	})
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("who left: %v", err)
	}
	close(give)
	for range waiters - 1 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := slices.DeleteFunc(f.took(), func(q string) bool { return q != "GET /token" }); len(n) != 1 {
		t.Errorf("%d tokens", len(n))
	}
}

// When nobody waits any longer, nothing goes on.
func TestATokenThatNobodyWantsIsGivenUp(t *testing.T) {
	came, gone := make(chan bool, 1), make(chan bool)
	f := serve(t, false, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/token" {
			challenge(w, `Bearer realm="/token"`)
			return
		}
		came <- true
		<-req.Context().Done()
		close(gone)
	})
	a := f.by(nil)
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, _, err := f.send(ctx, a, http.MethodGet, "a/b", "", Access{})
		left <- err
	}()
	<-came
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-gone
}

// A failure is for all who waited: they don't try one after the other.
//
// Behaviour: auth.once
func TestATokenThatIsRefusedIsRefusedOnceForAll(t *testing.T) {
	give := make(chan bool)
	f := serve(t, false, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/token" {
			challenge(w, `Bearer realm="/token"`)
			return
		}
		<-give
		w.WriteHeader(http.StatusForbidden)
	})
	a := f.by(nil)
	const waiters = 10
	results := make(chan error, waiters)
	for range waiters {
		go func() {
			_, _, err := f.send(t.Context(), a, http.MethodGet, "a/b", "", Access{})
			results <- err
		}()
	}
	eventually(t, "all wait", func() bool {
		a.authorizing.mu.Lock()
		defer a.authorizing.mu.Unlock()
		w := a.authorizing.under[authorizationKey{a.grant(f.repo("a/b"), Access{}), false, true}]
		return w != nil && w.waiters == waiters
	})
	close(give)
	for range waiters {
		if err := <-results; statusOf(err) != http.StatusForbidden {
			t.Error(err)
		}
	}
	if n := slices.DeleteFunc(f.took(), func(q string) bool { return q != "GET /token" }); len(n) != 1 {
		t.Errorf("asked for a token %d times", len(n))
	}
}

// A token can be sent in a header, and its life can be reckoned with.
func FuzzParseToken(f *testing.F) {
	for _, s := range []string{
		`{"token":"t"}`, `{"access_token":"t","expires_in":1e300}`, `{"token":"a\nb"}`, `null`, `[]`,
		`{"token":"eyJ.eyJ.sig","access_token":"eyJ.eyJ.sig","expires_in":300,"issued_at":"2026-01-02T03:04:05.678901234Z"}`, // Docker Hub
		`{"token":"djE6dXNlci9pbWFnZQ=="}`, // GHCR
		`{"token":"eyJ","access_token":"","expires_in":1800,"issued_at":"2026-01-02T03:04:05Z"}`, // Harbor
		`{"token":"eyJ","expires_in":"3599"}`, `{"access_token":"eyJ","refresh_token":"r","expires_in":10800.5}`,
		`{"errors":[{"code":"UNAUTHORIZED"}]}`, `{"token":"t","expires_in":0x10}`, `{"token":"t","expires_in":"NaN"}`, `{"token":"t","expires_in":"Inf"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		token, life, err := parseToken(b)
		if err != nil {
			if token != "" || !errors.Is(err, ErrToken) {
				t.Errorf("%q gives the token %q, and %v", b, token, err)
			}
			return
		}
		if life < time.Second || life > 1e9*time.Second {
			t.Errorf("%q lives for %s", b, life)
		}
		for _, c := range []byte(token) {
			if c <= ' ' || c > '~' {
				t.Errorf("%q gives the token %q", b, token)
			}
		}
		if token == "" {
			t.Errorf("%q gives no token", b)
		}
	})
}

// A patient request doesn't share the token that an impatient one is about to give up.
func TestAPatientRequestDoesNotWaitWithAnImpatientOne(t *testing.T) {
	first, second := make(chan struct{}), make(chan struct{})
	var tokens atomic.Int32
	var f *fake
	f = serve(t, false, func(w http.ResponseWriter, req *http.Request) {
		switch {
		case req.URL.Path == "/token" && tokens.Add(1) == 1:
			close(first)
			select {
			case <-second:
			case <-req.Context().Done():
			}
			fallthrough
		case req.URL.Path == "/token":
			_, _ = io.WriteString(w, `{"token":"t"}`)
		case who(req) != "t":
			challenge(w, `Bearer realm="`+f.URL+`/token"`)
		}
	})
	a := f.by(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, _, err := f.send(transport.WithPlan(ctx, transport.Plan{Impatient: true}), a, http.MethodGet, "a/b", "", Access{})
		ended <- err
	}()
	<-first
	patient, done := context.WithTimeout(ctx, 5*time.Second)
	defer done()
	if _, _, err := f.send(patient, a, http.MethodGet, "a/b", "", Access{}); err != nil {
		t.Error(err)
	}
	close(second)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
