package auth

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ocifs/ocifs/registry/ref"
)

// The forms of a scope, as a token endpoint that takes none of them is asked for them.
//
// Behaviour: auth.quay
func TestATokenEndpointThatCallsAScopeBadIsAskedForAnother(t *testing.T) {
	for name, c := range map[string]struct {
		access Access
		path   string // of the repository; "": the host's own
		named  string // by the challenge
		want   []string
	}{
		"delete":                   {Access{Do: Delete}, "a/b", "", []string{"repository:a/b:pull,delete", "repository:a/b:pull,push"}},
		"delete, as named":         {Access{Do: Delete}, "a/b", "repository:a/b:*", []string{"repository:a/b:pull,delete,*", "repository:a/b:*", "repository:a/b:pull,push"}},
		"delete, too little named": {Access{Do: Delete}, "a/b", "repository:a/b:pull", []string{"repository:a/b:pull,delete", "repository:a/b:pull,push"}},
		"push":                     {Access{Do: Push}, "a/b", "", []string{"repository:a/b:pull,push"}},
		"push, more named":         {Access{Do: Push}, "a/b", "registry:catalog:*", []string{"repository:a/b:pull,push registry:catalog:*", "repository:a/b:pull,push"}},
		"mount":                    {Access{Push, "c"}, "a/b", "", []string{"repository:a/b:pull,push repository:c:pull"}},
		"pull":                     {Access{}, "a/b", "", []string{"repository:a/b:pull"}},
		"pull, something else":     {Access{}, "a/b", "user/image:pull", []string{"user/image:pull", "repository:a/b:pull"}},
		"a ping":                   {Access{}, "", "", []string{""}},
		"a catalog":                {Access{}, "", "registry:catalog:*", []string{"registry:catalog:*", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			var scopes []string
			f := serve(t, false, func(w http.ResponseWriter, req *http.Request) {
				if req.URL.Path == "/token" {
					scopes = append(scopes, strings.Join(req.URL.Query()["scope"], " "))
					w.WriteHeader(http.StatusBadRequest)
					return
				}
				challenge(w, `Bearer realm="/token",scope="`+c.named+`"`)
			})
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, f.URL+"/v2/", nil)
			_, _, err := f.by(nil).Do(req, ref.Repository{Host: f.repo("").Host, Path: c.path}, c.access)
			if statusOf(err) != http.StatusBadRequest || !slices.Equal(scopes, c.want) {
				t.Errorf("asked for %q, %v; want %q", scopes, err, c.want)
			}
		})
	}
}

// The form that an endpoint takes is the first that it is asked for the next time, whatever
// the repository.
//
// Behaviour: auth.quay
func TestWhatScopesATokenEndpointTakesIsLearnt(t *testing.T) {
	var scopes []string
	f := serve(t, false, func(w http.ResponseWriter, req *http.Request) {
		switch scope := req.URL.Query().Get("scope"); {
		case req.URL.Path != "/token":
			if who(req) == "" {
				challenge(w, `Bearer realm="/token"`)
			}
		case strings.Contains(scope, "delete"):
			scopes = append(scopes, scope)
			w.WriteHeader(http.StatusBadRequest)
		default:
			scopes = append(scopes, scope)
			_, _ = io.WriteString(w, `{"token":"T"}`)
		}
	})
	a := f.by(always(Credential{Username: "u", Password: "p", Origin: "x"}))
	for _, path := range []string{"a/b", "c/d"} {
		if status, _, err := f.send(t.Context(), a, http.MethodDelete, path, "", Access{Do: Delete}); err != nil || status != http.StatusOK {
			t.Errorf("%d, %v", status, err)
		}
	}
	if want := []string{"repository:a/b:pull,delete", "repository:a/b:pull,push", "repository:c/d:pull,push"}; !slices.Equal(scopes, want) {
		t.Errorf("asked for %q, want %q", scopes, want)
	}
}

// OAuth2 says 400 of an identity token that is over (RFC 6749, section 5.2): no other scope
// helps.
func TestAnIdentityTokenThatIsOverIsRefusedAtOnce(t *testing.T) {
	n := 0
	f := serve(t, false, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/token" {
			challenge(w, `Bearer realm="/token"`)
			return
		}
		n++
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":"invalid_grant"}`)
	})
	a := f.by(always(Credential{IdentityToken: "i", Origin: "x"}))
	_, use, err := f.send(t.Context(), a, http.MethodDelete, "a/b", "", Access{Do: Delete})
	if statusOf(err) != http.StatusBadRequest || n != 1 || use != "x" {
		t.Errorf("%v after %d requests, with %q", err, n, use)
	}
}

// An error of a token endpoint names it, and keeps the cause. It has no query, which may
// hold a secret.
//
// Behaviour: auth.down
func TestAnErrorOfATokenEndpointNamesIt(t *testing.T) {
	for name, c := range map[string]struct {
		realm, want string
		is          error
	}{
		"nobody is there":     {"http://127.0.0.1:1/token?key=s3cret", "token endpoint http://127.0.0.1:1/token: ", syscall.ECONNREFUSED},
		"it makes no sense":   {"/nonsense?key=s3cret", "/nonsense: ", ErrToken},
		"it fails":            {"/fails?key=s3cret", "/fails: 500 Internal Server Error", nil},
		"it hangs up halfway": {"/half?key=s3cret", "/half: ", io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, false, func(w http.ResponseWriter, req *http.Request) {
				switch req.URL.Path {
				case "/nonsense":
					_, _ = io.WriteString(w, "<html>")
				case "/fails":
					w.WriteHeader(http.StatusInternalServerError)
				case "/half":
					w.Header().Set("Content-Length", "100")
					_, _ = io.WriteString(w, `{"tok`)
				default:
					challenge(w, `Bearer realm="`+c.realm+`"`)
				}
			})
			_, _, err := f.send(t.Context(), f.by(nil), http.MethodGet, "a/b", "", Access{})
			var e *TokenError
			if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("got %v, want %q and %v", err, c.want, c.is)
			}
		})
	}
}

// Whoever lists a hundred private repositories waits for one time-out of the token
// endpoint, and what is written is tried all the same.
//
// Behaviour: auth.down
func TestATokenEndpointThatWasSlowToFailIsLeftAlone(t *testing.T) {
	f := serve(t, false, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/token" {
			challenge(w, `Bearer realm="/token"`)
			return
		}
		_, _ = io.WriteString(w, `{"token":"T"}`)
	})
	a := f.by(nil)
	cause := errors.New("no answer in time")
	host := f.repo("").Host
	a.outages.failed(host, cause, slow-1)
	if err := a.outages.of(host); err != nil {
		t.Errorf("one that failed at once is left alone: %v", err)
	}
	a.outages.failed(host, cause, time.Hour)
	if until := time.Until(a.outages.byHost[host].until); until > longest {
		t.Errorf("it is left alone for %s", until)
	}
	if _, _, err := f.send(t.Context(), a, http.MethodGet, "a/b", "", Access{}); !errors.Is(err, cause) {
		t.Errorf("got %v, want what it failed with", err)
	}
	f.want(t, "GET /v2/a/b")
	if _, _, err := f.send(t.Context(), a, http.MethodPut, "a/b", sent, Access{Do: Push}); err != nil {
		t.Errorf("got %v", err)
	}
	f.want(t, "PUT /v2/a/b", "GET /token", "PUT /v2/a/b T")
	f.get(t, a, "a/b", http.StatusUnauthorized) // as the endpoint is back
	f.want(t, "GET /v2/a/b", "GET /token", "GET /v2/a/b T")
}

// What is learnt of one scope isn't held against another that the registry names for
// reading.
func TestNothingIsLearntOfScopesForReading(t *testing.T) {
	var scopes []string
	f := serve(t, false, func(w http.ResponseWriter, req *http.Request) {
		scope := req.URL.Query().Get("scope")
		switch {
		case req.URL.Path == "/v2/a/odd":
			challenge(w, `Bearer realm="/token",scope="odd"`)
		case req.URL.Path != "/token":
			challenge(w, `Bearer realm="/token",scope="aws"`)
		case scope == "odd":
			w.WriteHeader(http.StatusBadRequest)
		default:
			scopes = append(scopes, scope)
			_, _ = io.WriteString(w, `{"token":"T"}`)
		}
	})
	a := f.by(nil)
	f.get(t, a, "a/odd", http.StatusUnauthorized)
	f.get(t, a, "a/b", http.StatusUnauthorized)
	if want := []string{"repository:a/odd:pull", "aws"}; !slices.Equal(scopes, want) {
		t.Errorf("asked for %q, want %q", scopes, want)
	}
}
