package auth

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var verbs = []struct {
	method string
	access Access
}{
	{http.MethodGet, Access{}}, {http.MethodHead, Access{}}, {http.MethodPut, Access{Do: Push}},
	{http.MethodPatch, Access{Do: Push}}, {http.MethodPost, Access{Do: Push}}, {http.MethodDelete, Access{Do: Delete}},
}

const sent = "all of the bytes"

// A registry may forget a token between any two requests.
//
// Behaviour: auth.again
func TestARefusalAtAnyTimeIsANewTokenAndTheBodyFromItsStart(t *testing.T) {
	for _, v := range verbs {
		t.Run(v.method, func(t *testing.T) {
			var token atomic.Int32
			f := serve(t, false, func(w http.ResponseWriter, req *http.Request) {
				if req.URL.Path == "/token" {
					_, _ = fmt.Fprintf(w, `{"token":"T%d","expires_in":300}`, token.Load())
					return
				}
				if who(req) != fmt.Sprintf("T%d", token.Load()) { // maybe without having read the body
					challenge(w, `Bearer realm="/token",scope="repository:a/b:pull"`)
					return
				}
				if b, _ := io.ReadAll(req.Body); req.ContentLength > 0 && string(b) != sent {
					t.Errorf("got %q", b)
				}
			})
			a := f.by(nil)
			body := ""
			if v.access.Do == Push {
				body = sent
			}
			for range 3 {
				token.Add(1)
				for range 2 {
					if status, _, err := f.send(t.Context(), a, v.method, "a/b", body, v.access); err != nil || status != http.StatusOK {
						t.Errorf("%d, %v", status, err)
					}
				}
			}
			at := v.method + " /v2/a/b"
			f.want(t, at, "GET /token", at+" T1", at+" T1",
				at+" T1", "GET /token", at+" T2", at+" T2",
				at+" T2", "GET /token", at+" T3", at+" T3")
		})
	}
}

// However often a registry says 401, it is asked twice, and its token endpoint once.
//
// Behaviour: auth.again, auth.foreign-scope
func TestARefusalThatStaysIsNoLoop(t *testing.T) {
	for _, v := range verbs {
		t.Run(v.method, func(t *testing.T) {
			n := 0
			f := serve(t, false, func(w http.ResponseWriter, req *http.Request) {
				if n++; req.URL.Path == "/token" {
					_, _ = fmt.Fprintf(w, `{"token":"T%d"}`, n)
					return
				}
				challenge(w, `Bearer realm="/token",service="s",scope="repository:a/b:pull"`)
			})
			status, _, err := f.send(t.Context(), f.by(nil), v.method, "a/b", "", v.access)
			if err != nil || status != http.StatusUnauthorized {
				t.Errorf("%d, %v", status, err)
			}
			f.want(t, v.method+" /v2/a/b", "GET /token", v.method+" /v2/a/b T2")
		})
	}
}

// GHCR's catalog names a scope that has nothing to do with it, and stays closed.
//
// Behaviour: auth.foreign-scope
func TestAChallengeForSomethingElseIsAnsweredOnce(t *testing.T) {
	for name, c := range map[string]struct {
		cred    Credential
		refusal int // of what has a token
		want    []string
	}{
		"401 to nobody": {Credential{}, 401, []string{"GET /v2/_catalog", "GET /token", "GET /v2/_catalog user/image:pull"}},
		"403 to nobody": {Credential{}, 403, []string{"GET /v2/_catalog", "GET /token", "GET /v2/_catalog user/image:pull"}},
		"401 to jane": {Credential{Username: "jane", Password: "p", Origin: "x"}, 401, []string{"GET /v2/_catalog", "GET /token jane:p", "GET /v2/_catalog user/image:pull",
			"GET /token", "GET /v2/_catalog user/image:pull"}}, // once more as nobody
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, false, func(w http.ResponseWriter, req *http.Request) {
				switch {
				case req.URL.Path == "/token":
					_, _ = io.WriteString(w, `{"token":"`+req.URL.Query().Get("scope")+`"}`)
				case who(req) == "" || c.refusal == http.StatusUnauthorized:
					challenge(w, `Bearer realm="/token",service="ghcr.io",scope="user/image:pull"`)
				default:
					w.WriteHeader(c.refusal)
				}
			})
			a := f.by(always(c.cred))
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, f.URL+"/v2/_catalog", nil)
			resp, _, err := a.Do(req, f.repo(""), Access{})
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != c.refusal {
				t.Errorf("%d", resp.StatusCode)
			}
			f.want(t, c.want...)
		})
	}
}

// A login of ECR that is over is 401 or 403, and the helper has another: also in the
// middle of an upload.
//
// Behaviour: auth.ecr, auth.again
func TestALoginThatIsOverIsAskedForAgain(t *testing.T) {
	for _, v := range verbs {
		for _, refusal := range []int{http.StatusUnauthorized, http.StatusForbidden} {
			t.Run(fmt.Sprint(v.method, refusal), func(t *testing.T) {
				h := newHelper(t, "ecr-login", saysSecret)
				h.secret(t, "one")
				password := "one"
				f := serve(t, false, func(w http.ResponseWriter, req *http.Request) {
					_, now, ok := req.BasicAuth()
					switch {
					case now == password:
						if b, _ := io.ReadAll(req.Body); req.ContentLength > 0 && string(b) != sent {
							t.Errorf("got %q", b)
						}
					case ok && refusal == http.StatusForbidden:
						w.WriteHeader(refusal)
					default:
						challenge(w, `Basic realm="https://ecr/",service="ecr.amazonaws.com"`)
					}
				})
				s := h.config(t, t.Output())
				a := f.by(s)
				body := ""
				if v.access.Do == Push {
					body = sent
				}
				do := func() {
					t.Helper()
					if status, origin, err := f.send(t.Context(), a, v.method, "a/b", body, v.access); err != nil || status != http.StatusOK || origin == "" {
						t.Errorf("%d with %q, %v", status, origin, err)
					}
				}
				do()
				h.secret(t, "two")
				password = "two"
				s.helpers.older(renewAge) // as if it had been asked some time ago
				do()
				do()
				at := v.method + " /v2/a/b"
				f.want(t, at, at+" jane:one", at+" jane:one", at+" jane:two", at+" jane:two")
				if n := h.runs(); n != 2 {
					t.Errorf("the helper ran %d times", n)
				}
			})
		}
	}
}

// older makes all that was said older.
func (h *helpers) older(by time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for q, a := range h.replies {
		a.at = a.at.Add(-by)
		a.cred.Expires = a.cred.Expires.Add(-by)
		h.replies[q] = a
	}
}

// A password that is wrong, and stays so, runs no helper for each request.
//
// Behaviour: auth.ecr, auth.helpers
func TestAHelperIsNotAskedForEachRefusal(t *testing.T) {
	h := newHelper(t, "wrong", says("wrong"))
	f := serve(t, false, basicAs("right"))
	s := h.config(t, t.Output())
	a := f.by(s)
	for range 10 {
		f.get(t, a, "a/b", http.StatusUnauthorized)
	}
	if n := h.runs(); n != 1 {
		t.Errorf("it ran %d times", n)
	}
	s.helpers.older(renewAge)
	for range 10 {
		f.get(t, a, "a/b", http.StatusUnauthorized)
	}
	if n := h.runs(); n != 2 {
		t.Errorf("it ran %d times", n)
	}
}

// The token endpoint is where most credentials are refused.
//
// Behaviour: auth.ecr, auth.told
func TestACredentialThatATokenEndpointRefusesIsAskedForAgain(t *testing.T) {
	for name, token := range map[string]string{"a password": "jane", "an identity token": "<token>"} {
		t.Run(name, func(t *testing.T) {
			h := newHelper(t, "sso", `printf '{"Username":"`+token+`","Secret":"%s"}' "$(cat "$dir/secret")"`)
			h.secret(t, "one")
			f := serve(t, false, func(w http.ResponseWriter, req *http.Request) {
				_ = req.ParseForm()
				switch {
				case req.URL.Path != "/token":
					if who(req) != "T" {
						challenge(w, `Bearer realm="/token",scope="repository:a/b:pull"`)
					}
				case who(req) == "jane:two" || req.Form.Get("refresh_token") == "two":
					_, _ = io.WriteString(w, `{"token":"T"}`)
				default:
					w.WriteHeader(http.StatusUnauthorized)
				}
			})
			s := h.config(t, t.Output())
			a := f.by(s)
			_, origin, err := f.send(t.Context(), a, http.MethodPut, "a/b", sent, Access{Do: Push})
			if statusOf(err) != http.StatusUnauthorized || !strings.Contains(origin, "docker-credential-sso") {
				t.Errorf("with %q: %v", origin, err)
			}
			h.secret(t, "two")
			s.helpers.older(renewAge)
			if status, _, err := f.send(t.Context(), a, http.MethodPut, "a/b", sent, Access{Do: Push}); err != nil || status != http.StatusOK {
				t.Errorf("%d, %v", status, err)
			}
			if n := h.runs(); n != 2 {
				t.Errorf("the helper ran %d times", n)
			}
		})
	}
}

// An expired credential doesn't hide what is public, and what isn't names it.
//
// Behaviour: auth.expired, auth.told
func TestAnExpiredCredentialIsNamedAndReadingTriedWithout(t *testing.T) {
	const challenged = `Bearer realm="/token",scope="repository:a/b:pull"`
	for name, c := range map[string]struct {
		serve  http.HandlerFunc
		public bool
		want   int
	}{
		"basic, private": {basicAs("other"), false, 401},
		"a token that is refused, public": {func(w http.ResponseWriter, req *http.Request) {
			switch {
			case req.URL.Path == "/token":
				_, _ = io.WriteString(w, `{"token":"T`+strings.ReplaceAll(who(req), ":", "-")+`"}`)
			case who(req) == "":
				challenge(w, challenged)
			case who(req) != "T":
				w.WriteHeader(http.StatusForbidden)
			}
		}, true, 200},
		"a token endpoint that refuses, public": {func(w http.ResponseWriter, req *http.Request) {
			switch {
			case req.URL.Path == "/token" && who(req) != "":
				w.WriteHeader(http.StatusUnauthorized)
			case req.URL.Path == "/token":
				_, _ = io.WriteString(w, `{"token":"T"}`)
			case who(req) != "T":
				challenge(w, challenged)
			}
		}, true, 200},
		"a token endpoint that refuses, private": {func(w http.ResponseWriter, req *http.Request) {
			switch {
			case req.URL.Path == "/token" && who(req) != "":
				w.WriteHeader(http.StatusUnauthorized)
			case req.URL.Path == "/token":
				_, _ = io.WriteString(w, `{"token":"T"}`)
			case who(req) == "":
				challenge(w, challenged)
			default:
				w.WriteHeader(http.StatusForbidden)
			}
		}, false, 403},
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, false, c.serve)
			file := filepath.Join(t.TempDir(), "config.json")
			var log syncBuffer
			writeConfig(t, file, f.repo("").Host+"=jane:s3cret")
			a := f.by(FromFiles(log.logger(), file))
			a.Log = log.logger()
			for range 3 {
				origin := f.get(t, a, "a/b", c.want)
				if !c.public && !strings.Contains(origin, "jane from "+file) {
					t.Errorf("the credential is %q", origin)
				}
			}
			if told := log.String(); c.public && !strings.Contains(told, file) {
				t.Errorf("told: %s", told)
			}
			if strings.Contains(log.String(), "s3cret") {
				t.Errorf("the secret is told: %s", log.String())
			}
		})
	}
}

// While a credential is refused where anyone may read, it isn't shown again and
// again: accounts are locked for that.
//
// Behaviour: auth.expired
func TestARefusedCredentialIsNotShownWithEachToken(t *testing.T) {
	f := serve(t, false, func(w http.ResponseWriter, req *http.Request) {
		switch {
		case req.URL.Path == "/token" && who(req) != "":
			w.WriteHeader(http.StatusUnauthorized)
		case req.URL.Path == "/token":
			_, _ = io.WriteString(w, `{"token":"T"}`)
		case who(req) != "T":
			challenge(w, `Bearer realm="/token"`)
		}
	})
	a := f.by(always(Credential{Username: "u", Password: "p", Origin: "x"}))
	f.get(t, a, "a/b", http.StatusOK)
	f.want(t, "GET /v2/a/b", "GET /token u:p", "GET /token", "GET /v2/a/b T")
	g := a.grant(f.repo("a/b"), Access{})
	over := func() {
		g.mu.Lock()
		g.expires = time.Now().Add(-time.Second)
		g.mu.Unlock()
	}
	over()
	f.get(t, a, "a/b", http.StatusOK)
	f.want(t, "GET /token", "GET /v2/a/b T")
	over()
	g.stayAnonymous(-time.Second)
	a.pauses.of = nil
	f.get(t, a, "a/b", http.StatusOK)
	f.want(t, "GET /token u:p", "GET /token", "GET /v2/a/b T")
}

// Many who read at once what is public are all let in.
//
// Behaviour: auth.expired
func TestAnExpiredCredentialHindersNoneOfMany(t *testing.T) {
	f := serve(t, false, func(w http.ResponseWriter, req *http.Request) {
		switch {
		case req.URL.Path == "/token":
			_, _ = io.WriteString(w, `{"token":"T`+strings.ReplaceAll(who(req), ":", "-")+`"}`)
		case who(req) == "":
			challenge(w, `Bearer realm="/token"`)
		case who(req) != "T":
			w.WriteHeader(http.StatusForbidden)
		}
	})
	a := f.by(always(Credential{Username: "u", Password: "p", Origin: "x"}))
	const readers = 30
	results := make(chan string, readers)
	for range readers {
		go func() {
			status, _, err := f.send(context.Background(), a, http.MethodGet, "a/b", "", Access{})
			results <- fmt.Sprint(status, err)
		}()
	}
	for range readers {
		if got := <-results; got != "200 <nil>" {
			t.Error(got)
		}
	}
}
